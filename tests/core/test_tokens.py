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


@pytest.mark.parametrize("index", [np.s_[::-1], np.s_[:, ::2], np.s_[1, 2, 3], np.s_[..., 0]])
def test_any_order_and_a_file_that_is_only_read_give_the_same(index, tmp_path):
    values = noise(4, 5, 6).astype(np.float16)
    values.tofile(tmp_path / "tokens")
    mapped = np.memmap(tmp_path / "tokens", np.float16, "r", shape=values.shape)
    for kept in (values, mapped):
        found = HalfTokens(kept)[index]
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, values[index].astype(np.float32))


@given(st.floats(width=32) | st.sampled_from([65519.0, 65520.0, 2**-25, -0.0]))
def test_half_precision_is_rounded_as_numpy_does(value):
    tokens = half(np.full((1, 2), value, np.float32))
    rounded = np.clip(np.float32(value), -65504, 65504).astype(np.float16)
    np.testing.assert_array_equal(tokens[0], np.full(2, rounded, np.float32))


def test_one_number_and_what_must_not_be_written_to_are_put_as_well():
    tokens = half(noise(3, 4, 5))
    tokens[1] = 7
    values = noise(4, 5)
    values.flags.writeable = False
    tokens[2] = values
    assert (tokens[1] == 7).all()
    np.testing.assert_allclose(tokens[2], values, rtol=1e-3)


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
