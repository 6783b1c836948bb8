import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.fft import dctn

from napari_sslmaps.core.baselines import WAVES, colour_embedding, pixel_embedding, position_embedding
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import InvalidOptionError


def drawn(height, width, channels=3):
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@given(rows=st.integers(5, 12), cols=st.integers(5, 12), place=st.integers(1, WAVES**2 - 1))
def test_positions_are_functions_of_the_cosine_transform(rows, cols, place):
    embedding = position_embedding(TokenGrid.covering(Region(0, 0, rows * 8, cols * 8), 8))
    spectrum = dctn(embedding.tokens[..., place - 1].astype(float))
    assert np.abs(embedding.tokens).max() <= 1
    assert np.abs(spectrum[divmod(place, WAVES)]) > 1
    spectrum[divmod(place, WAVES)] = 0
    np.testing.assert_allclose(spectrum, 0, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_and_colour_are_those_of_the_token(channels):
    pixels = drawn(24, 40, channels)
    grid = TokenGrid.covering(Region(0, 0, 24, 40), 8)
    part = pixels[8:16, 16:24].reshape(-1, channels) / 255
    np.testing.assert_allclose(pixel_embedding(pixels, grid).tokens[1, 2], part.reshape(-1), atol=1e-6)
    colour = colour_embedding(pixels, grid).tokens[1, 2]
    np.testing.assert_allclose(colour, [*part.mean(axis=0), *part.std(axis=0)], atol=1e-6)


def test_a_region_that_ends_within_a_token_is_mirrored():
    pixels = drawn(17, 30)
    grid = TokenGrid.covering(Region(0, 0, 17, 30), 8)
    mirrored = np.pad(pixels, ((0, 7), (0, 2), (0, 0)), mode="reflect")[16:24, 24:32]
    tokens = pixel_embedding(pixels, grid).tokens
    assert tokens.shape == (3, 4, 192)
    np.testing.assert_allclose(tokens[2, 3], mirrored.reshape(-1) / 255, atol=1e-6)


def test_a_region_of_a_coarser_level_keeps_its_stride():
    grid = TokenGrid.covering(Region(2, 4, 32, 32, level=1), 8, (3.0, 3.0))
    assert pixel_embedding(drawn(32, 32), grid).tokens.shape == (4, 4, 192)


def test_flat_tokens_are_no_foreground():
    pixels = drawn(16, 16)
    pixels[:8, :8] = 200
    found = colour_embedding(pixels, TokenGrid.covering(Region(0, 0, 16, 16), 8)).foreground
    np.testing.assert_array_equal(found, [[False, True], [True, True]])


def test_other_pixels_than_the_grid_s_are_refused():
    with pytest.raises(InvalidOptionError, match="got 16 × 40 px"):
        pixel_embedding(drawn(16, 40), TokenGrid.covering(Region(0, 0, 24, 24), 8))
