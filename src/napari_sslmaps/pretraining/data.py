"""Training images: simulated fields on disk, and random crops drawn from them in one batched call."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import functional

from napari_sslmaps.simulators import field_seed, simulate_histology

_LOG = logging.getLogger(__name__)


def build_bank(path: Path, *, count: int, size: int, seed: int) -> NDArray[np.uint8]:
    """Simulate `count` fields into one ``.npy`` file, or open the file if it is complete.

    Returns
    -------
    (count, size, size, 3) uint8, memory-mapped, read-only.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        shape = (count, size, size, 3)
        bank = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        for index in range(count):
            bank[index], _ = simulate_histology(field_seed(seed, index), size)
            if index % 500 == 499:
                _LOG.info("simulated %d of %d fields", index + 1, count)
        bank.flush()
        partial.replace(path)
    fields: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return fields


def draw_fields(bank: NDArray[np.uint8], count: int, generator: Generator) -> Tensor:
    """Draw fields at random, (count, 3, S, S) float32 in [0, 1]."""
    index = torch.randint(len(bank), (count,), generator=generator).numpy()
    pixels = torch.from_numpy(np.ascontiguousarray(bank[index]))
    return pixels.permute(0, 3, 1, 2).float().div_(255)


@dataclass(frozen=True, slots=True)
class CropScheme:
    """How crops are cut.

    Attributes
    ----------
    size
        Side of the crop that the network sees, in pixels.
    span
        Smallest and largest side of the square that the crop covers in the field, in pixels.
    upright
        True keeps the orientation: ultrasound has one, histology has none.
    """

    size: int
    span: tuple[float, float]
    upright: bool = False


def draw_crops(fields: Tensor, scheme: CropScheme, generator: Generator) -> Tensor:
    """Cut one crop of each field: position, span, rotation and mirror at random, wholly inside the field.

    Parameters
    ----------
    fields
        (B, 3, S, S) float32 in [0, 1].
    scheme
        Sizes.
    generator
        Source of randomness.

    Returns
    -------
    (B, 3, size, size) float32 in [0, 1].
    """
    count, _, side, _ = fields.shape
    low, high = scheme.span
    span = low + (high - low) * torch.rand(count, generator=generator)
    turn = torch.rand(count, generator=generator) * 2 * math.pi
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    if scheme.upright:
        turn = torch.zeros(count)
    cos, sin = torch.cos(turn), torch.sin(turn)
    # The rotated square's bounding box must stay inside; where it cannot, its corners are reflected.
    reach = (span / side * (cos.abs() + sin.abs())).clamp(max=1.0)
    centre = (2 * torch.rand(count, 2, generator=generator) - 1) * (1 - reach)[:, None]
    scale = span / side
    rows = torch.stack(
        [
            torch.stack([mirror * scale * cos, -scale * sin, centre[:, 0]], dim=1),
            torch.stack([mirror * scale * sin, scale * cos, centre[:, 1]], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(rows, [count, 3, scheme.size, scheme.size], align_corners=False)
    return functional.grid_sample(
        fields, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def jitter_stain(images: Tensor, generator: Generator, strength: float = 0.2) -> Tensor:
    """Scale each channel's optical density and the light by random factors.

    Parameters
    ----------
    images
        (B, 3, H, W) float32 in [0, 1].
    generator
        Source of randomness.
    strength
        Standard deviation of the logarithm of the density factors.

    Returns
    -------
    (B, 3, H, W) float32 in [0, 1].
    """
    count = len(images)
    density = -torch.log(images.clamp(min=1 / 255))
    common = torch.randn(count, 1, 1, 1, generator=generator)
    channel = torch.randn(count, 3, 1, 1, generator=generator)
    offset = 0.04 * torch.randn(count, 3, 1, 1, generator=generator)
    factor = torch.exp(strength * (common + 0.5 * channel))
    return torch.exp(-(density * factor + strength / 0.2 * offset)).clamp(0, 1)


def drop_colour(images: Tensor, generator: Generator, share: float = 0.2) -> Tensor:
    """Turn a random share of the images grey, (B, 3, H, W) in and out."""
    grey = to_grey(images).expand_as(images)
    chosen = torch.rand(len(images), generator=generator) < share
    return torch.where(chosen[:, None, None, None], grey, images)


def to_grey(images: Tensor) -> Tensor:
    """Luma (ITU-R BT.601) of (B, 3, H, W) images, (B, 1, H, W)."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=images.dtype, device=images.device)
    return (images * weights[:, None, None]).sum(dim=1, keepdim=True)
