"""DICOM: ultrasound clips and single frames, other images whose frames are whole, and folders of slices."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.base import ImageLayout, SourceBase, SpacingYX, check_claim, decoding, spacing_um
from napari_sslmaps.sources.decoded_cache import DecodedCache
from napari_sslmaps.sources.dicom_values import Colours, Values, frame_group
from napari_sslmaps.sources.formats import DICOM_SUFFIXES, begins_as_dicom
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
_DIRECTORY = "1.2.840.10008.1.3.10"
_CENTIMETRES, _TISSUE = 3, 1
_KEPT_BYTES = 64 * 2**20
_ITEM_BYTES, _FEW_FRAMES = 8, 1024
_FLOATS, _DOUBLES = 0x7FE00008, 0x7FE00009
_PIXELS = (_FLOATS, _DOUBLES, 0x7FE00010)
_KINDS = ["SOPClassUID", "BitsAllocated", "SamplesPerPixel"]
_PLACES = ["Rows", "SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "InstanceNumber"]
Area = tuple[int, int, int, int]


def open_dicom(path: Path) -> ImageSource:
    """Open a DICOM file: a tiled slide through OpenSlide, all else frame by frame.

    Raises
    ------
    MissingExtraError
        If it is a slide and OpenSlide is not installed.
    UnsupportedImageError
        If it holds no pixels, is damaged, or nothing here can decode it.
    """
    with decoding(path.name, "a readable DICOM file", *_DAMAGE):
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=_KINDS)
    if header.get("SOPClassUID") == _WHOLE_SLIDE:
        if header.get("BitsAllocated", 8) != 8 or header.get("SamplesPerPixel", 3) != 3:
            raise UnsupportedImageError(
                f"Expected a DICOM slide of 8-bit colours, which OpenSlide reads; {path.name} has "
                f"{header.get('SamplesPerPixel')} channel(s) of {header.get('BitsAllocated')} bits. Convert "
                f"it: bioformats2raw {path.name} slide.zarr (Bio-Formats), and open slide.zarr."
            )
        from napari_sslmaps.sources.slide import OpenSlideSource

        return OpenSlideSource(path)
    return DicomSource([path])


def open_dicom_folder(folder: Path) -> ImageSource | None:
    """Open the slices in a folder as one stack, in the order of their places; None if there is none.

    Slices lie along the normal of their plane. Where a file has no place, its instance number decides, else
    its name.

    Raises
    ------
    UnsupportedImageError
        If they are of several series or sizes, or one cannot be read.
    """
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and _is_dicom(path):
            with decoding(path.name, "a readable DICOM file", *_DAMAGE):
                header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=_PLACES)
            if header.get("Rows"):
                found.append((path, header))
    if not found:
        return None
    series: dict[str, list[str]] = {}
    for path, header in found:
        series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append(path.name)
    if len(series) > 1:
        counts = ", ".join(
            f"{len(names)} file{'s' * (len(names) > 1)} from {names[0]} on" for names in series.values()
        )
        raise UnsupportedImageError(
            f"Expected the DICOM slices of one series in {folder}; got {len(series)} series ({counts}). Give "
            "one of the files, or move each series into a folder of its own."
        )
    return DicomSource([path for path, _ in sorted(found, key=_place)], folder.name)


def _is_dicom(path: Path) -> bool:
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    with path.open("rb") as file:
        return begins_as_dicom(file.read(132))


class DicomSource(SourceBase):
    """One DICOM file or several of equal size; a frame is decoded when asked for, those used last are kept.

    Palette and YBR images arrive as RGB. Grey values are what the file says they measure: rescaled, or looked
    up in its tables, MONOCHROME1 inverted so that bright means dense.

    Parameters
    ----------
    paths
        The files, in the order of their frames.
    name
        Short name for titles; the stem of the first file if omitted.

    Raises
    ------
    UnsupportedImageError
        If one holds no pixels, is damaged or unlike the others, or nothing here can decode it.
    """

    reading = "values as the file says"

    def __init__(self, paths: Sequence[Path], name: str = "") -> None:
        self._files = [_File.read(path) for path in paths]
        self._frames = [(file, frame) for file in self._files for frame in range(file.frames)]
        self._kept = DecodedCache(_KEPT_BYTES)
        super().__init__(name or paths[0].stem, _layout(self._files))

    def spacing_at(self, point_yx: tuple[float, float], frame: int) -> SpacingYX:
        """Micrometres per pixel at a point of a frame: of the part of the image that the point is in."""
        file, number = self._frames[frame]
        return file.spacing(number, point_yx)

    def _decode(self, region: Region) -> NDArray[Any]:
        file, frame = self._frames[region.frame]
        with decoding(file.path.name, "a readable DICOM file", *_DAMAGE):
            pixels = self._kept.get(region.frame, lambda: file.pixels(frame))
        rows = slice(region.y, region.y + region.height)
        return np.array(pixels[rows, region.x : region.x + region.width])

    def _release(self) -> None:
        self._kept.clear()


@dataclass(frozen=True, slots=True)
class _File:
    """A file whose header is read: what its pixels mean, and where they are measured."""

    path: Path
    header: pydicom.Dataset
    meaning: Colours | Values
    seekable: bool

    @classmethod
    def read(cls, path: Path) -> "_File":
        """Read a header; raises `UnsupportedImageError` where there is nothing to show."""
        with decoding(path.name, "a readable DICOM file", *_DAMAGE):
            header, pixels = _header(path)
            about = header.file_meta
            bare = "TransferSyntaxUID" not in about
            if bare:
                implicit, little = header.original_encoding
                explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
                about.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
            _check_decodable(about.TransferSyntaxUID, path)
            stored = _stored_dtype(header, pixels)
            _check_size(header, stored, path)
            palette = header.PhotometricInterpretation == "PALETTE COLOR"
            colour = palette or header.get("SamplesPerPixel", 1) == 3
            frames = int(header.get("NumberOfFrames", 1) or 1)
            meaning = Colours(header, stored) if colour else Values(header, stored, frames)
        return cls(path, header, meaning, not (bare or about.TransferSyntaxUID.is_deflated))

    @property
    def frames(self) -> int:
        """How many it has."""
        return int(self.header.get("NumberOfFrames", 1) or 1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels."""
        return int(self.header.Rows), int(self.header.Columns), 3 if isinstance(self.meaning, Colours) else 1

    def pixels(self, frame: int) -> NDArray[Any]:
        """Decode a frame."""
        source: Path | pydicom.Dataset = self.path
        if not self.seekable:
            source = pydicom.dcmread(self.path, force=True)
            source.file_meta.TransferSyntaxUID = self.header.file_meta.TransferSyntaxUID
        try:
            stored = pixel_array(source, index=frame)
        except RuntimeError as error:  # of all decoders
            syntax = self.header.file_meta.TransferSyntaxUID.name
            raise UnsupportedImageError(
                f"Expected DICOM pixels that can be decoded; {self.path.name} cannot be decoded as {syntax}. "
                f"If other programs show them, convert the file: gdcmconv --raw {self.path.name} "
                "out.dcm. If none does, it is damaged: copy it again."
            ) from error
        return self.meaning.of(stored, frame)

    def spacing(self, frame: int, point_yx: tuple[float, float]) -> SpacingYX:
        """Micrometres per pixel at a point of a frame: of a part of the body, else of the detector."""
        measures = frame_group(self.header, frame, "PixelMeasuresSequence") or self.header
        for said in (measures, self.header):
            for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
                if said.get(keyword):
                    row, col = said[keyword].value
                    return spacing_um(row, col, 1e3)
        calibrated = list(_calibrated(self.header))
        around = [spacing for area, spacing in calibrated if _contains(area, point_yx)]
        if around:
            return around[0]
        agreed = {spacing for _, spacing in calibrated}
        return agreed.pop() if len(agreed) == 1 else None


