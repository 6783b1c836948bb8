"""Scores of maps against scikit-learn's, of the map spread over the image's pixels."""

from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from skimage.filters import threshold_otsu
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.errors import AnnotationError, InvalidOptionError
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.evaluation.map_scores import SCORES, score_map, score_maps
from napari_sslmaps.maps.attention import ActivationMap
from napari_sslmaps.maps.pca import pca_map

SHAPE = (30, 44)


def map_of(values, grid):
    return ActivationMap(values=np.asarray(values, np.float32), grid=grid, provenance=Provenance())


def pixels_of(grid):
    """Every pixel of a region on level 0, and the row and column of the token that it belongs to."""
    (top, left), (height, width) = grid.origin_yx, grid.extent_yx
    pixels = np.argwhere(np.ones((int(height), int(width)))) + np.array([int(top), int(left)])
    return pixels, np.floor(grid.pixel_to_token(pixels) + 0.5).astype(int)


def spread(result, annotation, kind):
    """Value and truth of every pixel that counts."""
    pixels, tokens = pixels_of(result.grid)
    values, labels = result.values[tuple(tokens.T)].astype(float), annotation.labels_at(pixels)
    counts = np.isfinite(values) & (labels >= 0)
    truth = labels > 0 if kind is None else labels == kind
    return values[counts], truth[counts]


