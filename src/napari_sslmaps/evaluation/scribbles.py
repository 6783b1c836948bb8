"""Painted pixels of a user, brought to the token grid."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.errors import InvalidOptionError

Labels = NDArray[np.integer]


def labels_on_grid(
    labels: NDArray[Any], grid: TokenGrid, place: TokenGrid | None = None
) -> NDArray[np.int64]:
    """Bring painted pixels to tokens: each gets the class that covers most of its painted pixels.

    Parameters
    ----------
    labels
        (H, W) integers over image pixels, as a Labels layer holds them; 0 and below are not painted.
    grid
        Grid that the tokens lie on.
    place
        Grid of the painted pixels, whose stride is the size of a painted pixel in pixels of level 0. If
        omitted they are the pixels of level 0.

    Returns
    -------
    ndarray
        Class numbers (rows, cols) int64; 0 where nothing is painted. Of classes with equally many pixels, the
        lowest.

    Raises
    ------
    InvalidOptionError
        If the labels are not integers in two dimensions, or not of the shape of `place`.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> embedding = ssl.Embedding.from_tokens(np.ones((2, 3, 4)), stride=16)
    >>> painted = np.zeros((32, 48), np.uint8)
    >>> painted[2:5, 2:5], painted[20:30, 33:40] = 1, 2
    >>> ssl.labels_on_grid(painted, embedding.grid).tolist()
    [[1, 0, 0], [0, 0, 2]]
    """
    array = np.asarray(labels)
    if array.ndim != 2 or array.dtype.kind not in "biu":
        raise InvalidOptionError(
            f"Expected painted labels as a two-dimensional array of integers; got {array.ndim} dimensions of "
            f"{array.dtype}."
        )
    where = place or pixel_grid(array.shape[0], array.shape[1])
    if where.shape != array.shape:
        raise InvalidOptionError(f"Expected painted labels of {where.shape} pixels; got {array.shape}.")
    cells, kinds = _painted(array, grid, where)
    classes = np.unique(kinds)
    counts = np.bincount(
        cells * len(classes) + np.searchsorted(classes, kinds), minlength=grid.rows * grid.cols * len(classes)
    )
    if not len(classes):
        return np.zeros(grid.shape, np.int64)
    per_token = counts.reshape(*grid.shape, len(classes))
    return np.where(per_token.any(axis=-1), classes[per_token.argmax(axis=-1)], 0)


def pixel_grid(height: int, width: int) -> TokenGrid:
    """Return the grid of the pixels of level 0 of an image."""
    return TokenGrid(height, width, (1.0, 1.0), (0.0, 0.0), (float(height), float(width)))


def painted_regions(labels: Labels) -> NDArray[np.int64]:
    """Give connected painted regions of a token grid numbers from 1, (rows, cols); 0 is not painted.

    Tokens that touch, also at a corner and also of different classes, are one region, so that neighbours
    never end up in two.
    """
    numbered: NDArray[np.int64] = ndimage.label(labels > 0, np.ones((3, 3)), output=np.int64)[0]
    return numbered


def _painted(
    array: NDArray[Any], grid: TokenGrid, place: TokenGrid
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens, numbered row by row, under the painted pixels of the region, (n,), and their classes, (n,)."""
    (rows, tokens_down), (cols, tokens_across) = (_along(grid, place, axis) for axis in (0, 1))
    cut = array[np.ix_(rows, cols)] if len(rows) and len(cols) else array[:0, :0]
    y, x = np.nonzero(cut > 0)
    return tokens_down[y] * grid.cols + tokens_across[x], cut[y, x].astype(np.int64)


def _along(grid: TokenGrid, place: TokenGrid, axis: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Painted pixels along one axis that lie on the region, and the token of each.

    Pixels larger than a token are cut into parts that are not, and so come up several times.
    """
    parts = max(1, math.ceil(place.stride_yx[axis] / grid.stride_yx[axis]))
    pixels = np.repeat(np.arange(place.shape[axis]), parts)
    within = (np.tile(np.arange(parts), place.shape[axis]) + 0.5) / parts - 0.5
    positions = place.token_to_pixel(np.stack([pixels + within] * 2, axis=1))[:, axis]
    offset = positions - grid.origin_yx[axis] + 0.5
    inside = (offset >= 0) & (offset < grid.extent_yx[axis])
    tokens = np.floor(grid.pixel_to_token(np.stack([positions[inside]] * 2, axis=1))[:, axis] + 0.5)
    return pixels[inside], np.clip(tokens, 0, grid.shape[axis] - 1).astype(np.int64)
