"""Masked autoencoder (He et al., arXiv 2111.06377): hide three quarters of the patches, predict them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor, nn

from napari_sslmaps.encoders.spec import ViTArchitecture
from napari_sslmaps.encoders.vit import build_vit
from napari_sslmaps.pretraining.data import CropScheme, draw_crops, jitter_stain
from napari_sslmaps.pretraining.losses import normalised_pixel_loss
from napari_sslmaps.pretraining.objectives.base import (
    Objective,
    make_blocks,
    prefixed,
    sincos_positions,
    take,
    xavier,
)
from napari_sslmaps.pretraining.schedules import Progress


def random_mask(count: int, patches: int, ratio: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Choose the visible patches of each image, uniformly without replacement.

    Returns
    -------
    visible
        (count, K) indices, K = round(patches * (1 - ratio)).
    masked
        (count, patches) bool, True where hidden.
    """
    order = torch.rand(count, patches, generator=generator).argsort(dim=1)
    visible = order[:, : round(patches * (1 - ratio))]
    masked = torch.ones(count, patches, dtype=torch.bool).scatter(1, visible, value=False)
    return visible, masked


def to_patches(images: Tensor, patch: int) -> Tensor:
    """Cut (B, C, H, W) images into (B, N, patch * patch * C) rows, channels last, as MAE orders them."""
    batch, channels, height, width = images.shape
    blocks = images.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return blocks.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch * patch * channels)


def _fixed_positions(dim: int, rows: int, columns: int) -> nn.Parameter:
    """Sine-cosine positions behind a zero for CLS, (1, 1 + rows * columns, dim), not trained."""
    positions = torch.cat([torch.zeros(1, 1, dim), sincos_positions(dim, rows, columns)], dim=1)
    return nn.Parameter(positions, requires_grad=False)


class MAE(Objective):
    """Encoder on the visible patches, light decoder on all, loss on the hidden ones, per-patch normalised."""

    method = "mae"
    normalisation = "imagenet"

    def __init__(self, architecture: ViTArchitecture, crop: CropScheme, options: dict[str, Any]) -> None:
        super().__init__()
        self.architecture = architecture
        self.crop = crop
        self.patch = architecture.patch
        self.ratio = float(options.get("mask_ratio", 0.75))
        width, depth = int(options.get("decoder_dim", 64)), int(options.get("decoder_depth", 2))
        heads = int(options.get("decoder_heads", 2))
        self.companions = {"decoder_heads": heads, "norm_pix": True, "mask_ratio": self.ratio}
        encoder: Any = build_vit(architecture)
        self.encoder = encoder
        dim, (rows, columns) = architecture.dim, architecture.grid
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_embed = nn.Linear(dim, width)
        self.decoder_blocks = make_blocks(width, depth, heads)
        self.decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.decoder_pred = nn.Linear(width, architecture.patch**2 * 3)
        self.decoder_pos_embed = _fixed_positions(width, rows, columns)
        encoder.pos_embed = _fixed_positions(dim, rows, columns)
        xavier(self)
        nn.init.normal_(self.mask_token, std=0.02)
        nn.init.normal_(encoder.cls_token, std=0.02)

    def encode(self, images: Tensor, visible: Tensor) -> Tensor:
        """CLS and visible tokens after the final norm, (B, 1 + K, D), of normalised images."""
        encoder: Any = self.encoder
        tokens = encoder.patch_embed(images).flatten(1, 2) + encoder.pos_embed[:, 1:]
        first = (encoder.cls_token + encoder.pos_embed[:, :1]).expand(len(images), -1, -1)
        sequence = torch.cat([first, take(tokens, visible)], dim=1)
        for block in encoder.blocks:
            sequence = block(sequence)
        encoded: Tensor = encoder.norm(sequence)
        return encoded

    def decode(self, encoded: Tensor, visible: Tensor, patches: int) -> Tensor:
        """Predicted pixels of every patch, (B, N, patch * patch * 3), in normalised units."""
        narrow = self.decoder_embed(encoded)
        index = visible[:, :, None].expand(-1, -1, narrow.shape[-1])
        full = (
            self.mask_token.to(narrow.dtype)
            .expand(len(encoded), patches, -1)
            .scatter(1, index, narrow[:, 1:])
        )
        sequence = torch.cat([narrow[:, :1], full], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            sequence = block(sequence)
        predicted: Tensor = self.decoder_pred(self.decoder_norm(sequence))[:, 1:]
        return predicted

    def loss(self, fields: Tensor, progress: Progress, generator: Generator) -> dict[str, Tensor]:
        """Pixel loss on the hidden patches of one crop per field."""
        del progress
        crops = jitter_stain(draw_crops(fields, self.crop, generator), generator, 0.1)
        images = self.normalise(crops)
        target = to_patches(images, self.patch)
        visible, masked = random_mask(len(images), target.shape[1], self.ratio, generator)
        predicted = self.decode(self.encode(images, visible), visible, target.shape[1])
        return {"total": normalised_pixel_loss(predicted, target, masked)}

    def after_step(self, progress: Progress) -> None:
        """MAE keeps no moving average."""

    def tokens(self, images: Tensor) -> Tensor:
        """Patch tokens of the whole image, nothing hidden."""
        encoder: Any = self.encoder
        tokens: Tensor = encoder.forward_features(self.normalise(images))[:, 1:]
        return tokens

    def exported(self) -> dict[str, Tensor]:
        """Return the encoder in timm's names and the decoder in MAE's own."""
        state = {key: value for key, value in self.state_dict().items() if not key.startswith("encoder.")}
        return prefixed("", self.encoder.state_dict()) | state
