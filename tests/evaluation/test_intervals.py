"""Bootstrap intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.uncertainty import bootstrap_mean, paired_difference


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.integers(20, 60))
def test_intervals_are_scipy_s(seed, count):
    # Means of few values take few values themselves, and a quantile jumps between them. With this many draws
    # two quantiles differ by about 0.03 standard errors.
    values = np.random.default_rng(seed).gamma(2, size=count)
    found = bootstrap_mean(values, draws=20_000, seed=seed)
    wanted = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=seed + 1)
    assert found.value == pytest.approx(values.mean())
    spread = wanted.standard_error
    assert found.low == pytest.approx(wanted.confidence_interval.low, abs=0.2 * spread)
    assert found.high == pytest.approx(wanted.confidence_interval.high, abs=0.2 * spread)


def test_groups_weigh_alike_and_are_resampled_first():
    rng = np.random.default_rng(0)
    means = rng.normal(size=12)
    sizes = rng.integers(2, 30, 12)
    groups = np.repeat([f"image {index}" for index in range(12)], sizes)
    values = np.repeat(means, sizes)
    found = bootstrap_mean(values, groups, draws=8000)
    alone = bootstrap_mean(means, draws=8000, seed=1)
    assert found.value == pytest.approx(means.mean())
    spread = means.std() / np.sqrt(12)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high), abs=0.2 * spread)


def test_values_inside_groups_add_their_own_spread():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 10)
    values = rng.normal(size=200)
    found = bootstrap_mean(values, groups, draws=8000)
    between = values.reshape(20, 10).mean(axis=1)
    error = np.sqrt(between.var() / 20 + values.reshape(20, 10).var(axis=1).mean() / 200)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.05)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        found = bootstrap_mean(rng.normal(size=40), draws=400, seed=trial)
        covered += found.low <= 0 <= found.high
    assert 0.90 <= covered / 300 <= 0.98


def test_pairs_keep_their_difference_and_nan_is_left_out():
    rng = np.random.default_rng(0)
    hard = rng.normal(size=50)
    first = np.concatenate([hard + 0.1, [np.nan, 3]])
    second = np.concatenate([hard, [1, np.nan]])
    found = paired_difference(first, second)
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    assert found.excludes_zero
    assert not paired_difference(hard, hard[::-1]).excludes_zero
    grouped = paired_difference(first, second, np.repeat(["a", "b"], 26))
    assert grouped.value == pytest.approx(0.1)


def test_too_little_has_no_interval():
    assert np.isnan(bootstrap_mean([]).value)
    assert np.isnan(bootstrap_mean([np.nan]).value)
    one = bootstrap_mean([0.5, np.nan], ["a", "b"])
    assert (one.value, np.isnan(one.low), np.isnan(one.high)) == (0.5, True, True)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).normal(size=30)
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    assert bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)


def test_lengths_must_agree():
    with pytest.raises(InvalidOptionError, match="scores of the same anchors or images; got"):
        paired_difference([1, 2], [1, 2, 3])
    with pytest.raises(InvalidOptionError, match="a group for each"):
        bootstrap_mean([1, 2], ["a"])
