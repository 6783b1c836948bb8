"""I-JEPA (Assran et al., arXiv 2301.08243): predict representations of target blocks from a context."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from napari_sslmaps.encoders.spec import ViTArchitecture
from napari_sslmaps.encoders.vit import build_vit
from napari_sslmaps.pretraining.data import CropScheme, draw_crops, jitter_stain
from napari_sslmaps.pretraining.objectives.base import (
    Objective,
    make_blocks,
    prefixed,
    sincos_positions,
    take,
    xavier,
)
from napari_sslmaps.pretraining.schedules import Progress, frozen_copy, move_average

_TARGETS = 4
_TARGET_SCALE, _TARGET_ASPECT = (0.15, 0.2), (0.75, 1.5)
_CONTEXT_SCALE = (0.85, 1.0)


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


def draw_blocks(count: int, grid: tuple[int, int], generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw the context and the target blocks of a batch (arXiv 2301.08243, section 3).

    Block shapes are drawn once for the batch and places for each image; contexts are cut to the smallest
    one's length by dropping random tokens, so that a batch stays a tensor.

    Returns
    -------
    context
        (count, K) token indices, none of them in a target.
    targets
        (4, count, T) token indices of each target block.
    """
    shape = _block_shape(grid, _TARGET_SCALE, _TARGET_ASPECT, generator)
    blocks = torch.stack([_place(shape, grid, count, generator) for _ in range(_TARGETS)]).flatten(2)
    targets = blocks.nonzero()[:, 2].reshape(_TARGETS, count, shape[0] * shape[1])
    around = _place(_block_shape(grid, _CONTEXT_SCALE, (1.0, 1.0), generator), grid, count, generator)
    context = around.flatten(1) & ~blocks.any(dim=0)
    length = max(1, int(context.sum(dim=1).min()))
    order = torch.rand(context.shape, generator=generator) + context.float()
    return order.argsort(dim=1, descending=True)[:, :length].sort(dim=1).values, targets


class Predictor(nn.Module):
    """Narrow transformer: context tokens and positioned mask tokens in, target representations out."""

    def __init__(self, dim: int, width: int, depth: int, heads: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.predictor_embed = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.predictor_pos_embed = nn.Parameter(sincos_positions(width, *grid), requires_grad=False)
        self.predictor_blocks = make_blocks(width, depth, heads)
        self.predictor_norm = nn.LayerNorm(width, eps=1e-6)
        self.predictor_proj = nn.Linear(width, dim)
        xavier(self)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, encoded: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        """Predict (4 * B, T, D) representations, block after block, from (B, K, D) context tokens."""
        positions = self.predictor_pos_embed.expand(len(encoded), -1, -1)
        known = self.predictor_embed(encoded) + take(positions, context)
        asked = torch.cat([self.mask_token + take(positions, block) for block in targets])
        sequence = torch.cat([known.repeat(len(targets), 1, 1), asked], dim=1)
        for block in self.predictor_blocks:
            sequence = block(sequence)
        predicted: Tensor = self.predictor_proj(self.predictor_norm(sequence[:, known.shape[1] :]))
        return predicted


class IJEPA(Objective):
    """Context encoder and predictor are trained; the target encoder, their moving average, is kept."""

    method = "ijepa"
    normalisation = "imagenet"

    def __init__(self, architecture: ViTArchitecture, crop: CropScheme, options: dict[str, Any]) -> None:
        super().__init__()
        self.architecture = architecture
        self.crop = crop
        self.grid = architecture.grid
        self.momentum = float(options.get("momentum", 0.99))
        heads = int(options.get("predictor_heads", 4))
        self.companions = {"predictor_heads": heads}
        context: Any = build_vit(architecture)
        self.context = context
        xavier(context)
        # Content must outweigh the added positions from the start, or targets are told by their places alone.
        context.patch_embed.proj.weight.data.mul_(float(options.get("patch_gain", 4.0)))
        context.pos_embed = nn.Parameter(
            sincos_positions(architecture.dim, *architecture.grid), requires_grad=False
        )
        self.target: Any = frozen_copy(context, build_vit(architecture))
        self.predictor = Predictor(
            architecture.dim,
            int(options.get("predictor_dim", 64)),
            int(options.get("predictor_depth", 2)),
            heads,
            architecture.grid,
        )

    def encode(self, images: Tensor, context: Tensor) -> Tensor:
        """Context tokens (B, K, D) after the final norm, of normalised images."""
        encoder: Any = self.context
        sequence = take(encoder.patch_embed(images).flatten(1, 2) + encoder.pos_embed, context)
        for block in encoder.blocks:
            sequence = block(sequence)
        encoded: Tensor = encoder.norm(sequence)
        return encoded

    def loss(self, fields: Tensor, progress: Progress, generator: Generator) -> dict[str, Tensor]:
        """Smooth L1 between predicted and layer-normed target representations."""
        del progress
        images = self.normalise(jitter_stain(draw_crops(fields, self.crop, generator), generator, 0.1))
        context, targets = draw_blocks(len(images), self.grid, generator)
        with torch.no_grad():
            full = self.target.forward_features(images)
            full = functional.layer_norm(full, (full.shape[-1],))
            wanted = torch.cat([take(full, block) for block in targets])
        predicted = self.predictor(self.encode(images, context), context, targets)
        return {"total": functional.smooth_l1_loss(predicted, wanted)}

    def after_step(self, progress: Progress) -> None:
        """Let the target encoder follow; the momentum rises linearly to 1, as in the paper."""
        momentum = self.momentum + (1 - self.momentum) * progress.fraction
        move_average(self.target, self.context, momentum)

    def tokens(self, images: Tensor) -> Tensor:
        """Return the target encoder's tokens."""
        tokens: Tensor = self.target.forward_features(self.normalise(images))
        return tokens

    def exported(self) -> dict[str, Tensor]:
        """Target encoder in timm's names; predictor in I-JEPA's own."""
        return prefixed("", self.target.state_dict()) | prefixed("predictor.", self.predictor.state_dict())
