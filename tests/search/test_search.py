"""Places over all images of a store: beside exact search, spread out, up to date, and after a stop."""

import json
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
import tifffile
from PIL import Image
from search_kit import DIM, ENCODER, STRIDE, put, put_embedding, tokens_of

from napari_sslmaps.batch.cluster import Workers
from napari_sslmaps.batch.store import Output, begin_outputs, read_tokens, write_output
from napari_sslmaps.cli import main
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.encoders.catalog import weights_path
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import (
    Cancelled,
    ExportError,
    InvalidAnchorError,
    InvalidOptionError,
    RecordError,
    UnsupportedImageError,
)
from napari_sslmaps.figures.panels import POSITIVE
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.records.anchors import AnchorSet, load_anchors, save_anchors
from napari_sslmaps.search import index as indexing
from napari_sslmaps.search import parts
from napari_sslmaps.search.images import check_as_embedded, image_file
from napari_sslmaps.search.index import (
    IndexState,
    build_index,
    index_folder,
    index_state,
)
from napari_sslmaps.search.manifest import Manifest
from napari_sslmaps.search.parts import read_part
from napari_sslmaps.search.query import Like, Place, TokenIndex, embedding_of, output_of
from napari_sslmaps.search.sheet import around, contact_sheet, write_places
from napari_sslmaps.sources.open import open_image


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "store"
    for number in range(8):
        put(folder, f"case{number}", number)
    return folder


def exact(store, vector, manifest, alive=None):
    """All tokens of all images, most alike first: (similarity, name, row, col)."""
    found = []
    for number in alive or range(8):
        tokens = tokens_of(number).astype(np.float16).astype(np.float32)
        unit = manifest.prepared(tokens.reshape(-1, DIM))
        for at, score in enumerate(unit @ vector):
            found.append((float(score), f"case{number}", *divmod(at, tokens.shape[1])))
    return sorted(found, reverse=True)


def test_places_are_those_of_exact_search(store):
    report = build_index(store)
    assert (report.added, report.kept, report.dropped, report.tokens) == (8, 0, 0, 8 * 192)
    opened = TokenIndex(store)
    recalls = []
    for y, x in ((20, 20), (50, 90), (80, 10)):
        vector = opened.vector([Like("case0", (y, x))])
        places = opened.search(vector, 50, apart=0.0, per_image=1000)
        wanted = {
            (name, 8 * row + 3.5, 8 * col + 3.5)
            for _, name, row, col in exact(store, vector, opened.manifest)[:50]
        }
        recalls.append(len(wanted & {(one.name, one.y, one.x) for one in places}) / 50)
        assert all(one.similarity <= 1.0 for one in places)
        assert [one.similarity for one in places] == sorted((one.similarity for one in places), reverse=True)
        first = places[0]
        assert (first.name, first.similarity) == ("case0", pytest.approx(1.0, abs=0.02))
    assert np.mean(recalls) >= 0.95


def test_places_are_not_crowded_in_one(store):
    build_index(store)
    opened = TokenIndex(store)
    places = opened.search(opened.vector([Like("case0", (20, 20))]), 12, apart=40.0, per_image=2)
    assert len(places) == 12
    for name in {one.name for one in places}:
        own = [one for one in places if one.name == name]
        assert len(own) <= 2
        assert all(np.hypot(a.y - b.y, a.x - b.x) >= 40 for a in own for b in own if a is not b)


