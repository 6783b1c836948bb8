import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import token_arrays

from napari_sslmaps.core.neighbourhood import averaged
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import InvalidAnchorError, InvalidOptionError
from napari_sslmaps.maps.similarity import similarity_map
from napari_sslmaps.maps.similarity_pyramid import SimilarityPyramid


def cosine(tokens, anchor):
    """Cosine by its definition, in double precision."""
    tokens, anchor = tokens.astype(float), anchor.astype(float)
    return tokens @ anchor / np.linalg.norm(tokens, axis=-1) / np.linalg.norm(anchor)


def wrap(tokens):
    return Embedding.from_tokens(tokens, stride=4)


@given(token_arrays(), st.data())
def test_one_anchor_is_the_cosine_to_its_token(tokens, data):
    row = data.draw(st.integers(0, tokens.shape[0] - 1))
    col = data.draw(st.integers(0, tokens.shape[1] - 1))
    found = similarity_map(wrap(tokens), [(4 * row + 1, 4 * col + 2)], centred=False)
    np.testing.assert_allclose(found.values, cosine(tokens, tokens[row, col]), atol=1e-5)
    assert found.values[row, col] == pytest.approx(1, abs=1e-5)
    assert found.values.dtype == np.float32


@given(token_arrays(), st.floats(0.1, 50))
def test_scaling_a_token_does_not_change_its_similarity(tokens, factor):
    scaled = tokens.copy()
    scaled[0, 0] *= np.float32(factor)
    before, after = (
        similarity_map(wrap(array), [(5, 5)], centred=False).values for array in (tokens, scaled)
    )
    np.testing.assert_allclose(before, after, atol=1e-5)


def test_centred_subtracts_the_mean_token():
    tokens = np.random.default_rng(1).normal(3, 1, (5, 6, 8)).astype(np.float32)
    centred = tokens - tokens.mean(axis=(0, 1))
    found = similarity_map(wrap(tokens), [(9, 9)], centred=True)
    np.testing.assert_allclose(found.values, cosine(centred, centred[2, 2]), atol=1e-5)
    assert found.centred


def test_several_anchors_by_mean_direction_and_by_maximum():
    tokens = np.random.default_rng(2).normal(size=(5, 6, 8)).astype(np.float32)
    first, second = tokens[0, 0], tokens[3, 4]
    anchors = [(1, 1), (13, 17)]
    direction = first / np.linalg.norm(first) + second / np.linalg.norm(second)
    np.testing.assert_allclose(
        similarity_map(wrap(tokens), anchors, centred=False).values, cosine(tokens, direction), atol=1e-5
    )
    np.testing.assert_allclose(
        similarity_map(wrap(tokens), anchors, combine="max", centred=False).values,
        np.maximum(cosine(tokens, first), cosine(tokens, second)),
        atol=1e-5,
    )


def test_negative_anchors_give_the_margin():
    tokens = np.random.default_rng(3).normal(size=(5, 6, 8)).astype(np.float32)
    found = similarity_map(wrap(tokens), [(1, 1)], negative=[(5, 5), (9, 9)], centred=False)
    worst = np.maximum(cosine(tokens, tokens[1, 1]), cosine(tokens, tokens[2, 2]))
    np.testing.assert_allclose(found.values, cosine(tokens, tokens[0, 0]) - worst, atol=1e-5)
    assert found.value_range == (-2, 2)


def test_a_disc_averages_its_tokens():
    tokens = np.random.default_rng(4).normal(size=(6, 6, 8)).astype(np.float32)
    disc = np.stack([tokens[2, 2], tokens[1, 2], tokens[3, 2], tokens[2, 1], tokens[2, 3]])
    direction = (disc / np.linalg.norm(disc, axis=1, keepdims=True)).mean(axis=0)
    found = similarity_map(wrap(tokens), [(9.5, 9.5)], radius=4, centred=False)
    np.testing.assert_allclose(found.values, cosine(tokens, direction), atol=1e-5)


def test_a_zero_token_is_similar_to_nothing():
    tokens = np.ones((2, 2, 4), np.float32)
    tokens[0, 1] = 0
    np.testing.assert_array_equal(
        similarity_map(wrap(tokens), [(1, 1)], centred=False).values, [[1, 0], [1, 1]]
    )


