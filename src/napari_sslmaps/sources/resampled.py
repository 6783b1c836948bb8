"""A level of any resolution, resampled from the levels that an image has."""

from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.sources.base import ImageLayout, SourceBase
from napari_sslmaps.sources.protocol import ImageSource, Level

_BLOCK = 512
"""Side, in pixels of the new level, of what is resampled at a time."""
_SAME = 0.01
"""Levels that are so close to what is asked for are taken as they are."""


class ResampledLevel(SourceBase):
    """A source with one level added after its own.

    A pixel is averaged over the pixels that it covers of the level that is just fine enough, with a triangle
    that reaches one pixel beyond (Pillow's antialiased ``BILINEAR``); between the pixels of the finest level
    it is interpolated. Both levels' edges lie on each other. Only what is asked for is read, in blocks.

    Parameters
    ----------
    source
        Source to add a level to; closed together with this one.
    downsample_yx
        Pixels of level 0 per pixel of the new level, rounded so that whole pixels cover the image.

    Raises
    ------
    InvalidOptionError
        If less than one pixel would be left.
    """

    def __init__(self, source: ImageSource, downsample_yx: tuple[float, float]) -> None:
        shape = source.levels[0].shape_yx
        height, width = (round(size / factor) for size, factor in zip(shape, downsample_yx, strict=True))
        if min(height, width) < 1:
            raise InvalidOptionError(
                f"Expected a resolution at which {source.name}, {shape[0]} × {shape[1]} px, has at least one "
                f"pixel; got one of {downsample_yx[0]:.4g} × {downsample_yx[1]:.4g} of its pixels."
            )
        added = Level((height, width), (shape[0] / height, shape[1] / width))
        self._source = source
        self._fine = _fine_enough(source, added)
        layout = ImageLayout(
            (*source.levels, added),
            source.channels,
            source.dtype,
            source.frames,
            source.spacing_um_yx,
            getattr(source, "window", None),
        )
        super().__init__(source.name, layout)
        self.file = getattr(source, "file", None)

    def _decode(self, region: Region) -> NDArray[Any]:
        if region.level < len(self._source.levels):
            return self._source.read(region)
        shape = region.shape_yx if self.channels == 1 else (*region.shape_yx, self.channels)
        pixels = np.empty(shape, self.dtype)
        for y in range(0, region.height, _BLOCK):
            for x in range(0, region.width, _BLOCK):
                part = region.part(y, x, min(_BLOCK, region.height - y), min(_BLOCK, region.width - x))
                pixels[y : y + part.height, x : x + part.width] = self._resample(part)
        return pixels

    def _resample(self, part: Region) -> NDArray[Any]:
        level, added = self._source.levels[self._fine], self.levels[-1]
        ratio_yx = [coarse / size for coarse, size in zip(level.shape_yx, added.shape_yx, strict=True)]
        spans = []
        for start, length, ratio, size in zip(
            (part.y, part.x), part.shape_yx, ratio_yx, level.shape_yx, strict=True
        ):
            reach = max(ratio, 1.0) + 1.0
            first = max(0, floor(start * ratio - reach))
            last = min(size, ceil((start + length) * ratio + reach))
            spans.append((first, last, start * ratio - first, (start + length) * ratio - first))
        (top, bottom, y0, y1), (left, right, x0, x1) = spans
        finer = Region(top, left, bottom - top, right - left, self._fine, part.frame)
        return _resize(self._source.read(finer), part.shape_yx, (x0, y0, x1, y1))

    def _release(self) -> None:
        self._source.close()


def at_resolution(source: ImageSource, downsample_yx: tuple[float, float]) -> tuple[ImageSource, int]:
    """Return a source that has a level of a resolution, and the number of that level.

    Parameters
    ----------
    source
        The image; returned as it is where one of its levels is within 1 % of what is asked for.
    downsample_yx
        Pixels of level 0 per pixel that is wanted.
    """
    for index, level in enumerate(source.levels):
        pairs = zip(level.downsample_yx, downsample_yx, strict=True)
        if all(abs(there / wanted - 1) <= _SAME for there, wanted in pairs):
            return source, index
    return ResampledLevel(source, downsample_yx), len(source.levels)


def _fine_enough(source: ImageSource, wanted: Level) -> int:
    """Return the coarsest level that is at least as fine as what is wanted; the finest if none is."""
    fine = [
        index
        for index, level in enumerate(source.levels)
        if all(a <= b * (1 + _SAME) for a, b in zip(level.downsample_yx, wanted.downsample_yx, strict=True))
    ]
    return fine[-1] if fine else 0


def _resize(
    pixels: NDArray[Any], shape_yx: tuple[int, int], box: tuple[float, float, float, float]
) -> NDArray[Any]:
    """Resample the box (left, top, right, bottom) of pixels, whose edges are whole numbers, to a shape."""
    from PIL import Image

    size = (shape_yx[1], shape_yx[0])
    if pixels.dtype == np.uint8:
        image = Image.fromarray(np.ascontiguousarray(pixels))
        return np.asarray(image.resize(size, Image.Resampling.BILINEAR, box))
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    resized = np.stack(
        [
            np.asarray(
                Image.fromarray(np.ascontiguousarray(planes[..., channel], np.float32)).resize(
                    size, Image.Resampling.BILINEAR, box
                )
            )
            for channel in range(planes.shape[-1])
        ],
        axis=-1,
    )
    if pixels.dtype.kind != "f":
        info = np.iinfo(pixels.dtype) if pixels.dtype.kind in "iu" else None
        resized = np.rint(resized) if info is None else np.clip(np.rint(resized), info.min, info.max)
    found: NDArray[Any] = resized.reshape(*shape_yx, *pixels.shape[2:]).astype(pixels.dtype)
    return found
