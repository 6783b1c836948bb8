"""Sizes of pictures that are whole, and beyond what the decoder of their format takes."""

import re
import struct
from math import prod

from napari_sslmaps.errors import UnsupportedImageError

LIBJPEG_SIDE = 65_500
"""Longest side that libjpeg decodes as Pillow has it; the format itself has 16 bits for it."""
_AVIF_PIXELS, _AVIF_SIDE = 2**28, 2**15
_LIBPNG_SIDE = 1_000_000
_AVIF_SIZE = re.compile(rb"ispe\0\0\0\0(.{8})", re.DOTALL)


def check_decodable(start: bytes, name: str) -> None:
    """Refuse AVIF, and PNG of 16 bits per colour, of a size that libavif and libpng refuse, before they do.

    They say of it no more than that they cannot read it, as of a damaged one.

    Parameters
    ----------
    start
        First bytes of the file, with its header.
    name
        Name of the file in sentences.

    Raises
    ------
    UnsupportedImageError
        If it is larger; the sentence says how large, and what to do.
    """
    if start[4:8] == b"ftyp":
        sizes = [struct.unpack(">II", found[1]) for found in _AVIF_SIZE.finditer(start)]
        for width, height in sorted(sizes, key=prod, reverse=True):
            if width * height > _AVIF_PIXELS or max(width, height) > _AVIF_SIDE:
                raise _too_large("an AVIF", "libavif", (height, width), name)
    elif start.startswith(b"\x89PNG") and len(start) > 24 and start[24] == 16:
        width, height = struct.unpack(">II", start[16:24])
        if max(width, height) > _LIBPNG_SIDE:
            raise _too_large("a PNG of 16 bits", "libpng", (height, width), name)


def _too_large(kind: str, decoder: str, shape_yx: tuple[int, int], name: str) -> UnsupportedImageError:
    height, width = shape_yx
    return UnsupportedImageError(
        f"Expected a picture that can be decoded; {name} is {kind} of {height} × {width} px, more than "
        f"{decoder} takes. Convert it to a tiled, pyramidal TIFF, for example with libvips: vips tiffsave "
        f"{name}[unlimited] new.tif --tile --pyramid --compression lzw."
    )
