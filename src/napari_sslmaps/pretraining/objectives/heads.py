"""What DINOv3 puts around its backbone: prototype heads, masks of patches, rotary positions at any scale."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

_RECTANGLES = 12
_LONGEST = 0.6


class PrototypeHead(nn.Module):
    """Three-layer MLP, unit-length bottleneck, scores against unit-length prototypes.

    The hidden layers are batch-normalised, an option of DINO's own head: without it the points of a small,
    young network are nearly collinear, the Sinkhorn targets nearly uniform, and nothing is learned.
    """

    def __init__(self, dim: int, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.BatchNorm1d(hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        self.last_layer = nn.Parameter(torch.empty(prototypes, bottleneck))
        for part in self.mlp:
            if isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.02)
                nn.init.zeros_(part.bias)
        nn.init.normal_(self.last_layer)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores (n, K) of (n, D) tokens, cosines in [-1, 1]."""
        points = functional.normalize(self.mlp(tokens), dim=-1, eps=1e-6)
        return points @ functional.normalize(self.last_layer, dim=-1).T


def block_masks(
    count: int,
    side: int,
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
    (count, side * side) bool, round(count * share) rows with at least one True.
    """
    chosen = min(count, max(1, round(count * share)))
    ratios = torch.linspace(*ratio, chosen)[torch.randperm(chosen, generator=generator)]
    wanted = (ratios * side * side).round().long().clamp(1, side * side)
    draw = torch.rand(4, chosen, _RECTANGLES, 1, generator=generator)
    height, width = (1 + draw[:2] * side * _LONGEST).floor().clamp(max=side)
    top, left = (draw[2] * (side - height + 1)).floor(), (draw[3] * (side - width + 1)).floor()
    place = torch.arange(side)
    rows = (place >= top) & (place < top + height)
    columns = (place >= left) & (place < left + width)
    covered = (rows[:, :, :, None] & columns[:, :, None, :]).flatten(2)
    # Which rectangle covers a patch first; argmax finds the first True, and a row of True behind them the
    # rest.
    covered = torch.cat([covered, torch.ones(chosen, 1, side * side, dtype=torch.bool)], dim=1)
    first = covered.int().argmax(dim=1) + torch.rand(chosen, side * side, generator=generator)
    rank = first.argsort(dim=1).argsort(dim=1)
    masks = torch.zeros(count, side * side, dtype=torch.bool)
    masks[:chosen] = rank < wanted[:, None]
    return masks[torch.randperm(count, generator=generator)]


def rotary_positions(rows: int, columns: int, periods: Tensor, scale: float = 1.0) -> Tensor:
    """Sines and cosines of DINOv3's rotary positions, with coordinates times `scale`.

    Parameters
    ----------
    rows, columns
        Grid of tokens; their centres have coordinates in (-1, 1).
    periods
        (head dim / 4) wavelengths.
    scale
        Factor of the coordinates ("box jitter", arXiv 2508.10104, section 3.2).

    Returns
    -------
    (rows * columns, 2 * head dim): sines, then cosines, each for rows and columns, twice.
    """
    axes = [(torch.arange(n, device=periods.device) + 0.5) / n * 2 - 1 for n in (rows, columns)]
    coordinates = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 1)
    angles = (2 * math.pi * scale * coordinates[:, :, None] / periods).flatten(1).repeat(1, 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
