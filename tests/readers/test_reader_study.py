"""A study from images to its report: blinding, simulated readers of known taste, and what cannot be read."""

import base64
import json
import math
import re
import shutil
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from readers_kit import answer_page, page_of, tiny_study

from napari_sslmaps.cli import main
from napari_sslmaps.errors import ExportError, InvalidOptionError, RecordError
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.inputs.listing import list_items
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.readers.analysis import interval_note, sentences_of, tables_of
from napari_sslmaps.readers.answers import Answers, Judgement, read_answers
from napari_sslmaps.readers.build import StudyRequest, new_study, problems
from napari_sslmaps.readers.report import analyse_files, write_study_report
from napari_sslmaps.readers.study import (
    ANSWERS,
    PAGES,
    Question,
    Reader,
    Study,
    StudyImage,
    StudyMethod,
    Trial,
    load_questions,
)
from napari_sslmaps.records.run import RunOptions

LIKING = {"mae-histology": 0.9, "dinov3-histology": 0.3, "mae-untrained": -0.3, "colour-8px": -0.9}
NAMES = (*LIKING, "secret", "Doe^John", "Anna", "Ben", "Cleo", "similarity", "napari_sslmaps", "histology")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("Doe^John secret")
    rng = np.random.default_rng(0)
    for number in range(6):
        pixels = rng.integers(0, 255, (48, 64, 3), np.uint8)
        info = Image.Exif()
        info[0x010E] = "Doe^John"
        Image.fromarray(pixels).save(folder / f"secret-{number}.png", exif=info)
    return folder


def request(images, **changes):
    made = StudyRequest(
        images=list_items([images]).items,
        encoders=(EncoderChoice("mae-histology"), EncoderChoice("dinov3-histology")),
        readers=("Anna", "Ben", "Cleo"),
        questions=load_questions(),
        anchors=AnchorGroup("anchors", anchors=((20.0, 30.0),), negative=((5.0, 5.0),)),
        options=RunOptions(device="cpu", precision="float32"),
        repeats=0.5,
    )
    return replace(made, **changes)


@pytest.fixture(scope="module", params=["rating", "pairwise", "best-worst"])
def folder(request, images, tmp_path_factory):
    out = tmp_path_factory.mktemp("studies") / request.param
    new_study(request_of(request.param, images), out)
    return out


def request_of(design, images):
    return request(images, design=design, questions=load_questions(None, design))


def test_maps_of_an_earlier_block_are_other_pictures(images, tmp_path):
    shown = {}
    for name, block in (("last", None), ("first", 0)):
        options = RunOptions(device="cpu", precision="float32", token_block=block)
        new_study(request(images, options=options, readers=("Anna",), controls=()), tmp_path / name)
        page = page_of(next((tmp_path / name / PAGES).iterdir()))
        shown[name] = {picture for trial in page["trials"] for picture in trial["maps"].values()}
    assert not shown["last"] & shown["first"]


def test_a_study_that_was_killed_while_its_pages_were_written_is_made_again(images, tmp_path):
    few = request(images, readers=("Anna",), controls=())
    half = tmp_path / "study" / f".{'0' * 32}.tmp"
    half.mkdir(parents=True)
    (half / "reader-1.html").write_text("half")
    assert "out" not in problems(few, half.parent)
    new_study(few, half.parent)
    assert {path.name for path in half.parent.iterdir()} == {half.name, ANSWERS, PAGES, "key.json"}
    assert "out" in problems(few, half.parent)
    shutil.rmtree(half.parent / PAGES)  # as killed between key and pages
    assert "out" not in problems(few, half.parent)
    (half.parent / ANSWERS / "answers.json").write_text("{}")
    assert "out" in problems(few, half.parent)


def test_a_key_of_somebody_else_is_not_replaced(images, tmp_path):
    (tmp_path / "key.json").write_text("mine")
    assert "did not write it" in problems(request(images), tmp_path)["out"]


