"""What is hidden at random: blocks as I-JEPA draws them, masks as iBOT does and DINOv3 after it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

_RECTANGLES = 12
_LONGEST = 0.6


@dataclass(frozen=True, slots=True)
class BlockScheme:
    """How I-JEPA's blocks are drawn; the defaults are the paper's (arXiv 2301.08243).

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
    (count, rows * columns) bool, round(count * share) rows with at least one True.
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
