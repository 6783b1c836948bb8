"""Choice of the image of a TIFF file that is shown, and the size of its pixels as its writer states it."""

import html
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import tifffile

from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.files import special_kind
from napari_sslmaps.sources.base import SpacingYX, spacing_um, unit_um
from napari_sslmaps.sources.tiff_pages import check_pages

_LOGGER = logging.getLogger(__name__)
_BESIDE = re.compile(r"\b(label|macro|thumbnail|thumb|overview|preview|barcode)\b", re.IGNORECASE)
"""Names of pictures that lie beside the image itself."""
_LONGEST_NAME = 64
_REDUCED_OR_MASK = 0b101
_PRINT_DPI = (1200,)
_COARSEST_UM = 30.0
"""Resolution tags coarser than this are a printer's or a camera's: they say nothing about the specimen."""
_APERIO = re.compile(r"\bMPP\s*=\s*([0-9.,]+)")
_VENTANA = re.compile(r"\bScanRes\s*=\s*[\"']([0-9.,]+)")
_PHILIPS = re.compile(
    r'"DICOM_PIXEL_SPACING"[^<>]{0,99}>\s{0,99}(?:"|&quot;)([^"&]{1,99})(?:"|&quot;)\s{1,99}(?:"|&quot;)([^"&]{1,99})'
)
_XMP = 700
_PIXELS = re.compile(r"<(?:\w{1,99}:)?Pixels\b[^<>]{0,9999}>")
_SIZES = re.compile(r"\bSize[ZCT]\s*=\s*[\"'](\d{1,18})")
_FILE_NAMES = re.compile(r"\bFileName\s*=\s*[\"']([^\"']+)")
_LEFT_TO = re.compile(
    r"<(?:\w{1,99}:)?BinaryOnly\b[^<>]{0,9999}?\bMetadataFile\s{0,99}=\s{0,99}[\"']([^\"'<>]{1,4096})"
)
"""Patterns of what strangers write have bounds: without, a few megabytes are searched for days."""
_MOST_METADATA = 64_000_000
_MOST_PLANES = 10_000_000
_MOST_TOLD = 12
"""Images of a file that a sentence lists."""


@dataclass(frozen=True, slots=True)
class SeriesChoice:
    """The series that is shown, and what is said of the others.

    Parameters
    ----------
    number
        Number of the series in the file.
    notes
        A sentence if there are others.
    series
        Number, name and size of each, if there are others.
    """

    number: int
    notes: tuple[str, ...] = ()
    series: tuple[str, ...] = ()


def open_with_metadata(path: Path) -> tuple[tifffile.TiffFile, tuple[str, ...]]:
    """Open a TIFF, with its OME metadata from the file beside it that it leaves them to.

    Returns
    -------
    file
        Open file, which the caller closes.
    notes
        A sentence where that file is not there: then this one's pages are shown alone.
    """
    check_pages(path)
    file = tifffile.TiffFile(path)
    left_to = _LEFT_TO.search((file.ome_metadata or "") if file.is_ome else "")
    if left_to is None:
        return file, ()
    beside = path.parent / html.unescape(left_to[1])
    text = _ome_text(beside)
    if text is None:
        note = f"{path.name} is part of a data set that {beside.name} describes, which is not beside it."
        return file, (f"{note} Its own pages are shown.",)
    file.close()
    return tifffile.TiffFile(path, omexml=text), ()


def _ome_text(path: Path) -> str | None:
    """Return the OME metadata in an XML file or in a TIFF; None if there are none."""
    if special_kind(path) or not path.is_file() or path.stat().st_size < 8:
        return None
    with path.open("rb") as file:
        start = file.read(2)
        if start not in (b"II", b"MM"):
            return (start + file.read(_MOST_METADATA)).decode("utf-8", "replace")
    check_pages(path)
    with tifffile.TiffFile(path) as master:
        return master.ome_metadata


def check_claimed_planes(file: tifffile.TiffFile, path: Path) -> None:
    """Look at what OME metadata say, before tifffile makes a list as long and opens files that they name.

    Raises
    ------
    tifffile.TiffFileError
        If they say more planes than any file has, or one of those files is none.
    """
    about = (file.ome_metadata or "") if file.is_ome else ""
    sizes = (map(int, _SIZES.findall(pixels)) for pixels in _PIXELS.findall(about))
    planes = sum(map(prod, sizes))
    if planes > _MOST_PLANES:
        raise tifffile.TiffFileError(f"it says {planes:,} planes, more than it can have")
    for name in set(_FILE_NAMES.findall(about)):
        special = special_kind(path.parent / html.unescape(name))
        if special:
            raise tifffile.TiffFileError(f"{name}, which it names, is {special}")


