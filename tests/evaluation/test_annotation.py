"""Labels over an image, and over token grids."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import AnnotationError
from napari_sslmaps.evaluation.annotation import Annotation

SHAPE = (40, 56)
GRID = TokenGrid.covering(Region(0, 0, *SHAPE), 8)


@st.composite
def annotated(draw):
    """An annotation of some scale and a grid over part of its image, on some level."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    factor = draw(st.sampled_from([0.5, 1, 2, 4]))
    shape = 4 * draw(st.integers(5, 12)), 4 * draw(st.integers(5, 12))
    labels = rng.integers(-1, 4, (int(shape[0] / factor), int(shape[1] / factor)))
    down = draw(st.sampled_from([1, 1.3, 2]))
    height, width = (draw(st.integers(8, int(size // down))) for size in shape)
    y, x = int(shape[0] // down) - height, int(shape[1] // down) - width
    region = Region(draw(st.integers(0, y)), draw(st.integers(0, x)), height, width)
    grid = TokenGrid.covering(region, draw(st.integers(1, 8)), (float(down), float(down)))
    return Annotation.from_labels(labels, shape), grid


@settings(max_examples=15)
@given(annotated())
def test_tokens_count_the_pixels_they_cover(drawn):
    annotation, grid = drawn
    counts = annotation.pixel_counts(grid)
    height, width = annotation.shape_yx
    wanted = np.zeros_like(counts)
    for y in range(height):
        for x in range(width):
            if grid.contains((y, x)):
                label = annotation.labels_at([(y, x)])[0]
                if label >= 0:
                    wanted[(*grid.token_at((y, x)), annotation.kinds.index(label))] += 1
    np.testing.assert_array_equal(counts, wanted)


@given(annotated())
def test_the_majority_names_a_token(drawn):
    annotation, grid = drawn
    counts, labels = annotation.pixel_counts(grid), annotation.token_labels(grid)
    for place in np.ndindex(*grid.shape):
        if labels[place] == -1:
            assert counts[place].sum() == 0
        else:
            assert counts[place][annotation.kinds.index(labels[place])] == counts[place].max() > 0


def test_a_mask_at_another_scale_is_that_mask_repeated():
    labels = np.random.default_rng(0).integers(0, 3, (10, 14))
    coarse, fine = (
        Annotation.from_labels(array, SHAPE) for array in (labels, np.kron(labels, np.ones((4, 4), int)))
    )
    np.testing.assert_array_equal(coarse.pixel_counts(GRID), fine.pixel_counts(GRID))
    places = np.argwhere(np.ones(SHAPE))
    np.testing.assert_array_equal(coarse.labels_at(places), fine.labels_at(places))


def test_counts_are_kept_and_cannot_be_spoilt():
    annotation = Annotation.from_labels(np.random.default_rng(0).integers(0, 3, SHAPE), SHAPE)
    counts = annotation.pixel_counts(GRID)
    with pytest.raises(ValueError, match="read-only"):
        counts[0, 0, 0] = 9
    for size in range(8, 14):
        grid = TokenGrid.covering(Region(0, 0, *SHAPE), size)
        fresh = Annotation.from_labels(annotation.labels, SHAPE).pixel_counts(grid)
        np.testing.assert_array_equal(annotation.pixel_counts(grid), fresh)
    np.testing.assert_array_equal(annotation.pixel_counts(GRID), counts)


def test_labels_to_ignore_are_left_out():
    labels = np.zeros(SHAPE, np.uint8)
    labels[:8, :8], labels[8:16, :8] = 255, 2
    annotation = Annotation.from_labels(labels, SHAPE, ignore=255, names={2: "gland"})
    assert (annotation.classes, annotation.kinds) == ((2,), (0, 2))
    assert [annotation.name_of(kind) for kind in (0, 2, 7)] == ["background", "gland", "class 7"]
    tokens = annotation.token_labels(GRID)
    assert (tokens[0, 0], tokens[1, 0], tokens[2, 0]) == (-1, 2, 0)
    assert annotation.pixel_counts(GRID)[0, 0].sum() == 0
    Annotation.from_labels(np.full(SHAPE, np.iinfo(np.uint64).max, np.uint64), SHAPE, ignore=2**64 - 1)


def test_booleans_and_large_sparse_labels_are_labels():
    mask = np.zeros(SHAPE, bool)
    mask[3] = True
    assert Annotation.from_labels(mask, SHAPE).classes == (1,)
    labels = np.where(mask, 2_000_000, 0)
    assert Annotation.from_labels(labels, SHAPE).classes == (2_000_000,)


def cross(first, second):
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]


@settings(max_examples=30)
@given(hnp.arrays(np.int64, (3, 2), elements=st.integers(-70, 500)))
def test_polygons_hold_the_pixels_whose_centres_they_hold(eighths):
    corners = eighths / 8
    sides = np.roll(corners, -1, axis=0) - corners
    area = cross(sides[0], sides[1])
    assume(abs(area) > 1)
    annotation = Annotation.from_polygons([corners], [1], SHAPE)
    pixels = np.argwhere(np.ones(SHAPE))
    beside = cross(sides, pixels[:, None] - corners)
    depth = (np.sign(area) * beside / np.linalg.norm(sides, axis=1)).min(axis=1)
    certain = np.abs(depth) > 1e-6
    np.testing.assert_array_equal(annotation.labels_at(pixels)[certain] == 1, depth[certain] > 0)


def test_later_polygons_lie_on_top_and_names_are_numbered():
    square = np.array([(-0.5, -0.5), (-0.5, 9.5), (9.5, 9.5), (9.5, -0.5)])
    annotation = Annotation.from_polygons([square, square + 5, square + 20], ["b", "a", "b"], SHAPE)
    assert annotation.names == {1: "b", 2: "a"}
    assert annotation.labels.sum() == 75 + 2 * 100 + 100
    numbered = Annotation.from_polygons([square, square + 5], [3, -1], SHAPE)
    assert (numbered.classes, int((numbered.labels == -1).sum())) == ((3,), 100)


def test_polygons_on_large_images_are_drawn_coarser(monkeypatch):
    monkeypatch.setattr("napari_sslmaps.evaluation.annotation._LARGEST_DRAWING", 40 * 56 / 4)
    square = np.array([(7.5, 7.5), (7.5, 15.5), (23.5, 15.5), (23.5, 7.5)])
    annotation = Annotation.from_polygons([square], [1], SHAPE)
    assert annotation.labels.shape == (20, 28)
    tokens = annotation.token_labels(GRID)
    np.testing.assert_array_equal(np.argwhere(tokens), [[1, 1], [2, 1]])


def test_polygons_outside_the_image_leave_it_empty():
    annotation = Annotation.from_polygons([[(90, 90), (90, 99), (99, 99)]], [1], SHAPE)
    with pytest.raises(AnnotationError, match="this one is empty"):
        annotation.check_scorable(GRID)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (np.zeros((4, 4, 3), int), r"Expected labels of shape \(rows, columns\)"),
        (np.zeros(SHAPE), "Expected whole numbers as labels; got float64"),
        (np.zeros((40, 40), int), "Expected a mask of the image's size, 40 × 56 px, or of the same aspect"),
        (np.full(SHAPE, -2), "Expected labels of 0 and above, or −1 for pixels to leave out; got -2"),
        (np.arange(40 * 56).reshape(SHAPE), "Expected at most 255 classes; got 2239"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, sentence):
    with pytest.raises(AnnotationError, match=sentence):
        Annotation.from_labels(labels, SHAPE)


def test_polygons_that_do_not_fit_are_refused():
    triangle = [(0, 0), (0, 9), (9, 9)]
    for polygons, kinds, sentence in (
        ([], [], "Expected at least one polygon and a class for each; got 0 polygons and 0 classes"),
        ([triangle], [1, 2], "got 1 polygons and 2 classes"),
        ([triangle[:2]], [1], "at least three"),
        ([triangle, triangle], ["a", 1], "or each as a name"),
        ([triangle], [40_000], "a number from 1 to 32767"),
    ):
        with pytest.raises(AnnotationError, match=sentence):
            Annotation.from_polygons(polygons, kinds, SHAPE)


def test_regions_with_nothing_to_tell_apart_are_refused():
    labels = np.zeros(SHAPE, int)
    with pytest.raises(AnnotationError, match="this one is empty"):
        Annotation.from_labels(labels, SHAPE).check_scorable(GRID)
    labels[:8] = 1
    labels[16:24] = -1
    annotation = Annotation.from_labels(labels, SHAPE, names={1: "gland"})
    annotation.check_scorable(GRID)
    for top, sentence in (
        (0, "all are 'gland'"),
        (8, "all are 'background'"),
        (16, "all of them are to be left out"),
    ):
        with pytest.raises(AnnotationError, match=sentence):
            annotation.check_scorable(TokenGrid.covering(Region(top, 0, 8, 56), 8))
    with pytest.raises(AnnotationError, match="Expected a region inside the annotated image of 40 × 56 px"):
        annotation.check_scorable(TokenGrid.covering(Region(0, 0, 64, 56), 8))


def test_a_label_that_no_signed_number_holds_is_named():
    labels = np.zeros((8, 8), np.uint64)
    labels[:4] = 2**63 + 5
    with pytest.raises(AnnotationError, match=r"at most 9223372036854775807; got 9223372036854775813"):
        Annotation.from_labels(labels, (8, 8))
