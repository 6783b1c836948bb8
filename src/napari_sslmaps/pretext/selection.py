"""Choices of a user to hide, predict or crop, brought to a view's token grid."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sslmaps.core.pretext_views import Bool, Crop, TokenBlock
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.resolution import region_at
from napari_sslmaps.errors import InvalidOptionError, RegionError
from napari_sslmaps.pretext.input import PretextInput

Rectangle = Sequence[float]
_ROUNDING = 1e-6


def mask_on_grid(mask: ArrayLike, input_: PretextInput) -> Bool:
    """Bring a mask to the token grid.

    Parameters
    ----------
    mask
        Mask that is True, or not 0, where hidden: (rows, cols) of the view's tokens, or pixels of the region
        that was asked for or of the part that is shown. A token is hidden if any of its pixels is.
    input_
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
    shapes = {input_.grid.shape, input_.region.shape_yx, input_.requested.shape_yx}
    if values.shape not in shapes:
        listed = ", ".join(f"{rows} × {cols}" for rows, cols in sorted(shapes))
        raise InvalidOptionError(
            f"Expected a mask of the token grid or of the region's pixels ({listed}); got one of shape "
            f"{values.shape}."
        )
    if values.shape != input_.grid.shape:
        values = _pool(values, input_)
    hidden = int(values.sum())
    if hidden in {0, values.size}:
        what = "nothing" if hidden == 0 else "everything"
        raise InvalidOptionError(
            f"Expected a mask that hides some of the {values.size} patches and leaves some; this one hides "
            f"{what} of the {input_.region.height} × {input_.region.width} px that are shown."
        )
    return values


def _pool(values: Bool, input_: PretextInput) -> Bool:
    """Any of the pixels of each token, of pixels that are shown or were asked for.

    Where pixels are resampled, tokens share some.
    """
    shape = input_.grid.shape
    if values.shape == input_.region.shape_yx:
        firsts, strides = np.zeros(2), np.divide(values.shape, shape)
    else:
        first, last = input_.shown_yx
        firsts, strides = first - (input_.requested.y, input_.requested.x), (last - first) / shape
    for axis, count in enumerate(shape):
        edges = firsts[axis] + np.arange(count + 1) * strides[axis]
        starts = np.clip(np.floor(edges[:-1] + _ROUNDING).astype(int), 0, values.shape[axis] - 1)
        stops = np.maximum(np.ceil(edges[1:] - _ROUNDING).astype(int), starts + 1)
        parts = [
            values.take(range(start, min(stop, values.shape[axis])), axis=axis).any(axis=axis)
            for start, stop in zip(starts, stops, strict=True)
        ]
        values = np.stack(parts, axis=axis)
    return values


def blocks_on_grid(targets: Sequence[TokenBlock | Rectangle], input_: PretextInput) -> tuple[TokenBlock, ...]:
    """Bring target blocks to the token grid.

    Parameters
    ----------
    targets
        Blocks of tokens of the view, or rectangles (y, x, height, width) in pixels of the level of the region
        that was asked for, whose edges go to the nearest edges of tokens and stay on the grid.
    input_
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
        _check(target, input_) if isinstance(target, TokenBlock) else _snap(target, input_)
        for target in targets
    )
    covered = cover(blocks, input_.grid.shape)
    if covered.all():
        raise InvalidOptionError(
            f"Expected target blocks that leave some of the {covered.size} tokens as context; these cover "
            "all of them. Use fewer or smaller ones."
        )
    return blocks


def _check(block: TokenBlock, input_: PretextInput) -> TokenBlock:
    rows, cols = input_.grid.shape
    inside = block.row + block.height <= rows and block.col + block.width <= cols
    if min(block.row, block.col) < 0 or min(block.height, block.width) < 1 or not inside:
        raise InvalidOptionError(f"Expected a target block inside {rows} × {cols} tokens; got {block}.")
    return block


def _snap(rectangle: Rectangle, input_: PretextInput) -> TokenBlock:
    values = np.asarray(rectangle, dtype=float)
    if values.shape != (4,) or not np.isfinite(values).all() or min(values[2:]) <= 0:
        raise InvalidOptionError(
            f"Expected a target as (y, x, height, width) in pixels, or a TokenBlock; got {rectangle!r}."
        )
    shape, (origin, end) = np.asarray(input_.grid.shape), input_.shown_yx
    stride = (end - origin) / shape
    first = (values[:2] - origin) / stride
    last = first + values[2:] / stride
    if (last <= 0).any() or (first >= shape).any():
        raise InvalidOptionError(
            f"Expected a target on the pixels that are shown, {input_.describe_shown()}; got "
            f"{tuple(values.tolist())}. Move it there."
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


def crops_inside(crops: Sequence[Crop], input_: PretextInput) -> tuple[Crop, ...]:
    """Check that crops lie on the part that is shown, and put the global ones first.

    Parameters
    ----------
    crops
        Crops in pixels of the view's level, or of that of the region that was asked for.
    input_
        Pixels of the view.

    Returns
    -------
    tuple of Crop
        The same in pixels of the view's level.

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
    placed = tuple(replace(crop, region=_on_shown(crop.region, input_)) for crop in crops)
    return tuple(sorted(placed, key=lambda crop: crop.kind != "global"))


def _on_shown(region: Region, input_: PretextInput) -> Region:
    """Return a region in pixels of what is shown; refuse one that reaches beyond."""
    shown, requested = input_.region, input_.requested
    inside = region.level == shown.level
    if not inside and region.level == requested.level:
        first, last = input_.shown_yx
        there = np.array([region.y, region.x])
        within = (there >= np.floor(first + _ROUNDING)).all()
        inside = bool(within and (there + region.shape_yx <= np.ceil(last - _ROUNDING)).all())
        if inside:
            downsample = (last - first) / shown.shape_yx
            stop = (shown.y + shown.height, shown.x + shown.width)
            region = region_at(region, shown.level, (downsample[0], downsample[1]), stop)
    y, x = region.y - shown.y, region.x - shown.x
    beyond = y + region.height > shown.height or x + region.width > shown.width
    if not inside or min(y, x) < 0 or beyond:
        raise RegionError(
            f"Expected crops on the pixels that are shown, {input_.describe_shown()} of level "
            f"{requested.level}; got {region}. Move it there, or choose fit='whole'."
        )
    return region


def seen_tokens(mask: Bool) -> NDArray[np.intp]:
    """Return the indices of the tokens that a mask leaves, in reading order."""
    return np.flatnonzero(~mask)
