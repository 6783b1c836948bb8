"""Parts around DINOv3's backbone: prototype heads, a mask token, rotary positions at any scale."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sslmaps.encoders.pretext_heads.reading import fill, part_of
from napari_sslmaps.encoders.recognition import PretextHeads
from napari_sslmaps.errors import CheckpointError

_LAYERS = 3
"""Layers in a row of which one at least has weights: linear, norm without affine, activation."""


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


def read_projection(pretext_heads: PretextHeads, prefix: str) -> nn.Sequential | None:
    """Build what stands before the prototypes of a head: its MLP, with batch norms or without.

    Parameters
    ----------
    pretext_heads
        Networks beside the encoder in a file.
    prefix
        Prefix of the head's keys: ``dino_head.`` or ``ibot_head.``.

    Returns
    -------
    Module or None
        Module from (n, D) tokens to (n, bottleneck) points, of which cosines are taken; None if there is
        none.
    """
    state = part_of(pretext_heads.state, f"{prefix}mlp.")
    if not state:
        return None
    numbers = [int(key.partition(".")[0]) for key in state]
    if max(numbers) > _LAYERS * len(numbers):
        raise CheckpointError(
            f"Expected the layers of a head one after the other; the file has {prefix}mlp.{max(numbers)} and "
            f"{len(numbers)} tensors. Fetch it again."
        )
    depth = 1 + max(numbers)
    return fill(lambda: nn.Sequential(*(_layer(state, index) for index in range(depth))), state, "head")


def _layer(state: Mapping[str, Tensor], index: int) -> nn.Module:
    weight = state.get(f"{index}.weight")
    if weight is None:
        return nn.GELU()
    if weight.ndim == 1:
        return nn.BatchNorm1d(len(weight))
    return nn.Linear(weight.shape[1], weight.shape[0], bias=f"{index}.bias" in state)


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
    Tensor
        (rows * columns, 2 * head dim): sines, then cosines, each for rows and columns, twice.
    """
    axes = [(torch.arange(n, device=periods.device) + 0.5) / n * 2 - 1 for n in (rows, columns)]
    coordinates = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 1)
    angles = (2 * math.pi * scale * coordinates[:, :, None] / periods).flatten(1).repeat(1, 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def begin_rotary(
    backbone: Any,
    images: Tensor,
    *,
    masked: Tensor | None = None,
    mask_token: Tensor | None = None,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Return what enters the blocks of a backbone with rotary positions.

    Parameters
    ----------
    backbone
        timm's `Eva` as `build_vit` builds it.
    images
        (B, 3, H, W) normalised.
    masked, mask_token
        (B, N) bool and (1, D): where the token stands for the patch (arXiv 2111.07832).
    scale
        Factor of the positions' coordinates.

    Returns
    -------
    tuple of Tensor
        The sequence (B, P + N, D), prefix tokens first, and the rotary positions of its patches.
    """
    grid = backbone.patch_embed(images)
    rows, columns = grid.shape[1:3]
    tokens = grid.flatten(1, 2)
    if masked is not None and mask_token is not None:
        tokens = torch.where(masked[:, :, None], mask_token.to(tokens.dtype), tokens)
    count = len(images)
    prefix = [backbone.cls_token.expand(count, -1, -1)]
    if backbone.reg_token is not None:
        prefix.append(backbone.reg_token.expand(count, -1, -1))
    positions = rotary_positions(rows, columns, backbone.rope.periods, scale)
    return torch.cat([*prefix, tokens], dim=1), positions