def choose_series(
    file: tifffile.TiffFile,
    wanted: int | str | None,
    name: str,
    obstacle: Callable[[Any], str] = lambda page: "",  # noqa: ARG005
) -> SeriesChoice:
    """Choose the image of a file: the one asked for, else the largest that is not one beside it.

    Those marked as reduced or as a mask, and those named label, macro, thumbnail or alike, lie beside it. Of
    equally large ones the first is shown. One that is attached to a page as its SubIFD, in a coding that is
    not decoded, leaves its place to the largest page that is.

    Parameters
    ----------
    file
        File with at least one series.
    wanted
        Number or name of a series.
    name
        Name of the file, for the sentences.
    obstacle
        Function that says why the pixels of a page are not decoded; empty where they are.

    Raises
    ------
    UnsupportedImageError
        If there is no series of that number or name.
    """
    every = list(file.series)
    if not every:
        raise tifffile.TiffFileError("it has no pages")
    told = tuple(_told(every, number) for number in range(len(every))) if len(every) > 1 else ()
    if wanted is not None:
        return SeriesChoice(_find(every, wanted, name), series=told)
    itself = [number for number, series in enumerate(every) if not _lies_beside(series)]
    chosen = max(itself or range(len(every)), key=lambda number: (_area(every[number]), -number))
    if len(every) == 1:
        return SeriesChoice(chosen)
    of_others = {}
    if every[chosen].keyframe.is_subifd and (reason := obstacle(every[chosen].keyframe)):
        pages = [number for number in itself if _is_decoded_page(every[number], obstacle)]
        if pages:
            of_others = {chosen: f" ({reason}, which is not decoded here)"}
            chosen = max(pages, key=lambda number: (_area(every[number]), -number))
    others = [number for number in range(len(every)) if number != chosen]
    note = (
        f"{name} holds {len(every)} images; shown is {told[chosen]}. Left out: "
        f"{_listed([told[number] + of_others.get(number, '') for number in others])}. "
        "Choose another one by series."
    )
    if set(others) & set(itself):
        _LOGGER.warning("%s", note)
    return SeriesChoice(chosen, (note,), told)


def _is_decoded_page(series: Any, obstacle: Callable[[Any], str]) -> bool:
    return not series.keyframe.is_subifd and not obstacle(series.keyframe)


def _lies_beside(series: Any) -> bool:
    page = series.keyframe
    words = page.description if len(page.description) < _LONGEST_NAME else ""
    return bool(page.subfiletype & _REDUCED_OR_MASK or _BESIDE.search(f"{series.name} {words}"))


def _area(series: Any) -> int:
    sizes = dict(zip(series.axes, series.shape, strict=True))
    return int(sizes.get("Y", 0) * sizes.get("X", 0))


def _find(every: list[Any], wanted: int | str, name: str) -> int:
    for number, series in enumerate(every):
        if wanted in (number, str(number), series.name):
            return number
    raise UnsupportedImageError(
        f"Expected one of {_listed([_told(every, number) for number in range(len(every))])} as series of "
        f"{name}; got {wanted!r}."
    )


def _listed(told: list[str]) -> str:
    more = f" and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
    return f"{'; '.join(told[:_MOST_TOLD])}{more}"


def _told(every: list[Any], number: int) -> str:
    series = every[number]
    sizes = dict(zip(series.axes, series.shape, strict=True))
    called = f" ({series.name[:_LONGEST_NAME]})" if series.name else ""
    return f"{number}{called}, {sizes.get('Y', 0)} × {sizes.get('X', 0)} px"


def spacing_of(file: tifffile.TiffFile, number: int) -> SpacingYX:
    """Return micrometres per pixel of a series.

    OME, ImageJ, Aperio, Philips, Ventana, Leica and microscopes say it in words of their own; the tags of all
    others are believed where they are finer than 30 µm: coarser ones are a printer's or a camera's.
    """
    page: Any = file.series[number].keyframe
    if file.is_ome:
        return _ome(file, number)
    if file.is_scn:
        return _leica(file, page.index)
    description = page.description or file.pages.first.description
    if match := _APERIO.search(description):
        return spacing_um(match[1], match[1], 1.0)
    if steps := _PHILIPS.findall(description):
        return min((spacing_um(row, col, 1e3) for row, col in steps), key=lambda step: step or (1e9, 1e9))
    if match := _VENTANA.search(_xmp(page) or description):
        return spacing_um(match[1], match[1], 1.0)
    return _from_microscope(file) or _from_tags(file, page)


