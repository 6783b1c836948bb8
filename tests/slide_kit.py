"""Slides that are huge and yet written at once: many tiles of a BigTIFF point to the same few."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from skimage.data import immunohistochemistry

SIDE, KINDS = 256, 7
_MPP = "Aperio Image Library v12\n(256x256) JPEG/RGB Q=80|AppMag = 40|MPP = 0.25"


@dataclass(frozen=True)
class Slide:
    """A written slide; its pixels at any place are known without reading the file."""

    path: Path
    shapes: tuple[tuple[int, int], ...]
    tiles: tuple[NDArray[np.uint8], ...]

    def pixels(self, level: int, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
        rows, cols = np.arange(y, y + height), np.arange(x, x + width)
        kinds = (rows[:, None] // SIDE * 3 + cols[None] // SIDE + level) % KINDS
        return np.stack(self.tiles)[kinds, rows[:, None] % SIDE, cols[None] % SIDE]


def write_slide(
    path: Path,
    shapes: Sequence[tuple[int, int]] = ((80_000, 100_000),),
    left_out: tuple[int, int] | None = None,
) -> Slide:
    """Write an Aperio-like pyramid of JPEG tiles with the given (height, width) of each level.

    One tile (row, column) of each level may be left out, as scanners do where there is nothing.
    """
    picture = immunohistochemistry()
    kinds = [picture[: 256 - 8 * kind, : 256 - 8 * kind] for kind in range(KINDS)]
    tiles = [np.pad(kind, [(0, 256 - len(kind)), (0, 256 - len(kind)), (0, 0)], "reflect") for kind in kinds]
    encoded = [imagecodecs.jpeg_encode(tile, 80, colorspace="rgb", outcolorspace="ycbcr") for tile in tiles]
    offsets = 16 + np.cumsum([0, *(len(data) for data in encoded)])
    counts = np.array([len(data) for data in encoded], np.uint64)
    with path.open("wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) + b"".join(encoded) + bytes(192))
        link = 8
        for level, (height, width) in enumerate(shapes):
            if level == 1:  # the second page of an Aperio file is no level but a thumbnail
                link = _directory(file, link, (8, 8), offsets[-1:].astype("<u8"), np.uint64([192]), rows=8)
            rows, cols = np.arange(-(-height // SIDE)), np.arange(-(-width // SIDE))
            kind = (rows[:, None] * 3 + cols[None] + level) % KINDS
            places, sizes = offsets[kind].astype("<u8"), counts[kind]
            if left_out:
                places[left_out] = sizes[left_out] = 0
            link = _directory(file, link, (height, width), places.ravel(), sizes.ravel())
    decoded = tuple(imagecodecs.jpeg_decode(data) for data in encoded)
    return Slide(path, tuple(shapes), decoded)


def write_bare(path: Path, height: int, width: int, *, strips: int, compression: int = 1) -> Path:
    """Write an RGB TIFF of one level whose pixels are a hole in the file, all zero."""
    rows = height // strips
    counts = np.full(strips, rows * width * 3, "<u8")
    offsets = 4096 + np.arange(strips, dtype="<u8") * counts
    with path.open("wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0))
        file.truncate(4096 + height * width * 3)
        _directory(file, 8, (height, width), offsets, counts, rows=rows, compression=compression)
    return path


def _directory(file, link: int, shape, offsets, counts, *, rows: int = 0, compression: int = 7) -> int:
    """Append an image file directory, and let the `link` of the one before point to it."""
    long, short, text, long8 = 4, 3, 2, 16
    entries = [
        (256, long, 1, shape[1]),
        (257, long, 1, shape[0]),
        (258, short, 3, struct.pack("<3H2x", 8, 8, 8)),
        (259, short, 1, compression),
        (262, short, 1, 2 if rows else 6),
        (277, short, 1, 3),
        (284, short, 1, 1),
    ]
    if rows:
        entries += [(273, long8, len(offsets), offsets.tobytes()), (278, long, 1, rows)]
        entries += [(279, long8, len(counts), counts.tobytes())]
    else:
        entries += [(270, text, len(_MPP) + 1, _MPP.encode() + b"\0")]
        entries += [(322, short, 1, SIDE), (323, short, 1, SIDE)]
        entries += [(324, long8, len(offsets), offsets.tobytes())]
        entries += [(325, long8, len(counts), counts.tobytes()), (530, short, 2, struct.pack("<2H4x", 2, 2))]
    file.seek(0, 2)
    table = b""
    for tag, kind, count, value in sorted(entries, key=lambda entry: entry[0]):
        field = value if isinstance(value, bytes) else struct.pack("<Q", value)
        if len(field) > 8:
            position = file.tell()
            file.write(field)
            field = struct.pack("<Q", position)
        table += struct.pack("<HHQ", tag, kind, count) + field.ljust(8, b"\0")
    position = file.tell()
    file.write(struct.pack("<Q", len(entries)) + table + struct.pack("<Q", 0))
    file.seek(link)
    file.write(struct.pack("<Q", position))
    return position + 8 + 20 * len(entries)
