"""Text around a sector is black wherever a part of the image is read."""

import numpy as np
import pytest

from napari_sslmaps.core.region import Region
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.without_text import WithoutText


@pytest.fixture
def frame():
    rows, cols = np.mgrid[:240, :320]
    sector = (np.hypot(rows - 20, cols - 160) < 200) & (abs(cols - 160) < rows - 10)
    pixels = np.where(sector, np.random.default_rng(0).integers(60, 200, (240, 320)), 0).astype(np.uint8)
    pixels[6:12, 8:60:3] = 255
    return pixels


def test_text_is_black_and_the_sector_is_as_it_was(frame):
    with WithoutText(ArraySource([frame, frame[::2, ::2]], "a")) as source:
        whole = source.read(Region(0, 0, 240, 320))
        assert whole[:14, :64].max() == 0
        assert np.array_equal(whole[60:180, 140:180], frame[60:180, 140:180])
        assert np.array_equal(source.read(Region(5, 7, 60, 90)), whole[5:65, 7:97])
        assert source.read(Region(0, 0, 7, 32, level=1)).max() == 0


def test_what_is_no_sector_is_left_as_it_is():
    image = np.random.default_rng(0).integers(100, 255, (64, 64, 3), np.uint8)
    with WithoutText(ArraySource(image, "a")) as source:
        assert np.array_equal(source.read(Region(0, 0, 64, 64)), image)
