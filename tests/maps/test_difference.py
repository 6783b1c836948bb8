from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import percentileofscore

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.errors import InvalidOptionError, RegionError
from napari_sslmaps.maps.attention import ActivationMap, AttentionMap, activation_map
from napari_sslmaps.maps.difference import difference_map, percentile_ranks
from napari_sslmaps.maps.pca import pca_map
from napari_sslmaps.maps.similarity import similarity_map


def wrap(tokens, stride=4, name="external"):
    return Embedding.from_tokens(tokens, stride=stride, name=name)


def attention(values, stride=4, name="mae"):
    values = np.asarray(values, np.float32)
    region = Region(0, 0, *(side * stride for side in values.shape))
    grid = TokenGrid.covering(region, stride)
    return AttentionMap(
        values=values,
        grid=grid,
        provenance=Provenance(encoder=name),
        kind="cls",
        reduction="mean",
        prefix_attention=0.0,
    )


coarse = hnp.arrays(np.float32, (3, 4), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0]))


def test_similarities_are_subtracted_as_they_are():
    rng = np.random.default_rng(0)
    one, other = (
        similarity_map(wrap(rng.normal(size=(4, 5, 6)), name=name), [(3, 3)], centred=False) for name in "ab"
    )
    found = difference_map(one, other)
    np.testing.assert_array_equal(found.values, one.values - other.values)
    assert (found.kind, found.scale, found.value_range) == ("similarity", "plain", (-2.0, 2.0))
    assert (found.provenance.encoder, found.against.encoder) == ("a", "b")
    np.testing.assert_array_equal(difference_map(other, one).values, -found.values)
    assert (difference_map(one, one).values == 0).all()


def test_margins_reach_further():
    embedding = wrap(np.random.default_rng(0).normal(size=(4, 5, 6)))
    margin = similarity_map(embedding, [(3, 3)], negative=[(9, 9)], centred=False)
    assert difference_map(margin, similarity_map(embedding, [(3, 3)], centred=False)).value_range == (
        -4.0,
        4.0,
    )


@given(coarse, coarse, st.floats(0.01, 100))
def test_attention_differs_by_ranks_which_scales_do_not_change(one, other, factor):
    found = difference_map(attention(one), attention(other))
    ranks = [
        np.array([percentileofscore(values.ravel(), value, "mean") / 100 for value in values.ravel()])
        for values in (one, other)
    ]
    np.testing.assert_allclose(found.values.ravel(), ranks[0] - ranks[1], atol=1e-6)
    assert (np.abs(found.values) <= 1).all()
    scaled = difference_map(attention(one * np.float32(factor)), attention(other))
    np.testing.assert_allclose(scaled.values, found.values, atol=1e-6)
    assert (found.kind, found.scale, found.value_range) == ("attention", "ranks", (-1.0, 1.0))


def test_ranks_share_ties_and_lie_between_zero_and_one():
    np.testing.assert_allclose(percentile_ranks(np.array([5.0, 1, 1, 9])), [0.625, 0.25, 0.25, 0.875])
    assert percentile_ranks(np.empty(0)).size == 0


def test_only_tokens_that_both_know_are_ranked():
    one = np.arange(12.0).reshape(3, 4)
    other = one.copy()
    one[0, 0], other[2, 3] = np.nan, np.nan
    found = difference_map(attention(one), attention(other))
    np.testing.assert_array_equal(np.argwhere(np.isnan(found.values)), [[0, 0], [2, 3]])
    assert np.nanmax(np.abs(found.values)) == 0


def test_an_attention_may_be_held_against_an_activation():
    activation = activation_map(
        replace(wrap(np.ones((3, 4, 2))), activation=np.arange(12, dtype=np.float32).reshape(3, 4))
    )
    assert isinstance(activation, ActivationMap)
    found = difference_map(attention(np.zeros((3, 4))), activation)
    assert found.kind == "attention and activation"
    assert difference_map(activation, activation).kind == "activation"


def test_a_finer_grid_comes_to_the_coarser_one():
    fine = attention(np.arange(24.0).reshape(4, 6), stride=4)
    rough = attention(np.zeros((2, 3)), stride=8, name="ijepa")
    found = difference_map(fine, rough)
    assert found.grid == rough.grid
    blocks = fine.values.reshape(2, 2, 3, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(found.values, percentile_ranks(blocks.ravel()).reshape(2, 3) - 0.5, atol=1e-6)
    assert difference_map(rough, fine).grid == rough.grid


def test_what_cannot_be_subtracted_is_refused():
    embedding = wrap(np.random.default_rng(0).normal(size=(3, 4, 6)))
    similarity = similarity_map(embedding, [(3, 3)], centred=False)
    with pytest.raises(InvalidOptionError, match="one kind to subtract; got similarity and attention"):
        difference_map(similarity, attention(np.zeros((3, 4))))
    with pytest.raises(InvalidOptionError, match="got a ComponentMap"):
        difference_map(pca_map(embedding), pca_map(embedding))
    elsewhere = attention(np.zeros((9, 9)))
    with pytest.raises(RegionError, match="one region"):
        difference_map(attention(np.zeros((3, 4))), elsewhere)