def _header(path: Path) -> tuple[pydicom.Dataset, int]:
    """Read all that comes before the pixels, and the tag that these have."""
    seen = [0]

    def at_pixels(tag: int, _kind: str | None, _length: int) -> bool:
        seen[0] = int(tag)
        return tag in _PIXELS

    with path.open("rb") as file:
        header = read_partial(file, at_pixels, force=True)
    if seen[0] in _PIXELS and "Rows" in header:
        return header, seen[0]
    uid = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
    if uid == _DIRECTORY:
        raise UnsupportedImageError(
            f"Expected a DICOM image with pixels; {path.name} lists others. Give one of the files that it "
            "lists, or the folder of a series."
        )
    raise UnsupportedImageError(
        f"Expected a DICOM image with pixels; {path.name} has none ({uid.name if uid else 'no SOP class'}). "
        "Choose an image file, or copy this one again if it should be one."
    )


def _check_decodable(syntax: pydicom.uid.UID, path: Path) -> None:
    try:
        known = get_decoder(syntax).is_available
    except NotImplementedError:
        known = False
    if not known:
        raise UnsupportedImageError(
            f"Expected DICOM pixels that can be decoded; those of {path.name} are stored as {syntax.name}, "
            f"which is not supported. Convert it, for example with gdcmconv --raw {path.name} out.dcm."
        )


