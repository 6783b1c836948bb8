"""Choices of a user to hide, predict or crop, brought to a view's token grid."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sslmaps.core.pretext_views import Bool, Crop, TokenBlock
from napari_sslmaps.errors import InvalidOptionError, RegionError
from napari_sslmaps.pretext.field import PretextInput

Rectangle = Sequence[float]


def mask_on_grid(mask: ArrayLike, field: PretextInput) -> Bool:
    """Bring a mask to the token grid.

    Parameters
    ----------
    mask
        Mask that is True, or not 0, where hidden: (rows, cols) of the view's tokens, or pixels of the region
        that was asked for or of the part that is shown. A token is hidden if any of its pixels is.
    field
        Pixels of the view.

    Returns
    -------
    ndarray
        Mask (rows, cols) bool, some True and some False.

    Raises
    ------
    InvalidOptionError
        If the shape is none of these, or nothing is hidden or left.
    """
    values: Bool = np.asarray(mask) != 0
    shapes = {field.grid.shape, field.region.shape_yx, field.asked.shape_yx}
    if values.shape not in shapes:
        listed = ", ".join(f"{rows} × {cols}" for rows, cols in sorted(shapes))
        raise InvalidOptionError(
            f"Expected a mask of the token grid or of the region's pixels ({listed}); got one of shape "
            f"{values.shape}."
        )
    if values.shape != field.grid.shape:
        values = _pool(_part(values, field), field.grid.shape)
    hidden = int(values.sum())
    if hidden in {0, values.size}:
        what = "nothing" if hidden == 0 else "everything"
        raise InvalidOptionError(
            f"Expected a mask that hides some of the {values.size} patches and leaves some; this one hides "
            f"{what} of the {field.region.height} × {field.region.width} px that are shown."
        )
    return values


def _part(values: Bool, field: PretextInput) -> Bool:
    """Cut the pixels that are shown out of those that were asked for."""
    if values.shape == field.region.shape_yx:
        return values
    top, left = field.region.y - field.asked.y, field.region.x - field.asked.x
    part: Bool = values[top : top + field.region.height, left : left + field.region.width]
    return part


def _pool(values: Bool, shape: tuple[int, int]) -> Bool:
    """Any of the pixels of each token; where pixels are resampled, tokens share some."""
    for axis, count in enumerate(shape):
        size = values.shape[axis]
        starts = np.arange(count) * size // count
        stops = -(-(np.arange(count) + 1) * size // count)
        parts = [
            values.take(range(start, stop), axis=axis).any(axis=axis)
            for start, stop in zip(starts, stops, strict=True)
        ]
        values = np.stack(parts, axis=axis)
    return values


def blocks_on_grid(targets: Sequence[TokenBlock | Rectangle], field: PretextInput) -> tuple[TokenBlock, ...]:
    """Bring target blocks to the token grid.

    Parameters
    ----------
    targets
        Blocks of tokens of the view, or rectangles (y, x, height, width) in pixels of the region's level,
        whose edges go to the nearest edges of tokens and stay on the grid.
    field
        Pixels of the view.

    Raises
    ------
    InvalidOptionError
        If there are none, one is not on the part that is shown, or together they leave no context.
    """
    if not len(targets):
        raise InvalidOptionError(
            "Expected at least one target block; got none. Leave them out to have some sampled."
        )
    blocks = tuple(
        _check(target, field) if isinstance(target, TokenBlock) else _snap(target, field)
        for target in targets
    )
    covered = cover(blocks, field.grid.shape)
    if covered.all():
        raise InvalidOptionError(
            f"Expected target blocks that leave some of the {covered.size} tokens as context; these cover "
            "all of them. Use fewer or smaller ones."
        )
    return blocks


def _check(block: TokenBlock, field: PretextInput) -> TokenBlock:
    rows, cols = field.grid.shape
    inside = block.row + block.height <= rows and block.col + block.width <= cols
    if min(block.row, block.col) < 0 or min(block.height, block.width) < 1 or not inside:
        raise InvalidOptionError(f"Expected a target block inside {rows} × {cols} tokens; got {block}.")
    return block


def _snap(rectangle: Rectangle, field: PretextInput) -> TokenBlock:
    values = np.asarray(rectangle, dtype=float)
    if values.shape != (4,) or not np.isfinite(values).all() or min(values[2:]) <= 0:
        raise InvalidOptionError(
            f"Expected a target as (y, x, height, width) in pixels, or a TokenBlock; got {rectangle!r}."
        )
    region, shape = field.region, np.asarray(field.grid.shape)
    stride = np.asarray(region.shape_yx) / shape
    first = (values[:2] - (region.y, region.x)) / stride
    last = first + values[2:] / stride
    if (last <= 0).any() or (first >= shape).any():
        raise InvalidOptionError(
            f"Expected a target on the pixels that are shown, rows {region.y}–{region.y + region.height} "
            f"and columns {region.x}–{region.x + region.width}; got {tuple(values.tolist())}. Move it there."
        )
    start = np.clip(np.rint(first), 0, shape - 1).astype(int)
    stop = np.clip(np.rint(last), start + 1, shape).astype(int)
    return TokenBlock(int(start[0]), int(start[1]), *(int(side) for side in stop - start))


def cover(blocks: Sequence[TokenBlock], shape: tuple[int, int]) -> Bool:
    """(rows, cols) bool, True where any block lies."""
    covered = np.zeros(shape, bool)
    for block in blocks:
        covered[block.row : block.row + block.height, block.col : block.col + block.width] = True
    return covered


def crops_inside(crops: Sequence[Crop], field: PretextInput) -> tuple[Crop, ...]:
    """Check that crops lie on the part that is shown, and put the global ones first.

    Raises
    ------
    InvalidOptionError
        If there are fewer than two, or something else was given.
    RegionError
        If one reaches beyond.
    """
    others: list[Any] = [crop for crop in crops if not isinstance(crop, Crop)]
    if others or len(crops) < 2:
        raise InvalidOptionError(f"Expected at least two of Crop(region, kind); got {others or list(crops)}.")
    region = field.region
    for crop in crops:
        y, x = crop.region.y - region.y, crop.region.x - region.x
        beyond = y + crop.region.height > region.height or x + crop.region.width > region.width
        if min(y, x) < 0 or beyond or crop.region.level != region.level:
            raise RegionError(
                "Expected crops on the pixels that are shown, rows "
                f"{region.y}–{region.y + region.height} and columns {region.x}–{region.x + region.width} of "
                f"level {region.level}; got {crop.region}. Move it there, or choose fit='whole'."
            )
    return tuple(sorted(crops, key=lambda crop: crop.kind != "global"))


def seen_tokens(mask: Bool) -> NDArray[np.intp]:
    """Return the indices of the tokens that a mask leaves, in reading order."""
    return np.flatnonzero(~mask)