def test_torch_tokens_give_numpy_maps():
    tokens = torch.randn(3, 4, 5, dtype=torch.bfloat16, requires_grad=True)
    found = similarity_map(wrap(tokens), [(1, 1)], centred=False)
    assert isinstance(found.values, np.ndarray)


def test_uncomputed_tokens_stay_nan_and_cannot_be_anchors():
    tokens = np.ones((2, 2, 4), np.float32)
    tokens[0, 1] = np.nan
    for centred in (False, True):
        values = similarity_map(wrap(tokens), [(1, 1)], centred=centred).values
        assert np.isnan(values).tolist() == [[False, True], [False, False]]
    with pytest.raises(InvalidAnchorError, match="has not been computed"):
        similarity_map(wrap(tokens), [(1, 5)], centred=False)


@pytest.mark.parametrize("anchors", [[], [(1, 2, 3)], [(100, 1)], [(-5, 1)], [(np.nan, 1)]])
def test_bad_anchors_get_a_sentence(anchors):
    with pytest.raises(InvalidAnchorError, match="Expected"):
        similarity_map(wrap(np.ones((2, 2, 4))), anchors, centred=False)


def test_a_bad_option_gets_a_sentence():
    with pytest.raises(InvalidOptionError, match="'mean' or 'max'"):
        similarity_map(wrap(np.ones((2, 2, 4))), [(1, 1)], combine="median", centred=False)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("combine", ["mean", "max"])
