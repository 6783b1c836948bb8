"""Probes from painted tokens against scikit-learn and plain definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from strategies import grids

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.classifiers import fit_linear, fit_neighbours
from napari_sslmaps.evaluation.scribbles import labels_on_grid, painted_regions
from napari_sslmaps.evaluation.token_probe import fit_token_probe
from napari_sslmaps.maps.classes import LabelMap


def two_halves(side: int = 12, dim: int = 8, *, seed: int = 0, name: str = "some") -> Embedding:
    """Tokens whose left and right halves differ by more than their noise."""
    rng = np.random.default_rng(seed)
    tokens = rng.normal(size=(side, side, dim)).astype(np.float32)
    tokens[:, side // 2 :] += 3 * np.random.default_rng(99).normal(size=dim).astype(np.float32)
    return Embedding.from_tokens(tokens, 4, name=name)


def strokes(side: int = 12) -> np.ndarray:
    """Two strokes of class 1 on the left, two of class 4 on the right."""
    labels = np.zeros((side, side), int)
    labels[1, 1:4] = labels[8, 0:3] = 1
    labels[2, 8:11] = labels[9:11, 9] = 4
    return labels


@settings(max_examples=20)
@given(st.data())
def test_a_token_gets_the_class_of_most_of_its_painted_pixels(data: st.DataObject) -> None:
    grid = data.draw(grids())
    height, width = (int(np.ceil(o + e)) + 3 for o, e in zip(grid.origin_yx, grid.extent_yx, strict=True))
    rng = np.random.default_rng(data.draw(st.integers(0, 100)))
    labels = rng.choice([0, 0, 0, 1, 2, 7], size=(height, width)).astype(np.int32)
    found = labels_on_grid(labels, grid)
    top, left = grid.origin_yx
    down = np.array([grid.token_at((y, left))[0] if grid.contains((y, left)) else -1 for y in range(height)])
    over = np.array([grid.token_at((top, x))[1] if grid.contains((top, x)) else -1 for x in range(width)])
    votes = np.zeros((*grid.shape, 8), int)
    y, x = np.nonzero((labels > 0) & (down >= 0)[:, None] & (over >= 0))
    np.add.at(votes, (down[y], over[x], labels[y, x]), 1)
    np.testing.assert_array_equal(found, votes.argmax(axis=-1))


@pytest.mark.parametrize("scale", [0.5, 2.0, 8.0, 12.0])
def test_painted_pixels_of_any_size_and_place_reach_their_tokens(scale: float) -> None:
    grid = TokenGrid(6, 6, (4.0, 4.0), (24.0, 48.0), (24.0, 24.0))
    side = int(48 / scale)
    place = TokenGrid(side, side, (scale, scale), (12.0, 36.0), (48.0, 48.0))
    painted = np.zeros((side, side), np.uint8)
    painted[int(24 / scale) :] = 3  # rows 36 and on of level 0
    expected = np.zeros(grid.shape, int)
    expected[3:] = 3
    np.testing.assert_array_equal(labels_on_grid(painted, grid, place), expected)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((4, 4), np.float32), "integers; got 2 dimensions of float32"),
        (np.zeros((4, 4, 3), int), "integers; got 3 dimensions"),
    ],
)
def test_labels_that_are_no_label_image_are_refused(labels: np.ndarray, words: str) -> None:
    with pytest.raises(InvalidOptionError, match=words):
        labels_on_grid(labels, two_halves().grid)


def test_labels_of_another_shape_than_their_place_are_refused() -> None:
    grid = two_halves().grid
    with pytest.raises(InvalidOptionError, match=r"of \(12, 12\) pixels; got \(3, 3\)"):
        labels_on_grid(np.ones((3, 3), int), grid, grid)


def test_regions_that_touch_at_a_corner_are_one() -> None:
    labels = np.array([[1, 0, 0, 2], [0, 3, 0, 0], [0, 0, 0, 1]])
    assert painted_regions(labels).tolist() == [[1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 0, 3]]


@settings(max_examples=25)
@given(st.integers(2, 4), st.integers(0, 1000), st.sampled_from([0.01, 0.1, 1.0]))
def test_the_folded_matrix_gives_what_scikit_learn_gives(classes: int, seed: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=40)]) * 3 + 1
    features = (rng.normal(size=(len(labels), 6)) * [1, 5, 0.1, 1, 1, 1] + 4).astype(np.float32)
    features[:, 5] = 2.5  # a channel that does not vary
    model = LogisticRegression(C=strength, class_weight="balanced", tol=1e-7, max_iter=1000)
    theirs = make_pipeline(StandardScaler(), model).fit(features, labels)
    ours = fit_linear(features, labels, strength=strength, tolerance=1e-7)
    np.testing.assert_array_equal(ours.classes, theirs.classes_)
    np.testing.assert_allclose(ours.probabilities(features), theirs.predict_proba(features), atol=1e-3)


def test_neighbours_vote_with_the_weights_of_the_definition() -> None:
    rng = np.random.default_rng(3)
    features, asked = (rng.normal(size=(count, 5)).astype(np.float32) for count in (30, 9))
    labels = np.repeat([2, 5, 6], [5, 15, 10])
    found = fit_neighbours(features, labels, count=4).probabilities(asked)
    mean = features.mean(axis=0)
    unit, others = (
        part / np.linalg.norm(part, axis=1, keepdims=True) for part in (features - mean, asked - mean)
    )
    for cosines, shares in zip(others @ unit.T, found, strict=True):
        nearest = cosines.argsort()[-4:]
        votes = np.zeros(3)
        for index in nearest:
            kind = [2, 5, 6].index(labels[index])
            votes[kind] += np.exp(cosines[index] / 0.07) / [5, 15, 10][kind]
        np.testing.assert_allclose(shares, votes / votes.sum(), atol=1e-4)


@pytest.mark.parametrize("kind", ["logistic", "knn"])
def test_a_few_strokes_label_the_whole_grid(kind: str) -> None:
    embedding = two_halves()
    probe = fit_token_probe(embedding, strokes(), kind=kind)
    found = probe.predict(embedding)
    assert probe.classes == (1, 4)
    assert probe.counts == (6, 5)
    expected = np.tile(np.repeat([1, 4], 6), (12, 1))
    assert (found.labels == expected).mean() > 0.95
    assert found.values.dtype == np.float32
    assert ((found.values >= 0.5) & (found.values <= 1 + 1e-6)).all()
    # the probe is applied to a region it has not seen
    assert (probe.predict(two_halves(seed=1)).labels == expected).mean() > 0.95


@pytest.mark.parametrize("kind", ["logistic", "knn"])
def test_tokens_not_computed_are_neither_fitted_nor_labelled(kind: str) -> None:
    embedding, labels = two_halves(), strokes()
    tokens = embedding.tokens.copy()
    tokens[8:] = np.nan
    partial = Embedding.from_tokens(tokens, 4, name="some")
    probe = fit_token_probe(partial, labels, kind=kind)
    assert probe.counts == (3, 3)
    found = probe.predict(partial)
    assert (found.labels[8:] == 0).all()
    assert np.isnan(found.values[8:]).all()
    assert (found.labels[:8] > 0).all()


def test_several_regions_are_fitted_together() -> None:
    left, right = strokes(), strokes()
    left[:, 6:], right[:, :6] = 0, 0
    probe = fit_token_probe([two_halves(), two_halves(seed=1)], [left, right])
    assert probe.classes == (1, 4)
    assert (probe.predict(two_halves(seed=2)).labels[:, 6:] == 4).mean() > 0.95


def test_bad_input_is_told_in_a_sentence() -> None:
    embedding, labels = two_halves(), strokes()
    with pytest.raises(InvalidOptionError, match=r"at least two classes; got 1\."):
        fit_token_probe(embedding, np.where(labels == 1, 1, 0))
    with pytest.raises(InvalidOptionError, match="at least two classes; got 0"):
        fit_token_probe(embedding, np.zeros_like(labels))
    with pytest.raises(InvalidOptionError, match=r"token grids \[\(12, 12\)\]; got \[\(3, 3\)\]"):
        fit_token_probe(embedding, np.ones((3, 3), int))
    with pytest.raises(InvalidOptionError, match="one encoder; got other, some"):
        fit_token_probe([embedding, two_halves(name="other")], [labels, labels])
    with pytest.raises(InvalidOptionError, match="at least one embedding"):
        fit_token_probe([], [])
    with pytest.raises(InvalidOptionError, match="'logistic' or 'knn'; got 'svm'"):
        fit_token_probe(embedding, labels, kind="svm")
    with pytest.raises(InvalidOptionError, match="at least one neighbour"):
        fit_token_probe(embedding, labels, kind="knn", neighbours=0)
    with pytest.raises(InvalidOptionError, match=r"tokens of 'some'.* got those of 'other'"):
        fit_token_probe(embedding, labels).predict(two_halves(name="other"))


def test_a_map_of_classes_stays_on_its_grid() -> None:
    found = fit_token_probe(two_halves(), strokes()).predict(two_halves())
    with pytest.raises(InvalidOptionError, match="on the grid"):
        LabelMap(
            values=found.values,
            grid=found.grid,
            provenance=found.provenance,
            labels=found.labels[:3],
            classes=found.classes,
        )
