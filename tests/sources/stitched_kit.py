"""Slides as MIRAX, Hamamatsu (VMS) and Ventana (BIF) scanners write them, small: photos beside each other."""

import io
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scanner_kit import JPEG

Pixels = NDArray[np.uint8]
SIDE = 64
"""Of a photo, or tile."""


def write_mirax(
    path: Path,
    levels: Sequence[Pixels],
    um: float,
    *,
    fill_rgb: tuple[int, int, int] = (255, 255, 255),
    left_out: Sequence[tuple[int, int]] = (),
    overlap: int = 0,
    kind: str = "PNG",
) -> None:
    """Write a MIRAX slide: a file, and a folder beside it with ``Slidedat.ini``, an index and the photos.

    Parameters
    ----------
    path
        With the suffix ``.mrxs``.
    levels
        What all photos show, side by side; each level half as wide as the one before.
    um
        Micrometres per pixel.
    fill_rgb
        Colour of what was not scanned.
    left_out
        (row, column) of photos that are not there.
    overlap
        Pixels that photos share; where there are any, the place of each is written down.
    kind
        ``PNG`` or ``JPEG``.
    """
    folder = path.with_suffix("")
    folder.mkdir()
    Image.fromarray(levels[-1]).save(path, "JPEG")
    rows, cols = (side // SIDE for side in levels[0].shape[:2])
    data, pages = bytearray(), []
    for number, level in enumerate(levels):
        step, page = 2**number, []
        for row in range(0, rows, step):
            for col in range(0, cols, step):
                if number == 0 and (row, col) in left_out:
                    continue
                content = _encoded(_photo(level, row // step, col // step), kind)
                page.append((row * cols + col, len(data), len(content), 0))
                data += content
        pages.append(page)
    step = SIDE - overlap
    places = b"".join(
        struct.pack("<Bii", 1, col * step, row * step) for row in range(rows) for col in range(cols)
    )
    placed = (len(data), len(places), 0) if overlap else None
    (folder / "Data0000.dat").write_bytes(bytes(data) + places)
    (folder / "Index.dat").write_bytes(_mirax_index(pages, placed))
    red, green, blue = fill_rgb
    zoom = {
        "OVERLAP_X": overlap,
        "OVERLAP_Y": overlap,
        "IMAGE_FILL_COLOR_BGR": blue << 16 | green << 8 | red,
        "DIGITIZER_WIDTH": SIDE,
        "DIGITIZER_HEIGHT": SIDE,
        "IMAGE_FORMAT": kind,
    }
    names = {f"HIER_0_VAL_{number}_SECTION": f"ZOOM_{number}" for number in range(len(levels))}
    sections: dict[str, Mapping[str, object]] = {
        "GENERAL": {
            "SLIDE_ID": _MIRAX_ID,
            "IMAGENUMBER_X": cols,
            "IMAGENUMBER_Y": rows,
            "OBJECTIVE_MAGNIFICATION": 20,
        },
        "HIERARCHICAL": {
            "HIER_COUNT": 1,
            "NONHIER_COUNT": int(overlap > 0),
            "INDEXFILE": "Index.dat",
            "HIER_0_NAME": "Slide zoom level",
            "HIER_0_COUNT": len(levels),
            **names,
            **({"NONHIER_0_NAME": "VIMSLIDE_POSITION_BUFFER", "NONHIER_0_COUNT": 1} if overlap else {}),
        },
        "DATAFILE": {"FILE_COUNT": 1, "FILE_0": "Data0000.dat"},
    }
    for number in range(len(levels)):
        fine = um * 2**number
        own = {"IMAGE_CONCAT_FACTOR": int(number > 0), "OVERLAP_X": overlap / 2**number}
        own |= {"OVERLAP_Y": overlap / 2**number}
        told = {"MICROMETER_PER_PIXEL_X": fine, "MICROMETER_PER_PIXEL_Y": fine}
        sections[f"ZOOM_{number}"] = {**zoom, **own, **told}
    (folder / "Slidedat.ini").write_text(_ini(sections), "utf-8-sig")


_MIRAX_ID = "0123456789ABCDEF0123456789ABCDEF"


def _photo(level: Pixels, row: int, col: int) -> Pixels:
    """Return one photo of a level; beyond its last pixels there is nothing, which is black."""
    there = level[row * SIDE : (row + 1) * SIDE, col * SIDE : (col + 1) * SIDE]
    return np.pad(there, [(0, SIDE - there.shape[0]), (0, SIDE - there.shape[1]), (0, 0)])


def _encoded(pixels: Pixels, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def _mirax_index(
    pages: Sequence[Sequence[tuple[int, int, int, int]]], placed: tuple[int, int, int] | None
) -> bytes:
    """Version and slide, then pointers: to those of each level's first page, and of each other record's."""
    head = f"01.02{_MIRAX_ID}".encode()
    content = bytearray(head + bytes(8))

    def put(*values: int) -> int:
        place = len(content)
        content.extend(struct.pack(f"<{len(values)}i", *values))
        return place

    begun = [put(0, put(len(page), 0, *sum(page, ()))) for page in pages]
    roots = [put(*begun), 0]
    if placed:
        roots[1] = put(put(0, put(1, 0, 0, 0, *placed)))
    struct.pack_into("<2i", content, len(head), *roots)
    return bytes(content)


def _ini(sections: Mapping[str, Mapping[str, object]]) -> str:
    return "\n".join(
        "\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in section.items())])
        for name, section in sections.items()
    )


def write_vms(path: Path, halves: Sequence[Pixels], overview: Pixels, um: float) -> None:
    """Write a Hamamatsu VMS: JPEGs with restart markers, an overview, and the file that names them.

    Parameters
    ----------
    path
        The file that names the others.
    halves
        From left to right, of one size, whose sides are multiples of 64 px.
    overview
        The whole, smaller.
    um
        Micrometres per pixel.
    """
    names = {"MapFile": f"{path.stem}_map.jpg"}
    pictures = {names["MapFile"]: overview}
    for number, half in enumerate(halves):
        key = f"ImageFile({number},0)" if number else "ImageFile"
        names[key] = f"{path.stem}_{number}.jpg"
        pictures[names[key]] = half
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(
            path.with_name(name), "JPEG", quality=90, subsampling=0, restart_marker_blocks=4
        )
    height, width = halves[0].shape[:2]
    told = {
        "NoLayers": 1,
        "NoJpegColumns": len(halves),
        "NoJpegRows": 1,
        **names,
        "PhysicalWidth": round(len(halves) * width * um * 1000),
        "PhysicalHeight": round(height * um * 1000),
        "SourceLens": 20,
    }
    path.write_text(_ini({"Virtual Microscope Specimen": told}))


def write_bif(path: Path, levels: Sequence[Pixels], um: float, *, overlap: int = 0) -> None:
    """Write a Ventana BIF: a label, and levels of tiles whose overlap stands in the XML of the first.

    Parameters
    ----------
    path
        Where.
    levels
        All tiles side by side, whose sides are multiples of 64 px; each half as wide as the one before.
    um
        Micrometres per pixel.
    overlap
        Pixels of level 0 that neighbouring tiles share.
    """
    rows, cols = (side // SIDE for side in levels[0].shape[:2])
    root = ET.Element("EncodeInfo", Ver="2")
    size = {"Width": str(SIDE), "Height": str(SIDE), "NumRows": str(rows), "NumCols": str(cols)}
    place = {"AOIScanned": "1", "AOIIndex": "0", "Pos-X": "0", "Pos-Y": "0"}
    info = ET.SubElement(ET.SubElement(root, "SlideStitchInfo"), "ImageInfo", {**size, **place})
    numbers = np.arange(1, rows * cols + 1).reshape(rows, cols)
    numbers[1::2] = numbers[1::2, ::-1]  # the camera goes back and forth, from the bottom upwards
    numbers = numbers[::-1]
    for row, col in np.ndindex(rows, cols):
        if col + 1 < cols:
            _joint(info, "RIGHT", numbers[row, col], numbers[row, col + 1], (overlap, 0))
        if row:
            _joint(info, "UP", numbers[row, col], numbers[row - 1, col], (0, overlap))
    ET.SubElement(ET.SubElement(root, "AoiOrigin"), "AOI0", OriginX="0", OriginY="0")
    scanned = f'<iScan Magnification="20" ScanRes="{um}" UnitNumber="1"/>'
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        label = {"photometric": "rgb", "metadata": None}
        file.write(levels[-1], description="Label Image", extratags=[_xmp(scanned.encode())], **label)
        for number, level in enumerate(levels):
            words = f"level={number} mag={20 / 2**number:g} quality=90"
            tags = [_xmp(ET.tostring(root))] if number == 0 else []
            file.write(level, description=words, extratags=tags, **JPEG)


def _joint(parent: ET.Element, direction: str, first: int, second: int, overlap: tuple[int, int]) -> None:
    tiles = {"Tile1": str(first), "Tile2": str(second)}
    shared = {"OverlapX": str(overlap[0]), "OverlapY": str(overlap[1])}
    how = {"FlagJoined": "1", "Confidence": "100", "Direction": direction}
    ET.SubElement(parent, "TileJointInfo", {**how, **tiles, **shared})


def _xmp(words: bytes) -> tuple[int, int, int, bytes, bool]:
    return 700, 1, len(words), words, True
