import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sslmaps.core.tokens import HalfTokens, token_chunks


def noise(*shape, scale=1.0):
    return (np.random.default_rng(0).normal(size=shape) * scale).astype(np.float32)


def half(values):
    tokens = HalfTokens(np.full(values.shape, np.nan, np.float16))
    tokens[:] = values
    return tokens


@pytest.mark.parametrize(
    "index",
    [2, -1, slice(1, 4), (slice(2), slice(3)), (3, 2), (np.array([0, 4]), np.array([1, 1])), np.eye(5) > 0],
)
def test_indexing_gives_what_was_put_in_single_precision(index):
    values = noise(5, 5, 7)
    found = half(values)[index]
    assert found.dtype == np.float32
    assert type(found) is np.ndarray
    np.testing.assert_allclose(found, values[index], rtol=1e-3)
    assert found.flags.writeable


def test_it_looks_like_the_array_it_stands_for():
    values = noise(3, 4, 5)
    tokens = half(values)
    assert (tokens.shape, tokens.ndim, len(tokens), tokens.dtype) == ((3, 4, 5), 3, 3, np.float32)
    assert tokens.nbytes == values.nbytes // 2
    assert np.asarray(tokens).dtype == np.float32
    assert np.asarray(tokens, np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.stack(list(tokens)), np.asarray(tokens))
    with pytest.raises(ValueError, match="copied"):
        np.asarray(tokens, copy=False)


def test_reshaping_shares_the_tokens():
    tokens = half(noise(3, 4, 5))
    tokens.reshape(-1, 5)[7] = 0
    assert not tokens[1, 3].any()


def test_what_is_too_large_for_half_precision_does_not_become_infinite():
    tokens = half(np.array([[1e6, -1e6, np.nan]], np.float32))
    np.testing.assert_array_equal(tokens[0], np.array([65504, -65504, np.nan], np.float32))


@given(st.integers(1, 50), st.integers(1, 60))
def test_chunks_are_the_whole_in_order(count, size):
    values = noise(count, 3)
    for tokens in (values, half(values)):
        found = np.full_like(values, np.nan)
        for place, part in token_chunks(tokens, size):
            assert part.dtype == np.float32
            assert len(part) <= size
            found[place] = part
        np.testing.assert_array_equal(found, np.asarray(tokens))
