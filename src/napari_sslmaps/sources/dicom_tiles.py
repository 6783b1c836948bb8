"""DICOM slides that OpenSlide does not read, of other depths and codings or of fluorescence, tile by tile."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.sources.axes import plan_axes
from napari_sslmaps.sources.base import ImageLayout, SourceBase, decoding, levels_from_shapes
from napari_sslmaps.sources.channels import ChannelChoice, ChannelFacts
from napari_sslmaps.sources.decoded_cache import DecodedCache
from napari_sslmaps.sources.dicom_file import DAMAGE, DicomFile
from napari_sslmaps.sources.dicom_values import Colours, frame_group

_KEPT_BYTES = 96 * 2**20
_SERIES = ["SOPClassUID", "SeriesInstanceUID", "ImageType", "TotalPixelMatrixColumns"]
_FROM = "PositionInTotalImagePixelMatrix"
_WHITE = 255


class DicomTilesSource(SourceBase):
    """A DICOM slide whose frames are tiles, decoded by pydicom; optical paths are channels, planes frames.

    What was not scanned is white in colour, and 0 in grey.

    Parameters
    ----------
    path
        A file of the series; the other levels lie beside it.
    channel
        Optical paths that are wanted, by number or description.
    name
        Short name for titles; the stem of the file if omitted.

    Raises
    ------
    ChannelsError
        If there are several, and none is asked for.
    UnsupportedImageError
        If it is damaged, or nothing here can decode it.
    """

    reading = "tile by tile"

    def __init__(self, path: Path, channel: ChannelChoice = None, name: str = "") -> None:
        with decoding(path.name, "a readable DICOM slide", *DAMAGE):
            self._levels = [_Tiles.of(DicomFile.read(level)) for level in _levels_beside(path)]
            first = self._levels[0]
            plan = plan_axes(
                "CZYX" + "S" * (len(first.shape) - 4),
                first.shape,
                path.name,
                first.file.meaning.dtype,
                facts=ChannelFacts(first.names),
                channel=channel,
            )
            layout = ImageLayout(
                levels=levels_from_shapes([plan.shape_yx(level.shape) for level in self._levels]),
                channels=plan.channels,
                dtype=first.file.meaning.dtype,
                frames=plan.frames,
                notes=plan.notes,
                contents=plan.contents,
                spacing_um_yx=first.file.spacing(0, (0, 0)),
                window=first.file.meaning.window,
            )
        self._plan, self._file_name, self._kept = plan, path.name, DecodedCache(_KEPT_BYTES)
        super().__init__(name or path.stem, layout)

    def _decode(self, region: Region) -> NDArray[Any]:
        with decoding(self._file_name, "a readable DICOM slide", *DAMAGE):
            return self._plan.cut(_Planes(self._levels[region.level], region.level, self._kept), region)

    def _release(self) -> None:
        self._kept.clear()


def _levels_beside(path: Path) -> list[Path]:
    """Return the files of a series' levels, finest first; of one size the one that is asked for.

    Labels and overviews are none, unless one is asked for that lies there without a slide.
    """
    asked = _about(path)
    found: dict[int, Path] = {}
    others = (each for each in sorted(path.parent.iterdir()) if each != path and each.suffix == path.suffix)
    for other in (path, *filter(Path.is_file, others)):
        about = _about(other)
        if about.get("SeriesInstanceUID") == asked.get("SeriesInstanceUID") and "VOLUME" in about.get(
            "ImageType", ()
        ):
            found.setdefault(int(about.TotalPixelMatrixColumns), other)
    return [found[width] for width in sorted(found, reverse=True)] or [path]  # a label that lies alone


def _about(path: Path) -> pydicom.Dataset:
    return pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=_SERIES)


@dataclass(frozen=True, slots=True)
class _Tiles:
    """Positions of the frames of a file.

    Parameters
    ----------
    file
        DICOM file with tiles.
    shape
        (paths, planes, rows, columns[, 3]).
    names
        Names of the optical paths.
    places
        (frames, 4): path, plane, first row and first column of each frame.
    """

    file: DicomFile
    shape: tuple[int, ...]
    names: tuple[str, ...]
    places: NDArray[np.int64]

    @classmethod
    def of(cls, file: DicomFile) -> "_Tiles":
        """Read where the frames of a file lie: in order row by row, or each where it says."""
        header = file.header
        tall, wide = int(header.TotalPixelMatrixRows), int(header.TotalPixelMatrixColumns)
        paths = list(header.get("OpticalPathSequence") or ())
        if header.get("PerFrameFunctionalGroupsSequence"):
            places = _said_places(header, file.frames, [str(path.OpticalPathIdentifier) for path in paths])
        else:
            places = _ordered_places(header, file.frames, (tall, wide))
        counts = places[:, :2].max(axis=0) + 1
        colours = (3,) if isinstance(file.meaning, Colours) else ()
        names = tuple(
            str(path.get("OpticalPathDescription") or path.get("OpticalPathIdentifier", "")) for path in paths
        )
        return cls(file, (int(counts[0]), int(counts[1]), tall, wide, *colours), names, places)

    def touched(self, path: int, plane: int, rows: slice, cols: slice) -> list[int]:
        """Numbers of the frames that hold part of a rectangle."""
        tall, wide = self.file.shape[:2]
        paths, planes, top, left = self.places.T
        within = (
            (top < rows.stop) & (top + tall > rows.start) & (left < cols.stop) & (left + wide > cols.start)
        )
        return [int(frame) for frame in np.flatnonzero(within & (paths == path) & (planes == plane))]


def _ordered_places(header: pydicom.Dataset, frames: int, shape_yx: tuple[int, int]) -> NDArray[np.int64]:
    """Columns change first, then rows, planes and paths (PS3.3, C.7.6.17.3)."""
    down, across = -(-shape_yx[0] // int(header.Rows)), -(-shape_yx[1] // int(header.Columns))
    planes = int(header.get("TotalPixelMatrixFocalPlanes") or 1)
    number = np.arange(frames)
    row, col = number // across % down, number % across
    plane, path = number // (across * down) % planes, number // (across * down * planes)
    return np.stack([path, plane, row * int(header.Rows), col * int(header.Columns)], axis=1)


def _said_places(header: pydicom.Dataset, frames: int, paths: Sequence[str]) -> NDArray[np.int64]:
    """Each frame says its first row and column, from 1, its height in the slide and its path."""
    rows, depths = [], []
    for frame in range(frames):
        position = frame_group(header, frame, "PlanePositionSlideSequence")
        path = frame_group(header, frame, "OpticalPathIdentificationSequence")
        if position is None:
            raise ValueError("a tile does not say where it lies")
        name = "" if path is None else str(path.OpticalPathIdentifier)
        depths.append(float(position.get("ZOffsetInSlideCoordinateSystem") or 0.0))
        top, left = (int(position[f"{side}{_FROM}"].value) for side in ("Row", "Column"))
        rows.append((paths.index(name) if name in paths else 0, 0, top - 1, left - 1))
    places = np.asarray(rows, np.int64)
    places[:, 1] = np.unique(depths, return_inverse=True)[1]
    return places


class _Planes:
    """A level as an array that `AxisPlan.cut` can cut."""

    def __init__(self, tiles: _Tiles, level: int, kept: DecodedCache) -> None:
        self._tiles, self._level, self._kept = tiles, level, kept

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        path, plane, rows, cols = index[:4]
        tiles, colours = self._tiles, self._tiles.shape[4:]
        shape = (rows.stop - rows.start, cols.stop - cols.start, *colours)
        block = np.full(shape, _WHITE if colours else 0, tiles.file.meaning.dtype)
        for frame in tiles.touched(path, plane, rows, cols):
            pixels = self._frame(frame)
            down, across = (int(start) for start in tiles.places[frame, 2:] - (rows.start, cols.start))
            first_row, first_col = max(0, -down), max(0, -across)
            shown = pixels[first_row : shape[0] - down, first_col : shape[1] - across]
            top, left = max(0, down), max(0, across)
            block[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
        return block[..., index[4]] if colours else block

    def _frame(self, frame: int) -> NDArray[Any]:
        return self._kept.get((self._level, frame), lambda: self._tiles.file.pixels(frame))
