"""Areas of similarity in the viewer: they follow the threshold, become Labels, and are written."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points
from viewer_kit import Mouse

from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.maps.areas import ROLE, area_text
from napari_sslmaps.viewer.state.workspace import Anchor

RIGHT = (20.0, 60.0)


@pytest.fixture
def shown(controller: Controller, image: Image) -> Controller:
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    controller.workspace.areas_shown = True
    return controller


def areas(controller: Controller, image: Image, encoder: str = "mae-demo") -> Labels:
    return controller.layer_manager.find(image, ROLE, encoder, ROLE)


def test_areas_follow_threshold_anchor_and_method(shown: Controller, image: Image) -> None:
    workspace = shown.workspace
    left = np.zeros((8, 10), bool)
    left[:, :5] = True
    np.testing.assert_array_equal(areas(shown, image).data > 0, left)
    assert areas(shown, image).visible
    assert workspace.areas_text == "mae-demo: 1 area, 2560 px, 50 % of the map."
    workspace.area_options = replace(workspace.area_options, threshold=-1.01)
    assert (areas(shown, image).data > 0).all()
    workspace.area_options = replace(workspace.area_options, threshold=0.5)
    workspace.anchors = (Anchor(RIGHT),)
    np.testing.assert_array_equal(areas(shown, image).data > 0, ~left)
    workspace.front = "dinov3-demo"
    assert areas(shown, image, "dinov3-demo").visible
    assert not areas(shown, image).visible
    workspace.areas_shown = False
    assert not areas(shown, image, "dinov3-demo").visible


def test_every_cell_has_its_own(shown: Controller, image: Image) -> None:
    shown.workspace.side_by_side = True
    for picture in shown.cells.cells.pictures:
        assert shown.areas.over(picture, image) is not None
    assert not areas(shown, image).visible
    shown.workspace.areas_shown = False
    assert shown.areas.over(shown.cells.cells.pictures[0], image) is None


def test_labels_geojson_and_places(
    viewer: ViewerModel, shown: Controller, image: Image, tmp_path: Path
) -> None:
    image.scale, image.units = (0.5, 0.5), ("um", "um")
    shown.areas.to_labels()
    labels = viewer.layers["tissue / labels / mae-demo"]
    assert labels.data.max() == 1
    np.testing.assert_allclose(labels.data_to_world((-0.5, 4.5)), image.data_to_world((-0.5, 39.5)))
    assert "640 µm²" in shown.workspace.status.text
    shown.areas.save(tmp_path / "found.geojson")
    (feature,) = json.loads((tmp_path / "found.geojson").read_text(encoding="utf-8"))["features"]
    corners = np.array(feature["geometry"]["coordinates"][0])
    assert (corners.min(axis=0).tolist(), corners.max(axis=0).tolist()) == ([0, 0], [40, 64])
    assert feature["properties"]["measurements"]["area_um2"] == 640
    shown.areas.mark_most_similar(3)
    points = viewer.layers["tissue / most similar / mae-demo"]
    assert isinstance(points, Points)
    assert [str(word) for word in points.text.values] == ["1", "2"]
    assert (points.data[:, 1] < 40).all()


def test_places_below_the_threshold_are_left_out_and_counted(
    viewer: ViewerModel, shown: Controller, image: Image
) -> None:
    workspace = shown.workspace
    layer = shown.layer_manager.find(image, "similarity", "mae-demo")
    values = np.full((8, 10), -1.0, np.float32)
    values[1, 1], values[1, 7], values[6, 7] = 0.9, 0.6, -0.409
    shown.layer_manager._results[layer] = replace(shown.layer_manager.result_of(layer), values=values)
    shown.areas.mark_most_similar(3)
    points = viewer.layers["tissue / most similar / mae-demo"]
    assert len(points.data) == 2
    assert workspace.status.text == (
        "2 places marked, similarity 0.90 to 0.60. 1 of 3 left out: below cosine 0.50 (areas)."
    )
    assert shown.areas.places_over(layer, image) == [points]
    points.visible = False
    assert shown.areas.places_over(layer, image) == []
    workspace.area_options = replace(workspace.area_options, threshold=0.95)
    shown.areas.mark_most_similar(3)
    assert workspace.status.text == (
        "No place is above cosine 0.95; the highest is 0.90. Lower the threshold of areas."
    )
    assert len([layer for layer in viewer.layers if isinstance(layer, Points)]) == 2  # and the anchors


def test_a_margin_has_a_threshold_of_its_own(shown: Controller, image: Image) -> None:
    workspace = shown.workspace
    workspace.area_options = replace(workspace.area_options, threshold=0.7)
    workspace.add_anchor(Anchor(RIGHT, negative=True), keep=False)
    assert workspace.area_range == (-2.0, 2.0)
    assert workspace.area_options.threshold == 0.0
    workspace.area_options = replace(workspace.area_options, threshold=0.3)
    workspace.remove_anchor()
    assert (workspace.area_range, workspace.area_options.threshold) == ((-1.0, 1.0), 0.7)
    workspace.add_anchor(Anchor(RIGHT, negative=True), keep=False)
    assert workspace.area_options.threshold == 0.3


def test_the_image_is_seen_through_areas_and_labels(
    viewer: ViewerModel, shown: Controller, image: Image
) -> None:
    assert areas(shown, image).opacity <= 0.4
    shown.areas.to_labels()
    assert viewer.layers["tissue / labels / mae-demo"].opacity <= 0.4
    assert not areas(shown, image).visible  # Labels of the same lie where they were
    assert not shown.workspace.areas_shown


def test_what_was_too_small_is_counted(shown: Controller, image: Image) -> None:
    workspace = shown.workspace
    workspace.area_options = replace(workspace.area_options, least_px=4000.0)
    assert workspace.areas_text == "mae-demo: 0 areas, 0 px, 0 % of the map; 1 smaller left out."


def test_without_an_anchor_it_says_what_to_do(controller: Controller, image: Image) -> None:
    controller.run()
    controller.workspace.areas_shown = True
    assert "Set an anchor" in controller.workspace.areas_text
    controller.areas.to_labels()
    assert "Set an anchor" in controller.workspace.status.text


def test_an_area_is_said_in_units_that_fit() -> None:
    assert area_text(640) == "640 µm²"
    assert area_text(34_000) == "0.034 mm²"


def test_live_similarity_follows_the_pointer_and_leaves_no_map(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    controller.run()
    controller.workspace.live = True

    def point(place: tuple[float, float]) -> None:
        for callback in viewer.mouse_move_callbacks:
            callback(viewer, Mouse("mouse_move", place))

    find = controller.layer_manager.find
    for place, lit in (((20.0, 10.0), slice(0, 5)), ((20.0, 60.0), slice(5, 10))):
        point(place)
        values = find(image, "similarity", "mae-demo").data
        assert values[:, lit].min() > 0.9
        assert controller.workspace.anchors == ()
        assert controller.workspace.caption.text.startswith("cosine to what is under the pointer")
    assert controller.workspace.in_view == "similarity"
    controller.workspace.live = False
    assert find(image, "similarity", "mae-demo") is None
    assert controller.workspace.in_view == "attention"


def test_the_map_of_the_last_anchor_goes_with_it(controller: Controller, image: Image) -> None:
    workspace = controller.workspace
    workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    assert (workspace.in_view, workspace.shown) == ("similarity", "similarity")
    workspace.remove_anchor()
    assert controller.layer_manager.find(image, "similarity", "mae-demo") is None
    assert workspace.in_view == "attention"
    assert "cosine" not in workspace.caption.text
    controller.history.undo()
    assert workspace.in_view == "similarity"


def test_a_rectangle_that_was_drawn_is_the_region(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    controller.shapes.draw()
    layer = viewer.layers["tissue / region"]
    assert (str(layer.mode), viewer.layers.selection.active) == ("add_rectangle", layer)
    assert layer.current_face_color == "transparent" or layer.current_face_color.endswith("00")
    layer.add_rectangles([[(0, 0), (31, 47)]])
    assert controller.workspace.region == "rectangle"
    assert controller.workspace.plan.text.startswith("32 × 48 px")
    assert viewer.layers.selection.active is image
    layer.data = [np.array([(0, 0), (0, 15), (15, 15), (15, 0)])]
    assert controller.workspace.plan.text.startswith("16 × 16 px")


def test_maps_follow_the_frame_when_the_slider_rests(viewer: ViewerModel, controller: Controller) -> None:
    stack = viewer.add_image(np.random.default_rng(0).random((5, 64, 80), np.float32), name="video")
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    viewer.dims.set_current_step(0, 3)
    controller.coordinator.follow_frame()
    layer = controller.layer_manager.find(stack, "similarity", "mae-demo")
    np.testing.assert_allclose(layer.data_to_world((0, 0, 0))[0], 3)
    assert controller.marks.main.data[0, 0] == 3
    assert len(controller.workspace.anchors) == 1


def test_anchors_stay_above_every_layer_that_comes(
    viewer: ViewerModel, shown: Controller, image: Image
) -> None:
    marks = shown.marks.main
    assert viewer.layers[-1] is marks
    active = viewer.layers.selection.active
    shown.areas.to_labels()
    shown.areas.mark_most_similar(3)
    shown.workspace.region = "mask"
    viewer.add_labels(np.ones(image.data.shape, int), name="drawn by hand")
    viewer.layers.selection.active = active
    shown.workspace.shown = "pca"
    assert {"tissue / labels / mae-demo", "tissue / mask", "drawn by hand"} <= {n.name for n in viewer.layers}
    assert viewer.layers[-1] is marks


def test_what_lies_over_a_map_stays_over_one_that_is_made_later(
    viewer: ViewerModel, shown: Controller, image: Image
) -> None:
    shown.areas.to_labels()
    shown.workspace.areas_shown = True
    shown.areas.mark_most_similar(3)
    shown.shapes.draw()
    for kind in ("attention", "pca"):
        shown.workspace.shown = kind
    shown.workspace.front = "dinov3-demo"
    names = [layer.name for layer in viewer.layers]
    maps = [layer.name for layer in viewer.layers if layer.metadata.get(OWN, {}).get("role") == "map"]
    assert len(maps) > 2
    over = ("areas / mae-demo", "labels / mae-demo", "most similar / mae-demo", "region")
    assert max(map(names.index, maps)) < min(names.index(f"tissue / {name}") for name in over)
    assert names[-1] == "tissue / anchors"
