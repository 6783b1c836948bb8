"""A tiled DICOM slide, one file per level, written by pydicom."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Sequence as Items
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage, generate_uid

SIDE = 64


def write_dicom_slide(
    folder: Path, levels: Sequence[NDArray[np.uint8]], spacing_um: float
) -> list[NDArray[np.uint8]]:
    """Write RGB levels, their sides multiples of 64 px; return them as Pillow decodes them."""
    series, decoded = [generate_uid() for _ in range(3)], []
    for number, level in enumerate(levels):
        frames, rows = [], []
        for y in range(0, level.shape[0], SIDE):
            row = []
            for x in range(0, level.shape[1], SIDE):
                stream = io.BytesIO()
                Image.fromarray(level[y : y + SIDE, x : x + SIDE]).save(stream, "JPEG", quality=95)
                frames.append(stream.getvalue())
                row.append(np.asarray(Image.open(stream)))
            rows.append(np.concatenate(row, axis=1))
        decoded.append(np.concatenate(rows))
        dataset = _dataset(level.shape[:2], series, spacing_um * 2**number, first=number == 0)
        dataset.NumberOfFrames = len(frames)
        dataset.PixelData = encapsulate(frames)
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return decoded


def _dataset(shape: tuple[int, ...], series: Sequence[str], spacing_um: float, *, first: bool) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = series
    dataset.Modality = "SM"
    dataset.ImageType = [
        "ORIGINAL" if first else "DERIVED",
        "PRIMARY",
        "VOLUME",
        "NONE" if first else "RESAMPLED",
    ]
    dataset.Rows = dataset.Columns = SIDE
    dataset.TotalPixelMatrixRows, dataset.TotalPixelMatrixColumns = shape
    dataset.SamplesPerPixel, dataset.PlanarConfiguration, dataset.PixelRepresentation = 3, 0, 0
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.DimensionOrganizationType = "TILED_FULL"
    dataset.TotalPixelMatrixFocalPlanes = dataset.NumberOfOpticalPaths = 1
    path, measures, shared = Dataset(), Dataset(), Dataset()
    path.OpticalPathIdentifier = "1"
    measures.PixelSpacing = [spacing_um / 1000] * 2
    shared.PixelMeasuresSequence = Items([measures])
    dataset.OpticalPathSequence = Items([path])
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    return dataset
