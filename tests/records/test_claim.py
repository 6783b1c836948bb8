"""What is anybody else's is never replaced, and that is said before anything is computed."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from napari_sslmaps.errors import ExportError
from napari_sslmaps.figures.pixels import save_pixels
from napari_sslmaps.figures.run_figure import save_figure
from napari_sslmaps.records.anonymous import Key, numbered
from napari_sslmaps.records.claim import check_claim, check_file
from napari_sslmaps.records.json import write_object
from napari_sslmaps.sources.open import find_images

_NAMES = ("run.json", "figure.png", "images.csv")


@pytest.mark.parametrize("name", _NAMES)
def test_a_stranger_s_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ExportError, match=f"{name}; it is there already, and napari-sslmaps did not write"):
        check_claim(tmp_path, _NAMES, record="run.json")
    with pytest.raises(ExportError, match="did not write it"):
        check_file(tmp_path / name)


def test_what_this_package_wrote_may_be_written_anew(tmp_path: Path) -> None:
    save_figure(Figure(), tmp_path / "figure.png")
    check_claim(tmp_path, _NAMES, record="run.json")
    check_file(tmp_path / "figure.png")
    write_object(tmp_path / "run.json", {"format": "napari-sslmaps/run"})
    (tmp_path / "images.csv").write_text("Image,Map")
    check_claim(tmp_path, _NAMES, record="run.json")


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg", "tif", "jpg"])
def test_a_figure_of_any_kind_may_be_drawn_anew(suffix: str, tmp_path: Path) -> None:
    save_figure(Figure(), tmp_path / f"figure.{suffix}")
    check_file(tmp_path / f"figure.{suffix}")


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "tif", "tiff", "webp"])
def test_a_picture_of_the_canvas_may_be_taken_anew(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"figure.{suffix}"
    pixels = np.full((200, 300, 3), (200, 30, 90), np.uint8)
    save_pixels(pixels, path)
    check_file(path)
    assert list(find_images(tmp_path)) == []
    with Image.open(path) as image:
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - pixels).max() < 9


def test_a_picture_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"ending in png, jpg.*got a\.gif"):
        save_pixels(np.zeros((2, 2, 3), np.uint8), tmp_path / "a.gif")


def test_the_record_of_another_command_is_not_replaced(tmp_path: Path) -> None:
    of_comparisons = b'"evaluation"'
    write_object(tmp_path / "run.json", {"format": "napari-sslmaps/run"})
    check_claim(tmp_path, (), record="run.json", lacking=of_comparisons)
    with pytest.raises(ExportError, match=r"run\.json is the record of such"):
        check_claim(tmp_path, (), record="run.json", holding=of_comparisons)
    write_object(tmp_path / "run.json", {"format": "napari-sslmaps/run", "evaluation": {}})
    check_claim(tmp_path, (), record="run.json", holding=of_comparisons)
    with pytest.raises(ExportError, match="would be lost"):
        check_claim(tmp_path, (), record="run.json", lacking=of_comparisons)


def test_a_link_to_nowhere_and_a_folder_are_nobody_s_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    (tmp_path / "folder").mkdir()
    for name in ("link", "folder"):
        with pytest.raises(ExportError, match="did not write it"):
            check_file(tmp_path / name)
    check_file(tmp_path / "new")


def test_a_figure_needs_a_folder_that_can_be_written_to(tmp_path: Path) -> None:
    """Said before anything is computed."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ExportError, match="is not one"):
        check_file(tmp_path / "file" / "figure.png")
    check_file(tmp_path / "new" / "figure.png")


def test_results_need_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ExportError, match="Expected a folder to write to"):
            check_claim(place, _NAMES)
    check_claim(tmp_path / "new" / "folder", _NAMES)


def test_a_key_keeps_its_numbers_and_takes_no_stranger_s_place(tmp_path: Path) -> None:
    key = Key.of(tmp_path / "out")
    assert [key.name("image", path) for path in ("/a/smith.PNG", "/b/x.ome.tif")] == [
        "image-1.png",
        "image-2.ome.tif",
    ]
    key.write()
    assert key.path.stat().st_mode & 0o077 == 0
    again = Key.of(tmp_path / "out")
    assert again.name("image", "/b/x.ome.tif") == "image-2.ome.tif"
    assert again.name("image", "/b/x.ome.tif", besides=["image-2.ome.tif"]) == "image-3.ome.tif"
    assert again.name("mask", "/b/x.ome.tif", number=2) == "mask-2.ome.tif"
    assert Key.of(tmp_path / "out", anew=True).files == {}
    for mine in ("{}x", json.dumps({"name": "Smith"}), "[1]"):
        key.path.write_text(mine)
        with pytest.raises(ExportError, match="did not write it"):
            Key.of(tmp_path / "out")
        assert key.path.read_text() == mine


@pytest.mark.parametrize("path", ["/x/SMITH.JOHN.1961", "/x/scan.smith"])
def test_the_end_of_a_name_is_kept_only_where_it_names_a_format(path: str) -> None:
    assert numbered("image", 1, path) == "image-1"
