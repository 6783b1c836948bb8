"""TIFF in all its dialects: plain, multi-page, ImageJ, OME-TIFF, SVS and other pyramids."""

import re
from contextlib import ExitStack
from math import prod
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.axes import AxisPlan, plan_axes
from napari_sslmaps.sources.base import (
    ImageLayout,
    SourceBase,
    SpacingYX,
    decoding,
    levels_from_shapes,
    spacing_um,
    unit_um,
)
from napari_sslmaps.sources.decoded_cache import Kept
from napari_sslmaps.sources.tiff_planes import TiffPlanes

_DAMAGE = (
    tifffile.TiffFileError,
    OSError,
    ValueError,
    RuntimeError,  # imagecodecs' errors derive from it
    KeyError,
    IndexError,
)
_KEPT_BYTES = 96 * 2**20
_PRINT_DPI = (1, 72, 75, 96, 100, 150, 200, 240, 300, 400, 600, 1200)
"""Resolutions that programs write for the printer; they say nothing about the specimen."""


class TiffSource(SourceBase):
    """A TIFF file, read tile by tile, by several threads at once.

    Tiles that the file leaves out, as slide scanners do where there is no tissue, have the file's own "no
    data" value, else 0.

    Parameters
    ----------
    path
        The file. Its first series is shown; pages or planes of equal shape are frames.

    Raises
    ------
    UnsupportedImageError
        If the file is damaged, or is neither grey nor RGB.
    """

    def __init__(self, path: Path) -> None:
        with ExitStack() as on_error, decoding(path.name, "a readable TIFF", *_DAMAGE):
            file = on_error.enter_context(tifffile.TiffFile(path))
            if not file.series:
                raise tifffile.TiffFileError("it has no pages")
            series = file.series[0]
            plan = plan_axes(series.axes, series.shape, path.name)
            lead = _leading(series)
            layout = _layout(file, series, plan)
            _check_complete(series, path.stat().st_size)
            on_error.pop_all()
        self._file, self._plan, self._lead = file, plan, lead
        self._files = tifffile.FileCache(lock=RLock())
        self._kept = Kept(_KEPT_BYTES)
        self._planes = [
            TiffPlanes(level, self._files, self._kept, number) for number, level in enumerate(series.levels)
        ]
        self._file_name = path.name
        super().__init__(re.sub(r"(\.ome)?\.[A-Za-z]+$", "", path.name), layout)

    def _decode(self, region: Region) -> NDArray[Any]:
        box = slice(region.y, region.y + region.height), slice(region.x, region.x + region.width)
        with decoding(self._file_name, "a readable TIFF", *_DAMAGE):
            planes = [self._planes[region.level].read(plane, box) for plane in self._wanted(region)]
        if len(planes) == 3:
            return np.stack([plane[..., 0] for plane in planes], -1)
        return np.ascontiguousarray(planes[0][..., :3] if self.channels == 3 else planes[0][..., 0])

    def _wanted(self, region: Region) -> list[int]:
        """Numbers of the planes that hold the region: one, or one per colour."""
        axes, sizes = self._lead
        apart = self.channels == 3 and self._plan.channel_axis in axes
        at = {self._plan.frame_axis: region.frame}
        indices = [
            [colour if axis == self._plan.channel_axis else at.get(axis, 0) for axis in axes]
            for colour in range(3 if apart else 1)
        ]
        return [int(np.ravel_multi_index(index, sizes)) if axes else 0 for index in indices]

    def _release(self) -> None:
        self._planes = []
        self._kept.clear()
        self._files.clear()
        self._file.close()


def _leading(series: Any) -> tuple[str, tuple[int, ...]]:
    """Axes that count planes, and their sizes; rows, columns and the samples of a page are not among them."""
    separate, depth, height, width, together = series.keyframe.shaped
    rows = series.axes.index("Y")
    count = rows - (separate > 1)
    in_page = prod(series.shape[count:])
    if (
        in_page != separate * depth * height * width * together
        or prod(series.shape[:count]) != max(1, len(series))
        or depth != 1
        or series.transform is not None
    ):
        raise UnsupportedImageError(
            f"Expected pages of rows and columns; got pages of shape {series.keyframe.shape} in a series of "
            f"shape {series.shape}. Save it as OME-TIFF and open that."
        )
    return series.axes[:count], series.shape[:count]


def _check_complete(series: Any, size: int) -> None:
    """Raise if a level's first page points beyond the end of the file, as after a broken copy."""
    for level in series.levels:
        page = level.keyframe
        ends = np.asarray(page.dataoffsets) + np.asarray(page.databytecounts)
        if ends.size and int(ends.max()) > size:
            raise tifffile.TiffFileError(f"it ends {int(ends.max()) - size} bytes early")


def _layout(file: tifffile.TiffFile, series: Any, plan: AxisPlan) -> ImageLayout:
    return ImageLayout(
        levels=levels_from_shapes([plan.shape_yx(level.shape) for level in series.levels]),
        channels=plan.channels,
        dtype=np.dtype(series.dtype),
        frames=plan.frames,
        spacing_um_yx=_spacing(file, series.keyframe),
    )


def _spacing(file: tifffile.TiffFile, page: Any) -> SpacingYX:
    if file.is_ome:
        return _ome_spacing(file)
    aperio = re.search(r"\bMPP\s*=\s*([0-9.]+)", page.description or "")
    if aperio:
        return spacing_um(aperio[1], aperio[1], 1.0)
    return _tag_spacing(file, page)


def _ome_spacing(file: tifffile.TiffFile) -> SpacingYX:
    image = tifffile.xml2dict(file.ome_metadata or "")["OME"]["Image"]
    pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
    y = spacing_um(pixels.get("PhysicalSizeY"), 1.0, unit_um(pixels.get("PhysicalSizeYUnit", "µm")))
    x = spacing_um(1.0, pixels.get("PhysicalSizeX"), unit_um(pixels.get("PhysicalSizeXUnit", "µm")))
    return (y[0], x[1]) if y and x else None


def _tag_spacing(file: tifffile.TiffFile, page: Any) -> SpacingYX:
    tags = page.tags
    if "XResolution" not in tags or "YResolution" not in tags:
        return None
    per_unit = [_ratio(tags[name].value) for name in ("YResolution", "XResolution")]
    if not all(per_unit):
        return None
    if file.is_imagej:
        factor = unit_um(str((file.imagej_metadata or {}).get("unit", "")))
    else:
        unit = int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags else 2
        factor = {2: 25_400.0, 3: 1e4}.get(unit)
        if factor and _is_for_print(per_unit[0] * 25_400.0 / factor):
            return None
    return spacing_um(1 / per_unit[0], 1 / per_unit[1], factor)


def _ratio(value: tuple[int, int]) -> float:
    numerator, denominator = value
    return numerator / denominator if denominator else 0.0


def _is_for_print(dpi: float) -> bool:
    return any(abs(dpi - usual) < 0.01 * usual for usual in _PRINT_DPI)
