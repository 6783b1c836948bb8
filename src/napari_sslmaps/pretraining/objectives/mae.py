"""Masked autoencoder (He et al., arXiv 2111.06377): hide three quarters of the patches, predict them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn

from napari_sslmaps.encoders.initial import fixed_positions, untrained_network, xavier
from napari_sslmaps.encoders.spec import ViTArchitecture
from napari_sslmaps.pretraining.losses import masked_pixel_loss
from napari_sslmaps.pretraining.objectives.base import (
    Gather,
    Objective,
    make_blocks,
    prefixed,
    take,
)
from napari_sslmaps.pretraining.options import MAEOptions, parse_options
from napari_sslmaps.pretraining.schedules import Progress
from napari_sslmaps.pretraining.views import CropScheme, draw_crops, jitter_stain


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


def to_patches(images: Tensor, patch: int) -> Tensor:
    """Cut (B, C, H, W) images into (B, N, patch * patch * C) rows, channels last, as MAE orders them."""
    batch, channels, height, width = images.shape
    blocks = images.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return blocks.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch * patch * channels)


class MAE(Objective):
    """Encoder on the visible patches, light decoder on all, loss on the hidden ones alone."""

    method = "mae"
    normalisation = "imagenet"
    architecture: ViTArchitecture

    def __init__(self, architecture: ViTArchitecture, crop: CropScheme, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.architecture = architecture
        self.crop = crop
        self.options = chosen = parse_options(MAEOptions, options)
        self.companions = {
            "decoder_heads": chosen.decoder_heads,
            "norm_pix": chosen.norm_pix_loss,
            "mask_ratio": chosen.mask_ratio,
        }
        self.encoder = untrained_network("mae", architecture, patch_gain=chosen.patch_gain)
        width = chosen.decoder_dim
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_embed = nn.Linear(architecture.dim, width)
        self.decoder_blocks = make_blocks(width, chosen.decoder_depth, chosen.decoder_heads)
        self.decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.decoder_pred = nn.Linear(width, architecture.patch**2 * 3)
        self.decoder_pos_embed = fixed_positions(width, *architecture.grid, class_token=True)
        for part in (self.decoder_embed, self.decoder_blocks, self.decoder_pred):
            xavier(part)
        nn.init.normal_(self.mask_token, std=0.02)

    def encode(self, images: Tensor, visible: Tensor) -> Tensor:
        """CLS and visible tokens after the final norm, (B, 1 + K, D), of normalised images."""
        encoder: Any = self.encoder
        tokens = encoder.patch_embed(images).flatten(1, 2) + encoder.pos_embed[:, 1:]
        first = (encoder.cls_token + encoder.pos_embed[:, :1]).expand(len(images), -1, -1)
        sequence = torch.cat([first, take(tokens, visible)], dim=1)
        encoded: Tensor = encoder.norm(self.through(encoder.blocks, sequence))
        return encoded

    def decode(self, encoded: Tensor, visible: Tensor, patches: int, asked: Tensor | None = None) -> Tensor:
        """Pixels (B, N, patch * patch * 3) of every patch, or of those asked for, in the target's units."""
        narrow = self.decoder_embed(encoded)
        index = visible[:, :, None].expand(-1, -1, narrow.shape[-1])
        full = (
            self.mask_token.to(narrow.dtype)
            .expand(len(encoded), patches, -1)
            .scatter(1, index, narrow[:, 1:])
        )
        sequence = torch.cat([narrow[:, :1], full], dim=1) + self.decoder_pos_embed
        sequence = self.through(self.decoder_blocks, sequence)
        sequence = sequence[:, 1:] if asked is None else take(sequence, 1 + asked)
        predicted: Tensor = self.decoder_pred(self.decoder_norm(sequence))
        return predicted

    def reconstruction_loss(self, images: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        """Pixel loss on the hidden patches of normalised (B, 3, H, W) images."""
        target = to_patches(images, self.architecture.patch)
        predicted = self.decode(self.encode(images, visible), visible, target.shape[1], hidden)
        return masked_pixel_loss(predicted, take(target, hidden), normalised=self.options.norm_pix_loss)

    def shard_loss(self, fields: Tensor, progress: Progress, generator: Generator) -> dict[str, Tensor]:
        """Pixel loss on the hidden patches of one crop per field; draws crops, their colours, masks."""
        del progress
        crops = jitter_stain(draw_crops(fields, self.crop, generator), generator, self.options.jitter)
        rows, columns = self.architecture.grid
        chosen = random_mask(len(crops), rows * columns, self.options.mask_ratio, generator)
        visible, hidden = (index.to(fields.device) for index in chosen)
        return {"total": self.reconstruction_loss(self.normalise(crops), visible, hidden)}

    def follow(self, progress: Progress, gather: Gather) -> None:
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
