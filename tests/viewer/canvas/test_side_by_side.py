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
    maps = [compared.board.find(image, "similarity", name) for name in ("mae-demo", "dinov3-demo")]
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
            [(layer.name, layer.visible, layer.name_overlay.visible) for layer in viewer.layers],
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
    names = [layer.name for layer in viewer.layers]
    assert sorted(names) == sorted(name for name, *_ in before[0])
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
