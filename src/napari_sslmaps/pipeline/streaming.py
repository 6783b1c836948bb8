"""Tiles → planes: read, computed or taken from the cache, batch by batch."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from napari_sslmaps.cache.entry import CacheEntry
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.tiling import Tile
from napari_sslmaps.encoders.spec import Architecture
from napari_sslmaps.pipeline.assembly import Canvas, Frame, Planes, allocated
from napari_sslmaps.pipeline.batches import (
    Batch,
    BatchSize,
    Pixels,
    check_finite_tokens,
    encode_batches,
    plan_batches,
)
from napari_sslmaps.pipeline.caching import pack_moments, placement_of, unpack_moments
from napari_sslmaps.pipeline.device_queue import DeviceQueue
from napari_sslmaps.pipeline.planning import EmbeddingPlan
from napari_sslmaps.pipeline.progress import EmbeddingProgress, OnProgress
from napari_sslmaps.pipeline.reading import TileReader, one_behind

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder
    from napari_sslmaps.encoders.families.extractor import TileFeatures

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
    frames: Sequence[Frame],
    entries: Sequence[CacheEntry | None],
    on_progress: OnProgress | None,
    depths: Sequence[Architecture] = (),
) -> list[Embedding]:
    """Compute all tiles that the cache does not have, and keep them there if there is one.

    Parameters
    ----------
    reader, encoder
        Reader of the tiles, and encoder that computes them.
    frames, entries
        Frames of an embedding for each depth, on one plan, and where each is kept; None for nowhere.
    on_progress
        Callback, told of the first of them.
    depths
        Depths at which tokens are taken, all in one pass; the encoder's own if none are given.
    """
    canvases = [Canvas(frame.plan, allocated(frame.budget)) for frame in frames]
    first, start = frames[0], perf_counter()
    done = restored = 0

    def on_tiles(tiles: Sequence[Tile], known: bool) -> None:
        nonlocal done, restored
        done += len(tiles)
        restored += len(tiles) * known
        if on_progress is not None:
            embedding, seconds = first.embedding(canvases[0].planes()), perf_counter() - start
            on_progress(EmbeddingProgress(done, len(first.plan.tiles), seconds, embedding, restored))

    sinks = [Sink(canvas, entry) for canvas, entry in zip(canvases, entries, strict=True)]
    fill(sinks, reader, encoder, on_tiles, first.focus_yx, depths)
    return [
        frame.embedding(canvas.planes(), canvas.moments())
        for frame, canvas in zip(frames, canvases, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Sink:
    """Canvas and cache that the features of one depth go to.

    Parameters
    ----------
    canvas
        Empty canvas, of the reader's plan.
    entry
        Place where its tiles are kept; None for nowhere.
    """

    canvas: Canvas
    entry: CacheEntry | None


def fill(
    sinks: Sequence[Sink],
    reader: TileReader,
    encoder: "Encoder",
    on_tiles: OnTiles,
    focus_yx: tuple[float, float] | None,
    depths: Sequence[Architecture] = (),
) -> None:
    """Put all tiles of the reader's plan onto canvases.

    Parameters
    ----------
    sinks
        Sinks, one for each depth.
    reader, encoder
        Reader of the tiles, and encoder that computes them.
    on_tiles
        Callback, called after each batch, and once for all that was in the cache.
    focus_yx
        Position on the plan's grid; the batches nearest to it come first.
    depths
        Depths at which tokens are taken; the encoder's own if none are given.
    """
    planned = reader.plan
    size = BatchSize(encoder, planned.tiles[0])
    batches = plan_batches(planned.tiles, size.wanted, focus_yx)
    missing = _restore(sinks, batches, planned)
    if len(missing) < len(batches):
        gone = set(map(id, missing))
        on_tiles([tile for batch in batches if id(batch) not in gone for tile in batch], True)
    canvases, transfers = [sink.canvas for sink in sinks], encoder.transfers()
    work: _AtOnce | DeviceQueue = (
        _AtOnce(reader, encoder, canvases, depths)
        if transfers is None
        else DeviceQueue(reader, encoder, canvases, depths, transfers)
    )

    def take_up(encoded: tuple[Batch, Any]) -> Sequence[Tile]:
        part = encoded[0]
        for sink, values in zip(sinks, work.take_up(*encoded), strict=True):
            if sink.entry is not None:
                sink.entry.keep(part, values, sink.canvas.nbytes)
        return part

    encoding: Any = work.encode
    with closing(encode_batches(work.read, missing, encoding, size)) as encoded:
        # a processor is busy either way, and the first map comes a batch earlier
        at_once = (take_up(one) for one in encoded)
        with closing(at_once if encoder.device == "cpu" else one_behind(take_up, encoded)) as parts:
            for part in parts:
                on_tiles(part, False)
    work.finish()
    for sink in sinks:
        if sink.entry is not None:
            moments = pack_moments(sink.canvas.moments())
            sink.entry.finish({**sink.canvas.planes(), **moments}, placement_of(planned))


@dataclass(frozen=True, slots=True)
class _AtOnce:
    """Computes batches and puts them onto canvases where the host waits for the device, or is it."""

    reader: TileReader
    encoder: "Encoder"
    canvases: Sequence[Canvas]
    depths: Sequence[Architecture]

    def read(self, tile: Tile) -> Pixels:
        return self.reader.read(tile)

    def encode(self, _tiles: Batch, pixels: Pixels) -> "tuple[Pixels, Sequence[TileFeatures]]":
        if self.depths:
            several: Sequence[TileFeatures] = self.encoder.encode_at(pixels, self.depths)
        else:
            several = [self.encoder.encode(pixels)]
        for features in several:
            bad = int((~features.tokens.isfinite()).sum())
            check_finite_tokens(bad, features.tokens.numel(), self.encoder)
        return pixels, several

    def take_up(
        self, tiles: Batch, encoded: "tuple[Pixels, Sequence[TileFeatures]]"
    ) -> list[Sequence[Planes]]:
        pixels, several = encoded
        return [
            canvas.add(tiles, pixels, features)
            for canvas, features in zip(self.canvases, several, strict=True)
        ]

    def finish(self) -> None:
        """Do nothing: all is there."""


def _restore(sinks: Sequence[Sink], batches: list[Batch], planned: EmbeddingPlan) -> list[Batch]:
    """Put the batches that an earlier run finished, of every depth, onto canvases; return those it did not.

    Blending rounds differently in another order: of blended batches, none counts after the first missing.
    """
    missing: list[Batch] = []
    for batch in batches:
        in_order = not (missing and planned.tiling.stitching == "blend")
        found = [sink.entry.restore(batch) if in_order and sink.entry is not None else None for sink in sinks]
        if any(parts is None for parts in found):
            missing.append(batch)
            continue
        for sink, parts in zip(sinks, found, strict=True):
            for tile, part in zip(batch, parts or (), strict=True):
                sink.canvas.put(tile, part)
    return missing
