"""What the trainer asks of every objective, and the tokens they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Generator, Tensor, nn

from napari_sslmaps.encoders.spec import Architecture, get_normalisation
from napari_sslmaps.pretraining.schedules import Progress


class Objective(nn.Module, ABC):
    """A pretext task with its networks; the trainer knows nothing else of a method.

    Attributes
    ----------
    method
        mae, ijepa, dinov3 or dira.
    architecture
        Shape of the encoder that is kept.
    normalisation
        Name of the normalisation preset the encoder sees.
    field_size
        Side in pixels of the fields that `loss` wants.
    companions
        Settings of the decoder, predictor or discriminator that the weights alone do not tell.
    """

    method: str
    architecture: Architecture
    normalisation: str
    companions: dict[str, Any]

    @abstractmethod
    def loss(self, fields: Tensor, progress: Progress, generator: Generator) -> dict[str, Tensor]:
        """Losses of one batch of (B, 3, S, S) fields in [0, 1]; the key ``total`` is what is minimised."""

    @abstractmethod
    def after_step(self, progress: Progress) -> None:
        """Update moving averages and queues once the optimiser has stepped."""

    @abstractmethod
    def tokens(self, images: Tensor) -> Tensor:
        """Tokens (B, N, D) that the kept encoder gives for (B, 3, H, W) images in [0, 1]."""

    @abstractmethod
    def exported(self) -> dict[str, Tensor]:
        """Return the weights that are kept, under the names of the saved file."""

    def normalise(self, images: Tensor) -> Tensor:
        """Subtract and divide by the channel statistics of the encoder's preset."""
        preset = get_normalisation(self.normalisation)
        mean = torch.tensor(preset.mean, device=images.device)[:, None, None]
        std = torch.tensor(preset.std, device=images.device)[:, None, None]
        return (images - mean) / std


def sincos_positions(dim: int, rows: int, columns: int) -> Tensor:
    """Return fixed two-dimensional sine-cosine positions (arXiv 2104.02057), (1, rows * columns, dim).

    The first half of the channels encodes the column, the second the row, each as sines then cosines:
    MAE's order.
    """
    quarter = dim // 4
    omega = 1.0 / 10000 ** (torch.arange(quarter, dtype=torch.float64) / quarter)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    parts = [wave(axis.reshape(-1, 1) * omega) for axis in (x, y) for wave in (torch.sin, torch.cos)]
    return torch.cat(parts, dim=1).float()[None]


def make_blocks(dim: int, depth: int, heads: int) -> nn.ModuleList:
    """Pre-norm transformer blocks, timm's, with LayerNorm epsilon 1e-6."""
    norm: Any = partial(nn.LayerNorm, eps=1e-6)
    return nn.ModuleList(
        Block(dim, heads, mlp_ratio=4.0, qkv_bias=True, norm_layer=norm) for _ in range(depth)
    )


def xavier(module: nn.Module) -> None:
    """Initialise every linear layer Xavier-uniform with zero bias, as MAE and I-JEPA describe."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def take(tokens: Tensor, index: Tensor) -> Tensor:
    """Gather (B, K) token positions out of (B, N, D) tokens, (B, K, D)."""
    return tokens.gather(1, index[:, :, None].expand(-1, -1, tokens.shape[-1]))


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put `prefix` before every key."""
    return {prefix + key: value for key, value in state.items()}
