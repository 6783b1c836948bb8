"""Sizes in the headers of coded pictures, as they are held against the tile or frame that they fill."""

import imagecodecs
import numpy as np
import pytest

from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.claims import check_coded, check_packed

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 72, 3), np.uint8)
CODED = {
    "JPEG": imagecodecs.jpeg_encode(PIXELS),
    "JPEG 2000": imagecodecs.jpeg2k_encode(PIXELS),
    "PNG": imagecodecs.png_encode(PIXELS),
    "WebP": imagecodecs.webp_encode(PIXELS, lossless=True),
    "WebP of loss": imagecodecs.webp_encode(PIXELS, level=80, lossless=False),
    "JPEG-LS": imagecodecs.jpegls_encode(PIXELS),
    "lossless JPEG": imagecodecs.ljpeg_encode(PIXELS[..., 0]),
}


@pytest.mark.parametrize("kind", CODED)
def test_a_picture_that_is_larger_than_its_tile_is_refused(kind: str) -> None:
    check_coded(CODED[kind], (40, 72))
    check_coded(CODED[kind], (20, 36))  # up to four times
    with pytest.raises(ValueError, match=r"is of 40 × 72 px, for 20 × 35"):
        check_coded(CODED[kind], (20, 35))


def test_large_pixels_may_be_packed_small_and_not_far_smaller() -> None:
    check_packed(2**28, 1, "a.tif")
    check_packed(10**9, 5_000_000, "a.tif")
    with pytest.raises(UnsupportedImageError, match=r"4,999,999 bytes unpack to 1 GB at once"):
        check_packed(10**9, 4_999_999, "a.tif")
