"""Balanced accuracy with its uncertainty over images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sslmaps.core.estimate import Estimate
from napari_sslmaps.evaluation.intervals import interval

RESAMPLES = 1000
_SEED = 20
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Recognised tokens and tokens, (images, classes) float64 each.

    Images are the unit that is resampled: the tokens of one image resemble each other too much to be.
    """

    hits: Float
    counts: Float

    @classmethod
    def count(cls, predicted: Tensor, labels: Tensor, images: Tensor, shape: tuple[int, int]) -> Self:
        """Count per image and class; all three are (n,) int64, `shape` is (images, classes)."""
        cell = images * shape[1] + labels
        size = shape[0] * shape[1]
        counts = torch.bincount(cell, minlength=size)
        hits = torch.bincount(cell[predicted == labels], minlength=size)
        return cls(*(found.reshape(shape).double().numpy() for found in (hits, counts)))

    @property
    def accuracy(self) -> float:
        """Balanced accuracy over all images."""
        return float(self.resampled(np.ones((1, len(self.hits))))[0])

    def resampled(self, weights: Float) -> Float:
        """Balanced accuracy with each image counted as often as (resamples, images) weights say.

        A class that a resample does not have is left out of its mean.
        """
        hits, counts = weights @ self.hits, weights @ self.counts
        shares = np.divide(hits, counts, out=np.full_like(hits, np.nan), where=counts > 0)
        accuracies: Float = np.nanmean(shares, axis=1)
        return accuracies


def draw_weights(images: int) -> Float:
    """Draw how often each image is in each of 1000 bootstrap samples, (1000, images); always the same."""
    rng = np.random.default_rng(_SEED)
    return rng.multinomial(images, np.full(images, 1 / images), size=RESAMPLES).astype(np.float64)


def estimate(tally: Tally) -> Estimate:
    """Balanced accuracy with its bootstrap interval over images."""
    return interval(tally.accuracy, tally.resampled(draw_weights(len(tally.hits))))


def estimate_gain(tallies: Sequence[Tally], controls: Sequence[Tally]) -> Estimate:
    """Mean accuracy of `tallies` minus that of `controls`, paired: each resample has the same images."""
    weights = draw_weights(len(tallies[0].hits))
    value = float(np.mean([t.accuracy for t in tallies]) - np.mean([t.accuracy for t in controls]))
    above = np.mean([tally.resampled(weights) for tally in tallies], axis=0)
    below = np.mean([tally.resampled(weights) for tally in controls], axis=0)
    return interval(value, above - below)
