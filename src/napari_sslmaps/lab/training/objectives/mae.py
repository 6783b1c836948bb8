"""Masked autoencoder (He et al., arXiv 2111.06377): hide three quarters of the patches, predict them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Generator, Tensor

from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.pretext_heads.blocks import Stack, take
from napari_sslmaps.encoders.pretext_heads.mae import DecoderParts, to_patches
from napari_sslmaps.encoders.pretext_heads.sequence import begin_seen
from napari_sslmaps.encoders.untrained import untrained_network
from napari_sslmaps.lab.training.losses import masked_pixel_loss
from napari_sslmaps.lab.training.numerics import TrainingPosition
from napari_sslmaps.lab.training.objectives.base import Gather, Objective, prefixed
from napari_sslmaps.lab.training.options import MAEOptions, parse_options
from napari_sslmaps.lab.training.views import CropScheme, draw_crops, jitter_stain
from napari_sslmaps.pretext.masks import random_mask


class MAE(DecoderParts, Objective):
    """Encoder on the visible patches, light decoder on all, loss on the hidden ones alone."""

    method = "mae"
    normalisation = "imagenet"
    architecture: ViTArchitecture

    def __init__(self, architecture: ViTArchitecture, crop: CropScheme, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.architecture = architecture
        self.crop = crop
        self.options = chosen = parse_options(MAEOptions, options)
        self.pretext_settings = {
            "decoder_heads": chosen.decoder_heads,
            "norm_pix": chosen.norm_pix_loss,
            "mask_ratio": chosen.mask_ratio,
        }
        self.encoder = untrained_network("mae", architecture, patch_gain=chosen.patch_gain)
        stack = Stack(chosen.decoder_dim, chosen.decoder_depth, chosen.decoder_heads)
        self.build_decoder(architecture.dim, architecture.patch, architecture.grid, stack)

    def encode(self, images: Tensor, visible: Tensor) -> Tensor:
        """CLS and visible tokens after the final norm, (B, 1 + K, D), of normalised images."""
        encoder: Any = self.encoder
        sequence = begin_seen(encoder, images, visible)
        encoded: Tensor = encoder.norm(self.through(encoder.blocks, sequence))
        return encoded

    def decode(self, encoded: Tensor, visible: Tensor, patches: int, queries: Tensor | None = None) -> Tensor:
        """Pixels (B, N, patch * patch * 3) of every patch, or of those asked for, in the target's units."""
        sequence = self.through(self.decoder_blocks, self.decoder_input(encoded, visible, patches))
        return self.to_pixels(sequence, queries)

    def reconstruction_loss(self, images: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        """Pixel loss on the hidden patches of normalised (B, 3, H, W) images."""
        target = to_patches(images, self.architecture.patch)
        predicted = self.decode(self.encode(images, visible), visible, target.shape[1], hidden)
        return masked_pixel_loss(predicted, take(target, hidden), normalised=self.options.norm_pix_loss)

    def shard_loss(
        self, fields: Tensor, progress: TrainingPosition, generator: Generator
    ) -> dict[str, Tensor]:
        """Pixel loss on the hidden patches of one crop per field; draws crops, their colours, masks."""
        del progress
        crops = jitter_stain(draw_crops(fields, self.crop, generator), generator, self.options.jitter)
        crops = self.vary(crops, generator)
        rows, columns = self.architecture.grid
        chosen = random_mask(len(crops), rows * columns, self.options.mask_ratio, generator)
        visible, hidden = (index.to(fields.device) for index in chosen)
        return {"total": self.reconstruction_loss(self.normalise(crops), visible, hidden)}

    def follow(self, progress: TrainingPosition, gather: Gather) -> None:
        """MAE keeps no moving average."""

    def align(self) -> None:
        """MAE exports all it has."""

    def summary(self) -> str:
        """Say what is predicted."""
        how = "per-patch normalised" if self.options.norm_pix_loss else "as they are"
        return f"pixels of masked patches, {how} (arXiv 2111.06377)"

    def tokens(self, images: Tensor) -> Tensor:
        """Patch tokens of the whole image, nothing hidden."""
        encoder: Any = self.encoder
        tokens: Tensor = encoder.forward_features(self.normalise(images))[:, 1:]
        return tokens

    def exported(self) -> dict[str, Tensor]:
        """Return the encoder in timm's names and the decoder in MAE's own."""
        state = {key: value for key, value in self.state_dict().items() if not key.startswith("encoder.")}
        return prefixed("", self.encoder.state_dict()) | state
