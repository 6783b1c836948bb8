"""Images by content: anything that is an image → the source that reads it, and the images of a folder."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_sslmaps.errors import InvalidOptionError, UnsupportedImageError
from napari_sslmaps.files import read_regular, special_kind
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.base import SourceBase, check_alone, check_spacing
from napari_sslmaps.sources.channels import ChannelChoice, of_colours
from napari_sslmaps.sources.formats import (
    DICOM_SUFFIXES,
    IMAGE_SUFFIXES,
    SIGNATURE_BYTES,
    ZARR_MARKERS,
    begins_as_avif,
    begins_as_clip,
    begins_as_dicom,
    begins_as_volume,
    holds_zarr,
    is_url,
    local_path,
    path_in_zip,
    url_of,
)
from napari_sslmaps.sources.identity import FileIdentity
from napari_sslmaps.sources.jpegxl import begins_as_jpeg_xl, open_jpeg_xl
from napari_sslmaps.sources.nifti import pair_of
from napari_sslmaps.sources.npy import open_npy
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.refusals import check_beside, check_complete_vsi, check_known
from napari_sslmaps.sources.slide import SLIDE_SUFFIXES, OpenSlideSource, vendor_of

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURES = (
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF8"),
    *(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
)
_CZI, _ZIP, _NUMPY = b"ZISRAWFILE", b"PK\3\4", b"\x93NUMPY"
_TGA_BITS = (b"\x08", b"\x0f", b"\x10", b"\x18", b"\x20")
_PNM = re.compile(rb"P[1-6]\s")
SOURCES = "sources"
"""Folder, beside a record, of copies of images that were in memory."""
_DRAWN = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
_SAID_BYTES = 4096
_MARKS = (
    *(b"Software\0napari-sslmaps", b"\xff\xfe\0\x10napari-sslmaps", b"napari-sslmaps\0"),
    *(b'napari-sslmaps/map"', b"napari-sslmaps/map&quot;"),
)
"""What figures as PNG, JPEG and TIFF, and maps as TIFF, hold near their beginning."""
_LARGEST_RECORD = 2**24
_NO_SLIDES = (b"\x89PNG", b"BM", b"GIF8", b"RIFF", b"\x93NUMPY")
"""What no slide begins with, so that OpenSlide is not tried."""
_READABLE = (
    "TIFF (also SVS, NDPI, SCN, BIF, Philips and OME-TIFF), DICOM, MRXS, VMS, OME-Zarr, PNG, JPEG, "
    "JPEG 2000, JPEG XL, WebP, AVIF, GIF, BMP, TGA, .npy, "
    "or with the formats extra CZI, NIfTI, MHD, NRRD, MP4 and AVI"
)


def open_image(
    image: Any,
    *,
    frames: bool = False,
    name: str | None = None,
    series: int | str | None = None,
    um_per_px: float | tuple[float, float] | None = None,
    icc: bool = True,
    channel: ChannelChoice = None,
) -> ImageSource:
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
    series
        Number or name of the image to show of a file that holds several; by default the largest that is no
        label, macro or thumbnail. `notes` of what is returned says what was left out.
    um_per_px
        Micrometres per pixel of the finest level, where the user knows better than the file: one number, or
        those of rows and columns.
    icc
        Whether to convert the colours of a slide to sRGB by its ICC profile, where it has one.
    channel
        Number, from 0, or name of the channel to show of an image that has several; or up to three of them,
        as red, green and blue.

    Returns
    -------
    ImageSource
        Source of pixels; close it, or use it in a ``with`` statement.

    Raises
    ------
    UnsupportedImageError
        If the file is missing, unknown or damaged, or the array cannot be an image.
    ChannelsError
        If it has channels that are no colour image, and none is asked for; its `channels` lists them.
    InvalidOptionError
        If `um_per_px` is not positive, there is no series to choose, or no such channel.
    MissingExtraError
        If it is a slide that only OpenSlide reads, and OpenSlide does not run here.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> with ssl.open_image(np.zeros((32, 48), np.uint8)) as source:
    ...     source.levels[0].shape_yx, source.channels
    ((32, 48), 1)
    """
    if isinstance(image, str | os.PathLike):
        if is_url(image):
            check_alone(series, str(image))
            return _open_zarr(url_of(image), channel=channel)
        path = local_path(image)
        file = FileIdentity.of(path)  # before it is opened: a change from then on is noticed
        request = _OpenRequest(frames, series, icc, channel)
        try:
            opened = _open_path(path, request)
        except PermissionError as error:
            raise _refused(path, error) from error
        if isinstance(opened, SourceBase):
            opened.folder = path if path.is_dir() else None
            opened.file = file and replace(file, reading=request.reading(opened))
            if um_per_px is not None:
                opened.calibrate(um_per_px)
        return opened
    if series is not None:
        raise InvalidOptionError(
            f"Expected series with the path of a file; got it with {type(image).__name__}."
        )
    if all(hasattr(image, needed) for needed in ("levels", "read", "close")):
        if channel is not None:
            raise InvalidOptionError(
                f"Expected channel={channel!r} with a path or an array; got it with an image that is open. "
                "Choose its channel where it is opened: open_image(path, channel=…)."
            )
        source: ImageSource = image
        return source
    spacing = None if um_per_px is None else check_spacing(um_per_px)
    return ArraySource(image, name or "array", spacing, frames=frames, channel=channel)


