"""Variation among images of a domain: stains of sections; attenuation, speckle and sector of echoes.

Every draw is made on the CPU from the caller's generator, as in `views`; what a recipe leaves at 0 draws
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from skimage.color import hed_from_rgb, rgb_from_hed
from torch import Generator, Tensor
from torch.nn import functional

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.training.numerics import exact
from napari_sslmaps.lab.training.views import is_coloured

_GRAIN = (2, 3)
_DARKEST = 1 / 255


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Strength of variation of views beside the methods' own jitter of gamma and gain; 0 leaves them.

    Attributes
    ----------
    stain
        Variation of sections: standard deviation of the logarithm of the amounts of haematoxylin, eosin and
        DAB.
    attenuation
        Variation of echoes: standard deviation of the logarithm of the gain at the bottom over that at the
        top.
    speckle
        Variation of echoes: largest standard deviation of the logarithm of a multiplicative grain.
    sector
        Variation of echoes: share of the views that are seen through a sector, black outside.
    """

    stain: float = 0.0
    attenuation: float = 0.0
    speckle: float = 0.0
    sector: float = 0.0

    def __post_init__(self) -> None:
        if min(self.stain, self.attenuation, self.speckle, self.sector) < 0 or self.sector > 1:
            raise InvalidOptionError(
                "Expected [augment] with strengths of at least 0 and a sector share of at most 1; got stain "
                f"{self.stain}, attenuation {self.attenuation}, speckle {self.speckle}, sector {self.sector}."
            )

    @property
    def has_depth(self) -> bool:
        """Whether it tells up from down, so that views must be upright."""
        return self.attenuation > 0 or self.sector > 0


def augment(images: Tensor, chosen: Augmentation, generator: Generator) -> Tensor:
    """Vary (B, 3, H, W) images in [0, 1]: stain, attenuation, speckle and sector, in this order."""
    steps: tuple[tuple[float, Callable[[Tensor, Generator, float], Tensor]], ...] = (
        (chosen.stain, jitter_stains),
        (chosen.attenuation, attenuate),
        (chosen.speckle, add_speckle),
        (chosen.sector, cut_to_sector),
    )
    for strength, step in steps:
        if strength > 0:
            images = step(images, generator, strength)
    return images


@exact
def jitter_stains(images: Tensor, generator: Generator, strength: float) -> Tensor:
    """Scale the amounts of haematoxylin, eosin and DAB in each image; grey images are left.

    Optical densities are unmixed by the matrix of Ruifrok and Johnston (2001) as scikit-image has it, scaled
    by ``exp(strength * a)``, shifted by ``strength / 5 * b``, and mixed again (after Tellez et al.,
    arXiv 1902.06543). Draws: a (B, 3), b (B, 3), from the standard normal distribution.
    """
    factor = torch.exp(strength * torch.randn(len(images), 3, generator=generator)).to(images.device)
    shift = (0.2 * strength * torch.randn(len(images), 3, generator=generator)).to(images.device)
    unmix = torch.as_tensor(hed_from_rgb, dtype=torch.float32, device=images.device)
    mix = torch.as_tensor(rgb_from_hed, dtype=torch.float32, device=images.device)
    # A density is a row that unmix, factor and mix stand to the right of: one matrix per image.
    whole = (unmix * factor[:, None, :]) @ mix
    density = images.clamp(min=_DARKEST).log().neg_().flatten(2)
    density = torch.baddbmm((shift @ mix)[:, :, None], whole.mT, density).view_as(images)
    return torch.where(is_coloured(images), density.neg_().exp_().clamp_(0, 1), images)


def attenuate(images: Tensor, generator: Generator, strength: float) -> Tensor:
    """Multiply by a gain that grows or falls with depth, 1 half-way down; draws B normal numbers."""
    slope = strength * torch.randn(len(images), 1, 1, 1, generator=generator).to(images.device)
    depth = (torch.arange(images.shape[2], device=images.device) + 0.5) / images.shape[2] - 0.5
    return (images * torch.exp(slope * depth[:, None])).clamp_(max=1)


def add_speckle(images: Tensor, generator: Generator, strength: float) -> Tensor:
    """Multiply by a log-normal grain, wider than high; black stays black.

    Draws: B strengths, uniform up to `strength`, then the grain (B, 1, H / 2, W / 3), normal.
    """
    count, _, height, width = images.shape
    std = strength * torch.rand(count, 1, 1, 1, generator=generator)
    coarse = (math.ceil(height / _GRAIN[0]), math.ceil(width / _GRAIN[1]))
    grain = (std * torch.randn(count, 1, *coarse, generator=generator)).to(images.device)
    grain = functional.interpolate(grain, (height, width), mode="bilinear", align_corners=False)
    return (images * grain.exp_()).clamp_(max=1)


def cut_to_sector(images: Tensor, generator: Generator, share: float) -> Tensor:
    """Blacken what lies outside a sector that opens downwards, in a random share of the images.

    Its apex lies above the image or just in it, it opens by 25 to 50 degrees to each side, and it ends in
    the lowest fifth of the image or below. Draws: five uniform numbers for each image.
    """
    count, _, height, width = images.shape
    decide, across, above, opening, reach = torch.rand(5, count, 1, 1, generator=generator).to(images.device)
    y = (torch.arange(height, device=images.device) + 0.5)[:, None] / height
    x = (torch.arange(width, device=images.device) + 0.5) / width
    down, aside = y + above - 0.05, x - (0.25 + 0.5 * across)
    inside = torch.atan2(aside.abs(), down) < torch.deg2rad(25 + 25 * opening)
    inside &= torch.hypot(down, aside) < 0.8 + 0.5 * reach + above
    seen: Tensor = images * (inside | (decide >= share))[:, None]
    return seen
