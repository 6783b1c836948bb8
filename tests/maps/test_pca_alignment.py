from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ortho_group

from napari_sslmaps.core.regrid import regrid
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import InvalidOptionError, MapUnavailableError, RegionError
from napari_sslmaps.maps.pca import align_colours, pca_map, rotation_between, whitened_scores


def tokens_of(seed=0, rows=12, cols=10, dim=20):
    """Smooth tokens with a few strong directions."""
    rng = np.random.default_rng(seed)
    field = rng.normal(size=(rows, cols, dim)).cumsum(axis=0).cumsum(axis=1)
    return field.astype(np.float32)


def wrap(tokens, stride=4, name="a"):
    return Embedding.from_tokens(tokens, stride=stride, name=name)


def turned(tokens, seed=1):
    """The same tokens as another encoder might write them: rotated into more channels, scaled and moved."""
    dim = tokens.shape[-1]
    mixing = ortho_group.rvs(dim + 5, random_state=seed)[:dim]
    return (tokens @ mixing * 7 + 3).astype(np.float32)


@pytest.mark.parametrize("rendering", ["stretch", "whitened"])
def test_what_sees_the_same_gets_the_same_colours(rendering):
    first = pca_map(wrap(tokens_of()), rendering=rendering)
    second = pca_map(wrap(turned(tokens_of()), name="b"), rendering=rendering)
    one, other = align_colours([first, second])
    assert one is first
    np.testing.assert_allclose(other.values, first.values, atol=2e-3)
    assert (one.aligned_to, other.aligned_to) == ("", "a")


def test_the_turn_is_orthogonal_and_none_is_nearer():
    first, second = pca_map(wrap(tokens_of(2))), pca_map(wrap(tokens_of(3, dim=9), name="b"))
    rotation = rotation_between(second, first)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-10)
    moving, still = (whitened_scores(item.scores, item.basis).reshape(-1, 3) for item in (second, first))
    best = np.linalg.norm(moving @ rotation - still)
    others = ortho_group.rvs(3, size=200, random_state=0)
    assert best <= min(np.linalg.norm(moving @ other - still) for other in others) + 1e-6


def test_encoders_of_other_strides_meet_on_the_coarser_grid():
    fine = pca_map(wrap(tokens_of()), rendering="whitened")
    grid = wrap(np.ones((6, 5, 3)), stride=8).grid
    halved = regrid(turned(tokens_of()), fine.grid, grid)
    coarse = pca_map(wrap(halved, stride=8, name="b"), rendering="whitened")
    fine_again, aligned = align_colours([coarse, fine])[1], align_colours([fine, coarse])[1]
    assert aligned.grid == coarse.grid
    assert fine_again.grid == fine.grid
    there = regrid(fine.values, fine.grid, coarse.grid)
    assert np.abs(aligned.values - there).mean() < np.abs(coarse.values - there).mean()
    assert np.abs(aligned.values - there).mean() < 0.1


@pytest.mark.parametrize("rendering", ["stretch", "whitened"])
def test_the_aligned_basis_gives_the_same_colours_again(rendering):
    first = pca_map(wrap(tokens_of()), rendering=rendering)
    embedding = wrap(tokens_of(5, dim=9), name="b")
    aligned = align_colours([first, pca_map(embedding, rendering=rendering)])[1]
    again = pca_map(embedding, basis=aligned.basis, rendering=rendering)
    np.testing.assert_allclose(again.values, aligned.values, atol=1e-4)
    assert again.aligned_to == "a"


def test_any_map_can_be_the_target():
    maps = [pca_map(wrap(tokens_of(seed), name=name)) for seed, name in enumerate("abc")]
    aligned = align_colours(maps, to=1)
    assert aligned[1] is maps[1]
    assert [found.aligned_to for found in aligned] == ["b", "", "b"]


def test_unknown_tokens_do_not_count():
    tokens = tokens_of()
    holed = turned(tokens)
    holed[2:5, 3] = np.nan
    first, second = pca_map(wrap(tokens)), pca_map(wrap(holed, name="b"))
    aligned = align_colours([first, second])[1]
    assert np.isnan(aligned.values[2:5, 3]).all()
    assert np.isfinite(aligned.values).all(axis=-1).sum() == 12 * 10 - 3


def test_constant_tokens_are_left_without_error():
    flat = pca_map(wrap(np.ones((12, 10, 6)), name="flat"))
    aligned = align_colours([pca_map(wrap(tokens_of())), flat])[1]
    assert np.isfinite(aligned.values).all()


def test_what_cannot_be_aligned_is_refused():
    first = pca_map(wrap(tokens_of()))
    with pytest.raises(InvalidOptionError, match="from 0 to 0"):
        align_colours([first], to=1)
    with pytest.raises(InvalidOptionError, match="one rendering"):
        align_colours([first, pca_map(wrap(tokens_of()), rendering="whitened")])
    with pytest.raises(MapUnavailableError, match="with its scores"):
        align_colours([first, replace(first, scores=None)])
    with pytest.raises(RegionError, match="one region"):
        align_colours([first, pca_map(wrap(tokens_of(rows=20)))])
    unknown = np.full((12, 10, 20), np.nan)
    unknown[0, :2] = tokens_of()[0, :2]
    with pytest.raises(MapUnavailableError, match="at least three tokens"):
        align_colours([first, pca_map(wrap(unknown))])
