"""Tokens closer than patches: a region embedded with its patches shifted, pass by pass, and woven."""

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_sslmaps.cache.entry import CacheEntry
from napari_sslmaps.core.moments import MomentAccumulator, TokenMoments
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.core.tiling import Span, Tile
from napari_sslmaps.core.tokens import HalfTokens
from napari_sslmaps.pipeline.assembly import PREFIX, Canvas, Frame, Planes, allocated
from napari_sslmaps.pipeline.caching import unpack_moments
from napari_sslmaps.pipeline.planning import EmbeddingPlan
from napari_sslmaps.pipeline.progress import EmbeddingProgress, OnProgress
from napari_sslmaps.pipeline.reading import TileReader
from napari_sslmaps.pipeline.streaming import Sink, fill

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder

_ROWS = 64


def weave(
    reader: TileReader,
    encoder: "Encoder",
    frame: Frame,
    entries: Sequence[CacheEntry | None],
    on_progress: OnProgress | None,
) -> Embedding:
    """Compute the passes of a plan that the cache does not have, and weave their tokens.

    Until a pass has come, its tokens show those of the first one beside them: a coarse map that is refined.

    Parameters
    ----------
    reader, encoder
        Reader of the tiles, and encoder that computes them.
    frame
        Frame of the woven embedding.
    entries
        Places where the passes are kept; None for nowhere.
    on_progress
        Callback for each batch, as `embed` takes it.
    """
    planned = frame.plan
    work = _Weaving(frame, on_progress)
    for part, entry in zip(planned.passes, entries, strict=True):
        planes = None if entry is None else entry.load(part.grid.shape, part.mask, frame.budget.allocate)
        if planes is not None:
            work.take(part, planes)
            continue
        canvas = Canvas(part, work.allocate_for(part))

        def on_tiles(
            tiles: Sequence[Tile], known: bool, part: EmbeddingPlan = part, canvas: Canvas = canvas
        ) -> None:
            work.count(part, tiles, canvas.planes(), restored=known)

        own = replace(reader, plan=part)
        fill([Sink(canvas, entry)], own, encoder, on_tiles, _on(part, planned, frame.focus_yx))
        work.finish(canvas.planes(), canvas.moments())
    return work.embedding(finished=True)


def _on(
    part: EmbeddingPlan, whole: EmbeddingPlan, focus_yx: tuple[float, float] | None
) -> tuple[float, float] | None:
    """Bring a position on the woven grid to that of a pass."""
    if focus_yx is None:
        return None
    row, col = part.grid.pixel_to_token(whole.grid.token_to_pixel(focus_yx))
    return float(row), float(col)


class _Weaving:
    """The planes of a woven embedding as far as they are."""

    def __init__(self, frame: Frame, on_progress: OnProgress | None) -> None:
        self._frame, self._on_progress = frame, on_progress
        self._values: dict[str, Any] = {}
        self._prefix: list[Float32] = []
        self._moments: list[TokenMoments | None] = []
        self._start = perf_counter()
        self._done = self._restored = 0

    def allocate_for(self, part: EmbeddingPlan) -> Any:
        """Return what gives a pass its tokens of the whole planes, to be filled in place."""
        every = allocated(self._frame.budget)

        def allocate(name: str, shape: tuple[int, int, int]) -> Float32:
            if name not in self._values:
                self._values[name] = every(name, (*self._frame.plan.grid.shape, shape[-1]))
            return self._view(part, name)

        return allocate

    def _view(self, part: EmbeddingPlan, name: str) -> Float32:
        whole, step = self._values[name], self._frame.plan.closer
        index = (slice(part.first_yx[0], None, step), slice(part.first_yx[1], None, step))
        return cast("Float32", whole.view(index) if isinstance(whole, HalfTokens) else whole[index])

    def take(self, part: EmbeddingPlan, planes: dict[str, Any]) -> None:
        """Weave in a finished pass from the cache."""
        moments, allocate = unpack_moments(planes), self.allocate_for(part)
        for name, values in planes.items():
            if name == PREFIX:
                continue
            view = allocate(name, values.shape)
            for start in range(0, len(values), _ROWS):
                view[start : start + _ROWS] = values[start : start + _ROWS]
        self.count(part, list(part.tiles), planes, restored=True)
        self.finish(planes, moments)

    def count(self, part: EmbeddingPlan, tiles: Sequence[Tile], planes: Planes, *, restored: bool) -> None:
        """Report tiles of a pass that are there now; those of the first are shown where others will come."""
        plan = self._frame.plan
        self._done += len(tiles)
        self._restored += len(tiles) * restored
        if self._on_progress is None:
            return
        if part is plan.passes[0]:
            for tile in tiles:
                self._spread(tile, planes)
        seconds = perf_counter() - self._start
        self._on_progress(
            EmbeddingProgress(
                self._done, plan.tile_count, seconds, self.embedding(finished=False), self._restored
            )
        )

    def _spread(self, tile: Tile, planes: Planes) -> None:
        plan = self._frame.plan
        step, mask = plan.closer, plan.mask
        rows, cols = (self._reach(span) for span in (tile.rows, tile.cols))
        for name, whole in self._values.items():
            near = np.repeat(np.repeat(planes[name][rows, cols], step, axis=0), step, axis=1)
            window = np.s_[rows.start * step : rows.stop * step, cols.start * step : cols.stop * step]
            height, width = whole[window].shape[:2]
            shown = near[:height, :width]
            whole[window] = shown if mask is None else np.where(mask[window][..., None], shown, np.nan)

    def _reach(self, span: Span) -> slice:
        """Tokens that a tile contributes to, along one axis."""
        blends = self._frame.plan.tiling.stitching == "blend"
        return slice(span.start, span.stop) if blends else span.kept

    def finish(self, planes: Planes, moments: TokenMoments | None) -> None:
        """Take up what belongs to a whole pass."""
        if PREFIX in planes:
            self._prefix.append(planes[PREFIX])
        self._moments.append(moments)

    def embedding(self, *, finished: bool) -> Embedding:
        """Wrap what there is."""
        planes = dict(self._values)
        if self._prefix:
            planes[PREFIX] = np.mean(self._prefix, axis=0)
        return self._frame.embedding(planes, self._all_moments() if finished else None)

    def _all_moments(self) -> TokenMoments | None:
        known = [moments for moments in self._moments if moments is not None]
        if len(known) < len(self._moments):
            return None
        together = MomentAccumulator(len(known[0].mean))
        for moments in known:
            together.merge(moments)
        return together.moments()