@st.composite
def scored(draw):
    """A map with ties and unknown tokens, an annotation with ignored pixels, and a class."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    region = Region(draw(st.integers(0, 5)), draw(st.integers(0, 9)), 24, 33)
    grid = TokenGrid.covering(region, draw(st.integers(2, 9)))
    values = rng.integers(0, draw(st.sampled_from([1, 3, 40])), grid.shape) / 7
    values[rng.random(grid.shape) < draw(st.sampled_from([0, 0.3]))] = np.nan
    labels = np.kron(rng.integers(-1, 3, (10, 11)), np.ones((3, 4), int))
    annotation = Annotation.from_labels(labels, SHAPE)
    kind = draw(st.sampled_from([None, 1, 2]))
    result = map_of(values, grid)
    _, truth = spread(result, annotation, kind)
    assume(0 < truth.sum() < len(truth))
    return result, annotation, kind


@settings(max_examples=25)
@given(scored())
def test_scores_are_scikit_learn_s_of_the_map_spread_over_pixels(drawn):
    result, annotation, kind = drawn
    found = score_map(result, annotation, kind=kind)
    values, truth = spread(result, annotation, kind)
    assert found.auroc == pytest.approx(roc_auc_score(truth, values))
    assert found.average_precision == pytest.approx(average_precision_score(truth, values))
    assert found.prevalence == pytest.approx(truth.mean())
    assert found.unknown == np.isnan(result.values).sum()
    thresholds = np.unique(values)
    dice = [f1_score(truth, values >= threshold) for threshold in thresholds]
    assert found.dice_best == pytest.approx(max(dice))
    assert dice[int(np.flatnonzero(thresholds == found.best_threshold)[0])] == pytest.approx(max(dice))
    tokens = result.values[np.isfinite(result.values)].astype(float)
    assert found.otsu_threshold == threshold_otsu(tokens)
    assert found.dice_otsu == pytest.approx(f1_score(truth, values > found.otsu_threshold, zero_division=0))


@settings(max_examples=25)
@given(scored())
def test_pointing_asks_the_pixel_at_the_centre_of_the_largest_token(drawn):
    result, annotation, kind = drawn
    hits, best = [], -np.inf
    pixels, tokens = pixels_of(result.grid)
    for place in np.ndindex(*result.grid.shape):
        inside = pixels[(tokens == place).all(axis=1)]
        middle = np.floor((inside.min(axis=0) + inside.max(axis=0)) / 2 + 0.5)
        label = annotation.labels_at([middle])[0]
        value = result.values[place]
        if label < 0 or not np.isfinite(value):
            continue
        if value > best:
            hits, best = [], value
        if value == best:
            hits.append(label > 0 if kind is None else label == kind)
    found = score_map(result, annotation, kind=kind).pointing
    assert found == pytest.approx(np.mean(hits)) if hits else np.isnan(found)


def halves(names=None):
    """Left half class 1; the map there is 1."""
    labels = np.zeros((32, 32), int)
    labels[:, :16] = 1
    annotation = Annotation.from_labels(labels, labels.shape, names=names)
    grid = TokenGrid.covering(Region(0, 0, 32, 32), 4)
    return map_of(annotation.token_labels(grid), grid), annotation


def test_a_perfect_map_scores_one_and_its_reverse_zero():
    result, annotation = halves()
    found = score_map(result, annotation)
    assert [getattr(found, score) for score in SCORES] == [1, 1, 1, 1, 1]
    reverse = score_map(map_of(-result.values, result.grid), annotation)
    assert (reverse.auroc, reverse.pointing, reverse.dice_otsu) == (0, 0, 0)


def test_a_constant_map_is_chance():
    result, annotation = halves()
    found = score_map(map_of(np.full(result.grid.shape, 0.3), result.grid), annotation)
    assert (found.auroc, found.average_precision, found.pointing) == (0.5, 0.5, 0.5)
    assert (found.dice_best, found.dice_otsu) == (pytest.approx(2 / 3), 0)


def test_each_class_is_told_from_all_else_and_weighs_alike():
    labels = np.zeros((32, 32), int)
    labels[:16, :8], labels[:, 24:] = 1, 2
    annotation = Annotation.from_labels(labels, labels.shape)
    grid = TokenGrid.covering(Region(0, 0, 32, 32), 4)
    result = map_of(annotation.token_labels(grid) == 2, grid)
    found = score_maps(result, annotation)
    assert found.by_class == {kind: score_map(result, annotation, kind=kind) for kind in (1, 2)}
    assert found.by_class[2].auroc == 1
    assert found.mean("auroc") == pytest.approx((1 + found.by_class[1].auroc) / 2)
    with pytest.raises(InvalidOptionError, match="Expected one of auroc, average_precision"):
        found.mean("threshold")


def test_classes_that_the_region_lacks_are_left_out():
    result, annotation = halves()
    labels = np.array(annotation.labels)
    labels[0, 20:] = 5
    wider = Annotation.from_labels(labels, labels.shape)
    part = TokenGrid.covering(Region(8, 0, 24, 32), 4)
    assert list(score_maps(map_of(np.zeros(part.shape), part), wider).by_class) == [1]
    assert list(score_maps(result, wider).by_class) == [1, 5]


def test_components_are_scored_in_either_direction_and_say_so():
    _, annotation = halves()
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(8, 8, 4))
    tokens[:, :4, 2] -= 6
    result = pca_map(Embedding.from_tokens(tokens, 4))
    best = score_map(result, annotation)
    assert best.auroc == 1
    assert best.variant in {"component 1; best of six", "component 1, reversed; best of six"}
    ahead, back = (score_map(result, annotation, component=number) for number in (2, -2))
    assert ahead.auroc + back.auroc == pytest.approx(1)
    assert (ahead.variant, back.variant) == ("component 2", "component 2, reversed")
    assert result.scores is not None
    plain = map_of(result.scores[..., 1], result.grid)
    assert astuple(replace(ahead, variant="")) == astuple(score_map(plain, annotation))
    assert score_maps(result, annotation).by_class[1] == score_map(result, annotation, kind=1)
    colours = replace(result, scores=None)
    assert score_map(colours, annotation, component=3).auroc == pytest.approx(
        score_map(result, annotation, component=3).auroc, abs=0.05
    )


def test_what_cannot_be_scored_is_refused():
    result, annotation = halves({1: "gland"})
    components = pca_map(Embedding.from_tokens(np.random.default_rng(0).random((8, 8, 3)), 4))
    with pytest.raises(InvalidOptionError, match="Expected no component, since the map is not one of PCA"):
        score_map(result, annotation, component=1)
    with pytest.raises(InvalidOptionError, match="Expected a component 1, 2, 3, −1, −2 or −3; got 4"):
        score_map(components, annotation, component=4)
    with pytest.raises(AnnotationError, match="Expected one of the annotated classes 1; got 3"):
        score_map(result, annotation, kind=3)
    labels = replace(result, values=np.zeros((8, 8), np.int32))
    with pytest.raises(InvalidOptionError, match="labels have no order"):
        score_map(labels, annotation)
    known = np.where(np.arange(8) < 4, result.values, np.nan)
    for score in (score_map, score_maps):
        with pytest.raises(AnnotationError, match="there are only those of one kind"):
            score(map_of(known, result.grid), annotation)
    with pytest.raises(AnnotationError, match="this one is empty"):
        score_map(result, Annotation.from_labels(np.zeros((32, 32), int), (32, 32)))
