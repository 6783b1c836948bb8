"""Cutting a token grid into overlapping tiles and putting results together again."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.arguments import check_fields
from napari_sslmaps.core.placed_mask import Mask, any_within
from napari_sslmaps.errors import InvalidOptionError

Stitching = Literal["drop", "blend"]
FITTED: Literal["fitted"] = "fitted"
FITTED_PASS_SIDE = 64
"""Up to so many tokens a side a fitted region is one pass: no borders, and hardly dearer than tiles."""
_FITTED_SIDES = range(32, 49)
_HARDLY_DEARER = 1.05
SINGLE_PASS_TOKENS = 1024
"""Above this many tokens a region was tiled in version 0.1, by tiles of `DEFAULT_TILE`."""
DEFAULT_TILE = 32


@dataclass(frozen=True, slots=True)
class Tiling:
    """Options for cutting a region into tiles.

    Parameters
    ----------
    tile
        Tokens per side of a tile. ``fitted``: one pass up to 64 × 64 tokens; beyond them the side from 32 to
        48 that costs the encoder least, or the largest hardly dearer. None: as in version 0.1, one pass up to
        1024 tokens, else 32.
    overlap
        Tokens that neighbouring tiles share; their outer halves are dropped, or all are blended.
    stitching
        ``drop`` keeps each token of the tile in which it lies deeper; ``blend`` averages with weights that
        fall towards tile borders.

    Raises
    ------
    InvalidOptionError
        If the overlap is negative or not smaller than the tile.

    Examples
    --------
    >>> import napari_sslmaps as ssl
    >>> ssl.Tiling(tile=24, overlap=6, stitching="blend")
    Tiling(tile=24, overlap=6, stitching='blend')
    """

    tile: int | Literal["fitted"] | None = FITTED
    overlap: int = 8
    stitching: Stitching = "drop"

    def __post_init__(self) -> None:
        check_fields(self)
        if self.tile not in (FITTED, None) and not isinstance(self.tile, int):
            raise InvalidOptionError(f"Expected tokens per tile side, 'fitted' or None; got {self.tile!r}.")
        side = self.tile if isinstance(self.tile, int) else DEFAULT_TILE
        if side < 1 or not 0 <= self.overlap < side:
            raise InvalidOptionError(
                f"Expected a tile of at least one token and an overlap from 0 to tile − 1; got tile "
                f"{side}, overlap {self.overlap}."
            )
        if self.stitching not in get_args(Stitching):
            raise InvalidOptionError(f"Expected stitching 'drop' or 'blend'; got {self.stitching!r}.")

    def side_for(self, rows: int, cols: int) -> int:
        """Tokens per tile side for a grid; 0 if it is embedded in a single pass.

        Of a fitted tiling every token counts alike; `fitted` knows better.
        """
        if self.tile == FITTED:
            return self.fitted(rows, cols, lambda high, wide: float(high * wide)).side_for(rows, cols)
        if self.tile is None:
            return 0 if rows * cols <= SINGLE_PASS_TOKENS else DEFAULT_TILE
        return 0 if max(rows, cols) <= self.tile else self.tile

    def fitted(
        self,
        rows: int,
        cols: int,
        work: Callable[[int, int], float],
        multiple: int = 1,
        *,
        square: bool = False,
        fine: int = 1,
    ) -> "Tiling":
        """Return it with the tile that fits a grid; itself where the tile is chosen already.

        Parameters
        ----------
        rows, cols
            Size of the grid in tokens.
        work
            Cost of a tile of so many rows and columns for the encoder, in any unit.
        multiple, square
            Constraints on the side of a tile, as `plan_tiles` takes them.
        fine
            Factor by which a pass, a tile and its overlap have more tokens along a side, where tokens lie
            close and see far.
        """
        if self.tile != FITTED:
            return self
        if max(rows, cols) <= FITTED_PASS_SIDE * fine:
            return replace(self, tile=ONE_PASS.tile)

        costs, overlap = {}, self.overlap * fine
        for side in _FITTED_SIDES:
            (down, high), (across, wide) = (
                _tiles_along(count, side * fine, overlap, multiple, square=square) for count in (rows, cols)
            )
            costs[side * fine] = down * across * work(high, wide)
        enough = _HARDLY_DEARER * min(costs.values())
        return replace(self, overlap=overlap, tile=max(side for side in costs if costs[side] <= enough))


TILED = Tiling()
"""One pass up to `FITTED_PASS_SIDE` tokens a side, then tiles that fit."""
ONE_PASS = Tiling(tile=2**20, overlap=0)
"""The whole region in one context: no tile borders, attention over all of it, time quadratic in tokens."""


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens along one axis: what a tile reads and what is kept of it, half-open."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int

    def finer(self, factor: int, size: int) -> "Span":
        """Return the same span in tokens that lie `factor` times as close, of an axis with `size` of them."""
        return Span(
            self.start * factor,
            self.stop * factor,
            self.keep_start * factor,
            min(self.keep_stop * factor, size),
        )

    @property
    def centre(self) -> float:
        """Middle of the kept tokens; token centres are integers."""
        return (self.keep_start + self.keep_stop - 1) / 2

    @property
    def kept(self) -> slice:
        """The kept tokens, counted on the grid."""
        return slice(self.keep_start, self.keep_stop)

    @property
    def kept_in_tile(self) -> slice:
        """The kept tokens, counted from the start of the tile."""
        return slice(self.keep_start - self.start, self.keep_stop - self.start)


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: the tokens it reads (they may reach into padding) and the ones kept."""

    rows: Span
    cols: Span

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of tokens that the tile reads."""
        return self.rows.stop - self.rows.start, self.cols.stop - self.cols.start

    @property
    def place(self) -> tuple[int, int]:
        """First row and column that it reads; no two tiles of a plan share them."""
        return self.rows.start, self.cols.start

    def distance_to(self, token_yx: tuple[float, float]) -> float:
        """Tokens from the centre of what is kept to a position on the grid."""
        return math.hypot(self.rows.centre - token_yx[0], self.cols.centre - token_yx[1])

    def kept(self, result: NDArray[Any]) -> NDArray[Any]:
        """Return the part of a (tile rows, tile cols, …) result that is kept when margins are dropped."""
        return result[self.rows.kept_in_tile, self.cols.kept_in_tile]


@dataclass(frozen=True, slots=True)
class Tiles(Sequence[Tile]):
    """The tiles of a plan, row by row, each made when it is asked for: planning a whole slide costs nothing.

    All of them have one size.

    Parameters
    ----------
    rows, cols
        Spans into which the region is cut along each axis.
    chosen
        Numbers, row by row, of the tiles that there are, ascending; None for all.
    """

    rows: tuple[Span, ...]
    cols: tuple[Span, ...]
    chosen: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.rows) * len(self.cols) if self.chosen is None else len(self.chosen)

    @overload
    def __getitem__(self, index: int) -> Tile: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Tile, ...]: ...
    def __getitem__(self, index: int | slice) -> Tile | tuple[Tile, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        number = range(len(self))[index]
        row, col = divmod(number if self.chosen is None else self.chosen[number], len(self.cols))
        return Tile(self.rows[row], self.cols[col])

    def finer(self, factor: int, shape: tuple[int, int]) -> "Tiles":
        """Return the same tiles on a grid of that shape whose tokens lie `factor` times as close."""
        rows, cols = (
            tuple(span.finer(factor, size) for span in spans)
            for spans, size in zip((self.rows, self.cols), shape, strict=True)
        )
        return Tiles(rows, cols, self.chosen)

    @property
    def computed_tokens(self) -> int:
        """Tokens that all tiles together compute, overlaps included."""
        row, col = self.rows[0], self.cols[0]
        return len(self) * (row.stop - row.start) * (col.stop - col.start)


def plan_tiles(
    rows: int,
    cols: int,
    tiling: Tiling,
    multiple: int = 1,
    *,
    square: bool = False,
    wanted: Mask | None = None,
) -> Tiles:
    """Cut a grid into tiles of equal size whose kept parts cover each token exactly once.

    Parameters
    ----------
    rows, cols
        Size of the grid in tokens.
    tiling
        Tile size and overlap.
    multiple
        Tile sides are rounded up to a multiple of this many tokens.
    square
        Whether tiles stay square where the grid is narrower than a tile; they then reach beyond it. Rotary
        positions are relative to the tile's sides, so that a narrow tile would stretch them along one axis.
    wanted
        (rows, cols), tokens to be computed; tiles that contribute to none of them are left out.
    """
    side = tiling.side_for(rows, cols)
    row_spans, col_spans = (
        _cut_axis(count, _side_along(count, side, square=square), tiling.overlap, multiple)
        for count in (rows, cols)
    )
    if wanted is None:
        return Tiles(row_spans, col_spans)
    reaches = ([_reach(span, tiling.stitching) for span in axis] for axis in (row_spans, col_spans))
    needed = any_within(wanted, *reaches)
    return Tiles(row_spans, col_spans, tuple(np.flatnonzero(needed).tolist()))


def _reach(span: Span, stitching: Stitching) -> tuple[int, int]:
    """Tokens that a tile contributes to, along one axis."""
    return (span.start, span.stop) if stitching == "blend" else (span.keep_start, span.keep_stop)


def _side_along(count: int, side: int, *, square: bool) -> int:
    if not side:
        return count
    return side if square else min(side, count)


def _tiles_along(count: int, side: int, overlap: int, multiple: int, *, square: bool) -> tuple[int, int]:
    """Return how many tiles `_cut_axis` lays along an axis, and how long each is."""
    long = -(-_side_along(count, side, square=square) // multiple) * multiple
    return 1 if long >= count else 1 + math.ceil((count - long) / max(1, long - overlap)), long


def _cut_axis(count: int, side: int, overlap: int, multiple: int) -> tuple[Span, ...]:
    side = -(-side // multiple) * multiple
    if side >= count:
        return (Span(0, side, 0, count),)
    step = max(1, side - overlap)
    starts = [*range(0, count - side, step), count - side]
    cuts = [0, *((a + side + b + 1) // 2 for a, b in pairwise(starts)), count]
    return tuple(
        Span(start, start + side, low, high)
        for start, (low, high) in zip(starts, pairwise(cuts), strict=True)
    )


def split(array: NDArray[Any], tiles: Sequence[Tile]) -> Iterator[NDArray[Any]]:
    """Yield the part of a (rows, cols, …) array that each tile reads, short where it reaches beyond."""
    for tile in tiles:
        yield array[tile.rows.start : tile.rows.stop, tile.cols.start : tile.cols.stop]


class Stitcher:
    """Puts tile results of shape (tile rows, tile cols, channels) onto a grid.

    Parameters
    ----------
    rows, cols, channels
        Shape of the grid.
    stitching
        Rule for tokens that several tiles cover.
    values
        (rows, cols, channels) NaN to be filled; a new array if omitted.

    Attributes
    ----------
    values
        (rows, cols, channels) float32; NaN where no tile has arrived. Filled in place.
    """

    def __init__(
        self,
        rows: int,
        cols: int,
        channels: int,
        stitching: Stitching,
        values: NDArray[np.float32] | None = None,
    ) -> None:
        self.values = np.full((rows, cols, channels), np.nan, np.float32) if values is None else values
        self._weights = np.zeros((rows, cols, 1), np.float32) if stitching == "blend" else None

    def needed(self, tile: Tile, result: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what is needed of one tile's result: the part kept, or all of it for blending."""
        return tile.kept(result) if self._weights is None else result

    def add(self, tile: Tile, result: NDArray[np.float32]) -> None:
        """Add one tile's result."""
        self.put(tile, self.needed(tile, result))

    def put(self, tile: Tile, result: NDArray[np.float32], wanted: Mask | None = None) -> None:
        """Add what is `needed` of one tile's result; outside the (rows, cols) mask `wanted` NaN stays."""
        if self._weights is None:
            window, values = (tile.rows.kept, tile.cols.kept), result
        else:
            window, values = self._blended(tile, result, self._weights)
        if wanted is not None:
            values = np.where(wanted[window][..., None], values, np.float32(np.nan))
        self.values[window] = values

    def _blended(
        self, tile: Tile, result: NDArray[np.float32], weights: NDArray[np.float32]
    ) -> tuple[tuple[slice, slice], NDArray[np.float32]]:
        """Weigh a tile's result with what is there already, within the grid."""
        rows, cols = self.values.shape[:2]
        height = min(tile.rows.stop, rows) - tile.rows.start
        width = min(tile.cols.stop, cols) - tile.cols.start
        window = np.s_[tile.rows.start : tile.rows.start + height, tile.cols.start : tile.cols.start + width]
        added = _blend_weights(*tile.shape)[:height, :width]
        before = weights[window].copy()
        old = np.where(before > 0, self.values[window], 0)
        weights[window] = before + added
        return window, (old * before + result[:height, :width] * added) / (before + added)


def _blend_weights(rows: int, cols: int) -> NDArray[np.float32]:
    """(rows, cols, 1) weights that fall linearly from the centre to one half-step at the border."""
    profiles = [
        np.minimum(np.arange(count) + 0.5, count - np.arange(count) - 0.5) / count for count in (rows, cols)
    ]
    weights: NDArray[np.float32] = np.multiply.outer(*profiles).astype(np.float32)[..., None]
    return weights