def _from_microscope(file: tifffile.TiffFile) -> SpacingYX:
    """Micrometres per pixel in the words of Zeiss LSM, Olympus SIS, MetaMorph or Micro-Manager."""
    if said := file.lsm_metadata:
        return spacing_um(said.get("VoxelSizeY"), said.get("VoxelSizeX"), 1e6)
    if said := file.sis_metadata:
        return spacing_um(said.get("pixelsizey"), said.get("pixelsizex"), 1e6)
    if said := file.stk_metadata:
        unit = unit_um(said.get("CalibrationUnits")) if said.get("SpatialCalibration") else None
        return spacing_um(said.get("YCalibration"), said.get("XCalibration"), unit)
    if said := file.micromanager_metadata:
        step = said.get("Summary", {}).get("PixelSize_um")
        return spacing_um(step, step, 1.0)
    return None


def _xmp(page: Any) -> str:
    value = page.tags[_XMP].value if _XMP in page.tags else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _ome(file: tifffile.TiffFile, number: int) -> SpacingYX:
    images = ome_images(file)
    if not images:
        return None
    pixels = images[number if number < len(images) else 0]["Pixels"]
    y = spacing_um(pixels.get("PhysicalSizeY"), 1.0, unit_um(pixels.get("PhysicalSizeYUnit", "µm")))
    x = spacing_um(1.0, pixels.get("PhysicalSizeX"), unit_um(pixels.get("PhysicalSizeXUnit", "µm")))
    return (y[0], x[1]) if y and x else None


def ome_images(file: tifffile.TiffFile) -> list[Any]:
    """Return the Image elements of a file's OME metadata, as `tifffile.xml2dict` gives them."""
    return _elements(tifffile.xml2dict(file.ome_metadata or "")["OME"].get("Image"))


def _leica(file: tifffile.TiffFile, page: int) -> SpacingYX:
    """Micrometres per pixel of the image with this page: SCN says its size on the slide, in nanometres."""
    for collection in _elements(tifffile.xml2dict(file.scn_metadata or "")["scn"].get("collection")):
        for image in _elements(collection.get("image")):
            pixels, view = image["pixels"], image["view"]
            if page in [level.get("ifd") for level in _elements(pixels.get("dimension"))]:
                size_y, size_x = (float(pixels[side]) for side in ("sizeY", "sizeX"))
                return spacing_um(float(view["sizeY"]) / size_y, float(view["sizeX"]) / size_x, 1e-3)
    return None


def _elements(found: Any) -> list[Any]:
    """Elements of one name, of which `xml2dict` gives one alone without a list, and none as None."""
    return found if isinstance(found, list) else [] if found is None else [found]


def _from_tags(file: tifffile.TiffFile, page: Any) -> SpacingYX:
    tags = page.tags
    if "XResolution" not in tags or "YResolution" not in tags:
        return None
    per_unit = [_ratio(tags[name].value) for name in ("YResolution", "XResolution")]
    if not all(per_unit):
        return None
    said = str((file.imagej_metadata or {}).get("unit", "")) if file.is_imagej else ""
    if file.is_imagej and not said.startswith("in"):  # ImageJ's word for a number of dots per inch
        return spacing_um(1 / per_unit[0], 1 / per_unit[1], unit_um(said))
    unit = 2 if said or "ResolutionUnit" not in tags else int(tags["ResolutionUnit"].value)
    spacing = spacing_um(1 / per_unit[0], 1 / per_unit[1], {2: 25_400.0, 3: 1e4}.get(unit))
    return None if spacing is None or _is_for_print(max(spacing)) else spacing


def _ratio(value: tuple[int, int]) -> float:
    numerator, denominator = value
    return numerator / denominator if denominator else 0.0


def _is_for_print(step_um: float) -> bool:
    dpi = 25_400.0 / step_um
    return step_um > _COARSEST_UM or any(abs(dpi - usual) < 0.01 * usual for usual in _PRINT_DPI)
