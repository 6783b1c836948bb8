"""Intervals hold what they promise, with as few seeds as a study has."""

import numpy as np
import pytest
from scipy import stats

from napari_sslmaps.lab.study.bootstrap import estimate, resample

SEEDS, IMAGES = 3, 120


def simulated_difference(
    rng: np.random.Generator, of_seeds: float, of_images: float
) -> dict[str, np.ndarray]:
    """Scores of two encoders whose true difference is 0: seeds, images, and their interplay vary."""
    images = of_images * rng.standard_normal(IMAGES)
    return {
        name: 0.5
        + of_seeds * rng.standard_normal((SEEDS, 1))
        + images * rng.uniform(0.5, 1)
        + 0.3 * rng.standard_normal((SEEDS, IMAGES))
        for name in ("a", "b")
    }


@pytest.mark.parametrize(("of_seeds", "of_images"), [(0.05, 0.3), (0.0, 0.4), (0.3, 0.1)])
def test_intervals_cover_the_truth(of_seeds: float, of_images: float) -> None:
    rng, covered, repeats = np.random.default_rng(4), 0, 250
    for _ in range(repeats):
        parts = resample(simulated_difference(rng, of_seeds, of_images), 200, int(rng.integers(1 << 30)))
        differences = (part["a"] - part["b"] for part in (parts.observed, parts.draws, parts.seed_draws))
        value, draws, seed_draws = differences
        found = estimate(float(value), draws, seed_draws, [SEEDS, SEEDS])
        covered += found.low <= 0 <= found.high
    assert 0.915 <= covered / repeats <= 1.0


def test_the_standard_error_is_that_of_a_mean_over_seeds_and_images() -> None:
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((4, 300)) + 2 * rng.standard_normal((4, 1))
    parts = resample({"a": scores}, 4000, 1)
    found = estimate(float(parts.observed["a"]), parts.draws["a"], parts.seed_draws["a"], [4])
    of_seeds = scores.mean(axis=1).std(ddof=1) / 2
    assert np.std(parts.seed_draws["a"]) == pytest.approx(of_seeds, rel=0.05)
    assert found.error == pytest.approx(of_seeds, rel=0.1)
    assert found.freedom == pytest.approx(3, rel=0.3)


def test_one_seed_gives_an_interval_over_images() -> None:
    right = np.random.default_rng(2).random((1, 400)) < 0.7
    parts = resample({"a": right}, 4000, 1)
    found = estimate(float(parts.observed["a"]), parts.draws["a"], parts.seed_draws["a"], [1])
    assert found.freedom == 0
    assert found.error == pytest.approx(right.std() / 20, rel=0.05)
    assert found.high - found.value == pytest.approx(1.96 * found.error, rel=1e-3)


def test_what_is_paired_stays_paired() -> None:
    right = np.random.default_rng(3).random((1, 200)) < 0.7
    parts = resample({"a": right, "b": right}, 500, 1)
    assert np.abs(parts.draws["a"] - parts.draws["b"]).max() == 0


def test_the_detectable_effect_is_found_in_four_of_five_repetitions() -> None:
    error, freedom = 0.02, 6
    draws = error * stats.norm.ppf((np.arange(2000) + 0.5) / 2000)
    found = estimate(0.0, draws, draws, [freedom + 1])
    reach = found.high / found.error
    power = stats.nct(freedom, found.detectable / found.error).sf(reach)
    assert power == pytest.approx(0.8, abs=0.03)
