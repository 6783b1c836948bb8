import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import token_arrays

from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.errors import InvalidAnchorError, InvalidOptionError
from napari_sslmaps.maps.groups import AnchorGroup, check_on_grid, group_map
from napari_sslmaps.maps.similarity import similarity_map


def wrap(tokens, name="external"):
    return Embedding.from_tokens(tokens, stride=4, name=name)


def centre_of(row, col):
    return (4.0 * row + 1.5, 4.0 * col + 1.5)


@st.composite
def grouped(draw):
    """Tokens, and two to four groups of anchors on them, some with negative ones."""
    tokens = draw(token_arrays(min_dim=3))
    rows, cols = tokens.shape[:2]
    places = st.builds(centre_of, st.integers(0, rows - 1), st.integers(0, cols - 1))
    count = draw(st.integers(1, 4))
    groups = tuple(
        AnchorGroup(
            f"g{index}",
            anchors=tuple(draw(st.lists(places, min_size=1, max_size=3))),
            negative=tuple(draw(st.lists(places, max_size=2))),
        )
        for index in range(count)
    )
    return wrap(tokens), groups, draw(st.booleans()), draw(st.sampled_from([-1.0, 0.0, 0.5]))


@given(grouped())
def test_each_token_has_the_group_that_it_is_most_like(case):
    embedding, groups, centred, least = case
    found = group_map(embedding, groups, centred=centred, least=least)
    scores = np.stack(
        [
            similarity_map(
                embedding, group.anchors, negative=group.negative, combine="max", centred=centred
            ).values
            for group in groups
        ]
    )
    expected = np.where(scores.max(axis=0) > least, scores.argmax(axis=0) + 1, 0)
    np.testing.assert_array_equal(found.labels, expected)
    np.testing.assert_array_equal(found.values, scores.max(axis=0))
    rivals = np.sort(np.concatenate([scores, np.full((1, *expected.shape), least, np.float32)]), axis=0)
    margin = np.where(expected > 0, rivals[-1] - rivals[-2], least - scores.max(axis=0))
    np.testing.assert_allclose(found.margin, margin, atol=1e-6)
    assert (found.margin >= 0).all()


def test_an_anchor_belongs_to_its_own_group():
    tokens = np.random.default_rng(0).normal(size=(6, 7, 16))
    groups = [AnchorGroup("a", anchors=(centre_of(1, 2),)), AnchorGroup("b", anchors=(centre_of(4, 5),))]
    found = group_map(wrap(tokens), groups, centred=True)
    assert (found.labels[1, 2], found.labels[4, 5]) == (1, 2)
    assert found.labels.dtype == np.int32
    assert found.groups == tuple(groups)


def test_an_empty_group_keeps_its_number_and_gets_no_token():
    tokens = np.random.default_rng(0).normal(size=(4, 4, 8))
    groups = [AnchorGroup("new"), AnchorGroup("old", anchors=(centre_of(1, 1),))]
    assert set(np.unique(group_map(wrap(tokens), groups, least=-1.0, centred=False).labels)) == {2}


def test_tokens_not_computed_are_in_no_group():
    tokens = np.random.default_rng(0).normal(size=(4, 4, 8))
    tokens[3, 3] = np.nan
    found = group_map(
        wrap(tokens),
        [AnchorGroup("a", anchors=(centre_of(0, 0),)), AnchorGroup("b", anchors=(centre_of(1, 1),))],
        least=-1.0,
        centred=False,
    )
    assert found.labels[3, 3] == 0
    assert np.isnan([found.values[3, 3], found.margin[3, 3]]).all()
    assert np.isfinite(found.margin).sum() == 15


def test_anchors_of_another_image_label_this_one():
    rng = np.random.default_rng(1)
    kinds = rng.normal(size=(2, 16))
    first = wrap(kinds[np.arange(16).reshape(4, 4) % 2])
    second = wrap(kinds[np.arange(16).reshape(4, 4) // 8])
    groups = [AnchorGroup("even", anchors=(centre_of(0, 0),)), AnchorGroup("odd", anchors=(centre_of(0, 1),))]
    found = group_map(second, groups, reference=first, centred=False)
    np.testing.assert_array_equal(found.labels, np.arange(16).reshape(4, 4) // 8 + 1)


def test_groups_without_any_anchor_or_with_one_name_are_refused():
    embedding = wrap(np.ones((3, 3, 4)))
    with pytest.raises(InvalidAnchorError, match="at least one anchor"):
        group_map(embedding, [AnchorGroup("a")], centred=False)
    twins = [AnchorGroup("a", anchors=((1, 1),)), AnchorGroup("a")]
    with pytest.raises(InvalidOptionError, match="different names"):
        group_map(embedding, twins, centred=False)


@pytest.mark.parametrize("colour", ["red", "#12345", "#12345g", "1234567"])
def test_a_group_has_a_name_and_a_colour_that_can_be_read(colour):
    with pytest.raises(InvalidOptionError, match="colour such as"):
        AnchorGroup("a", colour)
    with pytest.raises(InvalidOptionError, match="a name"):
        AnchorGroup("  ")
    assert AnchorGroup("a", "#1F77b4").colour == "#1F77b4"


def test_an_anchor_outside_the_region_is_named():
    grid = wrap(np.ones((3, 3, 4))).grid
    inside = AnchorGroup("a", anchors=((1, 1),))
    check_on_grid([inside], grid)
    outside = AnchorGroup("gland", negative=((1, 40),))
    with pytest.raises(InvalidAnchorError, match=r"'gland' on the region.*\(1, 40\)"):
        check_on_grid([inside, outside], grid)


def test_the_image_of_the_anchors_is_named():
    tokens = np.random.default_rng(0).normal(size=(3, 3, 4))
    plain = wrap(tokens)
    reference = Embedding(plain.tokens, plain.grid, Provenance(encoder="external", image="slide 1"))
    assert (
        group_map(plain, [AnchorGroup("a", anchors=((1, 1),))], reference=reference, centred=False).reference
        == "slide 1"
    )


def test_groups_of_lists_and_of_tuples_are_equal():
    listed = AnchorGroup("a", anchors=[[1, 2]], negative=[(3, 4)])
    assert listed == AnchorGroup("a", anchors=((1.0, 2.0),), negative=((3.0, 4.0),))
    assert hash(listed)
