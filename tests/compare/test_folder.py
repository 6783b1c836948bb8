"""Scores that are kept: gone on with, to the last digit, and only where nothing has changed."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from comparison_kit import EXACT, request_in
from PIL import Image

from napari_sslmaps.compare.compute import compare
from napari_sslmaps.compare.progress import ComparisonProgress
from napari_sslmaps.compare.record import comparison_from_record, files_of, numbers_sha256, record_of
from napari_sslmaps.compare.request import ComparisonOptions, MaskFile
from napari_sslmaps.compare.results import Comparison
from napari_sslmaps.compare.saved import in_files
from napari_sslmaps.compare.scoring import ImageEmbeddings
from napari_sslmaps.compare.store import ComparisonFolder, file_name, from_plain, to_plain
from napari_sslmaps.compare.tables import tables_of
from napari_sslmaps.compare.write import ImageWriter, image_figure, write_comparison
from napari_sslmaps.core.region import Region
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import Cancelled, ExportError, RecordError
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.files import hash_path
from napari_sslmaps.records.csv import csv_text
from napari_sslmaps.records.run import RunRecord
from napari_sslmaps.run.write import request_from_record
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.masks import read_mask
from napari_sslmaps.sources.open import open_image


def kept_of(request: object, folder: Path) -> int:
    seen: list[ComparisonProgress] = []
    comparison = compare(request, seen.append, folder=folder)
    return len(comparison.images) - sum(
        state.doing == "scoring" and state.method == "mae-tiny" for state in seen
    )


def told(comparison: Comparison) -> list[str]:
    return [csv_text(table) for table in tables_of(comparison)]


def test_scores_survive_storage_to_the_last_digit(tmp_path: Path) -> None:
    options = ComparisonOptions(EXACT, anchor_count=8, perturbations=("gain",))
    request = replace(
        request_in(tmp_path, scores=("maps", "anchors", "agreement", "robustness")), options=options
    )
    [scored] = compare(request).images
    plain = json.loads(json.dumps(to_plain(scored), allow_nan=False))
    again = from_plain(plain)
    assert json.loads(json.dumps(to_plain(again))) == plain
    assert (again.maps, again.agreement, again.record) == (scored.maps, scored.agreement, scored.record)
    np.testing.assert_array_equal(again.anchor_yx, scored.anchor_yx)
    assert numbers_sha256([again]) == numbers_sha256([scored])


def test_a_stopped_comparison_is_gone_on_with(tmp_path: Path) -> None:
    request = request_in(tmp_path, 3)

    def stop(state: ComparisonProgress) -> None:
        if state.image == "2.png":
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        compare(request, stop, folder=tmp_path / "out")
    assert kept_of(request, tmp_path / "out") == 2
    assert kept_of(request, tmp_path / "out") == 3
    whole, resumed = compare(request), compare(request, folder=tmp_path / "out")
    assert numbers_sha256(whole.images) == numbers_sha256(resumed.images)
    assert told(whole) == told(resumed)


def test_what_has_changed_is_made_anew(tmp_path: Path) -> None:
    request = request_in(tmp_path, 2)
    out = tmp_path / "out"
    assert kept_of(request, out) == 0
    mask = np.asarray(Image.open(tmp_path / "masks" / "0.png")).copy()
    mask[:8] = 0
    Image.fromarray(mask).save(tmp_path / "masks" / "0.png")
    assert kept_of(request, out) == 1
    first, second = request.images
    moved = replace(request, images=(first, replace(second, region=Region(0, 0, 48, 64))))
    assert kept_of(moved, out) == 1
    assert kept_of(replace(moved, scores=("maps",)), out) == 0
    assert kept_of(replace(moved, scores=("maps",), encoders=request.encoders[:1]), out) == 0
    (out / "images" / "0.png" / "scores.json").write_text("{broken", encoding="utf-8")
    assert kept_of(replace(moved, scores=("maps",), encoders=request.encoders[:1]), out) == 1


def test_findings_over_all_images_are_the_same_from_kept_tokens(tmp_path: Path) -> None:
    request = request_in(tmp_path, 3, controls=(), scores=("probes", "label-efficiency"))
    first = compare(request, folder=tmp_path / "out")
    second = compare(request, folder=tmp_path / "out")
    assert told(first) == told(second) == told(compare(request))


def test_a_written_comparison_is_a_folder_that_tells_all(tmp_path: Path) -> None:
    request = request_in(tmp_path, 2)
    out = tmp_path / "out"
    comparison = compare(request, folder=out, on_image=ImageWriter(out, 1))
    write_comparison(comparison, out)
    assert {path.name for path in out.glob("*.*")} == {
        *(
            f"{key}.csv"
            for key in ("anchors", "differences", "maps", "classes", "agreement", "images", "advice")
        ),
        *("report.html", "run.json"),
    }
    assert (out / "images" / "0.png" / "figure.png").exists()
    assert not (out / "images" / "1.png" / "figure.png").exists()
    assert {path.name for path in (out / "images" / "0.png" / "dira-tiny").iterdir()} == {
        "activation.tif",
        "pca.tif",
        "similarity.tif",
    }
    page = (out / "report.html").read_text(encoding="utf-8")
    for words in ("mae-tiny", "Similarity to anchors", "Evidence", "evaluate --from", "data:image/png"):
        assert words in page


def test_without_anchors_a_figure_shows_similarity_to_the_midst_of_a_class(tmp_path: Path) -> None:
    request = request_in(tmp_path, 1)
    request = replace(request, images=tuple(replace(image, anchors=()) for image in request.images))
    out = tmp_path / "out"
    comparison = compare(request, folder=out, on_image=ImageWriter(out, 1))
    assert {row.map for row in comparison.images[0].maps}.isdisjoint({"similarity"})
    folder = out / "images" / "0.png" / "mae-tiny"
    assert "similarity.tif" in {path.name for path in folder.iterdir()}
    with open_image(out / "images" / "0.png" / "figure.png") as figure:
        pixels = figure.read(Region(0, 0, *figure.levels[0].shape_yx))
    outline = np.abs(pixels[..., :3].astype(int) - [0xF2, 0x54, 0x5B]).max(axis=-1) < 8
    assert outline.sum() > 50
    write_comparison(comparison, out)
    assert "midst of the first annotated class" in (out / "report.html").read_text(encoding="utf-8")


def test_an_untrained_twin_is_a_control_in_the_figure(tmp_path: Path) -> None:
    titles: dict[str, str] = {}

    def draw(embedded: ImageEmbeddings, _: object) -> None:
        words = [text.get_text().replace("\n", "") for text in image_figure(embedded).texts]
        titles.update({name: words[words.index(name) - 1] for name in embedded.embeddings})

    compare(request_in(tmp_path, 1, controls=("untrained",)), on_image=draw)
    assert list(titles.values()) == ["MAE", "DiRA", "Control", "Control"]


def test_a_record_makes_the_same_scores_again(tmp_path: Path) -> None:
    request = request_in(tmp_path, 2)
    comparison = compare(request)
    write_comparison(comparison, tmp_path / "out")
    record = RunRecord.read(tmp_path / "out" / "run.json")
    again = compare(comparison_from_record(record, tmp_path / "out"))
    assert numbers_sha256(again.images) == record.evaluation["numbers_sha256"]
    record_of(again, files_of(record)).write(tmp_path / "again" / "run.json")
    assert RunRecord.read(tmp_path / "again" / "run.json") == record
    run = request_from_record(record, tmp_path / "out")
    assert (run.image, run.anchors) == (request.images[0].image, request.images[0].anchors)


def test_a_record_of_other_files_is_refused(tmp_path: Path) -> None:
    request = request_in(tmp_path)
    write_comparison(compare(request), tmp_path / "out")
    record = RunRecord.read(tmp_path / "out" / "run.json")
    with pytest.raises(RecordError, match="of a run"):
        comparison_from_record(replace(record, evaluation=None), tmp_path / "out")
    with pytest.raises(RecordError, match="fields fit; images is missing"):
        comparison_from_record(replace(record, evaluation={}), tmp_path / "out")
    for part, what in (("masks", r"mask of 0\.png"), ("images", r"image 0\.png")):
        path = tmp_path / part / "0.png"
        before = path.read_bytes()
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(path)
        with pytest.raises(RecordError, match=f"{what} of this record"):
            comparison_from_record(record, tmp_path / "out")
        path.write_bytes(before)
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(RecordError, match="there is nothing"):
        comparison_from_record(record, tmp_path / "out")
    elsewhere = tmp_path / "elsewhere"
    again = comparison_from_record(record, tmp_path / "out", elsewhere)
    assert again.images[0].image == str(elsewhere / "0.png")


def test_what_is_in_memory_is_saved_beside_its_record(tmp_path: Path) -> None:
    request = request_in(tmp_path)
    asked = request.images[0]
    with open_image(asked.image) as opened:
        pixels = opened.read(Region(0, 0, 64, 64))
    annotation = Annotation.from_labels(
        read_mask(asked.annotation.path), (64, 64), names=asked.annotation.classes, ignore=0
    )
    source = ArraySource(pixels, "layer", (0.5, 0.25))
    comparison = compare(replace(request, images=(replace(asked, image=source, annotation=annotation),)))
    record = write_comparison(comparison, tmp_path / "out")
    request_again = comparison_from_record(record, tmp_path / "out")
    assert isinstance(request_again.images[0].annotation, MaskFile)
    again = compare(request_again)
    assert numbers_sha256(again.images) == numbers_sha256(comparison.images)
    assert again.images[0].record.spacing_um_yx == (0.5, 0.25)
    far = replace(comparison.request.images[0], region=Region(0, 0, 8, 8, level=1))
    with pytest.raises(ExportError, match="Save it as a file"):
        in_files(replace(comparison, request=replace(comparison.request, images=(far,))), tmp_path / "other")


def test_a_kept_comparison_needs_no_network_to_run(tmp_path: Path) -> None:
    request = request_in(tmp_path, controls=())
    loaded = {
        choice.name: load_encoder(choice.name, device="cpu", precision="float32")
        for choice in request.encoders
    }
    seen: list[str] = []
    compare(request, folder=tmp_path / "out", encoders=loaded)
    compare(request, lambda state: seen.append(state.method), folder=tmp_path / "out", encoders=loaded)
    assert set(seen) == {""}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/b.png", "a/b.png"),
        ("../../x", "x"),
        ("/etc/x", "etc/x"),
        ('Image [1]: "?"', "Image [1]_ ___"),
        ("..", "image"),
    ],
)
def test_a_layer_may_be_called_anything(name: str, path: str) -> None:
    assert file_name(name) == path


def test_tables_and_plots_of_an_earlier_comparison_do_not_stay_beside_those_of_a_later_one(
    tmp_path: Path,
) -> None:
    out, options = tmp_path / "out", ComparisonOptions(EXACT, anchor_count=8, perturbations=("gain",))
    wide = request_in(tmp_path, 2, scores=("maps", "anchors", "probes", "robustness"), controls=("position",))
    wide, narrow = (replace(wide, options=options), replace(wide, encoders=wide.encoders[:1]))
    narrow = replace(narrow, scores=("maps",), controls=(), images=narrow.images[:1])
    for request, figures in ((wide, 2), (narrow, 0)):
        write_comparison(compare(request, folder=out, on_image=ImageWriter(out, figures)), out)
        if request is wide:
            (out / "mine.csv").write_bytes((out / "anchors.csv").read_bytes())
            (out / "differences.csv").write_text("edited")
            assert list(out.glob("robustness*.png"))
            assert (out / "images" / "0.png" / "mae-tiny" / "tokens.npz").exists()
    kept = {path.relative_to(out).as_posix() for path in out.rglob("*.*") if path.is_file()}
    assert {name for name in kept if not name.startswith("images/1.png/")} == {
        *("run.json", "report.html", "mine.csv", "differences.csv", "images/0.png/scores.json"),
        *("maps.csv", "classes.csv", "images.csv", "advice.csv"),
    }
    assert "images/1.png/figure.png" in kept  # finished, and found again when it is compared again


def test_what_an_edited_record_lists_is_not_removed(tmp_path: Path) -> None:
    request, out = request_in(tmp_path, scores=("maps",)), tmp_path / "out"
    write_comparison(compare(request), out)
    mine = tmp_path / "mine.csv"
    mine.write_text("mine")
    record = json.loads((out / "run.json").read_text())
    record["evaluation"]["files"] = {"../mine.csv": hash_path(mine), "*": hash_path(mine), "/": "0"}
    (out / "run.json").write_text(json.dumps(record))
    write_comparison(compare(request), out)
    assert mine.read_text() == "mine"
    assert (out / "maps.csv").exists()


def test_kept_tokens_of_unclosed_brackets_are_refused(tmp_path: Path) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {'(' * 5000}}}\n".encode("latin1")
    place = tmp_path / "images" / "a.png" / "mae" / "tokens.npz"
    place.parent.mkdir(parents=True)
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("about.npy", b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(RecordError, match="damaged"):
        ComparisonFolder(tmp_path).load_tokens("a.png", "mae")
