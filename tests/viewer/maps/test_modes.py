"""Two methods at one place: their difference, flicker between them, and a walk through all."""

import numpy as np
import pytest
from app_model.types import KeyBinding
from napari.components import ViewerModel
from napari.layers import Image
from viewer_kit import KnownEmbedder

from napari_sslmaps.maps.difference import DifferenceMap
from napari_sslmaps.viewer.canvas.flicker_keys import HELD
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.maps.visibility import DIFFERENCE
from napari_sslmaps.viewer.state.workspace import Anchor

BOTH = ("mae-demo", "dinov3-demo")


@pytest.fixture
def turned(controller: Controller, image: Image, embedder: KnownEmbedder) -> Controller:
    """One encoder that tells left from right, another that tells upper from lower, and an anchor."""
    embedder.turned = "dinov3-demo"
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    return controller


def in_view(viewer: ViewerModel) -> list[str]:
    return [layer.name for layer in viewer.layers if layer.visible and OWN in layer.metadata]


def difference_of(controller: Controller, image: Image) -> Image:
    (layer,) = controller.layer_manager.layers_of(image, DIFFERENCE)
    return layer


def test_two_methods_are_chosen_to_be_compared(turned: Controller) -> None:
    workspace = turned.workspace
    assert (workspace.front, workspace.against) == BOTH
    workspace.front = "dinov3-demo"
    assert (workspace.front, workspace.against) == BOTH[::-1]


def test_the_difference_is_the_first_less_the_second_on_a_symmetric_scale(
    viewer: ViewerModel, turned: Controller, image: Image
) -> None:
    workspace = turned.workspace
    first, second = (turned.layer_manager.find(image, "similarity", name).data.copy() for name in BOTH)
    workspace.difference = True
    layer = difference_of(turned, image)
    np.testing.assert_allclose(layer.data, first - second, atol=1e-6)
    low, high = layer.contrast_limits
    assert low == -high
    assert layer.colormap.name == "RdBu_r"
    assert in_view(viewer) == [
        "tissue / difference of similarity / mae-demo − dinov3-demo",
        "tissue / anchors",
    ]
    assert isinstance(turned.layer_manager.result_of(layer), DifferenceMap)
    assert "red where mae-demo is higher" in workspace.caption.text
    workspace.front = "dinov3-demo"
    np.testing.assert_allclose(difference_of(turned, image).data, second - first, atol=1e-6)
    workspace.difference = False
    assert turned.layer_manager.layers_of(image, DIFFERENCE) == []
    assert in_view(viewer) == ["tissue / similarity / dinov3-demo", "tissue / anchors"]


def test_the_difference_follows_the_anchor(turned: Controller, image: Image) -> None:
    turned.workspace.difference = True
    assert difference_of(turned, image).data[0, 9] < -1
    turned.workspace.move_anchor(0, (20.0, 70.0))
    assert difference_of(turned, image).data[0, 0] < -1
    assert abs(difference_of(turned, image).data[0, 9]) < 0.1


def test_attention_is_subtracted_as_ranks_and_colours_not_at_all(turned: Controller, image: Image) -> None:
    workspace = turned.workspace
    workspace.difference, workspace.shown = True, "attention"
    assert difference_of(turned, image).metadata[OWN]["options"]["scale"] == "ranks"
    workspace.shown = "pca"
    assert workspace.status.failed
    assert "no common axes" in workspace.status.text
    assert turned.layer_manager.layers_of(image, DIFFERENCE) == []


def test_the_difference_is_of_the_map_in_view_where_the_wanted_one_is_not_there(
    controller: Controller, image: Image
) -> None:
    workspace = controller.workspace
    controller.run()
    assert (workspace.shown, workspace.in_view) == ("similarity", "attention")  # no anchor yet
    workspace.difference = True
    assert difference_of(controller, image).metadata[OWN]["options"]["of"] == "attention"


def test_side_by_side_and_difference_exclude_each_other(turned: Controller) -> None:
    workspace = turned.workspace
    workspace.side_by_side = True
    workspace.difference = True
    assert not workspace.side_by_side
    assert not turned.cells.active
    workspace.side_by_side = True
    assert not workspace.difference
    assert turned.cells.active


def test_a_tap_changes_the_front_and_a_held_key_changes_it_back(
    viewer: ViewerModel, turned: Controller
) -> None:
    workspace, seconds = turned.workspace, [0.0]
    turned.keys.clock = lambda: seconds[0]
    press = viewer.keymap[KeyBinding.from_str("K")]

    def key(held: float) -> None:
        pressed = press(viewer)
        next(pressed)
        seconds[0] += held
        next(pressed, None)

    key(HELD / 2)
    assert workspace.front == "dinov3-demo"
    assert in_view(viewer) == ["tissue / similarity / dinov3-demo", "tissue / anchors"]
    pressed = press(viewer)
    next(pressed)
    assert workspace.front == "mae-demo"
    seconds[0] += 2 * HELD
    next(pressed, None)
    assert workspace.front == "dinov3-demo"


def test_keys_walk_through_the_methods_that_have_maps(viewer: ViewerModel, turned: Controller) -> None:
    workspace = turned.workspace
    seen = []
    for key in ("J", "J", "Shift-J"):
        viewer.keymap[KeyBinding.from_str(key)](viewer)
        seen.append(workspace.front)
    assert seen == ["dinov3-demo", "mae-demo", "dinov3-demo"]


def test_one_method_alone_has_nothing_to_flicker_with(controller: Controller, image: Image) -> None:
    controller.workspace.chosen = ("mae-demo",)
    controller.run()
    controller.keys.swap()
    assert controller.workspace.front == "mae-demo"
    assert "two methods" in controller.workspace.status.text


def test_attention_shares_its_contrast_and_says_so(controller: Controller, image: Image) -> None:
    controller.run()
    layers = [controller.layer_manager.find(image, "attention", name) for name in BOTH]
    assert tuple(layers[0].contrast_limits) == tuple(layers[1].contrast_limits)
    assert layers[0].metadata[OWN]["contrast"]["rule"] == "percentiles 1–99 of all encoders"
    controller.workspace.shown = "attention"
    caption = controller.workspace.caption
    assert caption.text.startswith("CLS token's attention, last block, mean over heads, 15 % on tokens of")
    assert caption.text.endswith(", shared")
    assert "nearly uniform" in caption.caution
