"""Scanners' formats, recognised by content and read as OpenSlide reads them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
from ndpi_kit import write_ndpi
from numpy.typing import NDArray
from PIL import Image, ImageCms
from scanner_kit import JPEG, write_philips, write_scn
from skimage.data import immunohistochemistry

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Provenance
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.icc import to_srgb
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.slide import OpenSlideSource
from napari_sslmaps.sources.tiff import TiffSource

SLIDE = np.ascontiguousarray(immunohistochemistry()[:256, :384])
LEVELS = [SLIDE, np.ascontiguousarray(SLIDE[::2, ::2])]
MACRO = np.ascontiguousarray(immunohistochemistry()[::8, ::8])


def whole(path: Path, level: int = 0, **options: Any) -> NDArray[Any]:
    with open_image(path, **options) as source:
        return source.read(Region(0, 0, *source.levels[level].shape_yx, level))


@pytest.mark.parametrize("name", ["slide.scn", "slide.tif"])
def test_of_an_scn_the_slide_is_shown_not_the_macro_photo(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write_scn(path, MACRO, LEVELS, um=0.5)
    with open_image(path) as source:
        assert [level.shape_yx for level in source.levels] == [(256, 384), (128, 192)]
        assert source.spacing_um_yx == (0.5, 0.5)
        assert source.notes == (f"{name} holds more pictures, to be chosen by series: macro.",)
        cut = source.read(Region(30, 40, 50, 60, 1))
    for level in (0, 1):
        stored = tifffile.imread(path, series=1, level=level)
        np.testing.assert_array_equal(whole(path, level), stored)
    np.testing.assert_array_equal(cut, stored[30:80, 40:100])
    with openslide.OpenSlide(path) as theirs:
        expected = np.asarray(theirs.associated_images["macro"])[..., :3]
    np.testing.assert_array_equal(whole(path, series="macro"), expected)
    with pytest.raises(UnsupportedImageError, match=r"Expected one of macro as series of .* got 'label'"):
        open_image(path, series="label")


def test_an_scn_that_openslide_refuses_says_how_fine_it_is(tmp_path: Path) -> None:
    """A fluorescence slide: its size on the glass, in nanometres, stands in its XML alone."""
    write_scn(tmp_path / "a.scn", MACRO, LEVELS, um=0.5, light="fluorescence")
    with open_image(tmp_path / "a.scn") as source:
        assert isinstance(source, TiffSource)
        assert [level.shape_yx for level in source.levels] == [(256, 384), (128, 192)]
        assert source.spacing_um_yx == (0.5, 0.5)
    with open_image(tmp_path / "a.scn", series=0) as macro:
        assert macro.spacing_um_yx == pytest.approx((60_000 / MACRO.shape[0], 20_000 / MACRO.shape[1]))


def test_a_philips_tiff_says_how_fine_it_is(tmp_path: Path) -> None:
    write_philips(tmp_path / "a.tiff", LEVELS, um=0.25)
    with open_image(tmp_path / "a.tiff") as ours, openslide.OpenSlide(tmp_path / "a.tiff") as theirs:
        assert isinstance(ours, OpenSlideSource)
        assert ours.spacing_um_yx == (0.25, 0.25)
        assert [level.shape_yx[::-1] for level in ours.levels] == list(theirs.level_dimensions)
        expected = np.asarray(theirs.read_region((64, 32), 0, (96, 80)))[..., :3]
        np.testing.assert_array_equal(ours.read(Region(32, 64, 80, 96)), expected)


def test_an_ndpi_is_read_by_openslide_and_one_that_it_refuses_by_tifffile(tmp_path: Path) -> None:
    for name, complete in (("a.ndpi", True), ("b.ndpi", False)):
        levels = write_ndpi(tmp_path / name, LEVELS, pixels_per_cm=40_000, focus=complete)
        with open_image(tmp_path / name) as source:
            assert isinstance(source, OpenSlideSource if complete else TiffSource)
            assert source.spacing_um_yx == (0.25, 0.25)
        for number, level in enumerate(levels):
            np.testing.assert_array_equal(whole(tmp_path / name, number), level)


def test_a_slide_that_openslide_only_begins_to_know_is_read_by_tifffile(tmp_path: Path) -> None:
    """A Ventana TIFF without the map of its tiles."""
    words = b"<Metadata><iScan Magnification='20' ScanRes='0.46500'></iScan></Metadata>"
    path, tag = tmp_path / "a.tif", (700, 1, len(words), words, True)
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(LEVELS[0], description="level=0 mag=20 quality=90", extratags=[tag], **JPEG)
        file.write(LEVELS[1], description="level=1 mag=10 quality=90", **JPEG)
    assert openslide.OpenSlide.detect_format(path) == "ventana"
    with open_image(path) as source:
        assert source.spacing_um_yx == (0.465, 0.465)
        assert len(source.levels) == 2
    np.testing.assert_array_equal(whole(path), tifffile.imread(path, series=0, level=0))


def _profile() -> bytes:
    """Make an RGB profile out of sRGB's by exchanging its red and green colorants."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = content.index(b"rXYZ"), content.index(b"gXYZ")
    content[red : red + 4], content[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(content)


def _expected(pixels: NDArray[np.uint8], profile: bytes) -> NDArray[np.uint8]:
    into = ImageCms.createProfile("sRGB")
    found = ImageCms.profileToProfile(Image.fromarray(pixels), io.BytesIO(profile), into)
    return np.asarray(found)


@pytest.mark.parametrize("kind", [TiffSource, OpenSlideSource])
def test_colours_of_a_slide_become_srgb_by_its_profile(kind: type[Any], tmp_path: Path) -> None:
    path, profile = tmp_path / "a.tiff", _profile()
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate(LEVELS):
            file.write(level, iccprofile=profile, subfiletype=int(number > 0), **JPEG)
    with kind(path) as source, kind(path, icc=False) as raw:
        region = Region(10, 20, 100, 120)
        shown, stored = source.read(region), raw.read(region)
        assert "converted to sRGB by the file's ICC profile" in source.notes[-1]
        assert not raw.notes
    np.testing.assert_array_equal(shown, _expected(stored, profile))
    assert np.abs(shown.astype(int) - stored).mean() > 10
    with open_image(path) as source, open_image(path, icc=False) as raw:
        assert source.file.reading != raw.file.reading


def test_a_plain_picture_keeps_its_numbers(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", SLIDE, photometric="rgb", iccprofile=_profile())
    np.testing.assert_array_equal(whole(tmp_path / "a.tif"), SLIDE)


def test_a_profile_that_is_srgb_or_nonsense_changes_nothing() -> None:
    assert to_srgb(None) == (None, ())
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    assert to_srgb(srgb.tobytes()) == (None, ())
    converter, notes = to_srgb(b"nonsense")
    assert converter is None
    assert "cannot be used" in notes[0]


def test_what_was_made_of_the_file_is_part_of_the_provenance() -> None:
    assert "image_notes" not in Provenance().to_dict()
    told = Provenance(image_notes=("Colours are converted to sRGB.",))
    assert Provenance.from_dict(told.to_dict()) == told
