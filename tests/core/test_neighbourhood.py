"""Averages over a neighbourhood against scipy's filter of the tokens themselves."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from napari_sslmaps.core import neighbourhood
from napari_sslmaps.core.neighbourhood import Neighbourhood, averaged, neighbourhood_of
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.tokens import HalfTokens
from napari_sslmaps.errors import InvalidOptionError


def embedding_of(rows, cols, dim, seed=0, missing=0.0, stride=8):
    generator = np.random.default_rng(seed)
    tokens = generator.normal(size=(rows, cols, dim)).astype(np.float32)
    tokens += 3 * generator.normal(size=dim).astype(np.float32)
    tokens[generator.random((rows, cols)) < missing] = np.nan
    return Embedding.from_tokens(tokens, stride=stride)


def by_scipy(embedding, scale):
    """Normalised convolution, feature by feature, in double precision."""
    sigma = [scale / stride for stride in embedding.grid.stride_yx]
    there = np.isfinite(embedding.tokens[:, :, 0])
    values = np.where(there[..., None], embedding.tokens, 0).astype(np.float64)
    options = {"mode": "constant", "truncate": 8.0}
    weight = gaussian_filter(there.astype(np.float64), sigma, **options)
    planes = [gaussian_filter(values[..., k], sigma, **options) for k in range(values.shape[-1])]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.stack(planes, axis=-1) / weight[..., None]
    found[~there] = np.nan
    return found


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(0, 99),
    st.sampled_from([0.0, 0.3]),
    st.floats(1.0, 400.0),
)
def test_tokens_are_averaged_as_scipy_does_it(rows, cols, seed, missing, scale):
    embedding = embedding_of(rows, cols, 3, seed, missing)
    expected = by_scipy(embedding, scale)
    found = averaged(embedding, scale)
    np.testing.assert_allclose(found.tokens, expected, rtol=1e-4, atol=1e-5)
    around = Neighbourhood(embedding, scale)
    for part, strip in around.strips():
        np.testing.assert_array_equal(strip, found.tokens[part])
    if np.isfinite(expected).any():
        mean = np.nanmean(expected, axis=(0, 1))
        np.testing.assert_allclose(around.mean_token, mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.mean_token, mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [4.0, 20.0, 200.0])
def test_a_product_with_averages_is_the_average_of_products(scale):
    embedding = embedding_of(40, 53, 16, missing=0.2)
    around = Neighbourhood(embedding, scale)
    direction = np.random.default_rng(1).normal(size=16).astype(np.float32)
    expected = averaged(embedding, scale).tokens @ direction
    for found in (around.average(embedding.tokens @ direction), around.dot(direction)):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [16.0, 60.0])
def test_lengths_are_those_of_the_averages(scale):
    embedding = embedding_of(33, 47, 8, missing=0.1)
    around, found = Neighbourhood(embedding, scale), averaged(embedding, scale)
    for name in ("inverse_norms", "centred_inverse_norms"):
        np.testing.assert_allclose(getattr(around, name), getattr(found, name), rtol=1e-4)


@pytest.mark.parametrize("scale", [12.0, 60.0])
def test_single_tokens_are_averaged_alike(scale):
    embedding = embedding_of(31, 20, 5, missing=0.2)
    rows, cols = np.array([0, 30, 15, 7]), np.array([0, 19, 3, 11])
    expected = averaged(embedding, scale).tokens[rows, cols]
    np.testing.assert_allclose(
        Neighbourhood(embedding, scale).tokens_at(rows, cols), expected, rtol=1e-4, atol=1e-5
    )


def test_nodes_that_take_too_much_are_not_made(monkeypatch):
    embedding = embedding_of(60, 70, 5, missing=0.2)
    by_nodes = averaged(embedding, 80.0)
    monkeypatch.setattr(neighbourhood, "_NODE_BYTES", 0)
    around = Neighbourhood(embedding, 80.0)
    assert around._nodes is None
    for part, strip in around.strips():
        np.testing.assert_allclose(strip, by_nodes.tokens[part], rtol=1e-4, atol=1e-5)


def test_a_uniform_image_stays_uniform_up_to_its_borders():
    embedding = Embedding.from_tokens(np.full((9, 50, 2), 7.0), stride=16)
    np.testing.assert_allclose(averaged(embedding, 100.0).tokens, 7.0, rtol=1e-6)


def test_half_precision_stays_half():
    embedding = embedding_of(20, 20, 4)
    half = Embedding(HalfTokens(embedding.tokens.astype(np.float16)), embedding.grid)
    found = averaged(half, 16.0)
    assert isinstance(found.tokens, HalfTokens)
    np.testing.assert_allclose(found.tokens[:], averaged(embedding, 16.0).tokens, atol=0.01)


def test_nothing_known_gives_nothing():
    embedding = Embedding.from_tokens(np.full((3, 4, 2), np.nan))
    found = averaged(embedding, 10.0)
    assert np.isnan(found.tokens).all()
    assert found.moments is None


def test_no_scale_leaves_an_embedding_as_it_is():
    embedding = embedding_of(4, 4, 2)
    assert averaged(embedding, 0) is embedding
    for scale in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidOptionError, match="above 0 pixels"):
            averaged(embedding, scale)


def test_the_latest_scale_is_kept():
    embedding = embedding_of(4, 4, 2)
    first = neighbourhood_of(embedding, 8.0)
    assert neighbourhood_of(embedding, 8.0) is first
    assert neighbourhood_of(embedding, 9.0) is not first


def test_averages_are_kept_where_their_tokens_are():
    """Those of a slide in a file are no reason to fill the memory."""
    made = []

    def room(shape):
        made.append(shape)
        return np.zeros(shape, np.float16)

    values = np.random.default_rng(0).normal(size=(9, 7, 4)).astype(np.float16)
    whole = Embedding.from_tokens(values.astype(np.float32), stride=8)
    smooth = averaged(replace(whole, tokens=HalfTokens(values, room)), 16.0)
    assert made == [(9, 7, 4)]
    np.testing.assert_allclose(np.asarray(smooth.tokens), averaged(whole, 16.0).tokens, atol=1e-3)
    assert smooth.tokens.view((slice(0, 5), slice(0, 7))).empty_like().shape == (5, 7, 4)
    assert made == [(9, 7, 4), (5, 7, 4)]
