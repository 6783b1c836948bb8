"""Speckle against its theory: Rayleigh statistics, and a beam whose width depends on depth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from napari_sslmaps.lab.simulators.speckle import Beam, envelope, through_beam, through_pulse

SHAPE = (400, 300)
BEAM = Beam(pulse=1.2, waist=2.0, focus=100.0, range=60.0)


def draw(seed: int, **changed: object) -> np.ndarray:
    given_ = {
        "amplitude": np.ones(SHAPE, dtype=np.float32),
        "interfaces": np.zeros(SHAPE, dtype=np.float32),
        "pulse": 1.2,
        "width": np.full(SHAPE[0], 1.5, dtype=np.float32),
        **changed,
    }
    return envelope(
        np.random.default_rng(seed),
        given_["amplitude"],
        given_["interfaces"],
        pulse=given_["pulse"],
        width=given_["width"],
    )


@pytest.mark.parametrize("seed", range(3))
def test_fully_developed_speckle_has_the_signal_to_noise_ratio_of_rayleigh(seed):
    found = draw(seed)
    assert found.mean() / found.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), abs=0.06)  # 1.913
    assert np.sqrt((found**2).mean()) == pytest.approx(1, abs=0.04)


def test_speckle_follows_rayleigh_s_law():
    apart = np.concatenate([draw(seed)[::12, ::14].ravel() for seed in range(4)])
    assert stats.kstest(apart, stats.rayleigh(scale=np.sqrt(0.5)).cdf).pvalue > 0.01


def test_a_coherent_echo_raises_the_signal_to_noise_ratio():
    steady = draw(0, interfaces=np.full(SHAPE, 1.0, dtype=np.float32))
    assert steady.mean() / steady.std() > 3


def test_decibels_more_scatter_is_as_many_decibels_more_echo():
    louder = draw(5, amplitude=np.full(SHAPE, 10 ** (6 / 20), dtype=np.float32))
    np.testing.assert_allclose(louder, 10 ** (6 / 20) * draw(5), rtol=1e-4)


@given(width=st.floats(1.0, 3.5), row=st.integers(0, 40))
def test_a_point_is_seen_as_wide_as_the_beam_at_its_depth(width, row):
    widths = np.linspace(1.0, 3.5, 41, dtype=np.float32)
    widths[row] = width
    point = np.zeros((41, 81), dtype=np.complex64)
    point[row, 40] = 1
    seen = np.abs(through_beam(point, widths))
    assert np.flatnonzero(seen.sum(axis=1)).tolist() == [row]
    offset = np.arange(81) - 40
    energy = seen[row] ** 2
    assert energy.sum() == pytest.approx(1, abs=1e-4)
    # the square of a Gaussian is one of half the variance
    assert np.sqrt(2 * (offset**2 * energy).sum()) == pytest.approx(width, rel=0.08)


@given(pulse=st.floats(0.9, 2.0))
def test_a_point_is_seen_as_long_as_the_pulse(pulse):
    point = np.zeros((61, 3), dtype=np.complex64)
    point[30, 1] = 1
    energy = np.abs(through_pulse(point, pulse))[:, 1] ** 2
    assert energy.sum() == pytest.approx(1, abs=1e-4)
    offset = np.arange(61) - 30
    assert np.sqrt(2 * (offset**2 * energy).sum()) == pytest.approx(pulse, rel=0.12)


def test_a_beam_is_narrowest_at_its_focus():
    depth = np.array([40, 100, 160, 400], dtype=np.float32)
    near, focus, far, deep = BEAM.width(depth)
    assert focus == pytest.approx(BEAM.waist)
    assert near == pytest.approx(far) == pytest.approx(BEAM.waist * np.sqrt(2))
    assert deep > far


def test_speckle_is_wider_away_from_the_focus():
    depth = np.linspace(0, 399, SHAPE[0], dtype=np.float32)
    found = draw(1, width=BEAM.width(depth) / 2)
    found -= found.mean()

    def similar(rows: slice) -> float:
        """Correlation of lines three apart."""
        return float((found[rows, 3:] * found[rows, :-3]).mean() / found[rows].var())

    assert similar(slice(300, 400)) > similar(slice(70, 130)) + 0.15
