import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import hed2rgb, rgb2hed
from skimage.metrics import peak_signal_noise_ratio

from napari_sslmaps.errors import InvalidOptionError, UnsupportedImageError
from napari_sslmaps.evaluation.perturbations import PERTURBATIONS, applicable, lacks_colour, rotate_pixels

GREY_KEYS = tuple(key for key in PERTURBATIONS if key != "stain")


def smooth(shape=(64, 80, 3), seed=0):
    """Broad structure within [0.2, 0.8], so that nothing is clipped."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), (4, 4, 0)[: len(shape)])
    low, high = field.min(), field.max()
    return (0.2 + 0.6 * (field - low) / (high - low)).astype(np.float32)


@pytest.mark.parametrize("key", PERTURBATIONS)
def test_strength_zero_is_the_image_itself(key):
    unit = smooth()
    assert PERTURBATIONS[key](unit, 0.0, 3) is unit
    assert PERTURBATIONS[key].strengths[0] == 0


@pytest.mark.parametrize("key", PERTURBATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_more_strength_changes_more_and_a_seed_decides(key, channels):
    change, unit = PERTURBATIONS[key], smooth()
    if channels == 1:
        if change.wants_colour:
            return
        unit = unit[..., 0]
    strengths = sorted(s for s in change.strengths if s > 0)
    found = [change(unit, strength, 1) for strength in strengths]
    distances = [float(np.abs(image - unit).mean()) for image in found]
    assert distances == sorted(distances)
    assert distances[0] > 0
    for image in found:
        assert (image.shape, image.dtype) == (unit.shape, np.float32)
        assert image.min() >= 0
        assert image.max() <= 1
    np.testing.assert_array_equal(found[-1], change(unit, strengths[-1], 1))
    other = change(unit, strengths[-1], 2)
    assert np.array_equal(found[-1], other) != change.draws


@pytest.mark.parametrize("key", ["speckle", "gaussian", "poisson"])
def test_noise_has_the_deviation_that_its_strength_names(key):
    grey = np.full((400, 400), 0.5, np.float32)
    strength = 0.1
    found = PERTURBATIONS[key](grey, strength)
    expected = {"speckle": 0.5 * strength, "gaussian": strength, "poisson": strength * np.sqrt(0.5)}[key]
    assert found.mean() == pytest.approx(0.5, abs=2e-3)
    assert found.std() == pytest.approx(expected, rel=0.02)


def test_speckle_of_a_pixel_is_that_of_all_its_channels():
    unit = smooth()
    ratio = PERTURBATIONS["speckle"](unit, 0.1) / unit
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[..., :1], ratio.shape), rtol=1e-4)


def test_stain_amounts_change_as_scikit_image_measures_them():
    amounts = np.stack([smooth(seed=seed)[..., 0] / 20 for seed in (1, 2, 3)], axis=-1)
    unit = hed2rgb(amounts).astype(np.float32)
    measured = rgb2hed(unit)
    after = rgb2hed(PERTURBATIONS["stain"](unit, 0.3, 5))
    factors = (after / measured).reshape(-1, 3)
    np.testing.assert_allclose(factors, np.broadcast_to(factors.mean(axis=0), factors.shape), rtol=5e-3)
    assert np.abs(factors.mean(axis=0) - 1).max() == pytest.approx(0.3, rel=5e-3)


def test_white_stays_white_under_other_stains():
    unit = smooth()
    unit[:8] = 1
    assert (PERTURBATIONS["stain"](unit, 0.4)[:8] == 1).all()


@given(decibels=st.floats(-6, 1), exponent=st.floats(-1, 1))
@settings(max_examples=20)
def test_gain_and_gamma_are_undone_by_their_opposites(decibels, exponent):
    unit = smooth((16, 16))
    gain, gamma = PERTURBATIONS["gain"], PERTURBATIONS["gamma"]
    np.testing.assert_allclose(gain(gain(unit, decibels), -decibels), unit, rtol=1e-5)
    np.testing.assert_allclose(gamma(gamma(unit, exponent), -exponent), unit, rtol=1e-5)


def test_a_gain_of_twenty_decibels_is_tenfold():
    np.testing.assert_allclose(PERTURBATIONS["gain"](smooth(), -20), smooth() / 10, rtol=1e-5)


def test_jpeg_of_high_quality_is_close():
    unit = smooth()
    assert peak_signal_noise_ratio(unit, PERTURBATIONS["jpeg"](unit, 5), data_range=1) > 35


def test_a_quarter_turn_is_numpy_s():
    unit = smooth((48, 48, 3))
    np.testing.assert_allclose(rotate_pixels(unit, 90), np.rot90(unit), atol=1e-5)
    np.testing.assert_allclose(rotate_pixels(unit[..., 0], -90), np.rot90(unit[..., 0], -1), atol=1e-5)


def test_turning_there_and_back_gives_the_middle_again():
    unit = smooth((64, 64))
    there_and_back = rotate_pixels(rotate_pixels(unit, 20), -20)
    np.testing.assert_allclose(there_and_back[20:44, 20:44], unit[20:44, 20:44], atol=0.02)


def test_a_grey_image_has_no_stain():
    grey = smooth()[..., :1].repeat(3, axis=-1)
    grey[:5, :8, 0] += 0.2
    assert lacks_colour(grey)
    assert lacks_colour(grey[..., 1])
    assert not lacks_colour(smooth())
    assert applicable(grey) == GREY_KEYS
    assert applicable(smooth()) == tuple(PERTURBATIONS)
    with pytest.raises(UnsupportedImageError, match="this one is grey"):
        PERTURBATIONS["stain"](grey, 0.1)


@pytest.mark.parametrize(("key", "strength"), [("blur", -1), ("gaussian", np.nan), ("gain", np.inf)])
def test_strengths_without_meaning_are_refused(key, strength):
    with pytest.raises(InvalidOptionError, match="Expected a strength of"):
        PERTURBATIONS[key](smooth(), strength)
