"""Reading tiles ahead of what computes them, and taking up its results behind it, on threads."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.preprocess import pad_by_reflection, scale_to_unit
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Float32
from napari_sslmaps.core.tiling import Span, Tile
from napari_sslmaps.pipeline.planning import EmbeddingPlan
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.scan import RegionScan, scan_region, strips_of

Item = TypeVar("Item")
Result = TypeVar("Result")
_THREADS = min(4, os.cpu_count() or 1)
_SHORT = (np.dtype(np.uint8), np.dtype(np.uint16))
"""Types that cross to a device as they are, a quarter or half of single precision."""


@dataclass(frozen=True, slots=True)
class TileReader:
    """Reads tiles of a planned region, ready for the encoder."""

    source: ImageSource
    plan: EmbeddingPlan
    window: tuple[float, float]

    def read(self, tile: Tile) -> Float32:
        """Read a tile as (H, W, 3) float32 in [0, 1], as a cut of the region padded by reflection."""
        return self._read(tile, lambda stored: scale_to_unit(stored, self.window))

    def read_stored(self, tile: Tile) -> NDArray[Any]:
        """Read a tile as it is stored, (H, W) or (H, W, 3), where that is shorter; else as `read` does."""
        return self._read(
            tile, lambda stored: stored if stored.dtype in _SHORT else scale_to_unit(stored, self.window)
        )

    def _read(self, tile: Tile, convert: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
        region = self.plan.region
        rows, cols = _extents(tile, self.plan)
        inside = region.part(rows.start, cols.start, rows.inside, cols.inside)
        values = convert(self.source.read(inside))
        before = rows.before, cols.before
        return pad_by_reflection(values, rows.length, cols.length, before)[rows.excess :, cols.excess :]


class _Extent(NamedTuple):
    """Pixels that are read for a tile along one axis of the region.

    A tile that reaches beyond the region also reads what is mirrored there: `before` the first pixel, or at
    the end, where `excess` pixels are read at the front for that alone.
    """

    start: int
    inside: int
    length: int
    before: int
    excess: int


def _extents(tile: Tile, planned: EmbeddingPlan) -> list[_Extent]:
    return [
        _extent(span, size, planned.stride, shift)
        for span, size, shift in zip(
            (tile.rows, tile.cols), planned.region.shape_yx, planned.shift_yx, strict=True
        )
    ]


def _extent(span: Span, size: int, stride: int, shift: int) -> _Extent:
    first, stop = span.start * stride + shift, span.stop * stride + shift
    start, before = max(0, first), max(0, -first)
    excess = min(max(0, stop - size), start)
    start -= excess
    return _Extent(start, min(stop, size) - start, stop - start + before, before, excess)


def parts_read(planned: EmbeddingPlan) -> list[Region]:
    """Cut what the tiles of a plan read into parts, each pixel in one, small enough to be held one by one.

    Without a mask that is the whole region, in strips.
    """
    region, stride = planned.region, planned.stride
    if planned.mask is None:
        return strips_of(region)
    read = np.zeros(planned.grid.shape, bool)
    for part in planned.runs:
        for tile in part.tiles:
            rows, cols = (
                slice(extent.start // stride, -(-(extent.start + extent.inside) // stride))
                for extent in _extents(tile, part)
            )
            read[rows, cols] = True
    bands = [0, *(1 + np.flatnonzero((read[1:] != read[:-1]).any(axis=1))).tolist(), len(read)]
    parts = []
    for top, bottom in pairwise(bands):
        steps = np.flatnonzero(np.diff(read[top].astype(np.int8), prepend=0, append=0)).tolist()
        for left, right in zip(steps[::2], steps[1::2], strict=True):
            height, width = (
                min(stop * stride, size) - start * stride
                for start, stop, size in zip((top, left), (bottom, right), region.shape_yx, strict=True)
            )
            parts += strips_of(region.part(top * stride, left * stride, height, width))
    return parts


def scan_ahead(source: ImageSource, region: Region, parts: Sequence[Region] | None = None) -> RegionScan:
    """Scan a region, or parts of it alone, read ahead."""
    wanted = strips_of(region) if parts is None else parts
    with closing(read_ahead(source.read, wanted, _THREADS)) as strips:
        return scan_region(source, region, strips, parts)


def read_ahead(read: Callable[[Item], Result], items: Iterable[Item], ahead: int) -> Generator[Result]:
    """Yield ``read(item)`` of each item in order, while up to `ahead` more are being read on threads.

    Close the generator to stop early: what is not begun is dropped, and no thread outlives it.

    Parameters
    ----------
    read
        Safe to call from several threads; what it raises is raised here, in its turn.
    items
        Items to read, in order.
    ahead
        Results that may wait at one time; it bounds the memory.
    """
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="napari-sslmaps-read") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(read, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def one_behind(work: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result]:
    """Yield ``work(item)`` of each item in order, done on a thread while the next item is being made.

    While the caller holds a result, no work is under way. Close the generator to stop early: no thread
    outlives it.

    Parameters
    ----------
    work
        Function of an item. What it raises is raised here, in its turn.
    items
        Items to work on; made by the caller's thread.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="napari-sslmaps-behind") as pool:
        doing: Future[Result] | None = None
        for item in items:
            if doing is not None:
                yield doing.result()
            doing = pool.submit(work, item)
        if doing is not None:
            yield doing.result()
