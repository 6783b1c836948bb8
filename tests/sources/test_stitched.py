"""MIRAX, VMS and BIF slides, which no public file of a few kilobytes shows: read as OpenSlide reads them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.data import immunohistochemistry
from stitched_kit import write_bif, write_mirax, write_vms

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.slide import OpenSlideSource

UM = 0.25
PIXELS = np.ascontiguousarray(immunohistochemistry()[:256, :384])
LEVELS = [PIXELS, np.ascontiguousarray(PIXELS[::2, ::2])]
FILL = (200, 210, 220)


def compared(path: Path) -> OpenSlideSource:
    """Open a slide; its levels, resolution and every pixel are what OpenSlide says of it."""
    source = open_image(path)
    assert isinstance(source, OpenSlideSource)
    with openslide.OpenSlide(path) as theirs:
        facts = theirs.properties
        named = [float(facts[f"openslide.mpp-{axis}"]) for axis in "yx"]
        assert source.spacing_um_yx == pytest.approx(named)
        corner = [int(facts.get(f"openslide.bounds-{axis}", 0)) for axis in "yx"]
        factors = theirs.level_downsamples
        assert [level.downsample_yx for level in source.levels] == [(factor, factor) for factor in factors]
        if "openslide.bounds-x" not in facts:
            assert [level.shape_yx[::-1] for level in source.levels] == list(theirs.level_dimensions)
        for number, level in enumerate(source.levels):
            height, width = level.shape_yx
            for y, x in ((0, 0), (height // 3, width // 2)):
                tall, wide = height - y - 3 * (y > 0), width - x - 5 * (x > 0)
                at = (corner[1] + round(x * factors[number]), corner[0] + round(y * factors[number]))
                expected = over(theirs.read_region(at, number, (wide, tall)), facts)
                np.testing.assert_array_equal(source.read(Region(y, x, tall, wide, number)), expected)
    return source


def over(picture: Image.Image, facts: object) -> NDArray[np.uint8]:
    """Lay what was read over the slide's background."""
    colour = facts.get("openslide.background-color", "FFFFFF")  # type: ignore[attr-defined]
    ground = Image.new("RGBA", picture.size, f"#{colour}")
    return np.asarray(Image.alpha_composite(ground, picture))[..., :3]


def test_a_mirax_slide(tmp_path: Path) -> None:
    write_mirax(tmp_path / "a.mrxs", LEVELS, UM)
    with compared(tmp_path / "a.mrxs") as source:
        assert source.spacing_um_yx == (UM, UM)
        assert [level.shape_yx for level in source.levels] == [(256, 384), (128, 192)]
        for number, level in enumerate(LEVELS):  # its photos are PNGs, so nothing is lost
            np.testing.assert_array_equal(source.read(Region(0, 0, *level.shape[:2], number)), level)


def test_of_a_mirax_slide_what_was_scanned_is_shown(tmp_path: Path) -> None:
    column = [(row, 0) for row in range(4)]
    write_mirax(tmp_path / "a.mrxs", LEVELS[:1], UM, fill_rgb=FILL, left_out=[*column, (1, 3)], kind="PNG")
    with compared(tmp_path / "a.mrxs") as source:
        assert source.levels[0].shape_yx == (256, 320)
        expected = PIXELS[:, 64:].copy()
        expected[64:128, 128:192] = FILL
        np.testing.assert_array_equal(source.read(Region(0, 0, 256, 320)), expected)


def test_a_mirax_slide_of_photos_that_overlap(tmp_path: Path) -> None:
    write_mirax(tmp_path / "a.mrxs", LEVELS, UM, overlap=4, kind="JPEG")
    with compared(tmp_path / "a.mrxs") as source:
        assert source.levels[0].shape_yx == (256 - 3 * 4, 384 - 5 * 4)


def test_a_mirax_slide_without_its_folder_or_its_suffix(tmp_path: Path) -> None:
    write_mirax(tmp_path / "a.mrxs", LEVELS, UM)
    (tmp_path / "a.mrxs").rename(tmp_path / "a.jpg")  # OpenSlide knows it by this suffix alone
    with open_image(tmp_path / "a.jpg") as picture:
        assert picture.levels[0].shape_yx == (128, 192)
    (tmp_path / "a.jpg").rename(tmp_path / "b.mrxs")
    with pytest.raises(UnsupportedImageError, match="The folder b that belongs beside it is missing"):
        open_image(tmp_path / "b.mrxs")


def test_a_vms_slide(tmp_path: Path) -> None:
    halves = [np.ascontiguousarray(PIXELS[:, :192]), np.ascontiguousarray(PIXELS[:, 192:])]
    overview = np.ascontiguousarray(PIXELS[::4, ::4])
    write_vms(tmp_path / "a.vms", halves, overview, UM)
    with compared(tmp_path / "a.vms") as source:
        assert source.spacing_um_yx == pytest.approx((UM, UM))
        assert source.levels[0].shape_yx == (256, 384)
        stored = [np.asarray(Image.open(tmp_path / f"a_{number}.jpg")) for number in range(2)]
        np.testing.assert_array_equal(source.read(Region(0, 0, 256, 384)), np.concatenate(stored, axis=1))


@pytest.mark.parametrize("overlap", [0, 4])
def test_a_bif_slide(overlap: int, tmp_path: Path) -> None:
    write_bif(tmp_path / "a.bif", LEVELS, UM, overlap=overlap)
    with compared(tmp_path / "a.bif") as source:
        assert source.spacing_um_yx == (UM, UM)
        assert source.levels[0].shape_yx == (256 - 3 * overlap, 384 - 5 * overlap)
        assert "macro" in source.notes[0]


@pytest.mark.parametrize(
    ("suffix", "wrong"),
    [(".vms", ".txt"), (".vms", ".tif"), (".bif", ".tif"), (".bif", ".jpg"), (".bif", "")],
)
def test_a_wrong_suffix_changes_nothing(suffix: str, wrong: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    writers: dict[str, Callable[[], None]] = {
        ".vms": lambda: write_vms(path, [PIXELS[:, :192], PIXELS[:, 192:]], LEVELS[1], UM),
        ".bif": lambda: write_bif(path, LEVELS, UM, overlap=4),
    }
    writers[suffix]()
    with compared(path) as source:
        expected = source.read(Region(0, 0, 100, 100))
    path = path.rename(path.with_suffix(wrong))
    with compared(path) as source:
        np.testing.assert_array_equal(source.read(Region(0, 0, 100, 100)), expected)


def test_a_stitched_slide_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    write_bif(tmp_path / "a.bif", LEVELS, UM)
    whole = (tmp_path / "a.bif").read_bytes()
    (tmp_path / "a.bif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnsupportedImageError, match=r"a\.bif"):
        open_image(tmp_path / "a.bif")
    write_vms(tmp_path / "b.vms", [PIXELS], LEVELS[1], UM)
    (tmp_path / "b_0.jpg").unlink()
    with pytest.raises(UnsupportedImageError, match=r"b\.vms"):
        open_image(tmp_path / "b.vms")