def _check_size(header: pydicom.Dataset, stored: np.dtype[Any], path: Path) -> None:
    """Refuse frames of which the file cannot have the bytes: one of them, and all where none is packed."""
    frames, there = int(header.get("NumberOfFrames", 1) or 1), path.stat().st_size
    frame = int(header.Rows) * int(header.Columns) * int(header.get("SamplesPerPixel", 1)) * stored.itemsize
    packed = header.file_meta.TransferSyntaxUID
    if frames < 1 or frame < 1:
        raise ValueError(f"it says {frames} frames of {header.Rows} × {header.Columns} px")
    check_claim(frame, there, path.name)
    bits = frame * 8 if int(header.get("BitsAllocated", 8)) != 1 else frame
    smallest = _ITEM_BYTES if packed.is_encapsulated or packed.is_deflated else max(1, bits // 16)
    if frames > 1 and frames * smallest > _FEW_FRAMES + there:
        raise ValueError(f"it says {frames} frames, of which it cannot have the bytes")


def _stored_dtype(header: pydicom.Dataset, pixels: int) -> np.dtype[Any]:
    if pixels in (_FLOATS, _DOUBLES):
        return np.dtype(np.float32 if pixels == _FLOATS else np.float64)
    bits = max(8, int(header.BitsAllocated))
    if bits not in (8, 16, 32, 64):
        raise ValueError(f"its pixels are of {bits} bits")
    return np.dtype(f"{'i' if header.get('PixelRepresentation', 0) else 'u'}{bits // 8}")


def _layout(files: Sequence[_File]) -> ImageLayout:
    first = files[0]
    for file in files:
        if file.shape != first.shape:
            sizes = [f"{rows} × {cols} × {colours}" for rows, cols, colours in (first.shape, file.shape)]
            raise UnsupportedImageError(
                f"Expected slices of one size; {first.path.name} has {sizes[0]} values, {file.path.name} "
                f"{sizes[1]}. Move those of another size into a folder of their own."
            )
    rows, cols, channels = first.shape
    middle = (rows - 1) / 2, (cols - 1) / 2
    return ImageLayout(
        levels=(Level((rows, cols)),),
        channels=channels,
        dtype=np.result_type(*(file.meaning.dtype for file in files)),
        frames=sum(file.frames for file in files),
        spacing_um_yx=first.spacing(0, middle),
        window=first.meaning.window,
        aspect_yx=_aspect(first.header),
    )


def _aspect(header: pydicom.Dataset) -> tuple[float, float]:
    ratio = header.get("PixelAspectRatio") or (1, 1)
    height, width = (float(side) for side in ratio)
    return (height, width) if height > 0 and width > 0 else (1.0, 1.0)


def _calibrated(header: pydicom.Dataset) -> Iterator[tuple[Area, tuple[float, float]]]:
    """Yield parts of an ultrasound image that show tissue, and their micrometres per pixel."""
    for region in header.get("SequenceOfUltrasoundRegions", ()):
        if _is_calibrated_tissue(region) and _belongs(region, header):
            spacing = spacing_um(abs(region.PhysicalDeltaY), abs(region.PhysicalDeltaX), 1e4)
            if spacing is not None:
                sides = (f"RegionLocation{side}" for side in ("MinY0", "MinX0", "MaxY1", "MaxX1"))
                top, left, bottom, right = (int(region.get(side, 0)) for side in sides)
                yield (top, left, bottom, right), spacing


def _contains(area: Area, point_yx: tuple[float, float]) -> bool:
    top, left, bottom, right = area
    return top <= point_yx[0] <= bottom and left <= point_yx[1] <= right


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


def _place(found: tuple[Path, pydicom.Dataset]) -> tuple[float, float, str]:
    """Return what slices are sorted by: distance along their normal, number, name."""
    path, header = found
    distance = 0.0
    if header.get("ImagePositionPatient") and header.get("ImageOrientationPatient"):
        axes = np.asarray(header.ImageOrientationPatient, float).reshape(2, 3)
        distance = float(np.cross(*axes) @ np.asarray(header.ImagePositionPatient, float))
    return distance, float(header.get("InstanceNumber") or 0), path.name
