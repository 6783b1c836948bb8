"""Images by content: anything that is an image → the source that reads it, and the images of a folder."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.array import ArraySource, open_npy
from napari_sslmaps.sources.base import SourceBase
from napari_sslmaps.sources.formats import DICOM_SUFFIXES, begins_as_dicom
from napari_sslmaps.sources.identity import FileIdentity
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.slide import SLIDE_SUFFIXES, OpenSlideSource

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF8")
_READABLE = "TIFF (also SVS, NDPI and OME-TIFF), DICOM, MRXS, OME-Zarr, PNG, JPEG, BMP or .npy"


def open_image(image: Any, *, frames: bool = False, name: str | None = None) -> ImageSource:
    """Open an image for reading region by region.

    Parameters
    ----------
    image
        A path, a NumPy array, a tensor, a list of arrays (levels, finest first), or an `ImageSource`,
        which is returned as it is.
    frames
        Whether the first axis of an array is time or z. Files say so themselves.
    name
        Short name for titles; for a file its stem is used.

    Returns
    -------
    ImageSource
        Close it, or use it in a ``with`` statement.

    Raises
    ------
    UnsupportedImageError
        If the file is missing, unknown or damaged, or the array cannot be an image.
    MissingExtraError
        If it is a slide that only OpenSlide reads, and OpenSlide is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> with open_image(np.zeros((32, 48), np.uint8)) as source:
    ...     source.levels[0].shape_yx, source.channels
    ((32, 48), 1)
    """
    if isinstance(image, str | os.PathLike):
        path = Path(image).expanduser()
        file = FileIdentity.of(path)  # before it is opened: a change from then on is noticed
        opened = _open_path(path, frames)
        if isinstance(opened, SourceBase):
            opened.file = file
        return opened
    if all(hasattr(image, needed) for needed in ("levels", "read", "close")):
        source: ImageSource = image
        return source
    return ArraySource(image, name or "array", frames=frames)


def _open_path(path: Path, frames: bool) -> ImageSource:
    if path.is_dir():
        return _open_folder(path)
    start = _signature(path)
    if path.suffix.lower() in SLIDE_SUFFIXES:
        return OpenSlideSource(path)
    # Before TIFF: a DICOM preamble may hold a TIFF header (examples_rgb_color.dcm has one).
    if begins_as_dicom(start) or path.suffix.lower() in DICOM_SUFFIXES:
        from napari_sslmaps.sources.dicom import open_dicom

        return open_dicom(path)
    if start.startswith(_TIFF):
        from napari_sslmaps.sources.tiff import TiffSource

        return TiffSource(path)
    if start.startswith(_PICTURES) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP"):
        from napari_sslmaps.sources.picture import PictureSource

        return PictureSource(path)
    if start.startswith(b"\x93NUMPY"):
        return open_npy(path, frames=frames)
    raise UnsupportedImageError(
        f"Expected {_READABLE}; {path.name} starts with {start[:8]!r}, which is none of them. "
        "Convert it, for example to OME-TIFF, and open that."
    )


def _open_folder(path: Path) -> ImageSource:
    if any((path / marker).exists() for marker in ("zarr.json", ".zattrs", ".zgroup", ".zarray")):
        from napari_sslmaps.sources.zarr import ZarrSource

        return ZarrSource(path)
    from napari_sslmaps.sources.dicom import open_dicom_folder

    stack = open_dicom_folder(path)
    if stack is not None:
        return stack
    raise UnsupportedImageError(
        f"Expected an image file, an OME-Zarr folder or a folder of DICOM slices; {path} is a folder with "
        "neither. Give the path of one image in it."
    )


def _signature(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except FileNotFoundError as error:
        raise UnsupportedImageError(
            f"Expected an image file; there is none at {path}. Check the path."
        ) from error
    except OSError as error:
        raise UnsupportedImageError(
            f"Expected a readable image file; {path} cannot be opened ({error.strerror}). "
            "Check its permissions."
        ) from error
    if not start:
        raise UnsupportedImageError(f"Expected an image file; {path.name} is empty. Copy or export it again.")
    return start


PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
IMAGE_SUFFIXES = (
    *PICTURES,
    *(".tif", ".tiff", ".svs", ".ndpi", ".scn", ".bif", ".mrxs", ".vms", ".dcm", ".dicom", ".npy", ".zarr"),
)


def find_images(folder: Path) -> Iterator[Path]:
    """Yield what looks like an image in a folder and all folders below it, in order of names.

    Hidden files are left out, ``.zarr`` folders are one image each, and files without a suffix are taken if
    they begin as DICOM does.
    """
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        suffix = path.suffix.lower()
        if path.is_dir() and suffix != ".zarr":
            yield from find_images(path)
        elif suffix in IMAGE_SUFFIXES or (not suffix and _is_dicom(path)):
            yield path


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
