"""Agreement of encoders."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import special_ortho_group

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.regrid import regrid
from napari_sslmaps.core.results import Embedding, TokenMap
from napari_sslmaps.core.tokens import HalfTokens
from napari_sslmaps.errors import InvalidOptionError, RegionError
from napari_sslmaps.maps import agreement
from napari_sslmaps.maps.agreement import agreement_table, linear_cka, mutual_neighbours, neighbour_agreement

seeds = st.integers(0, 10**6)


def drawn(seed, rows=6, cols=7, dim=5, *, unknown=0.0, stride=16):
    rng = np.random.default_rng(seed)
    tokens = rng.normal(size=(rows, cols, dim)) * rng.gamma(1, size=dim) + 3 * rng.normal(size=dim)
    tokens[rng.random((rows, cols)) < unknown] = np.nan
    return Embedding.from_tokens(tokens, stride)


def hsic(k, m):
    """Hilbert–Schmidt independence criterion by its definition, (n − 1)⁻² tr(KHLH)."""
    count = len(k)
    centring = np.eye(count) - 1 / count
    return np.trace(k @ centring @ m @ centring) / (count - 1) ** 2


def cka_by_definition(x, y):
    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def common(first, second):
    x, y = (e.flat.astype(float) for e in (first, second))
    known = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
    return x[known], y[known], known


@given(seeds, st.integers(1, 60), st.sampled_from([0.0, 0.3]))
def test_cka_is_its_definition(seed, dim, unknown):
    first, second = drawn(seed, unknown=unknown), drawn(seed + 1, dim=dim, unknown=unknown)
    x, y, _ = common(first, second)
    assert linear_cka(first, second) == pytest.approx(cka_by_definition(x, y), rel=1e-5)


@given(seeds)
def test_cka_sees_neither_rotation_nor_scale_nor_shift(seed):
    first = drawn(seed)
    turn = special_ortho_group(5, seed=seed).rvs()
    second = Embedding.from_tokens(2.5 * first.tokens @ turn + 4)
    assert linear_cka(first, second) == pytest.approx(1, abs=1e-5)
    assert linear_cka(first, drawn(seed + 1)) == pytest.approx(linear_cka(drawn(seed + 1), first))


def neighbours_by_definition(values, mean, k):
    centred = values - mean
    cosines = 1 - cdist(centred, centred, "cosine")
    np.fill_diagonal(cosines, -np.inf)
    return [set(row) for row in np.argsort(-cosines, axis=1)[:, :k].tolist()]


@given(seeds, st.integers(1, 9), st.sampled_from([0.0, 0.2]))
def test_shared_neighbours_are_counted(seed, k, unknown):
    first, second = drawn(seed, unknown=unknown), drawn(seed + 1, unknown=unknown)
    second = Embedding.from_tokens(second.tokens + 2 * first.tokens)
    x, y, known = common(first, second)
    near = (neighbours_by_definition(values, e.mean_token, k) for values, e in ((x, first), (y, second)))
    shares = [len(a & b) / k for a, b in zip(*near, strict=True)]
    found = neighbour_agreement(first, second, k)
    np.testing.assert_allclose(found.values.ravel()[known], shares, atol=1e-6)
    assert np.isnan(found.values.ravel()[~known]).all()
    assert mutual_neighbours(first, second, k) == pytest.approx(np.mean(shares))
    assert isinstance(found, TokenMap)
    assert (found.neighbours, found.chance) == (k, k / (known.sum() - 1))


@given(seeds)
def test_an_encoder_agrees_with_itself(seed):
    first = drawn(seed)
    assert mutual_neighbours(first, first) == 1
    np.testing.assert_array_equal(neighbour_agreement(first, first).values, 1)


def test_unrelated_encoders_agree_by_chance():
    found = neighbour_agreement(drawn(0, 30, 30, 8), drawn(1, 30, 30, 8))
    assert found.values.mean() == pytest.approx(found.chance, abs=0.005)


def test_cka_by_chance_is_its_mean_over_all_pairings():
    first, second = drawn(0, 1, 5, 3), drawn(1, 1, 5, 4)
    table = agreement_table({"a": first, "b": second}, k=2)
    by_name = dict(zip(table.columns, table.rows[0], strict=True))
    x, y, _ = common(first, second)
    every = [cka_by_definition(x, y[list(order)]) for order in permutations(range(5))]
    assert by_name["CKA by chance"] == pytest.approx(np.mean(every), rel=1e-4)


def test_constant_tokens_have_no_cka_and_some_neighbours():
    flat = Embedding.from_tokens(np.ones((6, 7, 3)))
    assert np.isnan(linear_cka(flat, drawn(0)))
    assert 0 <= mutual_neighbours(flat, drawn(0)) <= 1


def test_encoders_of_different_stride_meet_on_the_coarser_grid():
    fine, coarse = drawn(0, 12, 14, stride=8), drawn(1, 6, 7, dim=9)
    moved = Embedding.from_tokens(regrid(fine.tokens, fine.grid, coarse.grid))
    assert linear_cka(fine, coarse) == pytest.approx(linear_cka(moved, coarse))
    assert mutual_neighbours(coarse, fine) == mutual_neighbours(coarse, moved)
    assert neighbour_agreement(fine, coarse).grid == coarse.grid


def test_tokens_in_half_precision_agree_nearly_the_same():
    first, second = drawn(0, 20, 20), drawn(1, 20, 20, dim=9)
    half = [Embedding(HalfTokens(e.tokens.astype(np.float16)), e.grid) for e in (first, second)]
    assert linear_cka(*half) == pytest.approx(linear_cka(first, second), rel=1e-3)
    found, wanted = neighbour_agreement(*half), neighbour_agreement(first, second)
    assert np.abs(found.values - wanted.values).mean() < 0.01
    fine = Embedding(HalfTokens(drawn(2, 40, 40).tokens.astype(np.float16)), drawn(2, 40, 40, stride=8).grid)
    assert 0 < linear_cka(fine, second) < 1


def test_chunks_change_nothing(monkeypatch):
    first, second = drawn(0, 20, 20), drawn(1, 20, 20, dim=9)
    whole = linear_cka(first, second), neighbour_agreement(first, second).values
    monkeypatch.setattr(agreement, "_CHUNK", 500)
    assert linear_cka(first, second) == pytest.approx(whole[0])
    np.testing.assert_array_equal(neighbour_agreement(first, second).values, whole[1])


def test_large_regions_are_sampled_evenly(monkeypatch):
    monkeypatch.setattr(agreement, "LIMIT", 100)
    monkeypatch.setattr(agreement, "_MAP_TOKENS", 400)
    first, second = drawn(0, 20, 20), drawn(1, 20, 20)
    every_other = [Embedding.from_tokens(e.tokens[::2, ::2]) for e in (first, second)]
    shared = mutual_neighbours(first, second, 5)
    for embedding, part in zip((first, second), every_other, strict=True):
        part.__dict__["mean_token"] = embedding.mean_token  # a region's mean is over all its tokens
    assert shared == pytest.approx(mutual_neighbours(*every_other, 5))
    found = neighbour_agreement(first, second, 5)
    assert found.values.shape == (20, 20)
    assert found.values[::2, ::2].mean() == pytest.approx(shared)
    larger = neighbour_agreement(drawn(0, 41, 30), drawn(1, 41, 30), 5)
    assert larger.values.shape == (21, 15)
    assert larger.grid.stride_yx == (32, 32)


def test_the_table_has_a_row_for_each_pair_and_says_what_chance_is():
    embeddings = {name: drawn(seed, 8, 8) for seed, name in enumerate("abc")}
    embeddings["a again"] = embeddings["a"]
    table = agreement_table(embeddings, k=5)
    assert len(table.rows) == 6
    assert table.rows[0][:2] == ("a", "a again")
    assert table.rows[0][2] == pytest.approx(1)
    assert table.rows[0][4] == 1
    for first, second, cka, _, shared in table.rows:
        assert cka == pytest.approx(linear_cka(embeddings[first], embeddings[second]))
        assert shared == pytest.approx(mutual_neighbours(embeddings[first], embeddings[second], 5))
    assert "Over 64 tokens" in table.notes[0]
    assert "share 0.079" in table.notes[2]
    assert "Over 16 of 64 tokens" in agreement_table(embeddings, k=5, limit=20).notes[0]


def test_what_cannot_be_compared_is_refused():
    first = drawn(0)
    elsewhere = Embedding(first.tokens, drawn(0).grid.covering(Region(0, 500, 96, 112), 16))
    with pytest.raises(RegionError, match="Expected maps of one region"):
        linear_cka(first, elsewhere)
    nowhere = Embedding.from_tokens(np.full((6, 7, 3), np.nan))
    with pytest.raises(InvalidOptionError, match="at least 2 tokens that the encoders share; got 0"):
        linear_cka(first, nowhere)
    with pytest.raises(InvalidOptionError, match="at least 43 tokens that the encoders share; got 42"):
        mutual_neighbours(first, first, 42)
    with pytest.raises(InvalidOptionError, match="at least one neighbour; got 0"):
        neighbour_agreement(first, first, 0)
    with pytest.raises(InvalidOptionError, match="at least two encoders to compare; got 1"):
        agreement_table({"a": first})
