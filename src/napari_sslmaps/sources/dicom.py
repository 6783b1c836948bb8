"""DICOM: ultrasound clips and single frames, other images whose frames are whole, and folders of slices."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.base import ImageLayout, SourceBase, SpacingYX, check_alone, decoding
from napari_sslmaps.sources.channels import ChannelChoice, of_colours
from napari_sslmaps.sources.decoded_cache import DecodedCache
from napari_sslmaps.sources.dicom_file import DAMAGE, DicomFile, aspect_of, check_inflated
from napari_sslmaps.sources.formats import DICOM_SUFFIXES, begins_as_dicom
from napari_sslmaps.sources.protocol import ImageSource, Level

_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_OF_OPENSLIDE = tuple(f"1.2.840.10008.1.2{ending}" for ending in (".1", ".4.50", ".4.90", ".4.91"))
"""Ways to store pixels that OpenSlide reads."""
_KEPT_BYTES = 64 * 2**20
_KINDS = ["SOPClassUID", "BitsAllocated", "SamplesPerPixel", "TotalPixelMatrixColumns", "ImageType"]
_PLACES = ["Rows", "SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "InstanceNumber"]
_PARTS = ["SOPClassUID", "TotalPixelMatrixColumns", "ImageType"]


def open_dicom(
    path: Path,
    channel: ChannelChoice = None,
    *,
    icc: bool = True,
    series: int | str | None = None,
    name: str = "",
) -> ImageSource:
    """Open a DICOM file: a tiled slide as one image, through OpenSlide where it can; all else frame by frame.

    Parameters
    ----------
    path
        The file; of a slide any file of the series, the other levels lie beside it.
    channel
        Optical paths of a slide, or colours, that are wanted.
    icc
        Whether a slide's colours are converted to sRGB by its ICC profile.
    series
        Number or name of a picture that lies beside a slide, such as its label.
    name
        Short name for titles; the stem of the file if omitted.

    Raises
    ------
    MissingExtraError
        If it is a slide for OpenSlide, and that does not run here.
    ChannelsError
        If it is a slide of several optical paths, and none is asked for.
    InvalidOptionError
        If there is no series to choose.
    UnsupportedImageError
        If it holds no pixels, is damaged, or nothing here can decode it.
    """
    with decoding(path.name, "a readable DICOM file", *DAMAGE):
        check_inflated(path)
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=_KINDS)
        is_slide, is_volume = _is_slide(header), "VOLUME" in header.get("ImageType", ())
        bytes_of_rgb = header.get("BitsAllocated", 8) == 8 and header.get("SamplesPerPixel", 3) == 3
        of_openslide = bytes_of_rgb and header.file_meta.get("TransferSyntaxUID") in _OF_OPENSLIDE
    if not is_slide:
        check_alone(series, path.name)
        return of_colours(DicomSource([path], name), channel)
    if of_openslide:
        from napari_sslmaps.sources.slide import OpenSlideSource

        try:
            slide = OpenSlideSource(path, icc=icc, name=name)
        except UnsupportedImageError:
            if is_volume:
                raise
        else:
            return of_colours(slide.of_series(series), channel)
    from napari_sslmaps.sources.dicom_tiles import DicomTilesSource

    check_alone(series, path.name)
    return DicomTilesSource(path, channel, name)


def open_dicom_folder(
    folder: Path,
    channel: ChannelChoice = None,
    *,
    icc: bool = True,
    series: int | str | None = None,
) -> ImageSource | None:
    """Open the slide in a folder, else its slices as one stack, in the order of their places.

    Slices lie along the normal of their plane. Where a file has no place, its instance number decides, else
    its name.

    Parameters
    ----------
    folder
        Folder that holds the files.
    channel, icc, series
        Choices of channels, colours and series, as in `open_dicom`.

    Returns
    -------
    ImageSource or None
        Source of the pixels; None if there is no DICOM in the folder.

    Raises
    ------
    InvalidOptionError
        If there is no series to choose.
    UnsupportedImageError
        If they are of several series or sizes, or one cannot be read.
    """
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and _is_dicom(path):
            about = _About.read(path)
            if about.has_pixels:
                found.append(about)
    if not found:
        return None
    of_slide = [about for about in found if about.is_slide]
    levels = [about for about in of_slide if about.is_volume]
    _check_one_series(folder, levels or of_slide or found)
    if of_slide:
        return open_dicom((levels or of_slide)[0].path, channel, icc=icc, series=series, name=folder.name)
    check_alone(series, folder.name)
    slices = sorted(found, key=lambda about: about.place)
    return of_colours(DicomSource([about.path for about in slices], folder.name), channel)


@dataclass(frozen=True, slots=True)
class _About:
    """Facts of a file that sort those of a folder.

    Parameters
    ----------
    path
        The file.
    series
        Identifier of its series.
    has_pixels, is_slide, is_volume
        Whether it is an image, one of a slide, and one of its levels.
    columns
        Columns of the slide at that level; 0 of what is none.
    place
        Distance along the normal of a slice, its number and its name.
    """

    path: Path
    series: str
    has_pixels: bool
    is_slide: bool
    is_volume: bool
    columns: int
    place: tuple[float, float, str]

    @classmethod
    def read(cls, path: Path) -> "_About":
        """Read a header; raises `UnsupportedImageError` where it is damaged."""
        with decoding(path.name, "a readable DICOM file", *DAMAGE):
            check_inflated(path)
            header = pydicom.dcmread(
                path, stop_before_pixels=True, force=True, specific_tags=_PLACES + _PARTS
            )
            is_slide = _is_slide(header)
            return cls(
                path=path,
                series=str(header.get("SeriesInstanceUID", "")),
                has_pixels=bool(header.get("Rows")),
                is_slide=is_slide,
                is_volume="VOLUME" in header.get("ImageType", ()),
                columns=int(header.TotalPixelMatrixColumns) if is_slide else 0,
                place=_place(path, header),
            )


def parts_of_slides(paths: Sequence[Path]) -> set[Path]:
    """Return those of some DICOM files that another one of the same slide stands for: its finest level.

    Nothing is read but the first file where that is of no slide, and headers alone where it is.
    """
    found: dict[str, list[_About]] = {}
    for path in paths:
        try:
            about = _About.read(path)
        except UnsupportedImageError:  # whoever opens it says so
            continue
        if about.is_slide:
            found.setdefault(about.series, []).append(about)
        elif not found:
            return set()
    every = {about.path for files in found.values() for about in files}
    finest = (max(files, key=lambda about: (about.is_volume, about.columns)) for files in found.values())
    return every - {about.path for about in finest}


def _is_slide(header: pydicom.Dataset) -> bool:
    return header.get("SOPClassUID") == _WHOLE_SLIDE and bool(header.get("TotalPixelMatrixColumns"))


def _check_one_series(folder: Path, found: Sequence[_About]) -> None:
    series: dict[str, list[str]] = {}
    for about in found:
        series.setdefault(about.series, []).append(about.path.name)
    if len(series) > 1:
        counts = ", ".join(
            f"{len(names)} file{'s' * (len(names) > 1)} from {names[0]} on" for names in series.values()
        )
        raise UnsupportedImageError(
            f"Expected the DICOM slices of one series in {folder}; got {len(series)} series ({counts}). Give "
            "one of the files, or move each series into a folder of its own."
        )


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
        self._files = [DicomFile.read(path) for path in paths]
        self._frames = [(file, frame) for file in self._files for frame in range(file.frames)]
        self._kept = DecodedCache(_KEPT_BYTES)
        with decoding(paths[0].name, "a readable DICOM file", *DAMAGE):
            layout = _layout(self._files)
        super().__init__(name or paths[0].stem, layout)

    def spacing_at(self, point_yx: tuple[float, float], frame: int) -> SpacingYX:
        """Micrometres per pixel at a point of a frame: of the part of the image that the point is in."""
        file, number = self._frames[frame]
        with decoding(file.path.name, "a readable DICOM file", *DAMAGE):
            return file.spacing(number, point_yx)

    def _decode(self, region: Region) -> NDArray[Any]:
        file, frame = self._frames[region.frame]
        with decoding(file.path.name, "a readable DICOM file", *DAMAGE):
            pixels = self._kept.get(region.frame, lambda: file.pixels(frame))
        rows = slice(region.y, region.y + region.height)
        return np.array(pixels[rows, region.x : region.x + region.width])

    def _release(self) -> None:
        self._kept.clear()


def _layout(files: Sequence[DicomFile]) -> ImageLayout:
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
        aspect_yx=aspect_of(first.header),
    )


def _place(path: Path, header: pydicom.Dataset) -> tuple[float, float, str]:
    """Return what slices are sorted by: distance along their normal, number, name."""
    distance = 0.0
    if header.get("ImagePositionPatient") and header.get("ImageOrientationPatient"):
        axes = np.asarray(header.ImageOrientationPatient, float).reshape(2, 3)
        distance = float(np.cross(*axes) @ np.asarray(header.ImagePositionPatient, float))
    return distance, float(header.get("InstanceNumber") or 0), path.name
