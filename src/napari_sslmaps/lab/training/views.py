"""Views of fields: squares cut at random places, with random colours, in a few batched calls.

Every draw is made on the CPU from the caller's generator, in the order the docstrings give, and then moved to
the images' device: a run sees the same views on any machine. Places are affine maps and compose, so a view of
a region of a field is cut straight out of the field: pixels are interpolated once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from napari_sslmaps.lab.training.numerics import exact
from napari_sslmaps.pretext.distortions import to_grey as plain_grey

to_grey = exact(plain_grey)


@dataclass(frozen=True, slots=True)
class CropScheme:
    """Rule by which crops are cut.

    Attributes
    ----------
    size
        Side of the crop that the network sees, in pixels.
    span
        Smallest and largest side of the square that the crop covers in the field, in pixels.
    upright
        Whether the orientation is kept: ultrasound has one, histology has none.
    """

    size: int
    span: tuple[float, float]
    upright: bool = False


def draw_places(count: int, side: int, scheme: CropScheme, generator: Generator) -> Tensor:
    """Draw where crops lie: span, rotation, mirror and position at random, wholly inside where they fit.

    Draws, in this order: `count` spans, `count` turns, `count` mirrors, `count` x 2 positions.

    Parameters
    ----------
    count
        Number of places.
    side
        Side of the square they are cut from, in pixels.
    scheme
        Sizes of the crops.
    generator
        Source of randomness.

    Returns
    -------
    Tensor
        Affine maps (count, 2, 3) float32 from the crop's to the square's coordinates, both in [-1, 1], x
        before y.
    """
    low, high = scheme.span
    span = low + (high - low) * torch.rand(count, generator=generator)
    turn = torch.rand(count, generator=generator) * 2 * math.pi
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    if scheme.upright:
        turn = torch.zeros(count)
    cos, sin, scale = torch.cos(turn), torch.sin(turn), span / side
    # The rotated square's bounding box must stay inside; where it cannot, its corners are reflected.
    reach = (scale * (cos.abs() + sin.abs())).clamp(max=1.0)
    centre = (2 * torch.rand(count, 2, generator=generator) - 1) * (1 - reach)[:, None]
    along_x = torch.stack([mirror * scale * cos, mirror * scale * sin], dim=1)
    along_y = torch.stack([-scale * sin, scale * cos], dim=1)
    return torch.stack([along_x, along_y, centre], dim=2)


@exact
def within(outer: Tensor, inner: Tensor) -> Tensor:
    """Compose places: `inner` lies in the square that `outer` cuts out, both (n, 2, 3)."""
    linear = outer[:, :, :2]
    shift = linear @ inner[:, :, 2:] + outer[:, :, 2:]
    return torch.cat([linear @ inner[:, :, :2], shift], dim=2)


def cut(fields: Tensor, places: Tensor, size: int) -> Tensor:
    """Cut views out of fields, bilinearly; what lies outside a field is reflected at its border.

    Parameters
    ----------
    fields
        (n, 3, S, S) float32 in [0, 1].
    places
        (v * n, 2, 3) affine maps, the first n of them for the first view of each field, and so on.
    size
        Side of the views in pixels.

    Returns
    -------
    Tensor
        Crops (v * n, 3, size, size) float32 in [0, 1], in the order of `places`.
    """
    count, channels = fields.shape[:2]
    views = len(places) // count
    # The views of a field lie side by side in one grid, so that the field is neither repeated nor copied.
    maps = places.to(fields.device).reshape(views, count, 2, 3).transpose(0, 1)[:, :, None, None]
    centres = (torch.arange(size, device=fields.device) + 0.5) * (2 / size) - 1
    grid = maps[..., 0] * centres[:, None] + (maps[..., 1] * centres[:, None, None] + maps[..., 2])
    pixels = functional.grid_sample(
        fields,
        grid.reshape(count, views * size, size, 2),
        mode="bilinear",
        padding_mode="reflection",
        align_corners=False,
    )
    pixels = pixels.reshape(count, channels, views, size, size).permute(2, 0, 1, 3, 4)
    return pixels.reshape(-1, channels, size, size)


def draw_crops(fields: Tensor, scheme: CropScheme, generator: Generator) -> Tensor:
    """Cut one crop of each field, (B, 3, S, S) to (B, 3, size, size), both float32 in [0, 1]."""
    return cut(fields, draw_places(len(fields), fields.shape[-1], scheme, generator), scheme.size)


def jitter_stain(images: Tensor, generator: Generator, strength: float = 0.2) -> Tensor:
    """Scale each channel's optical density and the light by random factors; grey images stay grey.

    With a density d = -log I the result is ``exp(-(d * exp(strength * (a + b / 2)) + strength / 5 * c))``, a
    common to the channels, b and c of each: a change of gamma and gain, which is what B-mode images differ by
    too. Images whose channels are equal in every fourth row and column are grey and take the first channel's
    b and c in all. Draws: a (B), b (B, 3), c (B, 3), from the standard normal distribution.

    Parameters
    ----------
    images
        (B, 3, H, W) float32 in [0, 1].
    generator
        Source of randomness.
    strength
        Standard deviation of the logarithm of the density factors; 0 changes nothing.

    Returns
    -------
    Tensor
        Images (B, 3, H, W) float32 in [0, 1].
    """
    count, device = len(images), images.device
    common = torch.randn(count, 1, 1, 1, generator=generator)
    channel = torch.randn(count, 3, 1, 1, generator=generator)
    offset = 0.2 * strength * torch.randn(count, 3, 1, 1, generator=generator)
    if strength == 0:
        return images
    factor, offset = torch.exp(strength * (common + 0.5 * channel)).to(device), offset.to(device)
    coloured = is_coloured(images)
    factor = torch.where(coloured, factor, factor[:, :1])
    offset = torch.where(coloured, offset, offset[:, :1])
    density = images.clamp(min=1 / 255).log_().mul_(factor).sub_(offset)
    return density.exp_().clamp_(0, 1)


def is_coloured(images: Tensor) -> Tensor:
    """Tell which (B, 3, H, W) images are not grey, by every fourth row and column; (B, 1, 1, 1) bool."""
    sample = images[:, :, ::4, ::4]
    return (sample[:, :2] != sample[:, 1:]).flatten(1).any(dim=1)[:, None, None, None]


def drop_colour(images: Tensor, generator: Generator, share: float = 0.2) -> Tensor:
    """Turn a random share of the images grey, (B, 3, H, W) in and out; draws B numbers."""
    chosen = (torch.rand(len(images), generator=generator) < share).nonzero()[:, 0].to(images.device)
    if len(chosen) == 0:
        return images
    return images.index_copy(0, chosen, to_grey(images[chosen]).expand(-1, 3, -1, -1).contiguous())
