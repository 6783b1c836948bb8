"""One DICOM file: its header, what its pixels mean, how large they are, and its frames decoded."""

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import get_frame
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_file_meta_info, read_partial
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.base import SpacingYX, decoding, spacing_um
from napari_sslmaps.sources.claims import check_claim, check_coded, check_packed, held_bytes
from napari_sslmaps.sources.dicom_values import Colours, Values, frame_group

DAMAGE = (
    InvalidDicomError,
    BytesLengthException,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,  # what pydicom raises when every decoder failed
    AttributeError,  # a required element is missing
    NotImplementedError,  # no decoder knows the transfer syntax
    KeyError,
    TypeError,  # an element without a value
    struct.error,
    zlib.error,  # of a deflated file
)
_DIRECTORY = "1.2.840.10008.1.3.10"
_CENTIMETRES, _TISSUE = 3, 1
_FLOATS, _DOUBLES = 0x7FE00008, 0x7FE00009
_META_END = 144
"""Preamble, mark, and the element that says how long the rest of the meta information is."""
_ITEM_BYTES, _ELEMENT_BYTES, _FEW_FRAMES = 8, 12, 1024
"""Bytes before the value of an item and of an element with coded pixels; frames that are always believed."""
_PIXELS = (_FLOATS, _DOUBLES, 0x7FE00010)
_BITS = (1, 8, 16, 32, 64)
_MOST_SAID = 80
"""Letters of what a header says that a sentence repeats."""
_JPEG_12_BIT = ("1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55")
"""Lossy JPEG of up to 12 bits, with retired ways to store it: of grey, imagecodecs decodes it."""
_JPEG_XL = ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112")
Area = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class DicomFile:
    """A file whose header is read: what its pixels mean, and where they are measured."""

    path: Path
    header: pydicom.Dataset
    meaning: Colours | Values
    seekable: bool
    place: int
    """Where the element with the pixels starts."""

    @classmethod
    def read(cls, path: Path) -> "DicomFile":
        """Read a header; raises `UnsupportedImageError` where there is nothing to show."""
        with decoding(path.name, "a readable DICOM file", *DAMAGE):
            header, pixels, place = _header(path)
            about = header.file_meta
            bare = "TransferSyntaxUID" not in about or not header.get("PhotometricInterpretation")
            if "TransferSyntaxUID" not in about:
                implicit, little = header.original_encoding
                explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
                about.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
            if header.get("SamplesPerPixel") is None:
                header.SamplesPerPixel, bare = 1, True
            if not header.get("PhotometricInterpretation"):
                header.PhotometricInterpretation = "RGB" if header.SamplesPerPixel == 3 else "MONOCHROME2"
            _check_decodable(header, path)
            stored = _stored_dtype(header, pixels)
            _check_size(header, stored, path)
            palette = header.PhotometricInterpretation == "PALETTE COLOR"
            colour = palette or header.SamplesPerPixel == 3
            frames = int(header.get("NumberOfFrames", 1) or 1)
            meaning = Colours(header, stored) if colour else Values(header, stored, frames)
        seekable = not bare and about.TransferSyntaxUID != DeflatedExplicitVRLittleEndian
        return cls(path, header, meaning, seekable, place)

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(self.header.get("NumberOfFrames", 1) or 1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels."""
        return int(self.header.Rows), int(self.header.Columns), 3 if isinstance(self.meaning, Colours) else 1

    def pixels(self, frame: int) -> NDArray[Any]:
        """Decode a frame.

        Raises
        ------
        ValueError
            If it is not as large as the header says, or of another type.
        """
        stored, (rows, cols) = self._stored(frame), self.shape[:2]
        indices = isinstance(self.meaning, Values) or self.meaning.has_palette
        if stored.shape != ((rows, cols) if indices else (rows, cols, 3)):
            raise ValueError(f"a frame of {rows} × {cols} px decodes to {stored.shape}")
        if not np.can_cast(stored.dtype, self.meaning.stored):
            raise ValueError(f"a frame of {self.meaning.stored} decodes to {stored.dtype}")
        return self.meaning.of(stored, frame)

    def _stored(self, frame: int) -> NDArray[Any]:
        """Decode a frame as it is stored, by whatever decodes it."""
        decode = _beside_pydicom(self.header)
        if decode is not None and self.header.file_meta.TransferSyntaxUID in _JPEG_XL:
            return self._by_imagecodecs(frame, decode)
        try:
            return self._by_pydicom(frame)
        except (RuntimeError, NotImplementedError) as error:  # of all decoders
            if decode is not None:
                return self._by_imagecodecs(frame, decode)
            syntax = self.header.file_meta.TransferSyntaxUID.name
            raise UnsupportedImageError(
                f"Expected DICOM pixels that can be decoded; {self.path.name} cannot be decoded as {syntax}. "
                f"If other programs show them, convert the file: gdcmconv --raw {self.path.name} "
                "out.dcm. If none does, it is damaged: copy it again."
            ) from error

    def _by_pydicom(self, frame: int) -> NDArray[Any]:
        """Decode a frame from where it lies in the file; in memory, where that cannot be told."""
        syntax = self.header.file_meta.TransferSyntaxUID
        if syntax == RLELossless:
            _check_rle(self._coded(frame), *self.shape[:2])
        elif syntax.is_encapsulated:
            check_coded(self._coded(frame), self.shape[:2])
        if self.seekable:
            with suppress(ValueError):  # items of frames that are not where they should be
                return pixel_array(self.path, index=frame)
        return pixel_array(self._whole(), index=frame)

    def _whole(self) -> pydicom.Dataset:
        """Read all of the file, with what its header leaves out."""
        whole = pydicom.dcmread(self.path, force=True)
        whole.file_meta.TransferSyntaxUID = self.header.file_meta.TransferSyntaxUID
        for keyword in ("SamplesPerPixel", "PhotometricInterpretation"):
            if not whole.get(keyword):
                setattr(whole, keyword, self.header[keyword].value)
        return whole

    def _by_imagecodecs(self, frame: int, decode: Callable[[bytes], NDArray[Any]]) -> NDArray[Any]:
        return decode(self._coded(frame))

    def _coded(self, frame: int) -> bytes:
        """Bytes of a frame, from where it lies in the file; in memory, where that cannot be told."""
        if self.seekable:
            with suppress(ValueError), self.path.open("rb") as file:
                file.seek(self.place + _ELEMENT_BYTES)
                return get_frame(file, frame, number_of_frames=self.frames)
        return get_frame(self._whole().PixelData, frame, number_of_frames=self.frames)

    def spacing(self, frame: int, point_yx: tuple[float, float]) -> SpacingYX:
        """Micrometres per pixel at a point of a frame: of a part of the body, else of the detector."""
        measures = frame_group(self.header, frame, "PixelMeasuresSequence") or self.header
        for said in (measures, self.header):
            for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
                steps = said.get(keyword)
                if isinstance(steps, pydicom.multival.MultiValue) and len(steps) == 2:
                    return spacing_um(steps[0], steps[1], 1e3)
        calibrated = list(_calibrated(self.header))
        around = [spacing for area, spacing in calibrated if _contains(area, point_yx)]
        if around:
            return around[0]
        agreed = {spacing for _, spacing in calibrated}
        return agreed.pop() if len(agreed) == 1 else None


_RLE_HEADER, _RLE_TIMES = 64, 64
"""Bytes before the first segment of a frame, and how many times its size one can unpack to."""


def _check_rle(coded: bytes, rows: int, cols: int) -> None:
    """Refuse a frame of which a segment unpacks to far more than the pixels."""
    most = 4 * rows * cols + 2**20
    if len(coded) < _RLE_HEADER or len(coded) * _RLE_TIMES <= most:
        return
    count, *starts = struct.unpack_from("<16I", coded)
    for start, end in pairwise((*starts[: min(count, 15)], len(coded))):
        imagecodecs.packbits_decode(coded[start:end], out=most)


_MOST_INFLATED, _AT_A_TIME = 2**29, 2**22


def check_inflated(path: Path) -> None:
    """Refuse a deflated file that unpacks to more than half a gigabyte, before all of it is unpacked.

    Raises
    ------
    UnsupportedImageError
        If it does.
    """
    with path.open("rb") as file:
        start = file.read(_META_END)
        if start[128:132] != b"DICM" or start[132:136] != b"\2\0\0\0":
            return
        file.seek(_META_END + int.from_bytes(start[140:144], "little"))
        if read_file_meta_info(path).get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        inflating, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while size <= _MOST_INFLATED and not inflating.eof:
            data = inflating.unconsumed_tail or file.read(_AT_A_TIME)
            if not data:
                return
            size += len(inflating.decompress(data, _AT_A_TIME))
    if size > _MOST_INFLATED:
        raise UnsupportedImageError(
            f"Expected a deflated DICOM file of at most {_MOST_INFLATED / 1e9:.1f} GB; {path.name} unpacks "
            "to more. If it is to be trusted, unpack it with dcmconv +te."
        )


def _header(path: Path) -> tuple[pydicom.Dataset, int, int]:
    """Read all that comes before the pixels, and the tag that these have and where they start."""
    seen = [0]

    def at_pixels(tag: int, _kind: str | None, _length: int) -> bool:
        seen[0] = int(tag)
        return tag in _PIXELS

    with path.open("rb") as file:
        header = read_partial(file, at_pixels, force=True)
        place = file.tell()
    if seen[0] in _PIXELS and "Rows" in header:
        return header, seen[0], place
    uid = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
    if uid == _DIRECTORY:
        raise UnsupportedImageError(
            f"Expected a DICOM image with pixels; {path.name} lists others. Give one of the files that it "
            "lists, or the folder of a series."
        )
    kind = uid.name[:_MOST_SAID] if uid else "no SOP class"
    raise UnsupportedImageError(
        f"Expected a DICOM image with pixels; {path.name} has none ({kind}). "
        "Choose an image file, or copy this one again if it should be one."
    )


def _beside_pydicom(header: pydicom.Dataset) -> Callable[[bytes], NDArray[Any]] | None:
    """Return what decodes a frame that no decoder of pydicom knows: JPEG of 12 bits if grey, and JPEG XL."""
    syntax = header.file_meta.TransferSyntaxUID
    if syntax in _JPEG_XL:
        found: Callable[[bytes], NDArray[Any]] = imagecodecs.jpegxl_decode
        return found
    plain = header.SamplesPerPixel == 1 and not header.get("PixelRepresentation")
    return (
        imagecodecs.jpeg8_decode if syntax in _JPEG_12_BIT and plain and header.BitsAllocated == 16 else None
    )


def _check_decodable(header: pydicom.Dataset, path: Path) -> None:
    """Raise if pixels are stored in a way that is not decoded here, before they seem damaged."""
    syntax = header.file_meta.TransferSyntaxUID
    try:
        known = get_decoder(syntax).is_available
    except NotImplementedError:
        known = False
    how = syntax.name[:_MOST_SAID]
    if header.SamplesPerPixel not in (1, 3):
        kind = str(header.PhotometricInterpretation)[:_MOST_SAID]
        known, how = False, f"{header.SamplesPerPixel!s:.{_MOST_SAID}} samples of {kind}"
    if int(header.get("BitsAllocated", 8)) not in _BITS:
        known, how = False, f"{int(header.BitsAllocated)} bits without gaps, as before DICOM"
    if not known and _beside_pydicom(header) is None:
        raise UnsupportedImageError(
            f"Expected DICOM pixels that can be decoded; those of {path.name} are stored as {how}, "
            f"which is not supported. Convert it, for example with gdcmconv --raw {path.name} out.dcm."
        )


def _check_size(header: pydicom.Dataset, stored: np.dtype[Any], path: Path) -> None:
    """Refuse frames of which the file cannot have the bytes: one of them, and all where none is packed."""
    frames, there = int(header.get("NumberOfFrames", 1) or 1), held_bytes(path)
    frame = int(header.Rows) * int(header.Columns) * int(header.get("SamplesPerPixel", 1)) * stored.itemsize
    packed = header.file_meta.TransferSyntaxUID
    if frames < 1 or frame < 1:
        raise ValueError(f"it says {frames} frames of {header.Rows} × {header.Columns} px")
    check_claim(frame, there, path.name)
    check_packed(frame, there, path.name)
    bits = frame * 8 if int(header.get("BitsAllocated", 8)) != 1 else frame
    coded = packed in _JPEG_XL or packed.is_encapsulated
    smallest = _ITEM_BYTES if coded or packed == DeflatedExplicitVRLittleEndian else max(1, bits // 16)
    if frames > 1 and frames * smallest > _FEW_FRAMES + there:
        raise ValueError(f"it says {frames} frames, of which it cannot have the bytes")


def _stored_dtype(header: pydicom.Dataset, pixels: int) -> np.dtype[Any]:
    if pixels in (_FLOATS, _DOUBLES):
        return np.dtype(np.float32 if pixels == _FLOATS else np.float64)
    bits = max(8, int(header.BitsAllocated))
    return np.dtype(f"{'i' if header.get('PixelRepresentation', 0) else 'u'}{bits // 8}")


def aspect_of(header: pydicom.Dataset) -> tuple[float, float]:
    """Height and width of a pixel, in any unit."""
    ratio = header.get("PixelAspectRatio")
    if not isinstance(ratio, pydicom.multival.MultiValue) or len(ratio) != 2:  # as old files have it: 1
        return 1.0, 1.0
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
