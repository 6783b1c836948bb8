"""Resampling from one token grid to another over the same region, to compare encoders of different stride.

A token of the new grid is the mean of those it overlaps, weighted with the area of the overlap inside the
region. Where less than half of its area is known, it is unknown (NaN).
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Protocol, TypeVar

import numpy as np
import scipy  # its subpackages are loaded when they are first used
from numpy.typing import NDArray

from napari_sslmaps.core.grid import Float, TokenGrid
from napari_sslmaps.core.results import Embedding, Float32, TokenMap
from napari_sslmaps.errors import InvalidOptionError, RegionError

_BAND = 8_000_000
"""Values treated at once; bounds memory for large regions."""
_KNOWN = 0.5 - 1e-9
AnyMap = TypeVar("AnyMap", bound=TokenMap)


class Rows(Protocol):
    """Anything that rows can be sliced from: an array, or tokens kept elsewhere."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, cols, …)."""
        ...

    def __getitem__(self, rows: slice, /) -> NDArray[np.floating]: ...


def common_grid(grids: Sequence[TokenGrid]) -> TokenGrid:
    """Return the coarsest of several grids over one region; the first of equals.

    Raises
    ------
    RegionError
        If they cover different regions.
    """
    if not grids:
        raise InvalidOptionError("Expected at least one grid; got none.")
    coarsest = max(grids, key=lambda grid: prod(grid.stride_yx))
    for grid in grids:
        check_same_region(grid, coarsest)
    return coarsest


def check_same_region(first: TokenGrid, second: TokenGrid) -> None:
    """Refuse grids whose regions differ by more than half a token of the coarser one.

    Raises
    ------
    RegionError
        If they differ; the sentence names both regions.
    """
    slack = np.maximum(first.stride_yx, second.stride_yx) / 2
    starts = np.subtract(first.origin_yx, second.origin_yx)
    ends = starts + np.subtract(first.extent_yx, second.extent_yx)
    if (np.abs([starts, ends]) > slack).any():
        raise RegionError(
            f"Expected maps of one region; got {_describe(first)} and {_describe(second)}. Embed the same "
            "region with each encoder."
        )


