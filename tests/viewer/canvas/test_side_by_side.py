import gc
from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from viewer_kit import noise

from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.state.workspace import Anchor


@pytest.fixture
def compared(controller: Controller, image: Image) -> Controller:
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    controller.workspace.side_by_side = True
    return controller


def names(controller: Controller) -> list[str]:
    cells = controller.cells.cells
    return [] if cells is None else [picture.name for picture in cells.pictures]


def test_one_cell_per_encoder_and_no_layer_for_it(viewer: ViewerModel, controller: Controller) -> None:
    viewer.add_image(noise(64, 80), name="tissue")
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    before = [layer.name for layer in viewer.layers]
    controller.workspace.side_by_side = True
    assert names(controller) == ["tissue / similarity / mae-demo", "tissue / similarity / dinov3-demo"]
    assert controller.cells.cells.titles == [("mae-demo", "similarity"), ("dinov3-demo", "similarity")]
    assert [layer.name for layer in viewer.layers] == before
    assert before == ["tissue", "tissue / similarity / mae-demo", "tissue / anchors"]


def test_cells_share_their_contrast(compared: Controller) -> None:
    first, second = compared.cells.cells.pictures
    assert tuple(first.contrast_limits) == tuple(second.contrast_limits)


def test_a_layer_that_somebody_adds_takes_no_cell(viewer: ViewerModel, compared: Controller) -> None:
    before = names(compared)
    viewer.add_labels(np.zeros((64, 80), int), name="mine")
    viewer.add_shapes(name="drawn")
    assert names(compared) == before
    assert not viewer.canvas.grid.enabled


def test_leaving_changes_nothing_of_the_viewer(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    viewer.add_labels(np.zeros((64, 80), int), name="mine")
    viewer.scene.camera.zoom = 3.25

    def state() -> tuple[object, ...]:
        camera = viewer.scene.camera
        shown = [(layer.name, layer.visible) for layer in viewer.layers]
        return shown, camera.zoom, camera.center, viewer.layers.selection.active

    before = state()
    controller.workspace.side_by_side = True
    controller.cells.look(replace(controller.cells.camera, zoom=9.0))
    controller.workspace.side_by_side = False
    assert state() == before
    assert not controller.cells.active


def test_another_map_replaces_the_cells_and_is_looked_at_from_the_same_place(compared: Controller) -> None:
    compared.cells.look(replace(compared.cells.camera, zoom=7.0))
    compared.workspace.shown = "attention"
    assert names(compared) == ["tissue / attention / mae-demo", "tissue / attention / dinov3-demo"]
    assert compared.cells.camera.zoom == 7.0
    compared.cells.fit()
    assert compared.cells.camera.zoom != 7.0


def test_the_picture_is_fitted_until_somebody_moves_it(compared: Controller) -> None:
    compared.cells.resize(400, 300)
    zoom = compared.cells.camera.zoom
    compared.cells.resize(800, 600)
    assert compared.cells.camera.zoom > 1.5 * zoom
    compared.cells.look(replace(compared.cells.camera, zoom=2.5))
    compared.cells.resize(500, 500)
    assert compared.cells.camera.zoom == 2.5


def test_a_place_that_somebody_looks_at_outlasts_its_maps_and_other_pages(compared: Controller) -> None:
    workspace = compared.workspace
    compared.cells.look(replace(compared.cells.camera, zoom=7.0))
    workspace.anchors = ()
    assert names(compared)[0] == "tissue / attention / mae-demo"
    assert compared.cells.camera.zoom == 7.0
    workspace.task = "pretext"
    workspace.pretext = replace(workspace.pretext, encoder="mae-demo")
    workspace.panels_side_by_side = True
    compared.pretext.show()
    assert compared.cells.active
    assert compared.cells.camera.zoom != 7.0
    workspace.task = "maps"
    assert compared.cells.camera.zoom == 7.0
    workspace.side_by_side = False
    workspace.side_by_side = True
    assert compared.cells.camera.zoom == 7.0


def test_running_again_keeps_the_cells(compared: Controller) -> None:
    before = compared.cells.cells.pictures
    compared.run()
    assert compared.cells.cells.pictures == before


def test_removing_a_map_by_hand_leaves_the_others(viewer: ViewerModel, compared: Controller) -> None:
    viewer.layers.remove("tissue / similarity / mae-demo")
    assert names(compared) == ["tissue / similarity / dinov3-demo"]
    compared.workspace.side_by_side = False
    assert not compared.cells.active


def test_removing_or_switching_the_image_leaves_the_cells(
    viewer: ViewerModel, compared: Controller, image: Image
) -> None:
    viewer.add_image(noise(32, 32), name="other")
    assert not compared.cells.active
    viewer.layers.selection.active = image
    assert compared.cells.active
    viewer.layers.remove(image)
    assert not compared.cells.active


def test_clicks_remove_no_layer_and_collect_no_garbage(
    viewer: ViewerModel, compared: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened, workspace = [], compared.workspace
    viewer.layers.events.removed.connect(lambda event: happened.append(event.value.name))
    monkeypatch.setattr(gc, "collect", lambda: happened.append("collected"))
    for on in (False, True, False):
        workspace.side_by_side = on
    for encoder in ("mae-demo", "ijepa-demo", "mae-demo"):
        workspace.task = "pretext"
        workspace.side_by_side = True
        workspace.pretext = replace(workspace.pretext, encoder=encoder)
        compared.pretext.show()
        workspace.task = "maps"
    assert happened == []


def test_a_layer_comes_when_it_is_looked_at(viewer: ViewerModel, compared: Controller, image: Image) -> None:
    workspace, count = compared.workspace, len(viewer.layers)
    workspace.side_by_side = False
    assert len(viewer.layers) == count
    workspace.front = "dinov3-demo"
    assert viewer.layers["tissue / similarity / dinov3-demo"].visible
    assert len(viewer.layers) == count + 1
    workspace.front = "mae-demo"
    assert len(viewer.layers) == count + 1
    assert viewer.layers[-1].name == "tissue / anchors"