@dataclass(frozen=True, slots=True)
class _OpenRequest:
    """Choices for opening a file, as `open_image` takes them."""

    frames: bool
    series: int | str | None
    icc: bool
    channel: ChannelChoice

    def reading(self, source: SourceBase) -> str:
        """Say in what way a file is read, where that is not the plainest one: its pixels are others then."""
        image = "" if self.series is None and self.icc else f"series {self.series}, ICC {self.icc}"
        channel = "" if self.channel is None else f"channel {self.channel}"
        return " ".join(filter(None, (source.reading, image, channel)))


def _open_path(path: Path, request: _OpenRequest) -> ImageSource:
    special = special_kind(path)
    if special:
        raise UnsupportedImageError(
            f"Expected an image file; {path} is {special}. Copy what comes out of it into a file."
        )
    if path.is_dir():
        return _open_folder(path, request)
    inside = path_in_zip(path)
    if inside is not None:
        check_alone(request.series, path.name)
        return _open_zarr(*inside, channel=request.channel)
    start = _signature(path)
    for opener in (_open_scan, _open_picture, _open_rare):
        opened = opener(path, start, request)
        if opened is not None:
            return opened
        check_alone(request.series, path.name)  # of the scans alone some hold several
    check_known(start, path.name)
    check_beside(pair_of(path)[0], path)
    raise UnsupportedImageError(
        f"Expected {_READABLE}; {path.name} starts with {start[:8]!r}, which is none of them. "
        "Convert it, for example to OME-TIFF, and open that."
    )


def _open_scan(path: Path, start: bytes, request: _OpenRequest) -> ImageSource | None:
    """Open DICOM, slides and TIFF; None if it is none of them."""
    # Before TIFF: a DICOM preamble may hold a TIFF header (examples_rgb_color.dcm has one).
    if begins_as_dicom(start) or path.suffix.lower() in DICOM_SUFFIXES:
        if not begins_as_dicom(start):
            check_known(start, path.name)
        from napari_sslmaps.sources.dicom import open_dicom

        return open_dicom(path, request.channel, icc=request.icc, series=request.series)
    slide = _open_slide(path, start, request)
    if slide is not None:
        return of_colours(slide, request.channel)
    if not start.startswith(_TIFF):
        return None
    from napari_sslmaps.sources.tiff import open_tiff

    if request.series is None:
        check_complete_vsi(path)
    return open_tiff(path, series=request.series, icc=request.icc, channel=request.channel)


