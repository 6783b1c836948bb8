"""Masks and blocks that a pretext task hides at random."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from napari_sslmaps.errors import InvalidOptionError

_RECTANGLES = 12
_LONGEST = 0.6


@dataclass(frozen=True, slots=True)
class BlockScheme:
    """Rule by which I-JEPA's blocks are drawn; the defaults are the paper's (arXiv 2301.08243).

    Attributes
    ----------
    targets
        Number of target blocks.
    target_scale, target_aspect
        Range of a target's share of the grid, and of its height over its width.
    context_scale
        Range of the context's share of the grid, before the targets are taken out of it.
    """

    targets: int = 4
    target_scale: tuple[float, float] = (0.15, 0.2)
    target_aspect: tuple[float, float] = (0.75, 1.5)
    context_scale: tuple[float, float] = (0.85, 1.0)


def block_masks(
    count: int,
    grid: tuple[int, int],
    generator: Generator,
    *,
    share: float = 0.5,
    ratio: tuple[float, float] = (0.1, 0.5),
) -> Tensor:
    """Masks of iBOT (arXiv 2111.07832): some images have a part of their patches hidden, as rectangles.

    The ratios of the masked images are spread evenly over `ratio`. Rectangles are laid until an image's
    number of patches is covered; of the last one, random patches are left out so that the number is exact.
    Draws: the order of the ratios, the rectangles, a number per patch, the order of the images.

    Returns
    -------
    Tensor
        Masks (count, rows * columns) bool, round(count * share) rows with at least one True.
    """
    chosen = min(count, max(1, round(count * share)))
    ratios = torch.linspace(*ratio, chosen)[torch.randperm(chosen, generator=generator)]
    patches = grid[0] * grid[1]
    wanted = (ratios * grid[0] * grid[1]).round().long().clamp(1, patches)
    draw = torch.rand(4, chosen, _RECTANGLES, 1, generator=generator)
    rows, columns = (
        _bars(length, place, size) for length, place, size in zip(draw[:2], draw[2:], grid, strict=True)
    )
    covered = (rows[:, :, :, None] & columns[:, :, None, :]).flatten(2)
    # Which rectangle covers a patch first; argmax finds the first True, and a row of True behind them the
    # rest.
    covered = torch.cat([covered, torch.ones(chosen, 1, patches, dtype=torch.bool)], dim=1)
    first = covered.int().argmax(dim=1) + torch.rand(chosen, patches, generator=generator)
    rank = first.argsort(dim=1).argsort(dim=1)
    masks = torch.zeros(count, patches, dtype=torch.bool)
    masks[:chosen] = rank < wanted[:, None]
    return masks[torch.randperm(count, generator=generator)]


def _bars(length: Tensor, place: Tensor, size: int) -> Tensor:
    """Mark what rectangles cover of an axis, (count, rectangles, size) bool, of draws in [0, 1)."""
    length = (1 + length * size * _LONGEST).floor().clamp(max=size)
    first = (place * (size - length + 1)).floor()
    index = torch.arange(size)
    return (index >= first) & (index < first + length)


def random_mask(count: int, patches: int, ratio: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Choose the visible patches of each image, uniformly; draws (count, patches) numbers.

    Returns
    -------
    visible
        (count, K) indices in random order, K = round(patches * (1 - ratio)).
    hidden
        (count, patches - K) indices.
    """
    order = torch.rand(count, patches, generator=generator).argsort(dim=1)
    kept = round(patches * (1 - ratio))
    return order[:, :kept], order[:, kept:]


_USUAL = BlockScheme()


def draw_blocks(
    count: int, grid: tuple[int, int], generator: Generator, scheme: BlockScheme = _USUAL
) -> tuple[Tensor, Tensor]:
    """Draw the context and the target blocks of a batch (arXiv 2301.08243, section 3).

    Block shapes are drawn once for the batch and places for each image; contexts are cut to the smallest
    one's length by dropping random tokens, so that a batch stays a tensor. Draws, in this order: the
    targets' shape, the places of each target, the context's shape, its places; all again while an image has
    hardly any context; then the order in which context tokens are dropped.

    Returns
    -------
    context
        (count, K) token indices in ascending order, none of them in a target.
    targets
        (targets, count, T) token indices of each target block, row by row.

    Raises
    ------
    InvalidOptionError
        If such targets leave no context.
    """
    for _ in range(_ATTEMPTS):
        shape = _block_shape(grid, scheme.target_scale, scheme.target_aspect, generator)
        places = [_place(shape, grid, count, generator) for _ in range(scheme.targets)]
        blocks = torch.stack(places).flatten(2)
        around = _block_shape(grid, scheme.context_scale, (1.0, 1.0), generator)
        context = _place(around, grid, count, generator).flatten(1) & ~blocks.any(dim=0)
        length = int(context.sum(dim=1).min())
        if length >= _LEAST_CONTEXT:
            break
    else:
        raise InvalidOptionError(
            f"Expected targets that leave a context of {_LEAST_CONTEXT} tokens in a grid of "
            f"{grid[0]} x {grid[1]}; {scheme.targets} of scale {scheme.target_scale} do not. Use fewer or "
            "smaller ones."
        )
    targets = blocks.nonzero()[:, 2].reshape(scheme.targets, count, shape[0] * shape[1])
    order = torch.rand(context.shape, generator=generator) + context.float()
    return order.argsort(dim=1, descending=True)[:, :length].sort(dim=1).values, targets


def _block_shape(
    grid: tuple[int, int], scale: tuple[float, float], aspect: tuple[float, float], generator: Generator
) -> tuple[int, int]:
    """Rows and columns of a block covering a share `scale` of the grid at an aspect within `aspect`."""
    draw = torch.rand(2, generator=generator).tolist()
    area = grid[0] * grid[1] * (scale[0] + (scale[1] - scale[0]) * draw[0])
    ratio = aspect[0] + (aspect[1] - aspect[0]) * draw[1]
    return (
        min(grid[0], max(1, round(math.sqrt(area * ratio)))),
        min(grid[1], max(1, round(math.sqrt(area / ratio)))),
    )


def _place(shape: tuple[int, int], grid: tuple[int, int], count: int, generator: Generator) -> Tensor:
    """Put one block of `shape` into each of `count` grids, (count, rows, columns) bool."""
    draw = torch.rand(count, 2, generator=generator)
    top = (draw[:, 0] * (grid[0] - shape[0] + 1)).long()[:, None, None]
    left = (draw[:, 1] * (grid[1] - shape[1] + 1)).long()[:, None, None]
    y = torch.arange(grid[0])[None, :, None]
    x = torch.arange(grid[1])[None, None, :]
    return (y >= top) & (y < top + shape[0]) & (x >= left) & (x < left + shape[1])


_LEAST_CONTEXT, _ATTEMPTS = 4, 20
