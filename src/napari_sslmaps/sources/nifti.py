"""Checks of NIfTI and Analyze headers that ITK leaves out: their version, and the number of bytes."""

import gzip
import zlib
from math import prod
from pathlib import Path

import numpy as np

from napari_sslmaps.sources.formats import SIGNATURE_BYTES
from napari_sslmaps.sources.refusals import check_known

_GZIP = b"\x1f\x8b"
_BYTES = 348
"""Size of the header, which is its first number."""
_AT_ONCE = 2**20


def pair_of(path: Path) -> tuple[Path, Path]:
    """Return the file of the header and that of the pixels, which may be one."""
    if path.suffix.lower() not in (".hdr", ".img"):
        return path, path
    return path.with_suffix(".hdr"), path.with_suffix(".img")


def check_nifti(path: Path) -> None:
    """Look at a volume's header before ITK does, where it is one of NIfTI or Analyze.

    Raises
    ------
    UnsupportedImageError
        If it is NIfTI-2, or something else that is no volume, inside of gzip.
    ValueError
        If the file ends before its last pixel: ITK shows zeros in their place.
    """
    about, pixels = pair_of(path)
    start = _unpacked_start(about)
    order = next(
        (kind for kind in "<>" if len(start) >= _BYTES and _number(start, f"{kind}i4", 0) == _BYTES), ""
    )
    if not order:
        check_known(start, path.name)
        return
    sides = np.frombuffer(start, f"{order}i2", 8, 40).tolist()
    bits = _number(start, f"{order}i2", 72)
    offset = _number(start, f"{order}f4", 108)
    needed = max(0, offset) + prod(sides[1 : 1 + sides[0]]) * bits // 8
    there = _unpacked_size(pixels, needed)
    if there < needed:
        raise ValueError(f"it ends {needed - there:,} bytes early")


def _number(start: bytes, kind: str, place: int) -> int:
    return int(np.frombuffer(start, kind, 1, place)[0])


def _unpacked_start(path: Path) -> bytes:
    with path.open("rb") as file:
        start = file.read(SIGNATURE_BYTES)
    if not start.startswith(_GZIP):
        return start
    with gzip.open(path) as unpacked:
        return unpacked.read(SIGNATURE_BYTES)


def _unpacked_size(path: Path, needed: int) -> int:
    """Return how many of the bytes that are needed there are."""
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
        size = file.seek(0, 2)
        if not packed:
            return size
        file.seek(max(0, size - 4))
        if int.from_bytes(file.read(4), "little") == needed % 2**32:  # how gzip ends
            return needed
    count = 0
    with gzip.open(path) as unpacked:
        try:
            while count < needed and (part := unpacked.read(_AT_ONCE)):
                count += len(part)
        except (EOFError, zlib.error) as error:
            raise ValueError("its compressed bytes end early") from error
    return count
