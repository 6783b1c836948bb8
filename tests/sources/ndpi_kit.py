"""A file laid out as Hamamatsu's NDPI: classic TIFF with 64-bit offsets, one JPEG with restarts per level."""

import io
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MCU, RESTART = 8, 4


def write_ndpi(
    path: Path, levels: Sequence[NDArray[np.uint8]], pixels_per_cm: int, *, focus: bool = True
) -> list[NDArray[np.uint8]]:
    """Write RGB levels whose widths are multiples of 32 px; return them as Pillow decodes them.

    Without the tag that says where the focus was, OpenSlide does not read it.
    """
    decoded = []
    with path.open("wb") as file:
        file.write(struct.pack("<2sHQ", b"II", 42, 0))
        link = 4
        for number, level in enumerate(levels):
            stream = io.BytesIO()
            image = Image.fromarray(level)
            image.save(stream, "JPEG", quality=90, subsampling=0, restart_marker_blocks=RESTART)
            decoded.append(np.asarray(Image.open(stream)))
            link = _page(
                file, link, level.shape[:2], stream.getvalue(), 20.0 / 2**number, pixels_per_cm, focus=focus
            )
    return decoded


def _page(
    file, link: int, shape: tuple[int, int], data: bytes, lens: float, pixels_per_cm: int, *, focus: bool
) -> int:
    strip = _append(file, data)
    scan = data.index(b"\xff\xda")
    scan += 2 + struct.unpack(">H", data[scan + 2 : scan + 4])[0]
    restarts = [
        at + 2 for at in range(scan, len(data) - 1) if data[at] == 0xFF and 0xD0 <= data[at + 1] <= 0xD7
    ]
    starts = np.array([scan, *restarts], "<u4")
    short, long, ratio, text, real, signed = 3, 4, 5, 2, 11, 9
    resolution = _append(file, struct.pack("<2I", pixels_per_cm, 1))
    entries = [
        (256, long, 1, shape[1]),
        (257, long, 1, shape[0]),
        (258, short, 3, _append(file, struct.pack("<3H", 8, 8, 8))),
        (259, short, 1, 7),
        (262, short, 1, 6),
        (271, text, 10, _append(file, b"Hamamatsu\0")),
        (273, long, 1, strip),
        (277, short, 1, 3),
        (278, long, 1, shape[0]),
        (279, long, 1, len(data)),
        (282, ratio, 1, resolution),
        (283, ratio, 1, resolution),
        (296, short, 1, 3),
        (65420, long, 1, 1),
        (65421, real, 1, struct.unpack("<I", struct.pack("<f", lens))[0]),
        *([(65424, signed, 1, 0)] if focus else []),
        (65426, long, len(starts), _append(file, starts.tobytes())),
    ]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    high_words = bytes(4 * len(entries))
    position = _append(file, struct.pack("<H", len(entries)) + table + bytes(8) + high_words)
    file.seek(link)
    file.write(struct.pack("<Q", position))
    return position + 2 + len(table)


def _append(file, data: bytes) -> int:
    file.seek(0, 2)
    position = file.tell()
    file.write(data)
    return position
