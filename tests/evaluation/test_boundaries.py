"""Boundary F1 of maps of labels, against boundaries found by scikit-image and moved by known distances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.segmentation import find_boundaries

import napari_sslmaps as ssl
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.evaluation.boundaries import TOLERANCE, score_boundaries
from napari_sslmaps.maps.clusters import ClusterMap
from napari_sslmaps.maps.registry import MapOptions


def labelled(labels: np.ndarray, stride: float = 1.0) -> ClusterMap:
    rows, cols = labels.shape
    grid = TokenGrid(rows, cols, (stride, stride), (0.0, 0.0), (rows * stride, cols * stride))
    some = ssl.Embedding.from_tokens(np.zeros((rows, cols, 2)), stride=stride)
    return ClusterMap(
        values=np.zeros(labels.shape, np.float32),
        grid=grid,
        provenance=some.provenance,
        labels=labels.astype(np.int32),
        centres=np.zeros((2, 2), np.float32),
        numbers=np.array([1, 2], np.int32),
    )


def halves(shape: tuple[int, int], at: int) -> np.ndarray:
    labels = np.ones(shape, int)
    labels[:, at:] = 2
    return labels


def by_scikit_image(found: np.ndarray, drawn: np.ndarray, tolerance: float) -> tuple[float, float]:
    one, other = (find_boundaries(labels, connectivity=1, mode="thick") for labels in (found, drawn))
    near = [
        (ndimage.distance_transform_edt(~those)[these] <= tolerance).mean()
        for these, those in ((one, other), (other, one))
    ]
    return float(near[0]), float(near[1])


@given(st.integers(0, 2**31), st.floats(0.5, 8))
def test_it_is_what_scikit_image_finds(seed: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    found, drawn = (
        1 + (ndimage.gaussian_filter(rng.normal(size=(40, 52)), 4) > 0).astype(int) for _ in range(2)
    )
    if found.min() == found.max() or drawn.min() == drawn.max():
        return
    scores = ssl.boundary_f1(
        labelled(found), ssl.Annotation.from_labels(drawn, (40, 52)), tolerance=tolerance
    )
    precision, recall = by_scikit_image(found, drawn, tolerance)
    assert scores.precision == pytest.approx(precision)
    assert scores.recall == pytest.approx(recall)
    total = precision + recall
    assert scores.f1 == pytest.approx(2 * precision * recall / total if total else 0)


@pytest.mark.parametrize(("moved", "agrees"), [(0, True), (3, True), (4, True), (7, False)])
def test_a_boundary_within_the_tolerance_agrees(moved: int, *, agrees: bool) -> None:
    annotation = ssl.Annotation.from_labels(halves((64, 64), 32), (64, 64))
    scores = ssl.boundary_f1(labelled(halves((64, 64), 32 + moved)), annotation, tolerance=5)
    assert scores.f1 == (1 if agrees else 0)


def test_tokens_larger_than_pixels_lie_where_the_grid_says() -> None:
    annotation = ssl.Annotation.from_labels(halves((128, 192), 96), (128, 192))
    assert ssl.boundary_f1(labelled(halves((8, 12), 6), 16), annotation).f1 == 1
    assert ssl.boundary_f1(labelled(halves((8, 12), 7), 16), annotation).f1 == 0


def test_what_a_label_stands_for_does_not_count() -> None:
    drawn = halves((32, 32), 16)
    annotation = ssl.Annotation.from_labels(drawn, (32, 32))
    assert ssl.boundary_f1(labelled(3 - drawn), annotation).f1 == 1


def test_what_is_not_known_has_no_boundary() -> None:
    drawn, found = halves((32, 32), 16), halves((32, 32), 16)
    drawn[:8], found[24:] = 255, 0
    scores = ssl.boundary_f1(labelled(found), ssl.Annotation.from_labels(drawn, (32, 32), ignore=255))
    assert scores.precision == scores.recall == 1


def test_without_boundaries_there_is_a_word_for_each_case() -> None:
    plain, split = np.ones((32, 32), int), halves((32, 32), 16)
    nothing_found = ssl.boundary_f1(labelled(plain), ssl.Annotation.from_labels(split, (32, 32)))
    assert np.isnan(nothing_found.precision)
    assert nothing_found.recall == nothing_found.f1 == 0
    nothing_there = ssl.boundary_f1(labelled(split), ssl.Annotation.from_labels(plain, (32, 32)))
    assert nothing_there.precision == 0
    assert np.isnan(nothing_there.recall)
    assert np.isnan(nothing_there.f1)


def test_a_large_region_is_compared_on_a_lattice() -> None:
    annotation = ssl.Annotation.from_labels(halves((30, 40), 20), (3000, 4000))
    scores = ssl.boundary_f1(labelled(halves((30, 40), 20), 100), annotation)
    assert scores.f1 == 1
    assert scores.tolerance == TOLERANCE * 5000


def test_a_tolerance_of_nothing_is_refused() -> None:
    annotation = ssl.Annotation.from_labels(halves((32, 32), 16), (32, 32))
    with pytest.raises(ValueError, match="above 0 px; got 0"):
        ssl.boundary_f1(labelled(halves((32, 32), 16)), annotation, tolerance=0)


def test_clusters_are_scored_of_every_embedding() -> None:
    tokens = np.random.default_rng(0).normal(0, 0.1, (8, 8, 4))
    tokens[:, 4:] += 3
    annotation = ssl.Annotation.from_labels(halves((64, 64), 32), (64, 64))
    found = score_boundaries(ssl.Embedding.from_tokens(tokens, stride=8), annotation, MapOptions())
    assert set(found) == {"clusters"}
    assert set(found["clusters"]) == {"f1", "precision", "recall", "tolerance"}
    assert found["clusters"]["recall"] == 1