@pytest.mark.parametrize(
    ("like", "rows", "cols"),
    [(Like("case0", (20, 20)), (2, 2), (2, 2)), (Like("case0", (8, 8), (40, 24)), (1, 5), (1, 3))],
)
def test_what_is_searched_for_is_not_among_what_is_found(store, like, rows, cols):
    build_index(store)
    opened = TokenIndex(store)
    vector = opened.vector([like])
    for apart in (0.0, 30.0):
        places = opened.search(vector, 300, asked=[like], per_image=1000, apart=apart)
        own = [(one.y // STRIDE, one.x // STRIDE) for one in places if one.name == "case0"]
        beyond = [
            [max(span[0] - at, 0, at - span[1]) * STRIDE for span, at in zip((rows, cols), one, strict=True)]
            for one in own
        ]
        assert min(np.hypot(*one) for one in beyond) >= max(apart, STRIDE)
    everything = opened.search(vector, 300, per_image=1000, apart=0.0)
    assert (everything[0].y // STRIDE, everything[0].x // STRIDE) not in own


def test_only_other_images_are_found_where_that_is_wanted(store):
    build_index(store)
    opened = TokenIndex(store)
    asked = [Like("case0", (20, 20)), Like("case3", (20, 20))]
    places = opened.search(
        opened.vector(asked), 2000, asked=asked, other_images=True, per_image=1000, apart=0.0
    )
    assert {one.name for one in places} == {f"case{number}" for number in (1, 2, 4, 5, 6, 7)}
    assert len(places) > 300  # though what is left out comes first


def test_all_frames_of_a_clip_are_the_image_that_is_left_out(store):
    build_index(store)
    folder = index_folder(store, ENCODER)
    manifest = Manifest.read(folder)
    images = tuple(
        replace(one, image="clip.avi", frame=at) if at < 3 else one for at, one in enumerate(manifest.images)
    )
    replace(manifest, images=images).write(folder)
    opened = TokenIndex(store)
    asked = [Like("case1", (20, 20))]
    places = opened.search(opened.vector(asked), 500, asked=asked, other_images=True)
    assert {one.name for one in places} == {f"case{number}" for number in range(3, 8)}


def test_an_image_of_the_store_is_known_by_its_path(store, monkeypatch, tmp_path):
    put(store, "masked", 30, masked=True)
    build_index(store)
    images = store.parent / "images"
    opened = TokenIndex(store, roots=[images])
    by_name = opened.vector([Like("masked", (90, 20))])
    asked = [Like(str(images / "masked.png"), (90, 20))]
    np.testing.assert_array_equal(opened.vector(asked), by_name)
    found = opened.search(by_name, 50, asked=asked, other_images=True)
    assert "masked" not in {one.name for one in found}
    with pytest.raises(InvalidOptionError, match="outside its mask"):
        opened.vector([Like(str(images / "masked.png"), (3, 3))])
    Image.new("RGB", (128, 96)).save(images / "case1.png")
    with pytest.raises(UnsupportedImageError, match="other pixels now"):
        opened.vector([Like(str(images / "case1.png"), (3, 3))])


def test_a_place_on_background_is_told_where_masks_leave_that_out(store, tmp_path):
    pixels = np.full((96, 128, 3), 244, np.uint8)
    pixels[:, :64] = np.random.default_rng(3).integers(60, 200, (96, 64, 3))
    Image.fromarray(pixels).save(tmp_path / "other.png")
    asked = [Like(str(tmp_path / "other.png"), yx) for yx in ((40, 20), (40, 100))]
    build_index(store)
    assert TokenIndex(store).doubts(asked) == ()
    put(store, "masked", 30, masked=True)
    build_index(store)
    opened = TokenIndex(store)
    (sentence,) = opened.doubts(asked)
    assert sentence.startswith("(40, 100) of other.png looks like background, which the masks of the batch")
    assert opened.doubts([Like("masked", (90, 20)), Like("nowhere.png", (0, 0))]) == ()
    rectangle = Like("layer", (0, 80), (40, 40))
    assert len(opened.doubts([rectangle], file=tmp_path / "other.png")) == 1


def test_a_place_outside_an_image_is_told_with_what_may_be_typed(store):
    build_index(store)
    opened = TokenIndex(store)
    said = r"embedded of case0, rows 0 to 95 and columns 0 to 127; got \(20, 900\)\. Give a row and a column"
    with pytest.raises(InvalidAnchorError, match=said):
        opened.vector([Like("case0", (20, 900))])
    with pytest.raises(InvalidAnchorError, match=r"got \(99, 39\)"):
        opened.vector([Like("case0", (80, 20), (20, 20))])


def test_an_index_follows_its_store(store):
    build_index(store)
    put(store, "case8", 8)
    put(store, "case1", 21, key="other")
    gone = store / ENCODER / "case2.zarr"
    gone.rename(store.parent / "gone.zarr")
    report = build_index(store)
    assert (report.added, report.kept, report.dropped) == (2, 6, 2)
    opened = TokenIndex(store)
    places = opened.search(opened.vector([Like("case8", (20, 20))]), 400, apart=0.0, per_image=1000)
    names = {one.name for one in places}
    assert "case2" not in names
    assert "case8" in names
    assert build_index(store).added == 0
    for number in (3, 4, 5):
        (store / ENCODER / f"case{number}.zarr").rename(store.parent / f"gone{number}.zarr")
    mine = index_folder(store, ENCODER) / "notes.txt"
    mine.write_text("of the user")
    report = build_index(store)
    assert (report.added, report.dropped) == (5, 0)  # made anew, with nothing to carry along
    assert mine.read_text() == "of the user"


def test_tokens_of_different_blocks_are_not_searched_together(store):
    build_index(store)
    opened = TokenIndex(store)
    put(store, "case1", 1, key="other", block="block 3")
    with pytest.raises(InvalidOptionError, match=r"as it was indexed.*napari-sslmaps index"):
        opened.vector([Like("case1", (20, 20))])
    with pytest.raises(
        InvalidOptionError, match=r"own block of weights unknown in 7; block 3 of weights unknown in 1"
    ):
        build_index(store)
    for number in range(8):
        put(store, f"case{number}", number, key="other", block="block 3")
    assert build_index(store).added == 8
    opened = TokenIndex(store)
    assert opened.search(opened.vector([Like("case1", (20, 20))]), 1)[0].name == "case1"


def test_what_was_finished_before_a_stop_is_kept(store, monkeypatch):
    monkeypatch.setattr(indexing, "_SMALLEST_PART", 300)

    def stop(done, total):
        if done == 5:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        build_index(store, on_output=stop, workers=Workers(1))
    before = Manifest.read(index_folder(store))
    assert len(before.images) == 4
    report = build_index(store, workers=Workers(1))
    assert (report.added, report.kept) == (4, 4)
    opened = TokenIndex(store)
    vector = opened.vector([Like("case7", (20, 20))])
    wanted = exact(store, vector, opened.manifest)[0]
    assert opened.search(vector, 1)[0].name == wanted[1]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_index_is_the_same_whoever_makes_it(store, monkeypatch):
    monkeypatch.setattr(indexing, "_SMALLEST_PART", 300)
    build_index(store, workers=Workers(1))
    folder, told = index_folder(store), []
    alone = contents(folder)
    assert len(alone) == 4 + 2
    rmtree(folder)
    build_index(store, on_output=lambda *done: told.append(done), workers=Workers(2))
    assert contents(folder) == alone
    assert told[-1] == (8, 8)
    assert told == sorted(told)


def test_a_part_that_was_finished_before_all_was_killed_is_taken_as_it_is(store, monkeypatch):
    monkeypatch.setattr(indexing, "_SMALLEST_PART", 300)
    build_index(store, workers=Workers(1))
    folder = index_folder(store)
    whole, manifest = contents(folder), Manifest.read(folder)
    first, second, third, _ = manifest.segments
    checks = {name: check for name, check in manifest.checks.items() if name in ("quantiser.faiss", first)}
    replace(manifest, images=manifest.images[:2], segments=(first,), checks=checks).write(folder)
    (folder / second).unlink()
    (folder / third).write_bytes(whole[third][:-9])  # half of it, as after a power failure
    (folder / "segment-00001-0123456789ab.faiss").touch()  # of a plan with other images
    made = []
    monkeypatch.setattr(parts, "read_tokens", lambda *what: made.append(what[0].stem) or read_tokens(*what))
    assert build_index(store, workers=Workers(1)).added == 6
    assert made == ["case2", "case3", "case4", "case5"]
    assert contents(folder) == whole


@pytest.mark.parametrize("lost", ["missing", "cut", "quantiser"])
def test_a_file_of_an_index_that_is_lost_is_made_again(store, monkeypatch, lost):
    monkeypatch.setattr(indexing, "_SMALLEST_PART", 300)
    build_index(store, workers=Workers(1))
    folder = index_folder(store)
    whole = contents(folder)
    second = Manifest.read(folder).segments[1]
    if lost == "cut":
        (folder / second).write_bytes(whole[second][:-9])
    else:
        (folder / (second if lost == "missing" else "quantiser.faiss")).unlink()
    made = []
    monkeypatch.setattr(parts, "read_tokens", lambda *what: made.append(what[0].stem) or read_tokens(*what))
    report = build_index(store, workers=Workers(1))
    assert (report.added, report.kept) == (8, 0)
    assert made == ([] if lost == "quantiser" else ["case2", "case3"])
    assert contents(folder) == whole


def test_an_output_that_is_written_again_while_it_is_indexed_is_told(store):
    def again(done, total):
        if done == 3:
            put(store, "case6", 6, key="later")

    with pytest.raises(InvalidOptionError, match=r"case6.zarr to stay as it is.*Run index again"):
        build_index(store, on_output=again, workers=Workers(1))
    assert build_index(store).added == 8


def test_places_are_ordered_by_the_tokens_of_the_store(store):
    build_index(store)
    opened = TokenIndex(store)
    vector = opened.vector([Like("case0", (20, 20)), Like("case3", (60, 60))])
    wanted = exact(store, vector, opened.manifest)[:20]
    places = opened.search(vector, 20, apart=0.0, per_image=1000)
    assert [one.similarity for one in places] == pytest.approx([one[0] for one in wanted], abs=1e-6)
    chunk = store / ENCODER / f"{wanted[0][1]}.zarr" / "tokens/0/c/0/0/0"
    chunk.write_bytes(b"damaged")
    places = opened.search(vector, 20, apart=0.0, per_image=1000)  # of that image as the index has them
    assert places[0].similarity == pytest.approx(wanted[0][0], abs=0.02)


def broken(output, how):
    """Break the tokens of an output, as disks, programs and edits do."""
    array = output / "tokens/0"
    chunk, about = array / "c/0/0/0", json.loads((array / "zarr.json").read_text())
    values = np.fromfile(chunk, np.float16).reshape(-1, DIM)
    if how == "missing":
        chunk.unlink()
    elif how in ("nan", "inf"):
        values[:, 5] = float(how)
        chunk.write_bytes(values.tobytes())
    else:
        width = int(how)
        about["shape"][0] = about["chunk_grid"]["configuration"]["chunk_shape"][0] = width
        (array / "zarr.json").write_text(json.dumps(about))
        chunk.write_bytes(np.ascontiguousarray(values[:, :width]).tobytes())


BREAKAGES = {
    "missing": "a chunk of its tokens is missing",
    "nan": "its tokens are not finite",
    "inf": "its tokens are not finite",
    "1": f"its tokens have 1 numbers instead of {DIM}",
    "20": f"its tokens have 20 numbers instead of {DIM}",
}


@pytest.mark.parametrize("how", BREAKAGES)
def test_an_output_whose_tokens_are_broken_is_shown_as_the_index_has_it(store, how):
    build_index(store)
    opened = TokenIndex(store)
    vector = opened.vector([Like("case0", (20, 20)), Like("case3", (60, 60))])
    wanted = opened.search(vector, 20, apart=0.0, per_image=1000)
    broken(store / ENCODER / f"{wanted[0].name}.zarr", how)
    places = opened.search(vector, 20, apart=0.0, per_image=1000)
    assert [one.similarity for one in places] == pytest.approx([one.similarity for one in wanted], abs=0.02)
    assert [one.similarity for one in places] == sorted((one.similarity for one in places), reverse=True)


@pytest.mark.parametrize("how", BREAKAGES)
@pytest.mark.parametrize("learnt", [False, True])
def test_an_output_whose_tokens_are_broken_is_not_indexed(store, how, learnt):
    if learnt:
        build_index(store)
        put(store, "case8", 8)
    name = "case8" if learnt else "case0"
    broken(store / ENCODER / f"{name}.zarr", how)
    said = rf"whole output of .*; {name}\.zarr cannot be read \({BREAKAGES[how]}\)\. Delete it and run"
    with pytest.raises(UnsupportedImageError, match=said):
        build_index(store, workers=Workers(1))


@pytest.mark.parametrize("how", ["nan", "inf", "1", "20"])
def test_a_place_whose_tokens_are_broken_is_not_searched_for(store, how):
    build_index(store)
    opened = TokenIndex(store)
    broken(store / ENCODER / "case0.zarr", how)
    with pytest.raises(InvalidOptionError, match="24 finite numbers of each token of case0"):
        opened.vector([Like("case0", (20, 20))])


def test_rectangles_several_places_and_what_results_should_be_unlike(store):
    build_index(store)
    opened = TokenIndex(store)
    whole = opened.vector([Like("case0", (0, 0), (32, 32))])
    assert whole @ opened.vector([Like("case0", (12, 12))]) > 0.9
    towards, away = Like("case0", (12, 12)), Like("case0", (12, 60))
    vector = opened.vector([towards], [away])
    assert vector @ opened.vector([towards]) > vector @ opened.vector([away])
    assert np.linalg.norm(opened.vector([towards, away])) == pytest.approx(1.0)


def test_tokens_outside_a_mask_are_not_found_and_not_searched(store):
    put(store, "masked", 30, masked=True)
    build_index(store)
    opened = TokenIndex(store)
    places = opened.search(opened.vector([Like("masked", (90, 20))]), 2000, apart=0.0, per_image=1000)
    assert min(one.y for one in places if one.name == "masked") > 4 * STRIDE
    with pytest.raises(InvalidOptionError, match="outside its mask"):
        opened.vector([Like("masked", (3, 3))])


def test_what_a_mask_leaves_out_is_not_counted_as_found(store, capsys):
    put(store, "masked", 30, masked=True)
    report = build_index(store)
    assert (report.tokens, report.masked) == (8 * 192 + 128, 64)
    state = index_state(store)
    assert (state.tokens, state.masked) == (8 * 192 + 128, 64)
    put(store, "more", 31, masked=True)
    with pytest.raises(SystemExit):
        main(["index", str(store)])
    said = capsys.readouterr()
    assert "Indexed 1 images, 9 were there, 0 are gone: 1792 tokens" in said.out
    assert "128 tokens more (7%) lie outside the masks of the batch" in said.err


def test_tokens_of_an_index_of_before_are_counted(store):
    put(store, "masked", 30, masked=True)
    build_index(store)
    folder = index_folder(store, ENCODER)
    manifest = Manifest.read(folder)
    images = tuple(replace(image, known=None) for image in manifest.images)
    replace(manifest, images=images).write(folder)
    assert index_state(store).masked == 0
    assert build_index(store).masked == 64
    assert index_state(store).masked == 64


def test_every_encoder_of_a_store_is_indexed_unless_some_are_named(store, capsys):
    put(store, "case0", 0, encoder="other")
    with pytest.raises(SystemExit) as end:
        main(["index", str(store), "--json"])
    assert end.value.code == 0
    made = json.loads(capsys.readouterr().out)["indexes"]
    assert [(one["encoder"], one["added"]) for one in made] == [(ENCODER, 8), ("other", 1)]
    with pytest.raises(SystemExit):
        main(["index", str(store), "-e", "other", "--json"])
    made = json.loads(capsys.readouterr().out)["indexes"]
    assert [(one["encoder"], one["kept"]) for one in made] == [("other", 1)]
    with pytest.raises(InvalidOptionError, match=rf"whose tokens are in .*, {ENCODER}, other; got none\."):
        TokenIndex(store)


def test_what_cannot_be_asked_is_refused(store, tmp_path):
    with pytest.raises(InvalidOptionError, match="napari-sslmaps index"):
        TokenIndex(store)
    build_index(store)
    opened = TokenIndex(store)
    with pytest.raises(InvalidOptionError, match="such as case0"):
        opened.vector([Like("nothing", (0, 0))])
    with pytest.raises(InvalidAnchorError):
        opened.vector([Like("case0", (999, 0))])
    with pytest.raises(InvalidOptionError, match="image@y,x"):
        Like.parse("case0")
    with pytest.raises(InvalidOptionError, match=r"batch wrote; there is no folder .*empty\. Check its path"):
        build_index(tmp_path / "empty")
    assert Like.parse("a@b.png@3,4,5,6") == Like("a@b.png", (3.0, 4.0), (5.0, 6.0))


def test_index_and_search_from_the_command_line(store, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["index", str(store), "--json"])
    assert end.value.code == 0
    assert json.loads(capsys.readouterr().out)["indexes"][0]["added"] == 8
    out = tmp_path / "found"
    arguments = ["search", str(store), "--like", "case0@20,20", "--count", "10", "-o", str(out), "--json"]
    arguments += ["--images", str(store.parent / "images")]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    places = json.loads(capsys.readouterr().out)["places"]
    assert len(places) == 10
    assert json.loads((out / "places.json").read_text())["places"] == places
    assert Path(out / "places.csv").read_text().count("\n") == 11
    mine = out.with_name("mine")
    mine.mkdir()
    (mine / "places.csv").write_text("mine")
    with pytest.raises(ExportError, match="did not write it"):
        write_places([], mine, {})
    assert (mine / "places.csv").read_text() == "mine"
    sheet = np.asarray(Image.open(out / "places.png").convert("RGB")).astype(int)
    assert (np.ptp(sheet, axis=2) > 40).mean() > 0.1  # coloured noise, not words on white
    first = places[0]["image"]
    drawn = contact_sheet([Place(**one) for one in places], {first: store.parent / "images" / first})
    marks = [line for axes in drawn.axes for line in axes.lines]
    of_first = [(one["x"], one["y"]) for one in places if one["image"] == first]
    assert [(*line.get_xdata(), *line.get_ydata()) for line in marks] == of_first
    assert {(line.get_marker(), line.get_color()) for line in marks} == {("x", POSITIVE)}
    with pytest.raises(SystemExit):
        main(["search", str(store), "--like", "case0@20,20", "-o", str(tmp_path / "bare")])
    assert "--images FOLDER" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "bare" / "places.png").exists()
    with pytest.raises(SystemExit):
        main(["search", str(store), "--like", "case0@20,20", "-o", str(out)])
    assert not (out / "places.png").exists()  # of places that were found before


def test_an_image_that_is_another_now_is_not_drawn(store, tmp_path, capsys):
    build_index(store)
    changed = store.parent / "images" / "case0.png"
    Image.fromarray(np.asarray(Image.open(changed))[::-1]).save(changed)
    arguments = ["search", str(store), "--like", "case0@20,20", "--images", str(changed.parent)]
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--per-image", "1", "--count", "8", "-o", str(tmp_path / "out")])
    assert end.value.code == 0
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("has other pixels now") == 1
    assert "Expected case0 as the batch embedded it" in said
    place = TokenIndex(store).search(TokenIndex(store).vector([Like("case0", (20, 20))]), 1)[0]
    output = output_of(place, store, "")
    with pytest.raises(UnsupportedImageError, match="run the batch and the index again"):
        check_as_embedded("case0", changed, output)
    Image.new("L", (20, 20)).save(changed)
    with pytest.raises(UnsupportedImageError, match="has other pixels now"):
        check_as_embedded("case0", changed, output)
    check_as_embedded("case0", changed, None)


@pytest.mark.parametrize("tile", [None, 64], ids=str)
def test_an_image_is_known_again_by_what_embed_saw_of_it(tile, tmp_path):
    pixels = np.random.default_rng(5).integers(0, 255, (96, 128, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    seen = embed(str(tmp_path / "a.png"), "mae-demo", tiling=Tiling(tile))
    row = {"name": "a", "image": "a.png"}
    begin_outputs(tmp_path / "store" / ".unfinished")
    output = tmp_path / "store" / "mae-demo" / "a.zarr"
    write_output(output, Output(seen, {}, None, "float16", "k", row), tmp_path / "store" / ".unfinished")
    check_as_embedded("a", tmp_path / "a.png", output)
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(UnsupportedImageError, match="Expected a as the batch embedded it"):
        check_as_embedded("a", tmp_path / "a.png", output)


def test_what_a_store_holds_is_told_without_opening_its_index(store):
    assert index_state(store) == IndexState(ENCODER, (ENCODER,), (), 0, 0, 8)
    build_index(store)
    put(store, "case8", 8)
    (store / ENCODER / "case0.zarr").rename(store.parent / "gone.zarr")
    assert index_state(store) == IndexState(ENCODER, (ENCODER,), (ENCODER,), 7, 7 * 192, 1)
    put(store, "other", 9, encoder="another")
    assert index_state(store).encoders == ("another", ENCODER)
    assert index_state(store).waiting == 1
    assert index_state(store).encoder == ENCODER  # not the first by name, which no index is of
    assert index_state(store, "another").indexed == (ENCODER,)
    with pytest.raises(InvalidOptionError, match="batch wrote"):
        index_state(store.parent / "nowhere")


def test_an_image_without_tokens_is_damage_and_a_part_without_any_holds_nothing(store):
    build_index(store)
    folder = index_folder(store)
    told = json.loads((folder / "manifest.json").read_text())
    told["images"][-1]["grid"]["cols"] = 0
    (folder / "manifest.json").write_text(json.dumps(told))
    with pytest.raises(RecordError, match="no rows or no columns"):
        TokenIndex(store)
    told["images"][-1]["grid"]["cols"] = 16
    told["checks"] = {}  # as of before: files are taken as they are
    (folder / "manifest.json").write_text(json.dumps(told))
    (folder / told["segments"][0]).write_bytes((folder / "quantiser.faiss").read_bytes())
    opened = TokenIndex(store)
    assert opened.search(opened.vector([Like("case0", (20, 20))]), 3) == ()


def test_a_part_that_is_not_what_was_written_is_not_opened(store):
    build_index(store)
    folder = index_folder(store)
    manifest = Manifest.read(folder)
    for name, check in manifest.checks.items():
        path, whole = folder / name, (folder / name).read_bytes()
        assert check.size == len(whole)
        assert 0 < check.head <= len(whole)
        for changed in (whole[:-1], bytes([*whole[:40], whole[40] ^ 255]) + whole[41:]):
            path.write_bytes(changed)
            with pytest.raises(RecordError, match=r"damaged \(it is not what was written\)"):
                read_part(path, manifest)
        path.write_bytes(whole)
        assert read_part(path, manifest).d == len(manifest.mean)
    # what follows the head is as long for each token
    segment = next(name for name in manifest.checks if name.startswith("segment"))
    tokens = read_part(folder / segment, manifest).ntotal
    assert (manifest.checks[segment].size - manifest.checks[segment].head) % tokens == 0


def test_a_head_longer_than_its_file_asks_for_no_memory(store):
    build_index(store)
    folder = index_folder(store)
    manifest = Manifest.read(folder)
    (segment,) = manifest.segments
    check = replace(manifest.checks[segment], head=2**60)
    with pytest.raises(RecordError, match="not what was written"):
        read_part(folder / segment, replace(manifest, checks={segment: check}))


def test_a_token_that_the_index_does_not_have_is_damage(store):
    build_index(store)
    folder = index_folder(store)
    manifest = Manifest.read(folder)
    (segment,) = manifest.segments
    whole = bytearray((folder / segment).read_bytes())
    whole[manifest.checks[segment].head :] = b"\x7f" * (len(whole) - manifest.checks[segment].head)
    (folder / segment).write_bytes(whole)
    opened = TokenIndex(store)
    with pytest.raises(RecordError, match="names token"):
        opened.search(opened.vector([Like("case0", (20, 20))]), 3)


def test_a_stop_is_heard_while_the_sample_is_read(store):
    def stop(done, total):
        raise Cancelled(f"{done} of {total}")

    with pytest.raises(Cancelled, match="0 of 8"):
        build_index(store, on_output=stop)
    assert Manifest.read(index_folder(store)) is None


def test_tokens_that_are_known_are_searched_for_if_they_are_of_the_same_weights(store):
    build_index(store)
    opened = TokenIndex(store)
    known = opened.stored(f"{ENCODER}/case3.zarr")
    place = Like("mine", (20, 20))
    vector = opened.vector([place], known={"mine": known})
    np.testing.assert_array_equal(vector, opened.vector([Like("case3", (20, 20))]))
    for change in ({"encoder": "other"}, {"weights_sha256": "0" * 64}, {"token_norm": False}):
        stranger = replace(known, provenance=replace(known.provenance, **change))
        with pytest.raises(InvalidOptionError, match=f"of mine by {ENCODER} with the store's weights"):
            opened.vector([place], known={"mine": stranger})


def test_images_and_outputs_find_each_other(store, tmp_path):
    build_index(store)
    opened, images = TokenIndex(store), store.parent / "images"
    assert opened.output_of(images / "case4.png", [images]) == f"{ENCODER}/case4.zarr"
    assert opened.output_of(images / "case4.png", [images], frame=1) == ""
    assert opened.output_of(images / "case4.png", [tmp_path / "nowhere"]) == ""
    elsewhere = tmp_path / "case4.png"
    elsewhere.write_bytes(b"another image of that name")
    assert opened.output_of(elsewhere, [images]) == ""
    place = opened.search(opened.vector([Like("case4", (20, 20))]), 1)[0]
    assert image_file(place.name, place.image, [tmp_path / "nowhere", images]) == images / "case4.png"
    moved = replace(place, image="../there/case4.png")
    assert image_file(moved.name, moved.image, [images]) == images / "case4.png"
    np.testing.assert_array_equal(
        embedding_of(place, store, ENCODER).tokens, opened.stored(f"{ENCODER}/{place.name}.zarr").tokens
    )
    with pytest.raises(InvalidOptionError, match="Search again"):
        embedding_of(replace(place, name="lost"), store, ENCODER)


@pytest.mark.parametrize(
    ("name", "image", "found"),
    [
        ("a/x.png", "../there/a/x.png", "a/x.png"),
        ("b/x.png", "../there/b/x.png", None),
        ("x.png/frame-0007", "../there/x.png", "x.png"),
        ("a/x.png/frame-0007", "../there/a/x.png", "a/x.png"),
        ("case 7", "../there/x.png", "x.png"),
    ],
)
def test_an_image_of_the_same_name_in_another_folder_is_not_taken(name, image, found, tmp_path):
    (tmp_path / "a").mkdir()
    for there in ("x.png", "a/x.png"):
        (tmp_path / there).touch()
    place = Place(name, image, 4.0, 4.0, 1.0, (8.0, 8.0))
    assert image_file(place.name, place.image, [tmp_path]) == (found and tmp_path / found)


def test_what_is_around_a_place_is_of_the_level_that_was_embedded(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (256, 320), np.uint8)
    fine, coarse = tmp_path / "fine.png", tmp_path / "pyramid.tif"
    Image.fromarray(pixels).save(fine)
    with tifffile.TiffWriter(coarse) as file:
        file.write(pixels, subifds=1, tile=(64, 64))
        file.write(pixels[::2, ::2], subfiletype=1, tile=(64, 64))
    place = Place("a", "a", 100.0, 40.0, 1.0, (8.0, 8.0))
    for path, level, shape in ((fine, 0, (96, 88)), (coarse, 1, (48, 44))):
        with open_image(path) as source:
            unit, extent = around(replace(place, level=level), source)
        assert unit.shape == shape
        assert (extent.y, extent.x, extent.height, extent.width) == (52, 0, 96, 88)
        assert 0 <= unit.min() < 0.05
        assert 0.95 < unit.max() <= 1


def test_an_image_that_the_store_has_not_is_embedded_as_those_that_it_has(tmp_path):
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(weights_path("mae-demo").read_bytes())
    pixels = np.random.default_rng(5).integers(0, 255, (64, 64, 3), np.uint8)
    there, other = tmp_path / "there.png", tmp_path / "other.png"
    for path in (there, other):
        Image.fromarray(pixels).save(path)
    embedding = embed(there, load_encoder(weights, device="cpu"), stride=4, tiling=Tiling(6, 2, "blend"))
    put_embedding(tmp_path / "store", there, embedding)
    build_index(tmp_path / "store")
    like = Like(str(other), (21, 26))
    with pytest.raises(InvalidOptionError, match=r"weights of mine.*Name their file with --weights"):
        TokenIndex(tmp_path / "store").vector([like])
    opened = TokenIndex(tmp_path / "store", weights=weights)
    np.testing.assert_allclose(opened.vector([like]), opened.vector([Like("there", (21, 26))]), atol=2e-3)
    with pytest.raises(InvalidOptionError, match=r"tokens of .* by mine with the store's weights"):
        TokenIndex(tmp_path / "store", weights=weights_path("dinov3-demo")).vector([like])


def test_a_set_of_anchors_is_searched_for(store, tmp_path):
    build_index(store)
    group = AnchorGroup("gland", anchors=[(20, 20), (70, 90)], negative=[(5, 100)])
    file = save_anchors(AnchorSet((AnchorGroup("none"), group), image="case2.png"), tmp_path / "set.json")
    opened = TokenIndex(store)
    with pytest.raises(InvalidOptionError, match=r"0 images called 'case2.png'"):
        opened.likes_of(load_anchors(file))
    like, unlike = opened.likes_of(AnchorSet((AnchorGroup("none"), group), image="case2"))
    assert like == [Like("case2", (20, 20)), Like("case2", (70, 90))]
    assert unlike == [Like("case2", (5, 100))]
    with pytest.raises(InvalidOptionError, match="no anchor"):
        opened.likes_of(AnchorSet((AnchorGroup("none"),), image="case2"))
