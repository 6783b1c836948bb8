"""Uncertainty over trainings and test images at once: a hierarchical bootstrap for few seeds.

Seeds are resampled within each encoder and test images once for all encoders, noises and localities, so
that what is paired stays paired. With n seeds, n - 1 of them are drawn (Rao and Wu, 1988, JASA 83:231-241):
drawing n would make the variance of a mean too small by a third with three seeds. An interval is the
estimate ± Student's t times the bootstrap standard error; its degrees of freedom are those of the seeds
alone, which is wide where the images matter more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

_LEVEL, _POWER = 0.95, 0.8

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval.

    Attributes
    ----------
    value, low, high
        Estimate and interval.
    error
        Bootstrap standard error.
    freedom
        Degrees of freedom of the interval; 0: there was one seed, and the interval is over images alone.
    detectable
        Smallest true value that such a study finds, its interval excluding 0, in 80 % of repetitions.
    """

    value: float
    low: float
    high: float
    error: float
    freedom: int
    detectable: float


@dataclass(frozen=True, slots=True)
class Resampled:
    """Accuracies of one domain, observed and resampled.

    Attributes
    ----------
    observed
        (…) mean over seeds and images, by encoder.
    draws
        (resamples, …) the same, resampled.
    seeds
        Seeds of each encoder.
    """

    observed: Mapping[str, FloatArray]
    draws: Mapping[str, FloatArray]
    seeds: Mapping[str, int]


def resample(scores: Mapping[str, NDArray[np.generic]], resamples: int, seed: int) -> Resampled:
    """Resample seeds and images.

    Parameters
    ----------
    scores
        (seeds, …, images) of each encoder, the same images in the same order.
    resamples
        How many draws.
    seed
        Of the resampling.
    """
    rng = np.random.default_rng(seed)
    count = next(iter(scores.values())).shape[-1]
    images = rng.multinomial(count, np.full(count, 1 / count), size=resamples) / count
    observed, draws, seeds = {}, {}, {}
    for name, right in scores.items():
        values = right.astype(np.float64)
        found = values.shape[0]
        drawn = max(1, found - 1)
        weights = rng.multinomial(drawn, np.full(found, 1 / found), size=resamples) / drawn
        by_image = values @ images.T
        observed[name] = values.mean(axis=(0, -1))
        draws[name] = np.einsum("s...b,bs->b...", by_image, weights)
        seeds[name] = found
    return Resampled(observed, draws, seeds)


def estimate(value: float, draws: FloatArray, seeds: Sequence[int]) -> Estimate:
    """Interval of a number from its resampled values.

    Parameters
    ----------
    value
        As observed.
    draws
        (resamples,) the same number, resampled.
    seeds
        Seeds of every encoder that the number is made of.
    """
    error = float(np.std(draws, ddof=1))
    freedom = sum(count - 1 for count in seeds)
    spread = stats.t(freedom) if freedom else stats.norm()
    reach = float(spread.ppf(0.5 + _LEVEL / 2))
    detectable = (reach + float(spread.ppf(_POWER))) * error
    return Estimate(float(value), value - reach * error, value + reach * error, error, freedom, detectable)
