"""Reading tiles ahead of what computes them, on threads of their own."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

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


@dataclass(frozen=True, slots=True)
class TileReader:
    """Reads tiles of a planned region, ready for the encoder."""

    source: ImageSource
    plan: EmbeddingPlan
    window: tuple[float, float]

    def read(self, tile: Tile) -> Float32:
        """Read a tile as (H, W, 3) float32 in [0, 1], as a cut of the region padded by reflection."""
        region = self.plan.region
        (y, height, top), (x, width, left) = (
            self._extent(span, size)
            for span, size in zip((tile.rows, tile.cols), region.shape_yx, strict=True)
        )
        inside = region.part(y, x, min(height, region.height - y), min(width, region.width - x))
        unit = scale_to_unit(self.source.read(inside), self.window)
        return pad_by_reflection(unit, height, width)[top:, left:]

    def _extent(self, span: Span, size: int) -> tuple[int, int, int]:
        """First pixel, length and excess at the front of what is read along an axis of `size` pixels.

        A tile that reaches beyond the region also reads what is mirrored there.
        """
        start, stop = span.start * self.plan.stride, span.stop * self.plan.stride
        excess = min(max(0, stop - size), start)
        return start - excess, stop - start + excess, excess


def scan_ahead(source: ImageSource, region: Region) -> RegionScan:
    """Scan a region whose strips are read ahead."""
    with closing(read_ahead(source.read, strips_of(region), _THREADS)) as strips:
        return scan_region(source, region, strips)


def read_ahead(read: Callable[[Item], Result], items: Iterable[Item], ahead: int) -> Generator[Result]:
    """Yield ``read(item)`` of each item in order, while up to `ahead` more are being read on threads.

    Close the generator to stop early: what is not begun is dropped, and no thread outlives it.

    Parameters
    ----------
    read
        Safe to call from several threads; what it raises is raised here, in its turn.
    items
        What to read.
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
