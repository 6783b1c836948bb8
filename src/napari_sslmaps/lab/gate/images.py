"""Labelled images of the scores: simulated from seeds that no training uses, a class for each token."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.simulators import get_simulator
from napari_sslmaps.lab.simulators.fields import field_seed

SIDE, PATCH = 128, 8
GRID = SIDE // PATCH
FIELD = 192
PURITY = 0.6
SEEDS = {"train": 9001, "validation": 9002, "test": 9003}
"""Seeds of the three splits; a training must not use them (see `field_seed`)."""


@dataclass(frozen=True, slots=True, eq=False)
class ProbeSet:
    """Labelled images.

    Parameters
    ----------
    images
        (n, 3, 128, 128) float32 in [0, 1].
    labels
        (n, 256) int64, a class per token of 8 x 8 pixels in row-major order, -1 where classes mix.
    classes
        Names of the classes.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ProbeData:
    """Data that a probe is fitted to, that its settings are chosen on, and that it is judged by."""

    train: ProbeSet
    validation: ProbeSet
    test: ProbeSet | None = None

    @classmethod
    def simulate(cls, domain: str = "histology", *, train: int = 60, validation: int = 60) -> ProbeData:
        """Simulate images of a domain, each split from a seed of its own; the test split is the gate's."""
        return cls(
            simulate_probe_set(domain, SEEDS["train"], train),
            simulate_probe_set(domain, SEEDS["validation"], validation),
        )

    def split(self, name: str) -> ProbeSet:
        """Return a split by name, or raise `InvalidOptionError` if it is not there."""
        found: ProbeSet | None = getattr(self, name, None) if name in SEEDS else None
        if found is None:
            there = [split for split in SEEDS if getattr(self, split) is not None]
            raise InvalidOptionError(f"Expected a split among {', '.join(there)}; got {name!r}.")
        return found


@lru_cache(maxsize=8)
def simulate_probe_set(domain: str, seed: int, count: int) -> ProbeSet:
    """Simulate labelled images as trainings see them: random windows, at native magnification, of fields.

    Parameters
    ----------
    domain
        Name of a simulator.
    seed, count
        Image i is drawn from ``field_seed(seed, i)``.
    """
    simulator = get_simulator(domain)
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    pixels = np.empty((count, SIDE, SIDE), np.uint8)
    for index in range(count):
        rng = field_seed(seed, index)
        image, labels = simulator.draw(rng, FIELD)
        top, left = rng.integers(0, FIELD - SIDE + 1, 2)
        window = np.s_[top : top + SIDE, left : left + SIDE]
        images[index], pixels[index] = image[window], labels[window]
    scaled = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return ProbeSet(scaled, token_labels(torch.from_numpy(pixels), len(simulator.classes)), simulator.classes)


def token_labels(pixels: Tensor, classes: int) -> Tensor:
    """Label each 8 x 8 patch of (n, H, W) label maps by the class that fills 60 % of it, else -1.

    Returns
    -------
    Tensor
        Class numbers (n, H/8 * W/8) int64.
    """
    shares = functional.one_hot(pixels.long(), classes).permute(0, 3, 1, 2).float()
    most, label = functional.avg_pool2d(shares, PATCH).flatten(2).max(dim=1)
    return torch.where(most >= PURITY, label, -1)
