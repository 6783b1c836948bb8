"""Colours and contrast that are changed by hand are those of all methods."""

import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_sslmaps.maps.similarity import SimilarityOptions
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.state.workspace import Anchor

BOTH = ("mae-demo", "dinov3-demo")


@pytest.fixture
def maps(controller: Controller, image: Image) -> tuple[Image, Image]:
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    first, second = (controller.layer_manager.find(image, "similarity", name) for name in BOTH)
    return first, second


def test_colours_are_taken_over(maps: tuple[Image, Image], controller: Controller, image: Image) -> None:
    maps[0].colormap, maps[1].opacity, maps[0].gamma = "magma", 0.3, 1.5
    assert [layer.colormap.name for layer in maps] == ["magma", "magma"]
    assert [layer.opacity for layer in maps] == [0.3, 0.3]
    assert maps[1].gamma == 1.5
    attention = controller.layer_manager.find(image, "attention", "mae-demo")
    assert attention.colormap.name == "inferno"
    assert image.opacity == 1


def test_contrast_is_taken_over_unless_each_has_its_own(
    maps: tuple[Image, Image], controller: Controller
) -> None:
    maps[0].contrast_limits = (0.2, 0.4)
    assert tuple(maps[1].contrast_limits) == (0.2, 0.4)
    controller.workspace.similarity = SimilarityOptions(display="each")
    before = tuple(maps[1].contrast_limits)
    maps[0].contrast_limits = (0.1, 0.3)
    assert tuple(maps[1].contrast_limits) == before


def test_a_method_that_comes_later_looks_like_the_others(controller: Controller, image: Image) -> None:
    workspace = controller.workspace
    workspace.chosen = BOTH[:1]
    workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    controller.layer_manager.find(image, "similarity", "mae-demo").colormap = "turbo"
    workspace.chosen = BOTH
    workspace.add_anchor(Anchor((30.0, 10.0)), keep=False)
    assert controller.layer_manager.find(image, "similarity", "dinov3-demo").colormap.name == "turbo"


def test_layers_that_are_gone_or_left_are_let_alone(
    viewer: ViewerModel, maps: tuple[Image, Image], controller: Controller
) -> None:
    controller.layer_manager.drop([maps[1]])
    maps[0].colormap = "magma"
    assert maps[1].colormap.name == "viridis"
    controller.shared_contrast.close()
    maps[0].colormap = "turbo"
    assert maps[1].colormap.name == "viridis"
