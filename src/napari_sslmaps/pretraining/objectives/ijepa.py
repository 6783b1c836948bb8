"""I-JEPA (Assran et al., arXiv 2301.08243): predict representations of target blocks from a context."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional

from napari_sslmaps.encoders.companions.blocks import Stack, take
from napari_sslmaps.encoders.companions.ijepa import Predictor
from napari_sslmaps.encoders.companions.sequence import begin_seen
from napari_sslmaps.encoders.initial import untrained_network
from napari_sslmaps.encoders.spec import ViTArchitecture
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.pretraining.objectives.base import Gather, Objective, prefixed
from napari_sslmaps.pretraining.objectives.masks import BlockScheme
from napari_sslmaps.pretraining.options import IJEPAOptions, parse_options
from napari_sslmaps.pretraining.schedules import Progress, frozen_copy, move_average
from napari_sslmaps.pretraining.views import CropScheme, draw_crops, jitter_stain

_USUAL = BlockScheme()
_LEAST_CONTEXT, _ATTEMPTS = 4, 20


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


class IJEPA(Objective):
    """Context encoder and predictor are trained; the target encoder, their moving average, is kept."""

    method = "ijepa"
    normalisation = "imagenet"
    architecture: ViTArchitecture

    def __init__(self, architecture: ViTArchitecture, crop: CropScheme, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.architecture = architecture
        self.crop = crop
        self.options = parse_options(IJEPAOptions, options)
        self.companions = {"predictor_heads": self.options.predictor_heads}
        gain = self.options.patch_gain
        self.context: Any = untrained_network("ijepa", architecture, patch_gain=gain)
        self.target: Any = frozen_copy(self.context)
        stack = Stack(self.options.predictor_dim, self.options.predictor_depth, self.options.predictor_heads)
        self.predictor = Predictor(architecture.dim, architecture.grid, stack)

    def encode(self, images: Tensor, context: Tensor) -> Tensor:
        """Context tokens (B, K, D) after the final norm, of normalised images."""
        encoder: Any = self.context
        sequence = begin_seen(encoder, images, context)
        encoded: Tensor = encoder.norm(self.through(encoder.blocks, sequence))
        return encoded

    def predict(self, encoded: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        """Predict (targets * B, T, D) representations, block after block, from (B, K, D) context tokens."""
        sequence = self.predictor.ask(encoded, context, targets)
        sequence = self.through(self.predictor.predictor_blocks, sequence)
        return self.predictor.answer(sequence, targets.shape[2])

    @torch.no_grad()
    def wanted(self, images: Tensor, targets: Tensor) -> Tensor:
        """Layer-normed representations (targets * B, T, D) of the targets in normalised images."""
        full = self.target.forward_features(images).float()
        full = functional.layer_norm(full, (full.shape[-1],))
        return torch.cat([take(full, block) for block in targets])

    def shard_loss(self, fields: Tensor, progress: Progress, generator: Generator) -> dict[str, Tensor]:
        """Smooth L1 between predicted and target representations; draws crops, colours, blocks."""
        del progress
        crops = jitter_stain(draw_crops(fields, self.crop, generator), generator, self.options.jitter)
        images = self.normalise(self.vary(crops, generator))
        drawn = draw_blocks(len(images), self.architecture.grid, generator, self.options.blocks)
        context, targets = (index.to(fields.device) for index in drawn)
        predicted = self.predict(self.encode(images, context), context, targets)
        return {"total": functional.smooth_l1_loss(predicted.float(), self.wanted(images, targets))}

    def follow(self, progress: Progress, gather: Gather) -> None:
        """Let the target encoder follow; the momentum rises linearly to 1, as in the paper."""
        del gather
        momentum = self.options.momentum + (1 - self.options.momentum) * progress.fraction
        move_average(self.target, self.context, momentum)

    def align(self) -> None:
        """Let the context encoder begin where the target encoder is."""
        self.context.load_state_dict(self.target.state_dict())

    def summary(self) -> str:
        """Say what is predicted."""
        return "representations of target blocks, smooth L1 (arXiv 2301.08243)"

    def tokens(self, images: Tensor) -> Tensor:
        """Return the target encoder's tokens."""
        tokens: Tensor = self.target.forward_features(self.normalise(images))
        return tokens

    def exported(self) -> dict[str, Tensor]:
        """Target encoder in timm's names; predictor in I-JEPA's own."""
        return prefixed("", self.target.state_dict()) | prefixed("predictor.", self.predictor.state_dict())
