"""The scale in the window: steps, size, rings, keys and zoom."""

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_sslmaps.core.scale import TokenScale
from napari_sslmaps.viewer.canvas.anchor_layers import NEGATIVE
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.canvas.scale_rings import REACH
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.maps.scale import LARGER_KEY, SMALLER_KEY, STEPS
from napari_sslmaps.viewer.state.workspace import Anchor


@pytest.fixture
def clicked(controller: Controller, image: Image) -> Controller:
    controller.run()
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    return controller


def similarity(controller: Controller, image: Image) -> Image:
    layer = controller.layer_manager.find(image, "similarity", "mae-demo")
    assert layer is not None
    return layer


def test_a_step_averages_what_is_compared_and_says_how_far(clicked: Controller, image: Image) -> None:
    before = similarity(clicked, image).data.copy()
    clicked.scale.choose(len(STEPS) - 1)
    layer = similarity(clicked, image)
    assert clicked.workspace.scale == TokenScale(12.5, "%")
    assert layer.metadata[OWN]["options"]["sigma_px"] == 8  # an eighth of 64 px
    assert clicked.workspace.scale_text == "σ 8 px"
    assert "over σ 8 px" in clicked.workspace.caption.text
    assert np.abs(layer.data - before).max() > 0.001
    clicked.scale.choose(0)
    np.testing.assert_allclose(similarity(clicked, image).data, before)
    assert clicked.workspace.scale_text == "one patch"


def test_rings_lie_around_anchors_while_there_is_a_scale(
    clicked: Controller, image: Image, viewer: ViewerModel
) -> None:
    rings, layers = clicked.scale.rings, list(viewer.layers)
    assert not rings.rings()
    clicked.scale.choose(len(STEPS) - 1)
    [ring] = rings.rings()
    np.testing.assert_allclose(ring.corners_xy.mean(axis=0), [10.0, 20.0])
    np.testing.assert_allclose(np.ptp(ring.corners_xy, axis=0), 2 * REACH * 8)
    assert (ring.colour, ring.words) == (clicked.workspace.groups[0].colour, "σ 8 px")
    assert list(viewer.layers) == layers  # it is no layer
    clicked.workspace.add_anchor(Anchor((30.0, 40.0)), keep=True)
    assert [ring.words for ring in rings.rings()] == ["σ 8 px", ""]
    clicked.workspace.add_anchor(Anchor((20.0, 40.0), negative=True), keep=True)
    assert [ring.colour for ring in rings.rings()][1:] == [clicked.workspace.groups[0].colour, NEGATIVE]
    clicked.workspace.anchors = ()
    assert not rings.rings()


def test_a_ring_lies_where_its_image_lies(clicked: Controller, image: Image) -> None:
    clicked.scale.choose(len(STEPS) - 1)
    image.scale, image.translate = (0.5, 2.0), (100.0, 10.0)
    [ring] = clicked.scale.rings.rings()
    np.testing.assert_allclose(ring.corners_xy.mean(axis=0), [10 + 2 * 10.0, 100 + 0.5 * 20.0])
    np.testing.assert_allclose(np.ptp(ring.corners_xy, axis=0), [2 * 2 * REACH * 8, 0.5 * 2 * REACH * 8])


def test_keys_go_by_steps_and_stop_at_the_ends(clicked: Controller, viewer: ViewerModel) -> None:
    assert clicked.scale.step == 0
    for _ in range(len(STEPS) + 2):
        viewer.keymap[next(key for key in viewer.keymap if str(key) == LARGER_KEY)](viewer)
    assert clicked.scale.step == len(STEPS) - 1
    smaller = next(key for key in viewer.keymap if str(key).replace("+", "-") == SMALLER_KEY)
    viewer.keymap[smaller](viewer)
    assert clicked.scale.step == len(STEPS) - 2


def test_a_scale_that_was_typed_is_shown_at_its_nearest_step(clicked: Controller) -> None:
    clicked.workspace.scale = TokenScale(4.0)
    assert STEPS[clicked.scale.step] == 6.25
    assert clicked.workspace.scale_text == "σ 4 px"


def test_zoomed_in_it_is_small_and_zoomed_out_it_is_large(clicked: Controller, viewer: ViewerModel) -> None:
    camera = viewer.scene.camera
    clicked.workspace.follow_zoom = True
    camera.zoom = 100.0
    near = clicked.scale.sigma_px()
    camera.zoom = 20.0
    assert clicked.scale.sigma_px() > near
    clicked.scale.walk(-1)
    assert not clicked.workspace.follow_zoom


def test_encoders_are_compared_at_their_usual_scale_until_another_is_chosen(controller: Controller) -> None:
    workspace = controller.workspace
    assert not workspace.scale.value
    scaled = tuple(replace(spec, scale=TokenScale(3.0, "%")) for spec in workspace.available)
    workspace.available = scaled
    assert workspace.scale == TokenScale(3.0, "%")
    controller.scale.choose(0)
    workspace.chosen = workspace.chosen[:1]
    assert workspace.scale == TokenScale()


def test_the_scale_is_said_before_there_is_an_image(viewer: ViewerModel, controller: Controller) -> None:
    controller.scale.choose(6)
    assert controller.workspace.scale_text == f"σ {STEPS[6]:.3g} %"