def pictures(page):
    for image in page["images"].values():
        yield image["picture"]
    for trial in page["trials"]:
        yield from trial["maps"].values()


def test_a_page_holds_no_name_of_a_method_an_image_or_a_person(folder):
    study = Study.read(folder)
    for reader in study.readers:
        path = folder / PAGES / f"reader-{reader.code}.html"
        text = path.read_text()
        without = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
        for name in (*NAMES, str(folder), *(image.sha256 for image in study.images)):
            assert name not in without
        assert "http:" not in without.replace("http://www.w3.org/2000/svg", "")
        assert "https:" not in without
        assert "default-src 'none'" in text
        page = page_of(path)
        assert set(page) == {"study", "reader", "design", "questions", "images", "trials"}
        assert all(set(trial) == {"id", "image", "anchors", "maps"} for trial in page["trials"])


def test_pictures_carry_pixels_and_nothing_else(folder):
    for path in (folder / PAGES).iterdir():
        for address in pictures(page_of(path)):
            content = base64.b64decode(address.partition(",")[2])
            if "image/png" in address:
                assert _chunks(content) <= {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
            else:
                assert _segments(content) <= {0xD8, 0xE0, 0xDB, 0xC0, 0xC2, 0xC4, 0xDA, 0xDD}


def _chunks(content):
    at, found = 8, set()
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        found.add(content[at + 4 : at + 8])
        at += 12 + length
    return found


def _segments(content):
    at, found = 2, set()
    while content[at + 1] != 0xDA:
        found.add(content[at + 1])
        at += 2 + struct.unpack(">H", content[at + 2 : at + 4])[0]
    return found


def test_neither_letters_nor_sizes_of_a_page_tell_the_method(folder):
    study = Study.read(folder)
    for reader in study.readers:
        firsts = [trial.shown for trial in reader.trials]
        assert len(set(firsts)) > 1
        at = [order.index("mae-histology") for order in firsts if "mae-histology" in order]
        assert len(set(at)) > 1
        page = page_of(folder / PAGES / f"reader-{reader.code}.html")
        assert [trial["id"] for trial in page["trials"]] == [trial.id for trial in reader.trials]
        assert all(list(trial["maps"]) == sorted(trial["maps"]) for trial in page["trials"])


def answered(folder, *, noise=0.4, people=3):
    study = Study.read(folder)
    paths = []
    for number, reader in enumerate(study.readers[:people]):
        page = folder / PAGES / f"reader-{reader.code}.html"
        told = answer_page(page, study, LIKING, noise=noise, bias=0.3 * number - 0.3, seed=number)
        path = folder / ANSWERS / f"answers-{reader.code}.json"
        path.write_text(json.dumps(told))
        paths.append(path)
    return study, paths


def test_the_report_finds_what_simulated_readers_like(folder, tmp_path):
    study, paths = answered(folder)
    found = analyse_files(folder, paths)
    tables = {table.key: table for table in found.tables}
    rows = [row for row in tables["means"].rows if row[1] == study.questions[0].key]
    assert [row[2] for row in rows] == sorted(LIKING, key=LIKING.get, reverse=True)
    assert all(row[4].low <= row[4].value <= row[4].high for row in rows)
    first = rows[0]
    assert first[5].low > 0
    assert "mae-histology" in found.sentences[0]
    worst = next(
        row for row in tables["differences"].rows if {row[2], row[3]} == {"mae-histology", "colour-8px"}
    )
    assert abs(worst[4].value) > 0.4
    assert worst[7] is not None
    assert worst[7] < 40
    agreement = tables["agreement"].rows[0]
    assert agreement[2] == 3
    assert agreement[3] == agreement[4]  # all readers are done
    assert 0.2 < agreement[5] <= 1
    assert 0.2 < agreement[8] <= 1
    assert agreement[9] > 0
    assert 0.2 < agreement[10] <= 1
    time = tables["time"].rows[0]
    assert time[1] == time[2]
    assert 3 < time[3] < 30
    if study.design != "rating":
        strengths = [row[2] for row in tables["strengths"].rows]
        assert strengths == sorted(LIKING, key=LIKING.get, reverse=True)
    write_study_report(found, tmp_path / "report")
    report = (tmp_path / "report" / "report.html").read_text()
    assert "Krippendorff" in report
    assert json.loads((tmp_path / "report" / "report.json").read_text())["design"] == study.design
    (tmp_path / "report" / "mine.csv").write_text("mine")
    write_study_report(replace(found, tables=found.tables[:1]), tmp_path / "report")
    there = {path.name for path in (tmp_path / "report").glob("*.csv")}
    assert there == {f"{found.tables[0].key}.csv", "mine.csv"}
    (tmp_path / "mine").mkdir()
    own = tmp_path / "mine" / f"{found.tables[0].key}.csv"
    own.write_text("mine")
    with pytest.raises(ExportError, match="did not write it"):
        write_study_report(found, tmp_path / "mine")
    assert own.read_text() == "mine"


def test_readers_who_are_missing_are_named_and_the_rest_is_analysed(folder):
    _, paths = answered(folder, people=1)
    found = analyse_files(folder, paths[:1])
    assert found.sentences[-1] == "No answers yet from Ben, Cleo."
    assert {table.key for table in found.tables} >= {"means", "time"}
    means = next(table for table in found.tables if table.key == "means")
    assert "of one reader, they say nothing about others" in means.notes[0]


def test_of_two_files_of_a_reader_the_later_one_counts(folder):
    study, paths = answered(folder, people=1)
    changed = json.loads(paths[0].read_text())
    changed["seconds"] = {trial: 1 + time for trial, time in changed["seconds"].items()}
    for answer in changed["answers"]:
        answer["value"] = {"rating": 2, "pairwise": 0.5, "best-worst": -answer["value"]}[study.design]
    again = paths[0].with_name("answers (1).json")
    again.write_text(json.dumps(changed))
    first, wanted = (
        {row[4].value for row in analyse_files(folder, [path]).tables[0].rows} for path in (paths[0], again)
    )
    assert first != wanted
    for given in ([paths[0], again], [again, paths[0]]):
        found = analyse_files(folder, given)
        values = {row[4].value for row in found.tables[0].rows}
        assert values == wanted
        assert found.sentences[-1].endswith(f"same reader: {paths[0].name}.")
    again.unlink()


def answer_tiny(folder, *, images=2, readers=2, change=lambda answers: answers):
    """Answer a study of plain pictures; return what its report says, and its tables by key."""
    study = tiny_study(folder, images=images, readers=readers)
    liking = {method.name: number for number, method in enumerate(study.methods)}
    (folder / ANSWERS).mkdir(exist_ok=True)
    for number, reader in enumerate(study.readers):
        page = folder / PAGES / f"reader-{reader.code}.html"
        told = answer_page(page, study, liking, noise=0.3, bias=0.0, seed=number)
        told["answers"] = change(told["answers"]) if number == 0 else told["answers"]
        (folder / ANSWERS / f"answers-{reader.code}.json").write_text(json.dumps(told))
    found = analyse_files(folder)
    return " ".join(found.sentences), {table.key: table for table in found.tables}


def test_what_cannot_be_known_is_said(tmp_path):
    said, tables = answer_tiny(tmp_path / "few", images=4)
    assert "Of 4 images p by Wilcoxon cannot be below 0.12, so that nothing can be judged better" in said
    assert "correlations" not in tables  # there is nothing to correlate with
    said, tables = answer_tiny(
        tmp_path / "one", images=1, readers=1, change=lambda all_: [one | {"value": 3} for one in all_]
    )
    assert "Of 1 image p by Wilcoxon cannot be told" in said
    assert "Of one reader the agreement between readers cannot be told" in said
    assert "similarity, marks: all answers are 3, so that agreement beyond chance cannot be told." in said
    assert not any(math.isfinite(value) for value in tables["agreement"].rows[0][6:9])
    assert all(math.isnan(row[5]) for row in tables["differences"].rows)


def test_a_reader_who_stopped_half_way_is_said_and_counted(tmp_path):
    def half(answers):
        kept = {one["trial"] for one in answers[: len(answers) // 2]}
        return [one for one in answers if one["trial"] in kept]

    said, tables = answer_tiny(tmp_path, images=6, change=half)
    done, of = tables["time"].rows[0][1:3]
    assert f"Anna answered {done} of {of} screens" in said
    assert tables["agreement"].rows[0][4] < tables["agreement"].rows[0][3]  # by all of what was judged
    assert math.isfinite(tables["agreement"].rows[0][6])


def test_a_reader_without_an_answer_is_none(tmp_path):
    said, tables = answer_tiny(tmp_path, images=6, change=lambda _: [])
    assert "No answers yet from Anna." in said
    assert tables["agreement"].rows[0][2] == 1
    said, tables = answer_tiny(tmp_path / "nobody", readers=1, change=lambda _: [])
    assert said == "No answers yet from Anna."
    assert set(tables) == {"time"}
    assert tables["time"].rows[0][3:] == (None, None)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("design", ["rating", "pairwise", "best-worst"])
@pytest.mark.parametrize("count", range(3))
def test_a_reader_who_has_hardly_begun_is_analysed(design, count, tmp_path):
    study = tiny_study(tmp_path, design, images=1, readers=1)
    reader = study.readers[0]
    told = answer_page(
        tmp_path / PAGES / f"reader-{reader.code}.html",
        study,
        {method.name: number for number, method in enumerate(study.methods)},
        noise=0.1,
        bias=0,
        seed=0,
    )
    begun = {trial.id for trial in reader.trials[:count]}
    told["answers"] = [one for one in told["answers"] if one["trial"] in begun]
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(told))
    time = next(table for table in analyse_files(tmp_path, [path]).tables if table.key == "time")
    assert time.rows[0][1] == count


def test_what_intervals_hold_for_is_said_by_how_many_there_were():
    assert interval_note(1, 1).startswith("No intervals")
    assert "nothing about others" in interval_note(1, 9)
    assert "resampling readers;" in interval_note(3, 1)
    assert "too narrow" in interval_note(4, 9)
    assert "too narrow" not in interval_note(5, 9)


def test_an_interval_alone_is_no_finding():
    """Ratings of one reader of five images, too few for any test: the interval alone is above 0."""
    names = ("control", "better")
    values = {"control": (2, 2, 3, 3, 1), "better": (3, 4, 4, 5, 2)}
    judged = tuple(
        Judgement("Anna", at + 1, "pca", name, "q", float(values[name][at]), f"{at}", False, f"{at}")
        for at in range(5)
        for name in names
    )
    trials = tuple(Trial(f"{at}", at + 1, "pca", names) for at in range(5))
    study = Study(
        "s",
        "rating",
        (Question("q", "?"),),
        (StudyMethod("control", "colour"), StudyMethod("better")),
        tuple(StudyImage(number, f"{number}") for number in range(1, 6)),
        ("pca",),
        (Reader("Anna", "a", trials),),
    )
    means = tables_of(study, Answers(judged, {}))[0]
    assert means.rows[0][5].low > 0
    assert sentences_of(study, Answers(judged, {}))[0].startswith("pca, q: no method was judged better")


def test_answers_of_another_study_or_to_other_questions_are_refused(folder, tmp_path):
    study, paths = answered(folder)
    told = json.loads(paths[0].read_text())
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(told | {"study": "other"}))
    with pytest.raises(RecordError, match="is of another"):
        read_answers(study, [path])
    told["answers"][0]["letter"] = "Z"
    path.write_text(json.dumps(told))
    with pytest.raises(RecordError, match="was asked"):
        read_answers(study, [path])
    with pytest.raises(RecordError, match="at least one file"):
        read_answers(study, [])


def test_a_study_needs_anchors_and_an_empty_folder(images, tmp_path):
    with pytest.raises(InvalidOptionError, match="Give anchors for all images"):
        new_study(request(images, anchors=AnchorGroup("anchors")), tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "file").touch()
    with pytest.raises(ExportError, match="empty folder"):
        new_study(request(images), tmp_path / "b")


def test_every_field_that_is_wrong_is_said_before_anything_is_computed(images, tmp_path):
    (tmp_path / "file").touch()
    wrong = request(
        images,
        encoders=(),
        controls=(),
        readers=("Anna", "Anna"),
        anchors=AnchorGroup("anchors"),
        repeats=2.0,
    )
    assert list(problems(wrong, tmp_path)) == ["encoders", "readers", "repeats", "anchors", "out"]
    alone = request(images, encoders=(EncoderChoice("mae-histology"),), controls=(), maps=("none", "groups"))
    found = problems(alone, tmp_path / "study")
    assert list(found) == ["maps", "encoders"]
    assert "got none, groups" in found["maps"]
    assert "got mae-histology" in found["encoders"]
    assert not problems(request(images), tmp_path / "study")


def test_a_map_that_too_few_methods_give_is_refused_after_the_first_image(images, tmp_path):
    seen = set()
    wanted = request(
        images, encoders=(EncoderChoice("mae-histology"),), maps=("attention",), controls=("colour",)
    )
    with pytest.raises(InvalidOptionError, match="that give attention; got mae-histology"):
        new_study(wanted, tmp_path / "study", lambda done, total: seen.add((done, total)))
    assert seen == {(0, 6)}
    assert not (tmp_path / "study").exists()


def test_a_study_of_the_same_seed_is_no_other_study(images, tmp_path):
    plain = request(
        images, encoders=(EncoderChoice("mae-histology"),), controls=("colour",), readers=("Anna",)
    )
    images = plain.images
    one, same, other = (
        new_study(replace(plain, images=images[at : at + 1]), tmp_path / name)
        for name, at in (("one", 0), ("same", 0), ("other", 1))
    )
    assert one == same
    assert one.id != other.id
    assert one.readers[0].code != other.readers[0].code
    assert not set(one.trials) & set(other.trials)


def test_questions_are_read_from_a_file_and_bad_ones_refused(tmp_path):
    path = tmp_path / "questions.toml"
    path.write_text('[[question]]\nkey = "use"\ntext = "Of use?"\nscale = "visual"\n')
    (question,) = load_questions(path)
    assert (question.key, question.scale) == ("use", "visual")
    path.write_text('[[question]]\nkey = "use"\n')
    with pytest.raises(RecordError, match="text"):
        load_questions(path)
    path.write_text("nothing = 1")
    with pytest.raises(RecordError, match="question"):
        load_questions(path)


def test_new_and_report_from_the_command_line(images, tmp_path, capsys):
    out = tmp_path / "study"
    command = [
        "readers",
        "new",
        str(images),
        "-e",
        "mae-histology",
        "-e",
        "dinov3-histology",
        "--reader",
        "Anna",
    ]
    with pytest.raises(SystemExit) as end:
        main([*command, "--anchor", "20,30", "--device", "cpu", "-o", str(out), "--json"])
    assert end.value.code == 0
    assert list(json.loads(capsys.readouterr().out)["pages"]) == ["Anna"]
    answered(out, people=1)
    with pytest.raises(SystemExit) as end:
        main(["readers", "report", str(out), "--json"])
    assert end.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tables"]["means"]["rows"]
    assert (out / "report" / "report.html").exists()
