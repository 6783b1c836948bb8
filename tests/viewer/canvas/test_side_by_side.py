import gc
from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Layer
from viewer_kit import noise

from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.state.workspace import Anchor


@pytest.fixture
def compared(controller: Controller, image: Image) -> Controller:
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    controller.workspace.side_by_side = True
    return controller


def is_copy(layer: Layer) -> bool:
    return " · " in layer.name and layer.name.split(" · ")[0] in {"tissue", "anchors"}


def cells(viewer: ViewerModel) -> list[list[str]]:
    layers = viewer.layers
    return [
        [layers[index].name for index in indices if layers[index].visible]
        for _, indices in viewer.canvas.grid.iter_viewboxes(layers)
    ]


def test_one_cell_per_encoder_with_image_map_and_anchors(viewer: ViewerModel, compared: Controller) -> None:
    assert cells(viewer) == [
        ["tissue · mae-demo", "similarity · mae-demo", "anchors · mae-demo"],
        ["tissue · dinov3-demo", "similarity · dinov3-demo", "anchors · dinov3-demo"],
    ]


def test_cells_share_contrast_and_pixels(compared: Controller, image: Image) -> None:
    maps = [compared.layer_manager.find(image, "similarity", name) for name in ("mae-demo", "dinov3-demo")]
    assert tuple(maps[0].contrast_limits) == tuple(maps[1].contrast_limits)
    assert compared.viewer.layers["tissue · mae-demo"].data is image.data


def test_anchors_of_all_cells_move_together(viewer: ViewerModel, compared: Controller) -> None:
    compared.workspace.move_anchor(0, (33.0, 44.0))
    compared.workspace.add_anchor(Anchor((5.0, 6.0), negative=True), keep=True)
    for name in ("anchors · mae-demo", "anchors · dinov3-demo", "anchors"):
        np.testing.assert_allclose(viewer.layers[name].data, [[33.0, 44.0], [5.0, 6.0]])


def test_leaving_puts_everything_back(viewer: ViewerModel, controller: Controller, image: Image) -> None:
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    mine = viewer.add_labels(np.zeros((64, 80), int), name="mine")
    viewer.scene.camera.zoom = 3.25
    viewer.canvas.grid.stride = 2

    def state() -> tuple[object, ...]:
        grid = viewer.canvas.grid
        return (
            [
                (layer.name, layer.visible, layer.name_overlay.visible)
                for layer in viewer.layers
                if not is_copy(layer)
            ],
            (grid.enabled, grid.stride, grid.shape, grid.spacing),
            viewer.scene.camera.zoom,
            viewer.scene.camera.center,
            viewer.layers.selection.active,
        )

    before = state()
    controller.workspace.side_by_side = True
    assert viewer.canvas.grid.enabled
    assert not mine.visible
    controller.workspace.side_by_side = False
    assert not any(layer.visible for layer in viewer.layers if is_copy(layer))
    after = state()
    assert {name: rest for name, *rest in after[0]} == {name: rest for name, *rest in before[0]}
    assert after[1:] == before[1:]


def test_another_map_replaces_the_cells(viewer: ViewerModel, compared: Controller) -> None:
    count = len(viewer.layers)
    compared.workspace.shown = "attention"
    assert [cell[1] for cell in cells(viewer)] == ["attention · mae-demo", "attention · dinov3-demo"]
    assert len(viewer.layers) == count


def test_running_again_keeps_the_cells(viewer: ViewerModel, compared: Controller) -> None:
    before = cells(viewer)
    compared.run()
    assert cells(viewer) == before


@pytest.mark.parametrize("victim", ["similarity · mae-demo", "tissue · dinov3-demo", "anchors · mae-demo"])
def test_removing_a_layer_of_a_cell_by_hand(viewer: ViewerModel, compared: Controller, victim: str) -> None:
    viewer.layers.remove(victim)
    names = [cell[1].removeprefix("similarity · ") for cell in cells(viewer)]
    assert names == (["dinov3-demo"] if victim.startswith("similarity") else ["mae-demo", "dinov3-demo"])
    assert all(len(cell) == 3 for cell in cells(viewer))
    compared.workspace.side_by_side = False
    assert not viewer.canvas.grid.enabled


def test_removing_the_image_leaves_the_cells(viewer: ViewerModel, compared: Controller, image: Image) -> None:
    viewer.layers.remove(image)
    assert not viewer.canvas.grid.enabled
    assert not any("tissue ·" in layer.name for layer in viewer.layers)


def test_switching_the_image_leaves_the_cells(viewer: ViewerModel, compared: Controller) -> None:
    other = viewer.add_image(noise(32, 32), name="other")
    assert compared.workspace.image is other
    assert not viewer.canvas.grid.enabled


def test_multiscale_images_are_shared_not_copied(viewer: ViewerModel, controller: Controller) -> None:
    fine = noise(64, 80)
    pyramid = viewer.add_image([fine, fine[::2, ::2]], multiscale=True, name="slide")
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    controller.workspace.side_by_side = True
    copy = viewer.layers["slide · mae-demo"]
    assert copy.multiscale
    assert copy.data[0] is pyramid.data[0]


def test_clicks_remove_no_layer_and_collect_no_garbage(
    viewer: ViewerModel, compared: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed, workspace = [], compared.workspace
    viewer.layers.events.removed.connect(lambda event: removed.append(event.value.name))
    monkeypatch.setattr(gc, "collect", lambda: removed.append("collected"))
    shown = viewer.layers["tissue · mae-demo"]
    for on in (False, True, False):
        workspace.side_by_side = on
    assert viewer.layers["tissue · mae-demo"] is shown
    for encoder in ("mae-demo", "ijepa-demo", "mae-demo"):
        workspace.task = "pretext"
        workspace.side_by_side = True
        workspace.pretext = replace(workspace.pretext, encoder=encoder)
        compared.pretext.show()
        workspace.task = "maps"
    assert removed == []


def test_copies_follow_the_image_while_they_are_hidden(
    viewer: ViewerModel, compared: Controller, image: Image
) -> None:
    compared.workspace.side_by_side = False
    image.scale, image.contrast_limits = (2.0, 2.0), (0.2, 0.7)
    image.data = noise(64, 80) * 0.5
    compared.run()
    compared.workspace.side_by_side = True
    copy = viewer.layers["tissue · mae-demo"]
    assert copy.data is image.data
    np.testing.assert_allclose(copy.scale, (2, 2))
    assert tuple(copy.contrast_limits) == (0.2, 0.7)
    np.testing.assert_allclose(viewer.layers["anchors · mae-demo"].scale, (2, 2))
