"""Areas of a map: a threshold, edges at pixels, sizes, holes; and the most similar places."""

from dataclasses import dataclass
from math import ceil

import numpy as np
import scipy  # its subpackages are loaded when they are first used
from numpy.typing import NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Float32
from napari_sslmaps.serialise import strict

Labels = NDArray[np.int32]
_REGULARISATION = 1e-3
"""Of the guided filter: variance of a guide in [0, 1] below which it counts as flat."""


SPECK_TOKENS = 4
"""Tokens that an area covers at least, unless told otherwise: fewer have no shape, and are mostly noise."""


@strict
@dataclass(frozen=True, slots=True)
class SegmentOptions:
    """Options of making areas of a map.

    Parameters
    ----------
    threshold
        Value above which a token belongs to an area.
    least_px
        Areas of fewer pixels of level 0 are left out; None for those of fewer than `SPECK_TOKENS` tokens.
    fill_holes
        Whether holes are filled.
    guided
        Whether edges follow those of the image, by a guided filter on the map. It can paint an edge of the
        image into a map that has none there.
    """

    threshold: float = 0.5
    least_px: float | None = None
    fill_holes: bool = True
    guided: bool = False


@dataclass(frozen=True, eq=False)
class Segments:
    """Areas of an image.

    Parameters
    ----------
    labels
        (rows, cols) int32; 0 outside, areas are numbered from 1 on, from above.
    grid
        Grid of these cells.
    sizes_px
        Pixels of level 0 that each area covers.
    means
        Mean of the map over each area.
    left_out
        Number of areas that were too small.
    """

    labels: Labels
    grid: TokenGrid
    sizes_px: tuple[float, ...]
    means: tuple[float, ...]
    left_out: int = 0

    def centre_px(self, number: int) -> tuple[float, float]:
        """Return the centroid (row, column) of an area, in pixels of level 0."""
        y, x = self.grid.token_to_pixel(scipy.ndimage.center_of_mass(self.labels == number))
        return float(y), float(x)


def segments_of(
    values: Float32, grid: TokenGrid, options: SegmentOptions, guide: Float32 | None = None
) -> Segments:
    """Return the areas in which a map is above a threshold.

    Parameters
    ----------
    values
        (rows, cols) map; NaN is outside.
    grid
        Grid that its tokens lie on.
    options
        Threshold and least size of an area, and how its edges and holes are treated.
    guide
        (height, width) brightness of the region in [0, 1], of a whole number of cells per token; needed for
        guided edges.
    """
    cells, token_px = values, grid.stride_yx[0] * grid.stride_yx[1]
    least_px = SPECK_TOKENS * token_px if options.least_px is None else options.least_px
    if options.guided and guide is not None:
        cells, grid = _at_pixels(values, grid, guide)
    inside = np.nan_to_num(cells, nan=-np.inf) > options.threshold
    if options.fill_holes:
        inside = scipy.ndimage.binary_fill_holes(inside)
    numbered, count = scipy.ndimage.label(inside)
    area = grid.stride_yx[0] * grid.stride_yx[1]
    sizes = np.bincount(numbered.ravel(), minlength=count + 1)[1:] * area
    kept = np.flatnonzero(sizes >= least_px) + 1
    new = np.zeros(count + 1, np.int32)
    new[kept] = np.arange(1, len(kept) + 1)
    labels = new[numbered]
    known = np.where(np.isfinite(cells), cells, 0)
    means = scipy.ndimage.mean(known, labels, np.arange(1, len(kept) + 1)) if len(kept) else ()
    return Segments(
        labels,
        grid,
        tuple(float(size) for size in sizes[kept - 1]),
        tuple(float(mean) for mean in means),
        count - len(kept),
    )


def guided_filter(values: Float32, guide: Float32, radius: int) -> Float32:
    """Smooth values along the edges of a guide.

    Parameters
    ----------
    values, guide
        (height, width); the guide in [0, 1].
    radius
        Half the side of the window.

    Notes
    -----
    The guided filter [1]_: in each window the output is a linear function of the guide, fitted to the values.

    References
    ----------
    .. [1] He et al. "Guided image filtering." IEEE TPAMI 35 (2013) 1397, https://doi.org/10.1109/TPAMI.2012.213
    """

    def mean(array: Float32) -> Float32:
        found: Float32 = scipy.ndimage.uniform_filter(array, 2 * radius + 1, mode="nearest")
        return found

    of_guide, of_values = mean(guide), mean(values)
    slope = (mean(guide * values) - of_guide * of_values) / (
        mean(guide * guide) - of_guide**2 + np.float32(_REGULARISATION)
    )
    found: Float32 = mean(slope) * guide + mean(of_values - slope * of_guide)
    return found


def _at_pixels(values: Float32, grid: TokenGrid, guide: Float32) -> tuple[Float32, TokenGrid]:
    """Bring a map to the cells of a guide, with its edges."""
    height, width = guide.shape
    cell = (grid.extent_yx[0] / height, grid.extent_yx[1] / width)
    fine = TokenGrid(height, width, cell, grid.origin_yx, grid.extent_yx)
    rows, cols = (np.arange(count) for count in (height, width))
    at_rows = grid.pixel_to_token(fine.token_to_pixel(np.stack([rows, 0 * rows], axis=-1)))[:, 0]
    at_cols = grid.pixel_to_token(fine.token_to_pixel(np.stack([0 * cols, cols], axis=-1)))[:, 1]
    known = np.where(np.isfinite(values), values, np.nanmin(values))
    smooth = scipy.ndimage.map_coordinates(
        known, np.stack(np.meshgrid(at_rows, at_cols, indexing="ij")), order=1, mode="nearest"
    )
    radius = max(1, ceil(grid.stride_yx[0] / cell[0]))
    return guided_filter(smooth.astype(np.float32), guide.astype(np.float32), radius), fine


def top_places(values: Float32, count: int, apart: int = 2) -> list[tuple[int, int]]:
    """Return the tokens (row, column) of the highest peaks of a map, the highest first.

    Parameters
    ----------
    values
        (rows, cols); NaN is no peak.
    count
        Number of places, at most.
    apart
        A peak is the highest within so many tokens.
    """
    known = np.nan_to_num(values, nan=-np.inf)
    highest = scipy.ndimage.maximum_filter(known, 2 * apart + 1, mode="nearest")
    peaks = np.argwhere((known == highest) & np.isfinite(known))
    order = np.argsort(-known[tuple(peaks.T)], kind="stable")
    found: list[tuple[int, int]] = []
    for row, col in peaks[order]:
        if all(max(abs(row - r), abs(col - c)) > apart for r, c in found):
            found.append((int(row), int(col)))
        if len(found) == count:
            break
    return found