def _open_picture(path: Path, start: bytes, request: _OpenRequest) -> ImageSource | None:
    """Open pictures and NumPy's files; None if it is neither."""
    webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    by_name = path.suffix.lower() == ".tga" and start[16:17] in _TGA_BITS  # TGA begins with nothing known
    if start.startswith(_PICTURES) or webp or begins_as_avif(start) or _PNM.match(start) or by_name:
        from napari_sslmaps.sources.picture import open_picture

        return of_colours(open_picture(path), request.channel)
    if begins_as_jpeg_xl(start):
        return open_jpeg_xl(path, request.channel)
    if start.startswith(_NUMPY):
        return open_npy(path, frames=request.frames, channel=request.channel)
    return None


def _open_rare(path: Path, start: bytes, request: _OpenRequest) -> ImageSource | None:
    """Open zipped zarr, and what needs an extra; None if it is nothing of that."""
    if start.startswith(_ZIP) and holds_zarr(path):
        return _open_zarr(path, channel=request.channel)
    if start.startswith(_CZI):
        from napari_sslmaps.sources.czi import CziSource

        return CziSource(path, request.channel)
    header = pair_of(path)[0]
    if begins_as_volume(start if header == path or not header.is_file() else _signature(header), header.name):
        from napari_sslmaps.sources.volume import VolumeSource

        return VolumeSource(path, request.channel)
    if begins_as_clip(start):
        from napari_sslmaps.sources.clip import ClipSource

        return of_colours(ClipSource(path), request.channel)
    return None


def _open_zarr(where: Path | str, inside: str = "", *, channel: ChannelChoice) -> ImageSource:
    from napari_sslmaps.sources.zarr import open_zarr

    return open_zarr(where, inside, channel=channel)


def _open_slide(path: Path, start: bytes, request: _OpenRequest) -> ImageSource | None:
    """Open what OpenSlide reads and nothing else does as well; None if it is no such slide."""
    by_name = path.suffix.lower() in SLIDE_SUFFIXES
    if not by_name and (start.startswith(_NO_SLIDES) or vendor_of(path) is None):
        return None
    try:
        slide = OpenSlideSource(path, icc=request.icc)
    except UnsupportedImageError:
        if start.startswith((*_TIFF, _CZI)):  # a slide by its first words, which others may read all the same
            return None
        check_known(start, path.name)
        raise
    return slide.of_series(request.series)


def _open_folder(path: Path, request: _OpenRequest) -> ImageSource:
    markers = [path / marker for marker in ZARR_MARKERS if (path / marker).is_file()]
    if markers:
        start = _signature(markers[0])
        if start.startswith(b"version "):  # no JSON
            check_known(start, f"{path.name}/{markers[0].name}")
        check_alone(request.series, path.name)
        return _open_zarr(path, channel=request.channel)
    from napari_sslmaps.sources.dicom import open_dicom_folder

    opened = open_dicom_folder(path, request.channel, icc=request.icc, series=request.series)
    if opened is not None:
        return opened
    raise UnsupportedImageError(
        f"Expected an image file, an OME-Zarr folder or a folder of DICOM; {path} is a folder with "
        "neither. Give the path of one image in it."
    )


def _refused(path: Path, error: OSError) -> UnsupportedImageError:
    return UnsupportedImageError(
        f"Expected a readable image file; {path} cannot be opened ({error.strerror}). Check its permissions."
    )