def test_a_pyramid_level_of_one_anchor_is_the_box_mean_of_the_fine_map(centred, combine):
    tokens = np.random.default_rng(5).normal(size=(8, 12, 16)).astype(np.float32)
    pyramid = SimilarityPyramid(wrap(tokens), centred=centred)
    fine = pyramid.values([(9, 9)], combine=combine)
    for level in (1, 2):
        side = 2**level
        boxes = fine.reshape(8 // side, side, 12 // side, side).mean(axis=(1, 3))
        np.testing.assert_allclose(pyramid.values([(9, 9)], combine=combine, level=level), boxes, atol=1e-5)


def test_pyramid_levels_of_odd_grids_average_what_is_there():
    tokens = np.random.default_rng(6).normal(size=(5, 3, 4)).astype(np.float32)
    pyramid = SimilarityPyramid(wrap(tokens))
    fine = pyramid.values([(1, 1)])
    coarse = pyramid.values([(1, 1)], level=1)
    assert coarse.shape == (3, 2)
    np.testing.assert_allclose(coarse[2, 1], fine[4, 2], atol=1e-5)
    np.testing.assert_allclose(coarse[0, 1], fine[:2, 2].mean(), atol=1e-5)


def test_the_level_fits_the_budget():
    pyramid = SimilarityPyramid(wrap(np.ones((64, 64, 8), np.float32)))
    assert pyramid.level_for(64 * 64 * 8 * 4) == 0
    assert pyramid.level_for(64 * 64 * 8 * 4 - 1) == 1
    assert pyramid.level_for(1) == 6


def test_an_anchor_of_another_image_is_compared_to_this_one():
    rng = np.random.default_rng(5)
    here, there = (rng.normal(3, 1, (5, 6, 8)).astype(np.float32) for _ in range(2))
    reference = wrap(there)
    found = similarity_map(wrap(here), [(9, 9)], reference=reference, centred=False)
    np.testing.assert_allclose(found.values, cosine(here, there[2, 2]), atol=1e-5)
    centred = similarity_map(wrap(here), [(9, 9)], reference=reference, centred=True)
    own = [tokens - tokens.mean(axis=(0, 1)) for tokens in (here, there)]
    np.testing.assert_allclose(centred.values, cosine(own[0], own[1][2, 2]), atol=1e-5)
    itself = similarity_map(wrap(here), [(9, 9)], reference=wrap(here), centred=True)
    np.testing.assert_array_equal(itself.values, similarity_map(wrap(here), [(9, 9)], centred=True).values)


def test_an_anchor_may_lie_where_only_the_other_image_reaches():
    small, large = wrap(np.random.default_rng(0).normal(size=(2, 2, 4))), wrap(np.ones((9, 9, 4)))
    assert similarity_map(small, [(30, 30)], reference=large, centred=False).values.shape == (2, 2)
    with pytest.raises(InvalidAnchorError, match="on the region"):
        similarity_map(large, [(30, 30)], reference=small, centred=False)


@pytest.mark.parametrize(("name", "dim"), [("other", 4), ("external", 5)])
def test_a_reference_by_another_encoder_is_refused(name, dim):
    reference = Embedding.from_tokens(np.ones((3, 3, dim)), stride=4, name=name)
    with pytest.raises(InvalidOptionError, match="by the same encoder, 'external'"):
        similarity_map(wrap(np.ones((3, 3, 4))), [(1, 1)], reference=reference, centred=False)


@pytest.mark.parametrize("options", [{}, {"combine": "max"}, {"negative": [(60.0, 9.0)]}, {"radius": 20.0}])
@pytest.mark.parametrize("centred", [True, False])
def test_a_scale_compares_averages_of_tokens(options, centred):
    embedding = Embedding.from_tokens(np.random.default_rng(3).normal(0.5, 1, (21, 33, 12)), stride=8)
    anchors = [(40.0, 50.0), (100.0, 200.0)]
    found = similarity_map(embedding, anchors, scale=20.0, centred=centred, **options)
    expected = similarity_map(averaged(embedding, 20.0), anchors, centred=centred, **options)
    np.testing.assert_allclose(found.values, expected.values, atol=1e-5)
    assert (found.scale, expected.scale) == (20.0, 0.0)


def test_a_scale_leaves_out_what_is_not_known():
    tokens = np.random.default_rng(3).normal(size=(20, 20, 6)).astype(np.float32)
    tokens[:, 10:] = np.nan
    found = similarity_map(Embedding.from_tokens(tokens, stride=8), [(30.0, 30.0)], scale=16.0)
    alone = similarity_map(Embedding.from_tokens(tokens[:, :10], stride=8), [(30.0, 30.0)], scale=16.0)
    np.testing.assert_allclose(found.values[:, :10], alone.values, atol=1e-5)
    assert np.isnan(found.values[:, 10:]).all()
    with pytest.raises(InvalidAnchorError, match="has not been computed"):
        similarity_map(Embedding.from_tokens(tokens, stride=8), [(30.0, 130.0)], scale=16.0)


@pytest.mark.parametrize("scale", [24.0, 64.0])
@pytest.mark.parametrize("level", [1, 2, 6])
def test_a_drag_follows_at_a_scale_as_without(level, scale):
    embedding = Embedding.from_tokens(np.random.default_rng(3).normal(1, 1, (70, 41, 5)), stride=8)
    at_scale = SimilarityPyramid(embedding, centred=True, scale=scale)
    of_averages = SimilarityPyramid(averaged(embedding, scale), centred=True)
    anchors = [(40.0, 50.0)]
    np.testing.assert_allclose(
        at_scale.values(anchors, level=level), of_averages.values(anchors, level=level), atol=1e-5
    )


@pytest.mark.parametrize("anchors", ["abc", [("a", "b")], [(1j, 2)], [(10**400, 1)], [(1, 2), (3,)]])
def test_anchors_that_are_no_numbers_get_a_sentence(anchors):
    with pytest.raises(InvalidAnchorError, match=r"list of \(row, column\)") as refused:
        similarity_map(wrap(np.eye(3)[None]), anchors)
    assert len(str(refused.value)) < 200


def test_a_scale_is_understood_as_the_command_line_writes_it():
    embedding = wrap(np.random.default_rng(0).normal(size=(8, 10, 4)))
    side = min(embedding.grid.extent_yx)
    written, told = (similarity_map(embedding, [(0, 0)], scale=scale) for scale in ("25%", 0.25 * side))
    np.testing.assert_array_equal(written.values, told.values)
    assert written.scale == 0.25 * side
    for wrong in ("x", None, [1]):
        with pytest.raises(InvalidOptionError, match="Expected a scale"):
            similarity_map(embedding, [(0, 0)], scale=wrong)
