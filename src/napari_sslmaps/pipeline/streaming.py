"""Tiles through encoder, canvas and cache, with progress."""

from contextlib import closing
from time import perf_counter
from typing import TYPE_CHECKING

from napari_sslmaps.cache.entry import Entry
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.tiling import Tile
from napari_sslmaps.pipeline.batches import encode_tiles
from napari_sslmaps.pipeline.caching import placement_of
from napari_sslmaps.pipeline.canvas import Canvas, Frame
from napari_sslmaps.pipeline.planning import EmbeddingPlan
from napari_sslmaps.pipeline.progress import EmbeddingProgress, OnProgress
from napari_sslmaps.pipeline.reading import TileReader

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder


def recall(entry: Entry, frame: Frame, on_progress: OnProgress | None) -> Embedding | None:
    """Return a finished embedding from the cache, reporting it as done; None if it is not there."""
    planes = entry.load(frame.plan.grid.shape)
    if planes is None:
        return None
    embedding, count = frame.embedding(planes), len(frame.plan.tiles)
    if on_progress is not None:
        on_progress(EmbeddingProgress(count, count, 0.0, embedding, count))
    return embedding


def stream(
    reader: TileReader,
    encoder: "Encoder",
    frame: Frame,
    entry: Entry | None,
    on_progress: OnProgress | None,
) -> Embedding:
    """Compute all tiles that the cache does not have, and keep them there if there is one."""
    canvas, start = Canvas(frame.plan), perf_counter()
    there = set() if entry is None else _restore(entry, canvas, frame.plan)
    missing = [tile for tile in frame.plan.tiles if tile not in there]
    done = len(there)

    def report() -> None:
        if on_progress is not None:
            embedding, seconds = frame.embedding(canvas.planes()), perf_counter() - start
            on_progress(EmbeddingProgress(done, len(frame.plan.tiles), seconds, embedding, len(there)))

    if there:
        report()
    with closing(encode_tiles(reader, missing, encoder)) as batches:
        for tiles, pixels, features in batches:
            parts = canvas.add(tiles, pixels, features)
            if entry is not None:
                entry.keep(tiles, parts, canvas.nbytes)
            done += len(tiles)
            report()
    if entry is not None:
        entry.finish(canvas.planes(), placement_of(frame.plan))
    return frame.embedding(canvas.planes())


def _restore(entry: Entry, canvas: Canvas, planned: EmbeddingPlan) -> set[Tile]:
    """Put the tiles of an earlier run onto the canvas and return them.

    Blending rounds differently in another order: of blended tiles, those count that have none missing before
    them.
    """
    blended = planned.tiling.stitching == "blend"
    there = set()
    for tile, part in entry.restore(planned.tiles, gaps=not blended):
        canvas.put(tile, part)
        there.add(tile)
    return there
