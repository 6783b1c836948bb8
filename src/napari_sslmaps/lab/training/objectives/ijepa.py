"""I-JEPA (Assran et al., arXiv 2301.08243): predict representations of target blocks from a context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional

from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.pretext_heads.blocks import Stack, take
from napari_sslmaps.encoders.pretext_heads.ijepa import Predictor
from napari_sslmaps.encoders.pretext_heads.sequence import begin_seen
from napari_sslmaps.encoders.untrained import untrained_network
from napari_sslmaps.lab.training.numerics import TrainingPosition, frozen_copy, move_average
from napari_sslmaps.lab.training.objectives.base import Gather, Objective, prefixed
from napari_sslmaps.lab.training.options import IJEPAOptions, parse_options
from napari_sslmaps.lab.training.views import CropScheme, draw_crops, jitter_stain
from napari_sslmaps.pretext.masks import draw_blocks


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
        self.pretext_settings = {"predictor_heads": self.options.predictor_heads}
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
        sequence = self.predictor.predictor_input(encoded, context, targets)
        sequence = self.through(self.predictor.predictor_blocks, sequence)
        return self.predictor.to_predictions(sequence, targets.shape[2])

    @torch.no_grad()
    def target_representations(self, images: Tensor, targets: Tensor) -> Tensor:
        """Layer-normed representations (targets * B, T, D) of the targets in normalised images."""
        full = self.target.forward_features(images).float()
        full = functional.layer_norm(full, (full.shape[-1],))
        return torch.cat([take(full, block) for block in targets])

    def shard_loss(
        self, fields: Tensor, progress: TrainingPosition, generator: Generator
    ) -> dict[str, Tensor]:
        """Smooth L1 between predicted and target representations; draws crops, colours, blocks."""
        del progress
        crops = jitter_stain(draw_crops(fields, self.crop, generator), generator, self.options.jitter)
        images = self.normalise(self.vary(crops, generator))
        drawn = draw_blocks(len(images), self.architecture.grid, generator, self.options.blocks)
        context, targets = (index.to(fields.device) for index in drawn)
        predicted = self.predict(self.encode(images, context), context, targets)
        return {
            "total": functional.smooth_l1_loss(
                predicted.float(), self.target_representations(images, targets)
            )
        }

    def follow(self, progress: TrainingPosition, gather: Gather) -> None:
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
