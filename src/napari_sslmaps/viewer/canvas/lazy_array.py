"""An image as arrays that napari draws and that are read when they are looked at, without dask."""

from collections.abc import Iterator
from math import prod
from operator import index
from types import EllipsisType
from typing import Any
from weakref import finalize

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.protocol import ImageSource

LIMIT_BYTES = 2**31
"""What one read may bring into memory."""
CHUNK = 512
"""napari reads whole multiples of this many rows and columns, so that small moves need no reading."""
Axis = range | int
Key = int | slice | EllipsisType


def lazy_levels(source: ImageSource) -> list["LazyArray"]:
    """Return one array per level, finest first, for a multiscale layer.

    The source is closed when none of them, nor a part of one, is used any more.
    """
    reader = _Reader(source)
    finalize(reader, source.close)
    return [LazyArray(reader, level) for level in range(len(source.levels))]


class _Reader:
    """Lets all arrays of one image share one lifetime, which ends with closing the source."""

    def __init__(self, source: ImageSource) -> None:
        self.source = source


class LazyArray:
    """A level of an image, ([frames,] height, width[, 3]); cutting it reads nothing, `numpy.asarray` does.

    Parameters
    ----------
    reader
        Reader that holds the source open.
    level
        Level of the image, 0 the finest.
    axes
        Indices that are left, or one index, per axis of the level; all of them if not given.
    """

    def __init__(self, reader: _Reader, level: int, axes: tuple[Axis, ...] | None = None) -> None:
        source = reader.source
        self._reader, self._level = reader, level
        lead = (source.frames,) if source.frames > 1 else ()
        colours = (3,) if source.channels == 3 else ()
        sizes = (*lead, *source.levels[level].shape_yx, *colours)
        self._axes: tuple[Axis, ...] = axes or tuple(range(size) for size in sizes)

    @property
    def whole_of(self) -> tuple[ImageSource, int] | None:
        """The image and the level that this is all of; None if it is a part."""
        whole = LazyArray(self._reader, self._level)
        return (self._reader.source, self._level) if self.shape == whole.shape and self._is_plain() else None

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return tuple(len(axis) for axis in self._axes if isinstance(axis, range))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return self._reader.source.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that reading it all would take."""
        return self.size * self.dtype.itemsize

    @property
    def chunks(self) -> tuple[int, ...]:
        """Sides of the pieces in which it is best read, one per axis."""
        frames, colours = self._reader.source.frames > 1, self._reader.source.channels == 3
        pieces = (1,) * frames + (CHUNK, CHUNK) + (3,) * colours
        return tuple(piece for piece, axis in zip(pieces, self._axes, strict=True) if isinstance(axis, range))

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator["LazyArray"]:
        return (self[position] for position in range(len(self)))

    def __repr__(self) -> str:
        return f"<LazyArray {self._reader.source.name}, level {self._level}, {self.shape} {self.dtype}>"

    def __getitem__(self, key: Any) -> Any:
        """Cut by integers, slices and an ellipsis without reading; anything else reads first."""
        keys = key if isinstance(key, tuple) else (key,)
        if not all(isinstance(part, slice | EllipsisType) or _is_integer(part) for part in keys):
            return np.asarray(self)[key]
        left = iter(_fill(keys, self.ndim))
        axes = tuple(_cut(axis, next(left)) if isinstance(axis, range) else axis for axis in self._axes)
        return LazyArray(self._reader, self._level, axes)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Read the pixels.

        Raises
        ------
        UnsupportedImageError
            If they are more than memory should be filled with, or cannot be decoded.
        ValueError
            If no copy is permitted: the pixels are always new.
        """
        if copy is False:
            raise ValueError("Expected copy=None or True: the pixels of a file are read into a new array.")
        pixels = self._read()
        return pixels if dtype is None else pixels.astype(dtype, copy=False)

    def _is_plain(self) -> bool:
        return all(isinstance(axis, range) and axis.start == 0 and axis.step == 1 for axis in self._axes)

    def _read(self) -> NDArray[Any]:
        source = self._reader.source
        colours = self._axes[-1:] if source.channels == 3 else ()
        *frames, rows, cols = self._axes[: len(self._axes) - len(colours)]
        if self.size == 0:
            return np.empty(self.shape, self.dtype)
        (top, height), (left, width) = _span(rows), _span(cols)
        self._check_size(height * width)
        wanted = frames[0] if frames else 0
        planes = []
        for frame in wanted if isinstance(wanted, range) else (wanted,):
            block = source.read(Region(top, left, height, width, self._level, frame))
            part = _within(rows, top), _within(cols, left), *(_within(axis, 0) for axis in colours)
            planes.append(np.asarray(block[part]))
        return np.stack(planes) if isinstance(wanted, range) else planes[0]

    def _check_size(self, pixels: int) -> None:
        source = self._reader.source
        size = max(self.nbytes, pixels * source.channels * source.dtype.itemsize)
        if size > LIMIT_BYTES:
            raise UnsupportedImageError(
                f"Expected a part of {source.name} of at most {LIMIT_BYTES / 1e9:.0f} GB; "
                f"{size / 1e9:.1f} GB of level {self._level} were asked for at once. "
                "Choose a region, or a coarser level."
            )


def _is_integer(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_)


def _fill(keys: tuple[Key, ...], ndim: int) -> list[int | slice]:
    """One key per axis: the ellipsis, or the end, stands for all axes that are not named."""
    named = sum(key is not Ellipsis for key in keys)
    if named > ndim or keys.count(Ellipsis) > 1:
        raise IndexError(f"Expected at most {ndim} indices and one ellipsis; got {len(keys)}.")
    rest = [slice(None)] * (ndim - named)
    filled: list[int | slice] = []
    for key in (*keys, *(() if Ellipsis in keys else (Ellipsis,))):
        filled.extend(rest if isinstance(key, EllipsisType) else [key])
    return filled


def _cut(axis: range, key: int | slice) -> Axis:
    return axis[key] if isinstance(key, slice) else axis[index(key)]


def _span(axis: Axis) -> tuple[int, int]:
    """First index and how many from there on until the last."""
    if isinstance(axis, int):
        return axis, 1
    low, high = min(axis[0], axis[-1]), max(axis[0], axis[-1])
    return low, high - low + 1


def _within(axis: Axis, start: int) -> int | slice:
    """Index of the axis in a block that begins at `start`."""
    if isinstance(axis, int):
        return axis - start
    stop = axis[-1] - start + (1 if axis.step > 0 else -1)
    return slice(axis[0] - start, None if stop < 0 else stop, axis.step)
