"""Percentile bootstrap of means, paired differences and balanced accuracy over images.

Efron and Tibshirani, An Introduction to the Bootstrap (1993): chapter 13 for percentile intervals, chapter 8
for resampling by level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from napari_sslmaps.core.findings import Curve, Estimate
from napari_sslmaps.errors import InvalidOptionError

Float = NDArray[np.float64]


def bootstrap_mean(
    values: ArrayLike, groups: ArrayLike | None = None, *, draws: int = 2000, seed: int = 0
) -> Estimate:
    """Mean of values with a 95 % interval.

    Parameters
    ----------
    values
        (n,), such as one score per anchor; NaN is left out.
    groups
        (n,) the image or region of each. The mean is then that of the groups' means, and each draw resamples
        groups, then values inside each drawn group. With one group its values alone are resampled, and the
        interval says nothing of other images.
    draws, seed
        Number of resamplings, and their seed.

    Returns
    -------
    Estimate
        Interval NaN with fewer than two values; everything NaN without any.
    """
    numbers, belongs = _paired_with_groups(np.asarray(values, float), groups)
    if len(numbers) < 2:
        return Estimate(float(numbers[0]) if len(numbers) else np.nan)
    sizes = np.bincount(belongs)
    value = float(np.mean(np.bincount(belongs, numbers) / sizes))
    return interval(value, _resampled_means(numbers, belongs, draws, np.random.default_rng(seed)))


def paired_difference(
    first: ArrayLike, second: ArrayLike, groups: ArrayLike | None = None, *, draws: int = 2000, seed: int = 0
) -> Estimate:
    """Mean of first − second with a 95 % interval, for scores of the same anchors or images in one order.

    Pairs of which one is NaN are left out. See `bootstrap_mean` for the rest.

    Raises
    ------
    InvalidOptionError
        If there are not as many of both.
    """
    left, right = np.asarray(first, float), np.asarray(second, float)
    if left.shape != right.shape:
        raise InvalidOptionError(
            f"Expected scores of the same anchors or images; got {left.shape} and {right.shape} of them."
        )
    return bootstrap_mean(left - right, groups, draws=draws, seed=seed)


def interval(value: float, resampled: ArrayLike) -> Estimate:
    """Estimate with the 2.5th and 97.5th percentile of its (draws,) resampled values."""
    low, high = np.quantile(np.asarray(resampled, float), [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def _paired_with_groups(values: Float, groups: ArrayLike | None) -> tuple[Float, NDArray[np.intp]]:
    if groups is None:
        marks = np.zeros(len(values), np.intp)
    else:
        marks = np.unique(np.asarray(groups), return_inverse=True)[1]
    if values.ndim != 1 or marks.shape != values.shape:
        raise InvalidOptionError(
            f"Expected a list of scores and a group for each; got shapes {values.shape} and {marks.shape}."
        )
    known = np.isfinite(values)
    return values[known], np.unique(marks[known], return_inverse=True)[1]


def _resampled_means(values: Float, groups: NDArray[np.intp], draws: int, rng: np.random.Generator) -> Float:
    count = int(groups.max()) + 1
    if count == 1:
        taken = np.ones((draws, 1), int)
    else:
        taken = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    sums = np.zeros(draws)
    for group in range(count):
        own = values[groups == group]
        drawn = np.repeat(np.arange(draws), taken[:, group])
        means = own[rng.integers(len(own), size=(len(drawn), len(own)))].mean(axis=1)
        sums += np.bincount(drawn, means, minlength=draws)
    resampled: Float = sums / count
    return resampled


RESAMPLES = 1000
_SEED = 20


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


def curve_over_images(label: str, x: Sequence[float], values: Float) -> Curve:
    """Return the mean of (images, points) values over images with its band; a single image has none.

    Parameters
    ----------
    label, x
        Name of the curve, and where its points lie.
    values
        Values (images, points); NaN where an image has no value at a point.
    """
    columns = [column[np.isfinite(column)] for column in values.T]
    at = np.array(x, np.float32)
    if min(map(len, columns)) < 2:
        means = [column.mean() if len(column) else np.nan for column in columns]
        return Curve(label, at, np.array(means, np.float32))
    found = [bootstrap_mean(column) for column in columns]
    y, low, high = (
        np.array([getattr(one, name) for one in found], np.float32) for name in ("value", "low", "high")
    )
    return Curve(label, at, y, low, high)
