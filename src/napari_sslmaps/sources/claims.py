"""Claims of a file on its pixels, held against the bytes that are there before anything is made for them."""

import re
import struct
from math import prod
from pathlib import Path

from napari_sslmaps.errors import UnsupportedImageError

_ALWAYS_BYTES, _MOST_TIMES = 2**26, 2000
"""What may always be claimed, and how many times its size a file may unpack to: no coding of images does more
than that to pixels that show anything."""


def check_claim(claimed: int, there: int, name: str) -> None:
    """Refuse pixels whose bytes a file cannot have, whatever it says, before anything is made for them.

    Parameters
    ----------
    claimed
        Bytes of the pixels.
    there
        Bytes in which they are stored.
    name
        Name of the file in sentences.

    Raises
    ------
    UnsupportedImageError
        If they are far more than those can hold.
    """
    if claimed > max(_ALWAYS_BYTES, _MOST_TIMES * there):
        raise UnsupportedImageError(
            f"Expected bytes for the {claimed / 1e9:.3g} GB of pixels that {name} says it has; there are "
            f"{there:,} of them. It is damaged or truncated: copy or export it again."
        )


_LARGE_PIECE, _PACKED_TIMES = 2**28, 200
"""Bytes of pixels that are unpacked at once, however small they are stored, and how many times their size
larger pieces may have."""


def check_packed(size: int, there: int, name: str, large: int = _LARGE_PIECE) -> None:
    """Refuse pixels that would fill the memory at once, and are so much alike that they show next to nothing.

    Parameters
    ----------
    size
        Bytes of the pixels.
    there
        Bytes in which they are stored.
    name
        Name of the file or of its part in sentences.
    large
        Size up to which they may be.

    Raises
    ------
    UnsupportedImageError
        If they unpack to that much more than is stored.
    """
    if size > max(large, _PACKED_TIMES * there):
        raise UnsupportedImageError(
            f"Expected pixels of {name} in parts that can be read one by one; {there:,} bytes unpack to "
            f"{size / 1e9:.2g} GB at once. Convert it to a tiled, pyramidal TIFF and open that."
        )


def held_bytes(path: Path) -> int:
    """Return the bytes of a file that take room on the disk; all of them where the system does not say."""
    status = path.stat()
    blocks = getattr(status, "st_blocks", 0)
    return min(status.st_size, 512 * blocks) if blocks else status.st_size


_CODESTREAM = b"\xff\x4f\xff\x51"


def check_coded(coded: bytes, shape_yx: tuple[int, int]) -> None:
    """Refuse JPEG, JPEG 2000, WebP and PNG larger than the frame or tile that they are to fill.

    Raises
    ------
    ValueError
        If its header says so, or a box of JPEG 2000 is shorter than its head; of anything else nothing is
        said.
    """
    _check_boxes(coded)
    found = _size_of(coded)
    if found is not None and found[0] * found[1] > 4 * max(1, shape_yx[0] * shape_yx[1]):
        raise ValueError(
            f"its {found[2]} is of {found[0]} × {found[1]} px, for {shape_yx[0]} × {shape_yx[1]}"
        )


_JP2, _BOX_BYTES = b"\0\0\0\x0cjP  ", 8


def _check_boxes(coded: bytes) -> None:
    """Walk the boxes before a codestream: libraries go round for ever in one that is of no length."""
    place = 12 if coded.startswith(_JP2) else len(coded)
    while place < len(coded) and coded[place + 4 : place + _BOX_BYTES] != b"jp2c":
        length = int.from_bytes(coded[place : place + 4], "big")
        if length < _BOX_BYTES:
            raise ValueError(f"a box of its JPEG 2000 is said to have {length} bytes")
        place += length


_FRAME = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xf7]..[\x02-\x10](....)", re.DOTALL)
"""The marker of JPEG and JPEG-LS that states rows and columns."""


def _size_of(coded: bytes) -> tuple[int, int, str] | None:
    """Read rows, columns and kind from the header of a coded picture; None of anything else."""
    start = coded[:4096]
    at = start.find(_CODESTREAM)
    if at >= 0 and len(start) >= at + 24:
        right, low, left, top = struct.unpack(">4I", start[at + 8 : at + 24])
        return max(0, low - top), max(0, right - left), "JPEG 2000"
    if start.startswith(b"\x89PNG") and len(start) >= 24:
        return *struct.unpack(">II", start[16:24])[::-1], "PNG"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP" and len(start) >= 30:
        return *_of_webp(start), "WebP"
    if start.startswith(b"\xff\xd8"):
        sides = (struct.unpack(">HH", found[1]) for found in _FRAME.finditer(coded))
        largest = max(sides, key=prod, default=None)
        return None if largest is None else (*largest, "JPEG")
    return None


def _of_webp(start: bytes) -> tuple[int, int]:
    """Read rows and columns: in 14 bits each, of lossless ones less one, or in 24 bits less one."""
    if start[12:16] == b"VP8X":
        wide, tall = (int.from_bytes(start[at : at + 3], "little") + 1 for at in (24, 27))
    elif start[12:16] == b"VP8L":
        bits = int.from_bytes(start[21:25], "little")
        wide, tall = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        wide, tall = (side & 0x3FFF for side in struct.unpack("<HH", start[26:30]))
    return tall, wide
