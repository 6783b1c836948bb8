"""Uncertainty over trainings and test images at once: a hierarchical bootstrap for few seeds.

Seeds are resampled within each encoder and test images once for all encoders, noises and localities, so
that what is paired stays paired. With n seeds, n - 1 of them are drawn (Rao and Wu, 1988, JASA 83:231-241):
drawing n would make the variance of a mean too small by a third with three seeds. An interval is the estimate
± Student's t times the bootstrap standard error. Its degrees of freedom are Satterthwaite's (1946, Biometrics
Bulletin 2:110-114): those of the seeds, times the squared ratio of the whole variance to that of the seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

_LEVEL, _POWER = 0.95, 0.8
_MANY = 1e6  # degrees of freedom at which t is the normal distribution
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BootstrapEstimate:
    """A number with its 95 % interval.

    Attributes
    ----------
    value, low, high
        Estimate and interval.
    error
        Bootstrap standard error.
    seed_error
        The part of it that comes from seeds.
    freedom
        Degrees of freedom of the interval; 0: an encoder has one seed, so that the interval does not hold how
        much seeds vary.
    detectable
        Smallest true value that such a study finds, its interval excluding 0, in 80 % of repetitions.
    """

    value: float
    low: float
    high: float
    error: float
    seed_error: float
    freedom: float
    detectable: float


@dataclass(frozen=True, slots=True)
class Resampled:
    """Accuracies of one domain, observed and resampled, by encoder.

    Attributes
    ----------
    observed
        (…) mean over seeds and images.
    draws
        (resamples, …) the same, seeds and images resampled.
    seed_draws
        (resamples, …) the same, seeds alone resampled.
    seeds
        Number of seeds of each encoder.
    """

    observed: Mapping[str, FloatArray]
    draws: Mapping[str, FloatArray]
    seed_draws: Mapping[str, FloatArray]
    seeds: Mapping[str, int]


def resample(scores: Mapping[str, NDArray[np.generic]], resamples: int, seed: int) -> Resampled:
    """Resample seeds and images.

    Parameters
    ----------
    scores
        (seeds, …, images) of each encoder, the same images in the same order.
    resamples
        Number of draws.
    seed
        Seed of the resampling.
    """
    rng = np.random.default_rng(seed)
    count = next(iter(scores.values())).shape[-1]
    images = rng.multinomial(count, np.full(count, 1 / count), size=resamples) / count
    observed, draws, seed_draws, seeds = {}, {}, {}, {}
    for name, right in scores.items():
        values = right.astype(np.float64)
        found = values.shape[0]
        drawn = max(1, found - 1)
        weights = rng.multinomial(drawn, np.full(found, 1 / found), size=resamples) / drawn
        by_seed = values.mean(axis=-1)
        observed[name] = by_seed.mean(axis=0)
        draws[name] = np.einsum("s...b,bs->b...", values @ images.T, weights)
        seed_draws[name] = np.einsum("s...,bs->b...", by_seed, weights)
        seeds[name] = found
    return Resampled(observed, draws, seed_draws, seeds)


def estimate(
    value: float, draws: FloatArray, seed_draws: FloatArray, seeds: Sequence[int]
) -> BootstrapEstimate:
    """Interval of a number from its resampled values.

    Parameters
    ----------
    value
        Number that was observed, without resampling.
    draws, seed_draws
        (resamples,) the same number, with seeds and images or seeds alone resampled.
    seeds
        Seeds of every encoder that the number is made of.
    """
    whole, of_seeds = float(np.var(draws, ddof=1)), float(np.var(seed_draws, ddof=1))
    error = whole**0.5
    freedom = float(sum(count - 1 for count in seeds)) if min(seeds) > 1 else 0.0
    if freedom:
        freedom = min(_MANY, freedom * max(1.0, whole / max(of_seeds, 1e-12)) ** 2)
    spread = stats.t(freedom) if freedom else stats.norm()
    reach = float(spread.ppf(0.5 + _LEVEL / 2))
    detectable = (reach + float(spread.ppf(_POWER))) * error
    return BootstrapEstimate(
        value=float(value),
        low=value - reach * error,
        high=value + reach * error,
        error=error,
        seed_error=of_seeds**0.5,
        freedom=freedom,
        detectable=detectable,
    )
