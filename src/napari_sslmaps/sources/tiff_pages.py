"""Counts and lengths in the pages of a TIFF, looked at before a library reads each of them."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import tifffile

_MOST_TAG_BYTES = {270: 2**28, 330: 2**13}
"""Of a description, which may be OME's of many planes, and of the places of a page's coarser levels."""
_MOST_OTHER = 2**26
_OF_OTHERS = (34377, 37724, 50255, 50839)
"""What Photoshop, Leica and ImageJ keep of their own, which may be long."""
_TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CLASSIC, _BIG = ("I", "H", "HHI4s", 4), ("Q", "Q", "HHQ8s", 8)
_MOST_ENTRIES = 4096
_MOST_PAGES, _MANY_PAGES = 250_000, 5000
"""Pages that are looked through; those from which on all have to be alike."""
_SHAPE = (256, 257, 258, 259, 262, 277)
"""Columns, rows, bits, compression, colours and samples."""
_LSM = 34412
"""In such a file every other page is a small picture of the one before."""


def check_pages(path: Path) -> None:
    """Look at how many pages there are, and how long their words and lists are said to be.

    Raises
    ------
    tifffile.TiffFileError
        If these are longer, or those more, than any metadata and stack are.
    """
    with path.open("rb") as file:
        start = file.read(16)
        order = "<" if start[:2] == b"II" else ">"
        size = path.stat().st_size
        big = 43 in start[2:4]
        if len(start) < 16 or (not big and size >= 2**32):  # cut short, or NDPI's own way
            return
        offset, number, entry, at = _BIG if big else _CLASSIC
        first = struct.unpack_from(order + offset, start, at)[0]
        kinds, alike, same, pages = set(), b"", 0, 0
        is_lsm = False
        for entries in _entries(file, first, order + offset, order + number, struct.calcsize(order + entry)):
            pages += 1
            if pages > 1 and size < _MOST_OTHER and entries[:same] == alike:
                continue
            tags = {}
            for code, kind, length, value in struct.iter_unpack(order + entry, entries):
                claimed = length * _TYPE_BYTES.get(kind, 1)
                if code not in _OF_OTHERS and claimed > _MOST_TAG_BYTES.get(code, _MOST_OTHER):
                    raise tifffile.TiffFileError(f"its tag {code} is said to have {claimed / 1e6:,.1f} MB")
                tags[code] = value
            kinds.add(tuple(tags.get(code) for code in _SHAPE))
            is_lsm = is_lsm or _LSM in tags
            if pages == 1:
                same = struct.calcsize(order + entry) * sum(code <= max(_SHAPE[:-1]) for code in tags)
                alike = entries[:same]
            if pages > _MANY_PAGES and len(kinds) > 1 and not is_lsm:
                raise tifffile.TiffFileError(
                    f"more than {_MANY_PAGES:,} of its pages are no stack: they differ in size or kind"
                )
    if pages > _MOST_PAGES:
        raise tifffile.TiffFileError(f"it has more than {_MOST_PAGES:,} pages")


def _entries(file: BinaryIO, first: int, offset: str, number: str, size: int) -> Iterator[bytes]:
    """Yield the entries of page after page, up to one that was there before, the end, or far too many."""
    seen: set[int] = set()
    counted, following = struct.calcsize(number), struct.calcsize(offset)
    while first and first not in seen and len(seen) <= _MOST_PAGES:
        seen.add(first)
        file.seek(first)
        found = file.read(counted)
        if len(found) < counted:
            return
        count = min(struct.unpack(number, found)[0], _MOST_ENTRIES)
        read = file.read(count * size + following)
        yield read[: min(count, len(read) // size) * size]
        if len(read) < count * size + following:
            return
        first = struct.unpack_from(offset, read, count * size)[0]
