"""Tiles through encoder, canvas and cache, with progress."""

from contextlib import closing
from time import perf_counter
from typing import TYPE_CHECKING

from napari_sslmaps.cache.entry import Entry
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.pipeline.batches import Batch, encode_batches, plan_batches
from napari_sslmaps.pipeline.caching import pack_moments, placement_of, unpack_moments
from napari_sslmaps.pipeline.canvas import Canvas, Frame
from napari_sslmaps.pipeline.memory import BatchSize
from napari_sslmaps.pipeline.planning import EmbeddingPlan
from napari_sslmaps.pipeline.progress import EmbeddingProgress, OnProgress
from napari_sslmaps.pipeline.reading import TileReader

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder


def recall(entry: Entry, frame: Frame, on_progress: OnProgress | None) -> Embedding | None:
    """Return a finished embedding from the cache, reporting it as done; None if it is not there."""
    planes = entry.load(frame.plan.grid.shape, frame.plan.mask, frame.budget.allocate)
    if planes is None:
        return None
    moments = unpack_moments(planes)
    embedding, count = frame.embedding(planes, moments), len(frame.plan.tiles)
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
    tiles, canvas, start = frame.plan.tiles, Canvas(frame.plan, frame.budget), perf_counter()
    size = BatchSize(encoder, tiles[0])
    batches = plan_batches(tiles, size.wanted, frame.focus_yx)
    missing = batches if entry is None else _restore(entry, canvas, batches, frame.plan)
    done = restored = len(tiles) - sum(map(len, missing))

    def report() -> None:
        if on_progress is not None:
            embedding, seconds = frame.embedding(canvas.planes()), perf_counter() - start
            on_progress(EmbeddingProgress(done, len(tiles), seconds, embedding, restored))

    if restored:
        report()
    with closing(encode_batches(reader, missing, encoder, size)) as encoded:
        for part, pixels, features in encoded:
            values = canvas.add(part, pixels, features)
            if entry is not None:
                entry.keep(part, values, canvas.nbytes)
            done += len(part)
            report()
    planes, moments = canvas.planes(), canvas.moments()
    if entry is not None:
        entry.finish({**planes, **pack_moments(moments)}, placement_of(frame.plan))
    return frame.embedding(planes, moments)


def _restore(entry: Entry, canvas: Canvas, batches: list[Batch], planned: EmbeddingPlan) -> list[Batch]:
    """Put the batches that an earlier run finished onto the canvas; return those it did not.

    Blending rounds differently in another order: of blended batches, none counts after the first missing.
    """
    missing: list[Batch] = []
    for batch in batches:
        in_order = not (missing and planned.tiling.stitching == "blend")
        parts = entry.restore(batch) if in_order else None
        if parts is None:
            missing.append(batch)
            continue
        for tile, part in zip(batch, parts, strict=True):
            canvas.put(tile, part)
    return missing
