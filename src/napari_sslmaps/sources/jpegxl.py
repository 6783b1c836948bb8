"""JPEG XL through libjxl, as imagecodecs brings it; frames of an animation are frames."""

from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.base import decoding
from napari_sslmaps.sources.channels import ChannelChoice
from napari_sslmaps.sources.claims import check_claim, check_packed

_CODESTREAM, _CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL "
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width over height, by what a header says from 1 on."""
_SIDE_BITS = (9, 13, 18, 30)


def begins_as_jpeg_xl(start: bytes) -> bool:
    """Whether these are the first bytes of JPEG XL, bare or in its container."""
    return start.startswith((_CODESTREAM, _CONTAINER))


def open_jpeg_xl(path: Path, channel: ChannelChoice = None) -> ArraySource:
    """Decode a picture or an animation whole, turned as it says; opacity is dropped.

    Raises
    ------
    UnsupportedImageError
        If it is damaged, or says a size that its bytes cannot have.
    """
    with decoding(path.name, "a readable JPEG XL picture", RuntimeError, OSError, ValueError):
        content = path.read_bytes()
        height, width = _shape_yx(content)
        check_claim(3 * height * width, len(content), path.name)
        check_packed(3 * height * width, len(content), path.name)
        pixels: NDArray[np.generic] = imagecodecs.jpegxl_decode(content)
    if pixels.shape[-1] == 2 and pixels.ndim > 2:  # grey and opacity
        pixels = pixels[..., 0]
    grey_frames = pixels.ndim == 3 and pixels.shape[1:] in ((height, width), (width, height))
    return ArraySource(pixels, path.stem, frames=grey_frames or pixels.ndim == 4, channel=channel)


def _shape_yx(content: bytes) -> tuple[int, int]:
    """Read height and width from the header, before anything is made for the pixels.

    Sizes are stored as ISO/IEC 18181-1 has them: multiples of 8 up to 256, or numbers of 9 to 30 bits; the
    width may be a ratio of the height.
    """
    bits = _Bits(content, content.index(_CODESTREAM) + 2)
    in_eights = bits.take(1)

    def side() -> int:
        return 8 * (1 + bits.take(5)) if in_eights else 1 + bits.take(_SIDE_BITS[bits.take(2)])

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return height, side()
    over, under = _RATIOS[ratio - 1]
    return height, height * over // under


class _Bits:
    """Bits of a header, the lowest of each byte first."""

    def __init__(self, content: bytes, start: int) -> None:
        self._left = int.from_bytes(content[start : start + 16], "little")

    def take(self, count: int) -> int:
        """Return the next bits as a number."""
        value = self._left & ((1 << count) - 1)
        self._left >>= count
        return value
