"""A mask and where it lies on the image, brought onto the tokens of a region."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.grid import TokenGrid

Mask = NDArray[np.bool_]
_SLACK = 1e-6
"""In cells: what rounding may put beyond the edge between two."""


@dataclass(frozen=True, eq=False, slots=True)
class PlacedMask:
    """A mask of cells of equal size on an image: its pixels, those of a coarser level, or tokens.

    Parameters
    ----------
    values
        Cells of the mask, (H, W) bool.
    cell_yx
        Pixels of level 0 per cell.
    origin_yx
        First pixel of level 0 that the mask covers, as an index; beyond the mask nothing is wanted.
    """

    values: Mask
    cell_yx: tuple[float, float] = (1.0, 1.0)
    origin_yx: tuple[float, float] = (0.0, 0.0)

    @property
    def sha256(self) -> str:
        """Hash of the mask and its place."""
        place = f"{self.values.shape}{self.cell_yx}{self.origin_yx}"
        return hashlib.sha256(place.encode() + np.packbits(self.values).tobytes()).hexdigest()

    def on(self, grid: TokenGrid) -> Mask:
        """Return (rows, cols) bool: tokens that a true cell overlaps."""
        if (self.values.shape, self.cell_yx, self.origin_yx) == (grid.shape, grid.stride_yx, grid.origin_yx):
            return self.values
        ranges = []
        for axis, count in enumerate(grid.shape):
            centres = grid.token_to_pixel(np.repeat(np.arange(count)[:, None], 2, axis=1))[:, axis]
            first = centres - (grid.stride_yx[axis] - 1) / 2 - self.origin_yx[axis]
            low = np.floor(first / self.cell_yx[axis] + _SLACK)
            high = np.ceil((first + grid.stride_yx[axis]) / self.cell_yx[axis] - _SLACK)
            ends = np.clip(np.stack([low, high], axis=1), 0, self.values.shape[axis]).astype(int)
            ranges.append([(int(start), int(stop)) for start, stop in ends])
        return any_within(self.values, *ranges)


def any_within(values: Mask, rows: Sequence[tuple[int, int]], cols: Sequence[tuple[int, int]]) -> Mask:
    """Return (len(rows), len(cols)) bool: whether a value within each pair of half-open ranges is true."""
    (tops, top_of), (lefts, left_of) = _distinct(rows), _distinct(cols)  # tokens may share cells
    by_rows = np.stack([values[start:stop].any(axis=0) for start, stop in tops])
    turned = np.ascontiguousarray(by_rows.T)  # along rows it is read at once
    by_both = np.ascontiguousarray(np.stack([turned[start:stop].any(axis=0) for start, stop in lefts]).T)
    return by_both[:, left_of][top_of]


def _distinct(ranges: Sequence[tuple[int, int]]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the ranges, each once, and which of them each was."""
    distinct, which = np.unique(np.asarray(ranges), axis=0, return_inverse=True)
    return distinct, which.ravel()  # numpy 2.0 gives it another axis
