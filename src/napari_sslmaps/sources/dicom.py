"""DICOM: ultrasound clips and single frames, and other images whose frames are whole."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.base import ImageLayout, SourceBase, SpacingYX, decoding, spacing_um
from napari_sslmaps.sources.decoded_cache import Kept
from napari_sslmaps.sources.protocol import ImageSource, Level

_DAMAGE = (
    InvalidDicomError,
    BytesLengthException,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,  # what pydicom raises when every decoder failed
    AttributeError,  # a required element is missing
    NotImplementedError,  # no decoder knows the transfer syntax
    KeyError,
    struct.error,
)
_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_CENTIMETRES, _TISSUE = 3, 1
_KEPT_BYTES = 64 * 2**20


def open_dicom(path: Path) -> ImageSource:
    """Open a DICOM file: a tiled slide through OpenSlide, all else frame by frame.

    Raises
    ------
    MissingExtraError
        If it is a slide and OpenSlide is not installed.
    UnsupportedImageError
        If it holds no pixels, or is damaged.
    """
    with decoding(path.name, "a readable DICOM file", *_DAMAGE):
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=["SOPClassUID"])
    if header.get("SOPClassUID") == _WHOLE_SLIDE:
        from napari_sslmaps.sources.slide import OpenSlideSource

        return OpenSlideSource(path)
    return DicomSource(path)


class DicomSource(SourceBase):
    """A DICOM file; a frame is decoded when it is asked for, and those used last are kept.

    Palette and YBR images arrive as RGB, MONOCHROME1 is inverted so that bright means dense.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    UnsupportedImageError
        If it holds no pixels, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        with decoding(path.name, "a readable DICOM file", *_DAMAGE):
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            self._check_kind(header, path)
            layout = _layout(header)
        self._path, self._header = path, header
        self._kept = Kept(_KEPT_BYTES)
        super().__init__(path.stem, layout)

    @staticmethod
    def _check_kind(header: pydicom.Dataset, path: Path) -> None:
        if "SOPClassUID" not in header or "Rows" not in header:
            kind = header.SOPClassUID.name if "SOPClassUID" in header else "no SOP class"
            raise UnsupportedImageError(
                f"Expected a DICOM image with pixels; {path.name} has none ({kind}). Choose an "
                "image file, or copy this one again if it should be one."
            )

    def _decode(self, region: Region) -> NDArray[Any]:
        with decoding(self._path.name, "a readable DICOM file", *_DAMAGE):
            frame = self._kept.get(region.frame, lambda: self._frame(region.frame))
        rows = slice(region.y, region.y + region.height)
        return np.array(frame[rows, region.x : region.x + region.width])

    def _frame(self, index: int) -> NDArray[Any]:
        # Inside a deflated file there is nothing to seek to: it is read whole.
        deflated = self._header.file_meta.TransferSyntaxUID.is_deflated
        source = pydicom.dcmread(self._path) if deflated else self._path
        pixels: NDArray[Any] = pixel_array(source, index=index)
        if self._header.PhotometricInterpretation == "PALETTE COLOR":
            coloured = apply_color_lut(pixels, self._header)
            return _to_bytes(coloured)
        if self._header.PhotometricInterpretation == "MONOCHROME1":
            low, high = _stored_range(self._header)
            return (high - (pixels.astype(np.int64) - low)).astype(pixels.dtype)
        return pixels

    def _release(self) -> None:
        self._kept.clear()


def _layout(header: pydicom.Dataset) -> ImageLayout:
    palette = header.PhotometricInterpretation == "PALETTE COLOR"
    colour = palette or header.get("SamplesPerPixel", 1) == 3
    return ImageLayout(
        levels=(Level((int(header.Rows), int(header.Columns))),),
        channels=3 if colour else 1,
        dtype=np.dtype(np.uint8) if palette else _dtype(header),
        frames=int(header.get("NumberOfFrames", 1) or 1),
        spacing_um_yx=_spacing(header),
    )


def _dtype(header: pydicom.Dataset) -> np.dtype[Any]:
    bits = int(header.BitsAllocated)
    if bits == 1:
        return np.dtype(np.uint8)
    return np.dtype(f"{'i' if header.get('PixelRepresentation', 0) else 'u'}{bits // 8}")


def _to_bytes(coloured: NDArray[Any]) -> NDArray[np.uint8]:
    rgb = coloured[..., :3]
    return (rgb >> 8).astype(np.uint8) if rgb.dtype.itemsize == 2 else rgb.astype(np.uint8)


def _stored_range(header: pydicom.Dataset) -> tuple[int, int]:
    bits = int(header.BitsStored)
    if header.get("PixelRepresentation", 0):
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1


def _spacing(header: pydicom.Dataset) -> SpacingYX:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        if header.get(keyword):
            row, col = header[keyword].value
            return spacing_um(row, col, 1e3)
    for region in header.get("SequenceOfUltrasoundRegions", ()):
        if _is_calibrated_tissue(region) and _belongs(region, header):
            return spacing_um(abs(region.PhysicalDeltaY), abs(region.PhysicalDeltaX), 1e4)
    return None


def _is_calibrated_tissue(region: pydicom.Dataset) -> bool:
    units = (region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection"))
    return region.get("RegionSpatialFormat") == _TISSUE and units == (_CENTIMETRES, _CENTIMETRES)


def _belongs(region: pydicom.Dataset, header: pydicom.Dataset) -> bool:
    """Whether the calibration can be that of these pixels.

    Files are resampled and keep the header of the original; then the calibrated rectangle reaches
    beyond the image on both axes. One that does so on one axis only was cropped, which keeps the scale.
    """
    beyond_y = region.get("RegionLocationMaxY1", 0) > header.Rows
    beyond_x = region.get("RegionLocationMaxX1", 0) > header.Columns
    return not (beyond_y and beyond_x)
