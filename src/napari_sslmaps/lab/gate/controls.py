"""Controls that a score is compared with: colour, raw pixels, position."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from napari_sslmaps.lab.gate.images import PATCH
from napari_sslmaps.lab.gate.probe import Tokens

_WAVES = 5


def colour_statistics(images: Tensor) -> Tensor:
    """Mean and standard deviation of each channel in each 8 x 8 patch, (n, 256, 6)."""
    mean = functional.avg_pool2d(images, PATCH)
    square = functional.avg_pool2d(images.square(), PATCH)
    std = (square - mean.square()).clamp(min=0).sqrt()
    return torch.cat([mean, std], dim=1).flatten(2).transpose(1, 2)


def raw_patches(images: Tensor) -> Tensor:
    """Pixels of each 8 x 8 patch as they are, (n, 256, 192)."""
    return functional.unfold(images, PATCH, stride=PATCH).transpose(1, 2)


def positions(images: Tensor) -> Tensor:
    """Two-dimensional cosine basis of each token's place, (n, 256, 24): nothing of the image."""
    rows, cols = (side // PATCH for side in images.shape[2:])
    waves = torch.arange(_WAVES)[:, None] * math.pi
    along = [torch.cos(waves * (torch.arange(count) + 0.5) / count) for count in (rows, cols)]
    basis = torch.einsum("ir,jc->rcij", *along).reshape(rows * cols, -1)[:, 1:]
    return basis.expand(len(images), -1, -1)


BASELINES: Mapping[str, Tokens] = {
    "colour": colour_statistics,
    "pixels": raw_patches,
    "position": positions,
}
"""Controls without a network."""
