"""Rectangles on the canvas ↔ token blocks and crops of a pretext view."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.pretext import Crop, PretextView, TokenBlock
from napari_sslmaps.core.region import Region

Float = NDArray[np.float64]


def block_corners(block: TokenBlock, grid: TokenGrid) -> Float:
    """Return the (4, 2) corners, in pixels of level 0, of what a token block covers."""
    low = grid.token_to_pixel((block.row - 0.5, block.col - 0.5))
    high = grid.token_to_pixel((block.row + block.height - 0.5, block.col + block.width - 0.5))
    return _rectangle(low, high)


def block_at(corners: ArrayLike, grid: TokenGrid) -> TokenBlock:
    """Return the token block nearest to a drawn shape's bounding box: on the grid, one token at least."""
    low, high = _bounds(grid.pixel_to_token(corners) + 0.5)
    size = np.clip(high - low, 1, grid.shape)
    first = np.clip(low, 0, np.array(grid.shape) - size)
    return TokenBlock(*(int(value) for value in (*first, *size)))


def crop_corners(crop: Crop, view: PretextView) -> Float:
    """Return the (4, 2) corners, in pixels of level 0, of a crop."""
    low = np.array([crop.region.y, crop.region.x])
    factor = _factor(view)
    return _rectangle(low * factor - 0.5, (low + crop.region.shape_yx) * factor - 0.5)


def crop_at(corners: ArrayLike, kind: str, view: PretextView) -> Crop:
    """Return the crop nearest to a drawn shape's bounding box: on what is looked at, one token at least."""
    whole = view.region
    low, high = _bounds((np.asarray(corners, float) + 0.5) / _factor(view))
    least = np.ceil(np.array(whole.shape_yx) / view.grid.shape)
    size = np.clip(high - low, least, whole.shape_yx).astype(int)
    start = np.array([whole.y, whole.x])
    first = np.clip(low, start, start + whole.shape_yx - size)
    y, x, height, width = (int(value) for value in (*first, *size))
    region = Region(y, x, height, width, whole.level, whole.frame)
    return Crop(region, "global" if kind == "global" else "local")


def _factor(view: PretextView) -> Float:
    """Pixels of level 0 per pixel of the view's level."""
    return np.asarray(view.grid.extent_yx, float) / view.region.shape_yx


def _bounds(corners: Float) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    return np.rint(corners.min(axis=0)).astype(int), np.rint(corners.max(axis=0)).astype(int)


def _rectangle(low: Float, high: Float) -> Float:
    return np.array([low, (low[0], high[1]), high, (high[0], low[1])], float)
