"""TIFF in all its dialects: plain, multi-page, ImageJ, OME-TIFF, SVS and other pyramids."""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.sources.axes import AxisPlan, plan_axes
from napari_sslmaps.sources.base import (
    ImageLayout,
    SourceBase,
    SpacingYX,
    decoding,
    levels_from_shapes,
)
from napari_sslmaps.sources.spacing import spacing_um, unit_um

_DAMAGE = (
    tifffile.TiffFileError,
    OSError,
    ValueError,
    RuntimeError,  # imagecodecs' errors derive from it
    KeyError,
    IndexError,
)
_PRINT_DPI = (1, 72, 75, 96, 100, 150, 200, 240, 300, 400, 600, 1200)
"""Resolutions that programs write for the printer; they say nothing about the specimen."""


class TiffSource(SourceBase):
    """A TIFF file, read tile by tile through one zarr array per level.

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
            layout = _layout(file, series, plan)
            _check_complete(series, path.stat().st_size)
            on_error.pop_all()
        self._file, self._series, self._plan = file, series, plan
        self._arrays: dict[int, Any] = {}
        self._file_name = path.name
        super().__init__(re.sub(r"(\.ome)?\.[A-Za-z]+$", "", path.name), layout)

    def _decode(self, region: Region) -> NDArray[Any]:
        with decoding(self._file_name, "a readable TIFF", *_DAMAGE):
            block = np.asarray(self._level(region.level)[self._plan.index(region)])
        return self._plan.arrange(block)

    def _level(self, level: int) -> Any:
        if level not in self._arrays:
            store = self._series.aszarr(level=level)
            self._arrays[level] = zarr.open_array(store, mode="r")
        return self._arrays[level]

    def _release(self) -> None:
        for array in self._arrays.values():
            array.store.close()
        self._arrays = {}
        self._file.close()


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
