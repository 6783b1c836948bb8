import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from case_kit import picture
from PIL import Image

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.open import open_image


def test_sixteen_bits_per_colour_survive(tmp_path: Path) -> None:
    pixels = picture((20, 30, 3), "uint16")
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(pixels))
    with open_image(tmp_path / "deep.png") as source:
        assert source.dtype == np.uint16
        np.testing.assert_array_equal(source.read(Region(0, 0, 20, 30)), pixels)


@pytest.mark.parametrize(("mode", "channels"), [("LA", 1), ("P", 3), ("CMYK", 3), ("L", 1)])
def test_modes_become_grey_or_colour(mode: str, channels: int, tmp_path: Path) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.fromarray(picture((20, 30, 3))).convert(mode).save(path)
    with open_image(path) as source:
        pixels = source.read(Region(0, 0, 20, 30))
    assert source.channels == channels
    expected = np.asarray(Image.open(path).convert("RGB" if channels == 3 else "L"))
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation: int, tmp_path: Path) -> None:
    pixels, exif = picture((20, 30, 3)), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    turned = pixels if orientation < 5 else pixels.swapaxes(0, 1)
    flip_rows, flip_cols = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    expected = turned[:: -1 if flip_rows else 1, :: -1 if flip_cols else 1]
    with open_image(tmp_path / "a.png") as source:
        np.testing.assert_array_equal(source.read(Region(0, 0, *expected.shape[:2])), expected)


def test_a_picture_beyond_memory_gets_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("L", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    with pytest.raises(UnsupportedImageError, match=r"bomb\.png is too large .* Convert it to a tiled"):
        open_image(path)
