import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_sslmaps.core.preprocess import (
    auto_window,
    check_finite,
    check_window,
    flat_tokens,
    normalise,
    pad_by_reflection,
    scale_to_unit,
)
from napari_sslmaps.errors import InvalidOptionError, UnsupportedImageError


@pytest.mark.parametrize(
    ("pixels", "window"),
    [
        (np.array([3, 200], np.uint8), (0, 255)),
        (np.array([False, True]), (0, 1)),
        (np.array([0.2, 0.9], np.float32), (0, 1)),
        (np.arange(0, 4001, dtype=np.uint16), (4, 3996)),
        (np.arange(-1000.0, 1001.0), (-998, 998)),
        (np.array([7, 7], np.uint16), (7, 7)),
    ],
    ids=["uint8", "bool", "unit float", "uint16", "wide float", "constant"],
)
def test_window_by_dtype(pixels, window):
    chosen = auto_window(pixels, float(pixels.min()), float(pixels.max()))
    np.testing.assert_allclose(chosen, window, atol=1e-6)


def test_a_rare_bright_pixel_does_not_darken_the_rest():
    pixels = np.ones(10_000, np.uint16)
    pixels[::2] = 100
    pixels[0] = 65_535
    assert auto_window(pixels, 1, 65_535)[1] == 100


@given(st.floats(-50, 50), st.floats(0.5, 50))
def test_the_window_becomes_zero_to_one_and_the_rest_is_clipped(low, width):
    pixels = np.array([[low - 1, low, low + width / 2, low + width, low + width + 1]])
    unit = scale_to_unit(pixels, (low, low + width))
    assert unit.dtype == np.float32
    assert unit.shape == (1, 5, 3)
    np.testing.assert_allclose(unit[0, :, 0], [0, 0, 0.5, 1, 1], atol=1e-4)


def test_a_window_without_width_gives_zeros():
    assert (scale_to_unit(np.full((2, 2), 7, np.uint16), (7, 7)) == 0).all()


def test_preprocessing_leaves_the_image_as_it_was():
    pixels = np.array([[0.5, 2.0]], np.float32)
    scale_to_unit(pixels, (0, 1))
    np.testing.assert_array_equal(pixels, [[0.5, 2.0]])


@pytest.mark.parametrize("window", [(1, 1), (2, 1), (0, np.nan), (0, 1, 2)])
def test_an_impossible_window_is_refused(window):
    with pytest.raises(InvalidOptionError, match="low < high"):
        check_window(window)


def test_not_a_number_is_refused_with_the_count():
    with pytest.raises(UnsupportedImageError, match="2 of 4 are NaN or infinite"):
        check_finite(np.array([[0, np.nan], [np.inf, 1]]))
    check_finite(np.array([1, 2], np.uint8))


def test_padding_mirrors_without_repeating_the_border():
    padded = pad_by_reflection(np.arange(6).reshape(2, 3), 4, 8)
    np.testing.assert_array_equal(padded[0], [0, 1, 2, 1, 0, 1, 2, 1])
    np.testing.assert_array_equal(padded[:, 0], [0, 3, 0, 3])


def test_normalise_is_per_channel_and_channel_first():
    batch = torch.rand(2, 4, 5, 3)
    out = normalise(batch, (0.1, 0.2, 0.3), (1.0, 2.0, 4.0))
    assert out.shape == (2, 3, 4, 5)
    torch.testing.assert_close(out[:, 2], (batch[..., 2] - 0.3) / 4)


def test_flat_tokens_are_those_without_structure():
    unit = np.zeros((8, 16, 3), np.float32)
    unit[:, 8:] = np.random.default_rng(0).random((8, 8, 1))
    np.testing.assert_array_equal(flat_tokens(unit, 8), [[True, False]])


def test_normalise_leaves_its_input_alone_whatever_its_memory_layout():
    for batch in (torch.rand(1, 1, 1, 3), torch.rand(1, 3, 4, 4).permute(0, 2, 3, 1)):
        before = batch.clone()
        normalise(batch, (0.5, 0.5, 0.5), (2.0, 2.0, 2.0))
        assert torch.equal(batch, before)


def test_flatness_is_the_standard_deviation_of_grey():
    unit = np.random.default_rng(1).random((32, 48, 3), dtype=np.float32)
    unit *= np.repeat(np.linspace(0, 0.3, 48, dtype=np.float32)[:, None], 3, axis=1)
    spread = unit.mean(axis=2).reshape(4, 8, 6, 8).std(axis=(1, 3))
    np.testing.assert_array_equal(flat_tokens(unit, 8), spread < 0.02)
    assert 0 < flat_tokens(unit, 8).mean() < 1


@pytest.mark.parametrize("pixels", [[1e300, 0.0], [-1e308, 1e308], [3.4e38, 0.0]])
def test_values_beyond_single_precision_are_refused(pixels):
    with pytest.raises(UnsupportedImageError, match=r"reach from .* Divide them by their largest"):
        check_finite(np.array(pixels))


def test_intensities_that_single_precision_cannot_tell_apart_are_refused():
    assert check_window((0.0, 1e-20)) == (0.0, 1e-20)
    assert check_window((60_000, 60_001)) == (60_000, 60_001)
    for window in ((4e9, 4e9 + 20), (0.0, 1e-300), (1.0, 1.0 + 1e-8)):
        with pytest.raises(UnsupportedImageError, match="Subtract the smallest"):
            check_window(window)
