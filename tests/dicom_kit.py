"""Small DICOM files, for what real ones of pydicom do not have."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage, generate_uid

KEYWORDS = {"f": "FloatPixelData", "d": "DoubleFloatPixelData"}


def item(**elements: Any) -> Dataset:
    """A data set of some elements."""
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def items(**elements: Any) -> Sequence:
    """A sequence of one such data set."""
    return Sequence([item(**elements)])


def write_dicom(
    path: Path, pixels: NDArray[Any], syntax: str = ExplicitVRLittleEndian, **elements: Any
) -> Path:
    """Write ([frames,] rows, columns) of grey numbers; elements of value None are left out."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = UltrasoundImageStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.SeriesInstanceUID = "1.2.3"
    made.Rows, made.Columns = pixels.shape[-2:]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    if pixels.ndim == 3:
        made.NumberOfFrames = len(pixels)
    made.BitsAllocated = 8 * pixels.dtype.itemsize
    if pixels.dtype.kind != "f":
        made.BitsStored, made.HighBit = made.BitsAllocated, made.BitsAllocated - 1
        made.PixelRepresentation = int(pixels.dtype.kind == "i")
    order = ">" if syntax.endswith("1.2.2") else "<"
    setattr(
        made,
        KEYWORDS.get(pixels.dtype.char, "PixelData"),
        pixels.astype(pixels.dtype.newbyteorder(order)).tobytes(),
    )
    for keyword, value in elements.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    made.save_as(path, enforce_file_format="SOPClassUID" in made)
    return path


def ramp(dtype: str = "uint8", shape: tuple[int, ...] = (24, 32)) -> NDArray[Any]:
    """Numbers that all differ from their neighbours."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)
