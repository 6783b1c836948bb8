"""What is said and offered of an image is not said of the next one."""

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
    assert "Set an anchor" in workspace.areas_text
    before = len(viewer.layers)
    anchored.areas.to_labels()
    assert len(viewer.layers) == before
    assert "Show areas first" in workspace.status.text
    workspace.image = image
    assert workspace.areas_text.startswith("mae-demo: 1 area")