def regrid(values: Rows, source: TokenGrid, target: TokenGrid) -> Float32:
    """Bring values from one token grid to another over the same region.

    Parameters
    ----------
    values
        (rows, cols, …) on `source`; NaN where unknown, for a token as a whole.
    source, target
        Grid that the values lie on, and the grid they are brought to.

    Returns
    -------
    ndarray
        Values (rows, cols, …) float32 on `target`: area-weighted means; NaN where less than half of a token
        is known.

    Raises
    ------
    RegionError
        If the grids cover different regions.
    """
    if tuple(values.shape[:2]) != source.shape:
        raise InvalidOptionError(f"Expected values on the grid {source.shape}; got {values.shape}.")
    check_same_region(source, target)
    if source == target:
        return np.array(values[:], np.float32)
    down, across = (
        _overlaps(before, after) for before, after in zip(source.edges_yx, target.edges_yx, strict=True)
    )
    result = np.empty((*target.shape, *values.shape[2:]), np.float32)
    per_row = max(1, prod(values.shape) // target.rows)
    step = max(1, _BAND // per_row)
    for start in range(0, target.rows, step):
        result[start : start + step] = _band(values, down[start : start + step], across)
    return result


def regrid_map(found: AnyMap, grid: TokenGrid) -> AnyMap:
    """Bring a map to another grid over the same region; see `regrid`.

    Raises
    ------
    InvalidOptionError
        If the map holds labels, of which there is no mean.
    """
    if not np.issubdtype(found.values.dtype, np.floating):
        raise InvalidOptionError(
            "Expected a map of real numbers; labels have no mean. Bring the maps they come from to the "
            "common grid."
        )
    if found.grid == grid:
        return found
    return replace(found, values=regrid(found.values, found.grid, grid), grid=grid)


def regrid_embedding(embedding: Embedding, grid: TokenGrid) -> Embedding:
    """Bring tokens, attention, activation and foreground to another grid over the same region."""
    if embedding.grid == grid:
        return embedding

    def move(values: NDArray[np.floating] | None) -> Float32 | None:
        return None if values is None else regrid(values, embedding.grid, grid)

    attention = embedding.attention
    heads_last = None if attention is None else move(np.moveaxis(attention, 0, -1))
    flat = None if embedding.foreground is None else move(embedding.foreground.astype(np.float32))
    return replace(
        embedding,
        tokens=regrid(embedding.tokens, embedding.grid, grid),
        grid=grid,
        attention=None if heads_last is None else np.ascontiguousarray(np.moveaxis(heads_last, -1, 0)),
        activation=move(embedding.activation),
        foreground=None if flat is None else flat >= 0.5,
        moments=None,  # they were of the finer tokens
    )


def spread_tokens(known: NDArray[np.bool_], cols: int, limit: int) -> NDArray[np.intp]:
    """Choose tokens of every n-th row and column, n as small as leaves at most `limit`.

    Parameters
    ----------
    known
        (rows · cols,) tokens to choose from.
    cols
        Columns of the grid.
    limit
        Most tokens that are chosen, at least 1.

    Returns
    -------
    ndarray
        Numbers of the tokens, (n,), in reading order; all known ones where they are no more than `limit`.
    """
    places = np.flatnonzero(known)
    step = max(1, int(np.sqrt(len(places) / limit)))
    rows, columns = np.divmod(places, cols)
    while True:
        chosen: NDArray[np.intp] = places[(rows % step == 0) & (columns % step == 0)]
        if len(chosen) <= limit:
            return chosen
        step += 1


def _overlaps(before: Float, after: Float) -> "scipy.sparse.csr_array":
    """Lengths that new cells share with old ones, (new, old), from their edges."""
    low, high = max(before[0], after[0]), min(before[-1], after[-1])
    cuts = np.unique(np.clip(np.concatenate([before, after]), low, high))
    middles, lengths = (cuts[1:] + cuts[:-1]) / 2, np.diff(cuts)
    new, old = (np.searchsorted(edges, middles, side="right") - 1 for edges in (after, before))
    return scipy.sparse.csr_array((lengths, (new, old)), shape=(len(after) - 1, len(before) - 1))


def _band(values: Rows, down: "scipy.sparse.csr_array", across: "scipy.sparse.csr_array") -> Float:
    """Rows of the result, (rows of `down`, cols, …)."""
    used = down.indices
    if not len(used):
        return np.full((down.shape[0], across.shape[0], *values.shape[2:]), np.nan)
    first, last = int(used.min()), int(used.max()) + 1
    rows = np.asarray(values[first:last])
    known = np.asarray(np.isfinite(rows).all(axis=tuple(range(2, rows.ndim))))
    filled: Float = np.where(known.reshape(known.shape + (1,) * (rows.ndim - 2)), rows, 0).astype(np.float64)
    weights = down[:, first:last]
    total = np.outer(weights.sum(axis=1), across.sum(axis=1))
    share = _apply(weights, across, known.astype(np.float64))
    share[share < _KNOWN * total] = np.nan
    share[share == 0] = np.nan
    means: Float = _apply(weights, across, filled) / share.reshape(share.shape + (1,) * (rows.ndim - 2))
    return means


def _apply(down: "scipy.sparse.csr_array", across: "scipy.sparse.csr_array", values: Float) -> Float:
    rows, cols, *rest = values.shape
    tall = (down @ values.reshape(rows, -1)).reshape(-1, cols, prod(rest))
    wide = across @ tall.swapaxes(0, 1).reshape(cols, -1)
    found: Float = wide.reshape(-1, down.shape[0], *rest).swapaxes(0, 1)
    return found


def _describe(grid: TokenGrid) -> str:
    (top, left), (height, width) = grid.origin_yx, grid.extent_yx
    return f"rows {top:g}–{top + height:g}, columns {left:g}–{left + width:g}"
