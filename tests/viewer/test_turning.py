"""What is said and offered of an image is not said of the next one."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from viewer_kit import noise

from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.state.workspace import Anchor


@pytest.fixture
def anchored(controller: Controller, image: Image) -> Controller:
    """A controller whose image has maps of one anchor."""
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    assert "2 methods done" in controller.workspace.status.text
    assert controller.workspace.heads == 2
    return controller


def test_another_image_is_met_in_silence(anchored: Controller, viewer: ViewerModel, image: Image) -> None:
    workspace = anchored.workspace
    viewer.add_image(noise(40, 40), name="other")
    assert workspace.image.name == "other"
    assert workspace.status.text == ""
    assert (workspace.heads, workspace.blocks) == (0, 0)
    workspace.say("of the other one", failed=True)
    workspace.image = image
    assert not workspace.status.failed
    assert workspace.heads == 2


def test_what_was_said_goes_with_its_image(anchored: Controller, viewer: ViewerModel, image: Image) -> None:
    viewer.add_image(noise(40, 40), name="other")
    anchored.workspace.image = image
    anchored.workspace.say("of the first one")
    viewer.layers.remove(image)
    assert anchored.workspace.image.name == "other"
    assert anchored.workspace.status.text == ""


def test_what_was_said_before_there_was_an_image_stays(controller: Controller, viewer: ViewerModel) -> None:
    controller.workspace.say("An encoder is lost.", failed=True)
    viewer.add_image(noise(40, 40))
    assert controller.workspace.status.text == "An encoder is lost."


def test_areas_of_one_image_become_no_labels_of_another(
    anchored: Controller, viewer: ViewerModel, image: Image
) -> None:
    workspace = anchored.workspace
    workspace.areas_shown = True
    assert workspace.areas_text.startswith("mae-demo: 1 area")
    viewer.add_image(noise(40, 40), name="other")
    assert (workspace.areas_shown, workspace.areas_text) == (False, "")
    before = len(viewer.layers)
    anchored.areas.to_labels()
    assert len(viewer.layers) == before
    assert "Set an anchor first" in workspace.status.text
    workspace.image = image
    assert workspace.areas_text.startswith("mae-demo: 1 area")


def draw(controller: Controller, viewer: ViewerModel, corners: list[tuple[float, float]]) -> None:
    """Draw the region of the image that is looked at."""
    controller.shapes.draw()
    viewer.layers[f"{controller.workspace.image.name} / region"].add_rectangles([corners])


def test_the_rectangle_of_one_image_is_not_the_region_of_the_next(
    controller: Controller, viewer: ViewerModel, image: Image
) -> None:
    workspace = controller.workspace
    draw(controller, viewer, [(0, 0), (31, 47)])
    assert workspace.plan.text.startswith("32 × 48 px")
    assert "Press Run" in workspace.status.text
    other = viewer.add_image(noise(64, 80), name="other")
    assert workspace.region == "whole"
    assert workspace.plan.text.startswith("64 × 80 px")
    draw(controller, viewer, [(0, 0), (15, 15)])
    assert workspace.plan.text.startswith("16 × 16 px")
    workspace.image = image
    assert workspace.region == "rectangle"
    assert workspace.plan.text.startswith("32 × 48 px")
    workspace.region = "whole"
    workspace.image = other
    assert workspace.plan.text.startswith("16 × 16 px")
    workspace.image = image
    assert workspace.region == "whole"


def test_channels_of_a_file_share_their_rectangle(controller: Controller, viewer: ViewerModel) -> None:
    first, second = (
        viewer.add_image(noise(64, 80), name=name, metadata={"path": "cells.tif"}) for name in ("0", "1")
    )
    controller.workspace.image = first
    draw(controller, viewer, [(0, 0), (31, 47)])
    controller.workspace.image = second
    assert controller.workspace.plan.text.startswith("32 × 48 px")


def test_a_click_is_no_rectangle(controller: Controller, viewer: ViewerModel, image: Image) -> None:
    controller.shapes.draw()
    layer = viewer.layers["tissue / region"]
    layer.add_rectangles([[(10, 10), (10.4, 10.4)]])
    assert len(layer.data) == 0
    assert controller.workspace.region == "whole"
    assert (str(layer.mode), viewer.layers.selection.active) == ("add_rectangle", layer)
    assert "let go" in controller.workspace.status.text
    layer.add_rectangles([[(0, 0), (31, 47)]])
    assert controller.workspace.region == "rectangle"


def test_an_image_that_is_chosen_is_uncovered(
    controller: Controller, viewer: ViewerModel, image: Image
) -> None:
    other = viewer.add_image(noise(64, 80), name="other")
    overlay = viewer.add_image(noise(64, 80), name="overlay", blending="additive")
    beside = viewer.add_image(noise(64, 80), name="beside", translate=(0, 500))
    controller.look_at(image)
    assert (image.visible, other.visible, overlay.visible, beside.visible) == (True, False, True, True)
    assert controller.workspace.status.text == "other is hidden: it lies over tissue."
    controller.look_at(other)
    assert other.visible


def test_the_map_of_an_image_above_is_hidden_with_it_and_comes_back(
    controller: Controller, viewer: ViewerModel, image: Image
) -> None:
    other = viewer.add_image(noise(64, 80), name="other")
    controller.run()
    controller.look_at(image)
    controller.run()
    shown = {layer.name for layer in viewer.layers if layer.visible}
    assert shown == {"tissue", "tissue / attention / mae-demo"}
    controller.look_at(other)
    shown = {layer.name for layer in viewer.layers if layer.visible}
    assert shown >= {"other", "other / attention / mae-demo"}


def test_maps_make_way_for_an_image_that_is_opened_where_they_lie(
    controller: Controller, viewer: ViewerModel, image: Image
) -> None:
    controller.run()
    below = viewer.layers["tissue / attention / mae-demo"]
    beside = viewer.add_image(noise(32, 40), name="beside", translate=(0, 500))
    controller.run()
    assert below.visible
    small = viewer.add_image(noise(32, 40), name="small")
    assert (below.visible, viewer.layers["beside / attention / mae-demo"].visible) == (False, True)
    viewer.layers.selection.active = image
    assert below.visible
    viewer.layers.selection.active = beside
    assert (below.visible, small.visible) == (True, True)


def test_what_was_said_on_one_page_is_not_said_on_another(anchored: Controller) -> None:
    anchored.workspace.task = "compare"
    assert anchored.workspace.status.text == ""


def test_maps_and_anchors_go_with_their_image_and_what_was_painted_stays(
    anchored: Controller, viewer: ViewerModel, image: Image
) -> None:
    viewer.add_labels(np.zeros((64, 80), int), name="painted")
    anchored.workspace.shown = "pca"
    assert len(viewer.layers) >= 4
    other = viewer.add_image(noise(40, 40), name="other")
    anchored.run()
    others = [layer.name for layer in viewer.layers if layer.name.startswith("other")]
    viewer.layers.remove(image)
    assert [layer.name for layer in viewer.layers] == ["painted", *others]
    assert anchored.workspace.image is other
    viewer.layers.remove(other)
    assert [layer.name for layer in viewer.layers] == ["painted"]


@pytest.mark.parametrize("backwards", [False, True])
def test_an_image_can_be_removed_together_with_its_anchors_and_maps(
    anchored: Controller, viewer: ViewerModel, backwards: bool
) -> None:
    anchored.workspace.shown = "pca"
    with viewer.layers.batched_update():  # as napari removes what is selected, in no certain order
        for layer in sorted(viewer.layers, key=viewer.layers.index, reverse=backwards):
            viewer.layers.remove(layer)
    assert not viewer.layers
    assert anchored.workspace.image is None
    assert anchored.workspace.anchors == ()
