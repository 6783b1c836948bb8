import sys
from pathlib import Path

import numpy as np
import pytest
from slide_kit import write_slide

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import MissingExtraError, UnsupportedImageError
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.slide import SLIDE_SUFFIXES, OpenSlideSource


def test_openslide_and_tifffile_see_the_same_pixels(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.svs", ((3000, 4000), (750, 1000)))
    with OpenSlideSource(slide.path) as theirs, open_image(slide.path) as ours:
        assert theirs.levels == ours.levels
        assert theirs.spacing_um_yx == ours.spacing_um_yx == (0.25, 0.25)
        for region in (Region(2500, 3500, 500, 500), Region(100, 200, 300, 400, 1)):
            np.testing.assert_array_equal(theirs.read(region), ours.read(region))


def test_what_was_not_scanned_is_white(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.svs", ((600, 700),), left_out=(1, 1))
    with OpenSlideSource(slide.path) as source:
        pixels = source.read(Region(200, 200, 200, 200))
    assert (pixels[56:, 56:] == 255).all()
    np.testing.assert_array_equal(pixels[:56], slide.pixels(0, 200, 200, 56, 200))


@pytest.mark.parametrize("suffix", SLIDE_SUFFIXES)
def test_without_openslide_the_sentence_names_the_packages(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"slide{suffix}"
    path.write_bytes(b"\xff\xd8\xff" + bytes(200))
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(
        MissingExtraError, match=r"slide\.\w+; it does not run.*install openslide-python openslide-bin"
    ):
        open_image(path)


def test_a_damaged_slide_gets_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "slide.mrxs"
    path.write_bytes(b"\xff\xd8\xff" + bytes(200))
    with pytest.raises(UnsupportedImageError, match=r"Expected a slide that OpenSlide reads; slide\.mrxs"):
        open_image(path)
