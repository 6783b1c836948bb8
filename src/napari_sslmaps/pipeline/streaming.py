"""Tiles → planes: read, computed or taken from the cache, batch by batch."""

from collections.abc import Callable, Sequence
from contextlib import closing
from time import perf_counter
from typing import TYPE_CHECKING

from napari_sslmaps.cache.entry import CacheEntry
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.tiling import Tile
from napari_sslmaps.pipeline.assembly import Canvas, Frame, allocated
from napari_sslmaps.pipeline.batches import Batch, BatchSize, Encoded, encode_batches, plan_batches
from napari_sslmaps.pipeline.caching import pack_moments, placement_of, unpack_moments
from napari_sslmaps.pipeline.planning import EmbeddingPlan
from napari_sslmaps.pipeline.progress import EmbeddingProgress, OnProgress
from napari_sslmaps.pipeline.reading import TileReader, one_behind

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder

OnTiles = Callable[[Sequence[Tile], bool], None]
"""Called with tiles that are there now, and whether they came from the cache; may raise `Cancelled`."""


def recall(entry: CacheEntry, frame: Frame, on_progress: OnProgress | None) -> Embedding | None:
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
    entry: CacheEntry | None,
    on_progress: OnProgress | None,
) -> Embedding:
    """Compute all tiles that the cache does not have, and keep them there if there is one."""
    canvas, start = Canvas(frame.plan, allocated(frame.budget)), perf_counter()
    done = restored = 0

    def on_tiles(tiles: Sequence[Tile], known: bool) -> None:
        nonlocal done, restored
        done += len(tiles)
        restored += len(tiles) * known
        if on_progress is not None:
            embedding, seconds = frame.embedding(canvas.planes()), perf_counter() - start
            on_progress(EmbeddingProgress(done, len(frame.plan.tiles), seconds, embedding, restored))

    fill(canvas, reader, encoder, entry, on_tiles, frame.focus_yx)
    return frame.embedding(canvas.planes(), canvas.moments())


def fill(
    canvas: Canvas,
    reader: TileReader,
    encoder: "Encoder",
    entry: CacheEntry | None,
    on_tiles: OnTiles,
    focus_yx: tuple[float, float] | None,
) -> None:
    """Put all tiles of the reader's plan onto the canvas.

    Parameters
    ----------
    canvas
        Empty, of that plan.
    reader, encoder, entry
        What reads tiles, computes them, and keeps them, if anything does.
    on_tiles
        Called after each batch, and once for all that was in the cache.
    focus_yx
        Position on the plan's grid; the batches nearest to it come first.
    """
    planned = reader.plan
    size = BatchSize(encoder, planned.tiles[0])
    batches = plan_batches(planned.tiles, size.wanted, focus_yx)
    missing = batches if entry is None else _restore(entry, canvas, batches, planned)
    if len(missing) < len(batches):
        gone = set(map(id, missing))
        on_tiles([tile for batch in batches if id(batch) not in gone for tile in batch], True)

    def take_up(encoded: Encoded) -> Sequence[Tile]:
        part, pixels, features = encoded
        values = canvas.add(part, pixels, features)
        if entry is not None:
            entry.keep(part, values, canvas.nbytes)
        return part

    with closing(encode_batches(reader, missing, encoder, size)) as encoded:
        # a processor is busy either way, and the first map comes a batch earlier
        at_once = (take_up(one) for one in encoded)
        with closing(at_once if encoder.device == "cpu" else one_behind(take_up, encoded)) as parts:
            for part in parts:
                on_tiles(part, False)
    if entry is not None:
        entry.finish({**canvas.planes(), **pack_moments(canvas.moments())}, placement_of(planned))


def _restore(entry: CacheEntry, canvas: Canvas, batches: list[Batch], planned: EmbeddingPlan) -> list[Batch]:
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
