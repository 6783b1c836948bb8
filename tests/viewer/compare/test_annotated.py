"""What is painted or drawn in napari lies where it was seen on the image."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_sslmaps.errors import AnnotationError
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.compare.annotation import annotation_layers, annotation_of


@pytest.fixture
def tissue(viewer: ViewerModel) -> Image:
    return viewer.add_image(np.zeros((40, 60), np.float32), scale=(2, 2), translate=(7, 3))


def test_labels_of_the_image_s_pixels_are_taken_as_they_are(viewer: ViewerModel, tissue: Image) -> None:
    painted = np.zeros((40, 60), np.uint8)
    painted[3:5, 10:30] = 2
    layer = viewer.add_labels(painted, scale=(2, 2), translate=(7, 3))
    layer.features = {"index": [2], "name": ["gland"]}
    found = annotation_of(viewer, layer, tissue)
    np.testing.assert_array_equal(found.labels, painted)
    assert found.name_of(2) == "gland"


def test_labels_at_half_the_resolution_need_no_copy(viewer: ViewerModel, tissue: Image) -> None:
    painted = np.zeros((20, 30), np.int32)
    painted[0, :15] = 1
    layer = viewer.add_labels(painted, scale=(4, 4), translate=(8, 4))
    found = annotation_of(viewer, layer, tissue)
    assert found.labels.shape == (20, 30)
    assert list(found.labels_at([(0, 0), (1, 29), (1, 30), (2, 0)])) == [1, 1, 0, 0]


def test_beside_shifted_labels_nothing_is_known(viewer: ViewerModel, tissue: Image) -> None:
    painted = np.array([[1, 0], [0, 2]], np.uint8)
    layer = viewer.add_labels(painted, scale=(2, 2), translate=(7 + 10, 3 + 20))
    found = annotation_of(viewer, layer, tissue)
    np.testing.assert_array_equal(found.labels[4:8, 9:13], np.pad(painted.astype(int), 1, constant_values=-1))
    assert (found.labels >= 0).sum() == 4


def test_labels_turned_by_a_quarter_are_turned_back(viewer: ViewerModel) -> None:
    image = viewer.add_image(np.zeros((4, 4), np.float32))
    painted = np.array([[1, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 3]], np.uint8)
    layer = viewer.add_labels(painted, rotate=90, translate=(3, 0))
    world = [np.round(layer.data_to_world(place)) for place in ((0, 0), (0, 1), (3, 3))]
    found = annotation_of(viewer, layer, image)
    assert [found.labels[tuple(place.astype(int))] for place in world] == [1, 2, 3]


def test_a_stack_takes_the_labels_of_the_frame_that_is_shown(viewer: ViewerModel) -> None:
    stack = viewer.add_image(np.zeros((3, 16, 16), np.float32))
    painted = np.zeros((2, 16, 16), np.uint8)
    painted[1, 4, 5] = 1
    layer = viewer.add_labels(painted)
    viewer.dims.set_point(0, 1)
    assert annotation_of(viewer, layer, stack).labels[4, 5] == 1
    viewer.dims.set_point(0, 2)
    with pytest.raises(AnnotationError, match="labels for the frame that is shown"):
        annotation_of(viewer, layer, stack)


def test_shapes_are_filled_in_their_class(viewer: ViewerModel, tissue: Image) -> None:
    corners = np.array([(0, 0), (0, 9), (9, 9), (9, 0)], float)
    layer = viewer.add_shapes(
        [corners, corners + np.array((20, 30))],
        shape_type=["rectangle", "ellipse"],
        features={"class": ["gland", "vessel"]},
        scale=(2, 2),
        translate=(7, 3),
    )
    found = annotation_of(viewer, layer, tissue)
    assert (found.name_of(1), found.name_of(2)) == ("gland", "vessel")
    assert list(found.labels_at([(5, 5), (24, 34), (20, 30), (12, 12)])) == [1, 2, 0, 0]
    assert (found.labels == 2).sum() == pytest.approx(np.pi * 4.5**2, rel=0.15)


def test_shapes_without_classes_are_one_and_numbers_stay(viewer: ViewerModel, tissue: Image) -> None:
    corners = np.array([(0, 0), (0, 9), (9, 9), (9, 0)], float)
    plain = viewer.add_shapes([corners], shape_type="polygon")
    assert annotation_of(viewer, plain, tissue).classes == (1,)
    plain.features = {"label": [3]}
    assert annotation_of(viewer, plain, tissue).classes == (3,)
    plain.features = {"class": [None]}
    with pytest.raises(AnnotationError, match="class for every shape"):
        annotation_of(viewer, plain, tissue)


def test_lines_have_no_area(viewer: ViewerModel, tissue: Image) -> None:
    layer = viewer.add_shapes([np.array([(0, 0), (9, 9)])], shape_type="line")
    with pytest.raises(AnnotationError, match="no shape with an area"):
        annotation_of(viewer, layer, tissue)


def test_a_mask_that_was_opened_as_an_image_is_one(viewer: ViewerModel, tissue: Image) -> None:
    mask = np.zeros(tissue.data.shape, np.uint16)
    mask[5:20, 5:30], mask[25:30, 8:20] = 1, 2
    layer = viewer.add_image(mask, scale=(2, 2), translate=(7, 3))
    assert annotation_layers(viewer) == [layer]
    found = annotation_of(viewer, layer, tissue)
    assert found.classes == (1, 2)
    assert list(found.labels_at([(6, 6), (26, 10), (0, 0)])) == [1, 2, 0]


@pytest.mark.parametrize("black", [0.0, 0.95])
def test_a_picture_of_whole_numbers_is_no_mask(viewer: ViewerModel, tissue: Image, black: float) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 255, tissue.data.shape, np.uint8)
    pixels[: round(black * len(pixels))] = 0
    viewer.add_image(pixels)
    assert annotation_layers(viewer) == []


def test_of_our_own_layers_only_labels_of_groups_are_annotation(viewer: ViewerModel, tissue: Image) -> None:
    first = viewer.add_labels(np.zeros((4, 4), np.uint8))
    viewer.add_labels(np.zeros((4, 4), np.uint8), metadata={OWN: {"role": "probe"}})
    groups = viewer.add_labels(np.zeros((4, 4), np.uint8), metadata={OWN: {"role": "map", "kind": "groups"}})
    second = viewer.add_shapes()
    assert annotation_layers(viewer) == [second, first, groups]