def _signature(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(SIGNATURE_BYTES)
    except (FileNotFoundError, ValueError) as error:  # a path with a NUL can be of none
        raise UnsupportedImageError(
            f"Expected an image file; there is none at {path}. Check the path."
        ) from error
    except OSError as error:
        raise _refused(path, error) from error
    if not start:
        raise UnsupportedImageError(f"Expected an image file; {path.name} is empty. Copy or export it again.")
    return start


def find_images(folder: Path, others: list[Path] | None = None, *, results: bool = False) -> Iterator[Path]:
    """Yield what looks like an image in a folder and all folders below it, in order of names.

    Hidden files and what this package has written are left out, ``.zarr`` folders are one image each, files
    without a suffix are taken if they begin as DICOM does, one file of a DICOM slide stands for all of its
    levels, and no link leads twice to the same folder.

    Parameters
    ----------
    folder
        Folder to search.
    others
        List that takes the files that are left out.
    results
        Whether figures, maps and copies of images that this package has written are taken as well.

    Raises
    ------
    UnsupportedImageError
        If a folder may not be read.
    """
    walked = [_Walked(folder)]
    been = {walked[0].identity}
    while walked:
        here = walked[-1]
        path = next(here.paths, None)
        if path is None:
            walked.pop()
        elif path.is_dir() and not path.name.lower().endswith(".zarr"):
            copies = path.name.lower() == SOURCES and not results and _is_record(path.parent / "run.json")
            below = _Walked(path, of_copies=here.of_copies or copies)
            if not path.is_symlink() or below.identity not in been:
                walked.append(below)
            been.add(below.identity)
        elif not here.of_copies and _is_image(path, results=results):
            yield path
        elif others is not None:
            others.append(path)


class _Walked:
    """A folder of which some paths are still to be looked at.

    Parameters
    ----------
    folder
        The folder.
    of_copies
        Whether all that is in it are copies of images, beside a record.
    """

    def __init__(self, folder: Path, *, of_copies: bool = False) -> None:
        try:
            paths, status = sorted(folder.iterdir()), folder.stat()
        except OSError as error:
            raise UnsupportedImageError(
                f"Expected folders that can be read; {folder} cannot be opened ({error.strerror}). Change "
                "its permissions, or move it elsewhere."
            ) from error
        parts = _parts_of_slides(paths)
        self.paths = (path for path in paths if not path.name.startswith(".") and path not in parts)
        self.identity, self.of_copies = (status.st_dev, status.st_ino), of_copies


def _is_image(path: Path, *, results: bool) -> bool:
    """Whether what is no folder, or ends in ``.zarr``, looks like an image."""
    name = path.name.lower()
    if name.endswith(".zarr"):
        return not _is_embedding(path)
    if not results and _is_drawn(path):
        return False
    return name.endswith(IMAGE_SUFFIXES) or (not path.suffix and path.is_file() and _is_dicom(path))


def _is_record(path: Path) -> bool:
    """Whether a file is the record of a run or a comparison."""
    try:
        return b'"napari-sslmaps/run"' in read_regular(path, _LARGEST_RECORD)[:_SAID_BYTES]
    except OSError:
        return False


def _is_drawn(path: Path) -> bool:
    """Whether a file says of itself that it is a figure or a map of this package."""
    if not path.name.lower().endswith(_DRAWN) or not path.is_file():
        return False
    try:
        with path.open("rb", buffering=0) as file:
            start = file.read(_SAID_BYTES)
            if start[8:12] != b"WEBP":
                return any(mark in start for mark in _MARKS)
            file.seek(max(0, file.seek(0, os.SEEK_END) - _SAID_BYTES))
            return b"napari-sslmaps" in file.read().rpartition(b"EXIF")[2]
    except OSError:
        return False


def _is_embedding(path: Path) -> bool:
    """Whether a ``.zarr`` folder is what a batch has stored of an image."""
    try:
        return b'"napari_sslmaps"' in read_regular(path / "zarr.json", _LARGEST_RECORD)
    except OSError:  # a file, or of an earlier zarr
        return False


def _parts_of_slides(paths: list[Path]) -> set[Path]:
    """Those of the files of a folder that another one of the same DICOM slide stands for."""
    dicom = [path for path in paths if path.name.lower().endswith(DICOM_SUFFIXES) and path.is_file()]
    if len(dicom) < 2:
        return set()
    from napari_sslmaps.sources.dicom import parts_of_slides

    return parts_of_slides(dicom)


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return begins_as_dicom(file.read(SIGNATURE_BYTES))
    except OSError:
        return False
