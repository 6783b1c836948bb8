"""Levels that a file does not have, averaged from those it has when somebody looks at them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.base import Contents, ImageLayout, SourceBase
from napari_sslmaps.sources.decoded_cache import DecodedCache
from napari_sslmaps.sources.protocol import ImageSource, Level

SIDE = 1024
"""The coarsest level has at most this many rows and columns."""
LIMIT_PIXELS = 2**29
"""What an overview may have to read: about ten seconds of decoding."""
_BLOCK, _KEPT_BYTES = 512, 128 * 2**20


class CoarserLevels(SourceBase):
    """A source with levels added, each half of the one before, until the coarsest fits a screen.

    A pixel of an added level is the mean of 2 × 2 pixels of the level before, rounded. Only what is asked for
    is read, in blocks, so that memory does not grow with the image.

    Parameters
    ----------
    source
        Source to add levels to; closed together with this one.

    Raises
    ------
    UnsupportedImageError
        If its coarsest level is so large that an overview would take minutes.
    """

    def __init__(self, source: ImageSource) -> None:
        levels = list(source.levels)
        if max(levels[-1].shape_yx) > SIDE:
            _check_cost(source)
        while max(levels[-1].shape_yx) > SIDE:
            levels.append(_half(levels[-1]))
        self._source = source
        self._kept = DecodedCache(_KEPT_BYTES)
        layout = ImageLayout(
            tuple(levels),
            source.channels,
            source.dtype,
            source.frames,
            source.spacing_um_yx,
            getattr(source, "window", None),
            notes=tuple(getattr(source, "notes", ())),
            contents=getattr(source, "contents", Contents()),
        )
        super().__init__(source.name, layout)
        self.file = getattr(source, "file", None)

    def _decode(self, region: Region) -> NDArray[Any]:
        if region.level < len(self._source.levels):
            return self._source.read(region)
        shape = region.shape_yx if self.channels == 1 else (*region.shape_yx, self.channels)
        pixels = np.empty(shape, self.dtype)
        for row in range(region.y // _BLOCK, -(-(region.y + region.height) // _BLOCK)):
            for col in range(region.x // _BLOCK, -(-(region.x + region.width) // _BLOCK)):
                block = self._block(region.level, region.frame, row, col)
                y, x = row * _BLOCK, col * _BLOCK
                top, left = max(y, region.y), max(x, region.x)
                part = block[top - y : region.y + region.height - y, left - x : region.x + region.width - x]
                into = slice(top - region.y, top - region.y + part.shape[0])
                pixels[into, left - region.x : left - region.x + part.shape[1]] = part
        return pixels

    def _block(self, level: int, frame: int, row: int, col: int) -> NDArray[Any]:
        return self._kept.get((level, frame, row, col), lambda: self._average(level, frame, row, col))

    def _average(self, level: int, frame: int, row: int, col: int) -> NDArray[Any]:
        height, width = self.levels[level - 1].shape_yx
        y, x, side = 2 * row * _BLOCK, 2 * col * _BLOCK, 2 * _BLOCK
        finer = Region(y, x, min(side, height - y), min(side, width - x), level - 1, frame)
        return halve(self._decode(finer))

    def _release(self) -> None:
        self._kept.clear()
        self._source.close()


def halve(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return means of 2 × 2 pixels, (⌈H / 2⌉, ⌈W / 2⌉[, 3]) of the same dtype; an odd edge counts twice."""
    height, width = pixels.shape[:2]
    odd = [(0, height % 2), (0, width % 2)] + [(0, 0)] * (pixels.ndim - 2)
    even = np.pad(pixels, odd, mode="edge") if height % 2 or width % 2 else pixels
    real, size = even.dtype.kind == "f", 8 if even.dtype.itemsize > 2 else 2 * even.dtype.itemsize
    wide = np.dtype(np.float64 if real else f"{'i' if even.dtype.kind == 'i' else 'u'}{size}")
    rows = np.add(even[::2], even[1::2], dtype=wide)  # whole rows first: their pixels lie side by side
    total = rows[:, ::2] + rows[:, 1::2]
    mean: NDArray[Any] = total / 4 if real else (total + wide.type(2)) >> wide.type(2)
    return mean.astype(pixels.dtype)


def _half(level: Level) -> Level:
    (height, width), (down_y, down_x) = level.shape_yx, level.downsample_yx
    return Level((-(-height // 2), -(-width // 2)), (2 * down_y, 2 * down_x))


def _check_cost(source: ImageSource) -> None:
    height, width = source.levels[-1].shape_yx
    if height * width > LIMIT_PIXELS:
        raise UnsupportedImageError(
            f"Expected an image with coarser levels to look at; the coarsest of {source.name} has "
            f"{height} × {width} px. Convert it to a pyramid, for example with vips tiffsave --tile "
            "--pyramid, or embed a region of it from Python: "
            "napari_sslmaps.embed(path, encoder, region=(y, x, height, width))."
        )
