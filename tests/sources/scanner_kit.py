"""Slides laid out as Leica and Philips scanners write them, small, with the macro photo first."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import tifffile
from numpy.typing import NDArray

Levels = Sequence[NDArray[np.uint8]]
JPEG: dict[str, Any] = {
    "photometric": "ycbcr",
    "subsampling": (2, 2),
    "compression": "jpeg",
    "tile": (64, 64),
    "metadata": None,
}
_NM_PER_UM = 1000


def write_scn(
    path: Path, macro: NDArray[np.uint8], levels: Levels, um: float, *, light: str = "brightfield"
) -> None:
    """Write a Leica SCN whose slide lies in the middle of a stage of 20 × 60 mm.

    Its tags say nothing of micrometres where it is of fluorescence, which OpenSlide refuses.
    """
    root = ET.Element("scn", xmlns="http://www.leica-microsystems.com/scn/2010/10/01")
    stage = {"sizeX": "20000000", "sizeY": "60000000"}
    collection = ET.SubElement(root, "collection", name="made", **stage)
    height, width = levels[0].shape[:2]
    step = um * _NM_PER_UM
    place = {"sizeX": f"{width * step:.0f}", "sizeY": f"{height * step:.0f}"}
    corner = {"offsetX": "3000000", "offsetY": "7000000"}
    _scn_image(collection, {**stage, "offsetX": "0", "offsetY": "0"}, [macro], 0, ("0.6", light))
    _scn_image(collection, {**place, **corner}, levels, 1, ("20", light))
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(macro, description=ET.tostring(root, "unicode"), **JPEG)
        for number, level in enumerate(levels):
            per_cm = 1e4 / (um * 2**number)
            tags = {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
            file.write(level, **(tags if light == "brightfield" else {}), **JPEG)


def _scn_image(
    parent: ET.Element, view: dict[str, str], levels: Levels, page: int, how: tuple[str, str]
) -> None:
    image = ET.SubElement(parent, "image")
    sizes = [{"sizeX": str(level.shape[1]), "sizeY": str(level.shape[0])} for level in levels]
    pixels = ET.SubElement(image, "pixels", **sizes[0])
    for number, size in enumerate(sizes):
        ET.SubElement(pixels, "dimension", r=str(number), ifd=str(page + number), **size)
    ET.SubElement(image, "view", spacingZ="0", **view)
    settings = ET.SubElement(image, "scanSettings")
    ET.SubElement(ET.SubElement(settings, "objectiveSettings"), "objective").text = how[0]
    ET.SubElement(ET.SubElement(settings, "illuminationSettings"), "illuminationSource").text = how[1]


def write_philips(path: Path, levels: Levels, um: float) -> None:
    """Write a Philips TIFF; sides are multiples of 64 px."""
    root = ET.Element("DataObject", ObjectType="DPUfsImport")
    _said(root, "DICOM_MANUFACTURER", "PHILIPS")
    scanned = _listed(root, "PIM_DP_SCANNED_IMAGES", "DPScannedImage")
    _said(scanned, "PIM_DP_IMAGE_TYPE", "WSI")
    _said(scanned, "DICOM_PIXEL_SPACING", f'"{um / 1000}" "{um / 1000}"')
    for number, level in enumerate(levels):
        kind = _listed(scanned, "PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE", "PixelDataRepresentation")
        step = f'"{um / 1000 * 2**number}"'
        _said(kind, "DICOM_PIXEL_SPACING", f"{step} {step}")
        _said(kind, "PIIM_PIXEL_DATA_REPRESENTATION_COLUMNS", str(level.shape[1]))
        _said(kind, "PIIM_PIXEL_DATA_REPRESENTATION_ROWS", str(level.shape[0]))
        _said(kind, "PIIM_PIXEL_DATA_REPRESENTATION_NUMBER", str(number))
    words = ET.tostring(root, "unicode")
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for number, level in enumerate(levels):
            description = words if number == 0 else f"level={number}"
            options = {
                "description": description,
                "subfiletype": int(number > 0),
                "software": "Philips DP v1.0",
            }
            file.write(level, **options, **JPEG)


def _listed(parent: ET.Element, name: str, kind: str) -> ET.Element:
    found = parent.find(f"Attribute[@Name='{name}']/Array")
    array = ET.SubElement(ET.SubElement(parent, "Attribute", Name=name), "Array") if found is None else found
    return ET.SubElement(array, "DataObject", ObjectType=kind)


def _said(parent: ET.Element, name: str, value: str) -> None:
    ET.SubElement(parent, "Attribute", Name=name).text = value
