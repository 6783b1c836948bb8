import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from napari_sslmaps.evaluation.noise import noise_level
from napari_sslmaps.evaluation.perturbations import PERTURBATIONS


def smooth(seed=0, channels=3):
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(160, 160, channels)), (8, 8, 0))
    return (0.3 + 0.4 * (field - field.min()) / np.ptp(field)).astype(np.float32)


@given(strength=st.floats(0.01, 0.08), seed=st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_it_finds_the_noise_that_was_added(strength, seed):
    noisy = PERTURBATIONS["gaussian"](smooth(), strength, seed)
    assert noise_level(noisy).sigma == pytest.approx(strength, rel=0.06)
    assert noise_level(noisy[..., 0]).sigma == pytest.approx(strength, rel=0.06)


def test_black_around_a_sector_counts_for_nothing():
    noisy = PERTURBATIONS["gaussian"](smooth()[..., 0], 0.05)
    sector = np.pad(noisy, 200)
    assert noise_level(sector).sigma == pytest.approx(0.05, rel=0.06)
    assert noise_level(sector).contrast == pytest.approx(noise_level(noisy).contrast, rel=0.05)


@pytest.mark.parametrize("contrast", [0.1, 0.3])
def test_speckle_contrast_is_that_of_the_speckle(contrast):
    speckled = PERTURBATIONS["speckle"](np.full((200, 200), 0.3, np.float32), contrast)
    assert noise_level(speckled).contrast == pytest.approx(contrast, rel=0.05)


def test_colour_has_no_speckle_and_a_flat_region_no_noise():
    assert np.isnan(noise_level(smooth()).contrast)
    flat = noise_level(np.zeros((20, 20), np.float32))
    assert np.isnan(flat.sigma)
    assert np.isnan(flat.contrast)
