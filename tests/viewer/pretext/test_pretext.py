"""Pretext views on a viewer model: layers, tools, edits, and what is left when they go."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Shapes
from viewer_kit import KnownPretext, LaterRunner, Mouse, known_services, make_spec, noise

from napari_sslmaps.core.pretext_views import TokenBlock
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.scale import TokenScale
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.state.workspace import Anchor, WorkspaceModel


@pytest.fixture
def specs(tmp_path: Path) -> tuple[EncoderSpec, ...]:
    methods = ("mae", "ijepa", "dinov3")
    control = replace(make_spec(tmp_path / "c", "mae-untrained"), origin="control", path=None)
    return *(make_spec(tmp_path / name, f"{name}-demo", name) for name in methods), control


@pytest.fixture
def shown(controller: Controller, image: Image) -> Controller:
    """A controller on the pretext page, with nothing computed."""
    controller.workspace.task = "pretext"
    return controller


def show(controller: Controller, encoder: str) -> None:
    workspace = controller.workspace
    workspace.pretext = replace(workspace.pretext, encoder=encoder)
    controller.pretext.show()


def pretext_layers(controller: Controller) -> dict[str, Image]:
    layers = controller.layer_manager.layers_of(controller.workspace.image, "pretext")
    return {layer.metadata[OWN]["kind"]: layer for layer in layers}


def mask_of(controller: Controller) -> Labels:
    mask = controller.pretext.tools.mask
    assert mask is not None
    return mask


def shapes_of(viewer: ViewerModel) -> Shapes:
    (layer,) = (layer for layer in viewer.layers if isinstance(layer, Shapes) and layer.visible)
    return layer


def test_values_under_the_pointer_are_of_what_is_in_view(shown: Controller, image: Image) -> None:
    workspace = shown.workspace
    workspace.task = "maps"
    shown.run()
    assert {layer.metadata[OWN]["role"] for layer in shown.stage.read_out(image)} == {"map"}
    workspace.task = "pretext"
    show(shown, "mae-demo")
    (panel,) = shown.stage.read_out(image)
    assert panel.metadata[OWN]["kind"] == workspace.panel


def test_rings_are_beside_maps_on_every_page_but_pretext(shown: Controller, image: Image) -> None:
    workspace = shown.workspace
    shown.run()
    workspace.scale = TokenScale(12.5, "%")
    workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    assert not shown.scale.rings.rings()
    workspace.task = "compare"
    assert len(shown.scale.rings.rings()) == 1


def test_anchors_are_marked_on_every_page_but_pretext(shown: Controller) -> None:
    workspace = shown.workspace
    workspace.task = "maps"
    workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    marks = shown.marks.main
    assert marks is not None
    workspace.task = "pretext"
    show(shown, "mae-demo")
    assert not marks.visible
    workspace.task = "maps"
    assert marks.visible
    marks.visible = False
    workspace.task = "pretext"
    workspace.task = "maps"
    assert not marks.visible


def test_controls_are_not_offered_and_the_first_ticked_is_chosen(shown: Controller) -> None:
    names = [spec.name for spec in shown.pretext.candidates()]
    assert names == ["mae-demo", "ijepa-demo", "dinov3-demo"]
    assert shown.workspace.pretext.encoder == "mae-demo"


def test_the_proposed_encoder_follows_the_ticks_until_one_is_chosen(shown: Controller) -> None:
    workspace = shown.workspace
    workspace.chosen = ("dinov3-demo", "mae-untrained")
    assert workspace.pretext.encoder == "dinov3-demo"
    workspace.pretext = replace(workspace.pretext, encoder="ijepa-demo")
    workspace.chosen = ("mae-demo",)
    assert workspace.pretext.encoder == "ijepa-demo"
    workspace.available = tuple(spec for spec in workspace.available if spec.name != "ijepa-demo")
    assert workspace.pretext.encoder == "mae-demo"


def test_panels_become_layers_where_the_view_looked(viewer: ViewerModel, shown: Controller) -> None:
    image = shown.workspace.image
    image.scale, image.translate = (0.5, 0.5), (10, -4)
    show(shown, "mae-demo")
    layers = pretext_layers(shown)
    assert [layer.name for layer in layers.values()] == [
        "tissue / reconstruction / mae-demo",
        "tissue / original / mae-demo",
        "tissue / masked input / mae-demo",
        "tissue / error / mae-demo",
    ]
    for layer in (*layers.values(), mask_of(shown)):
        last = np.array(layer.data.shape[:2]) - 0.5
        np.testing.assert_allclose(layer.data_to_world((-0.5, -0.5)), image.data_to_world((15.5, 23.5)))
        np.testing.assert_allclose(layer.data_to_world(last), image.data_to_world((47.5, 55.5)))
    assert layers["error"].contrast_limits == [0.0, 0.5]
    assert shown.workspace.panels == ("original", "masked input", "reconstruction", "error")
    assert shown.workspace.notes[1:] == ("drawn with 0",)
    assert shown.workspace.status.text == "mae-demo: 32 × 32 px, 4 × 4 tokens."


def test_where_the_middle_alone_is_shown_the_way_to_the_rest_is_told(shown: Controller) -> None:
    show(shown, "mae-demo")
    assert "the middle of the region, 20 % of it: Draw chooses another place" in shown.workspace.notes[0]
    shown.workspace.image.data = noise(36, 34)
    show(shown, "mae-demo")
    assert shown.workspace.notes == ("drawn with 0",)


def test_panels_of_another_encoder_are_named_after_the_image_too(shown: Controller) -> None:
    show(shown, "mae-demo")
    show(shown, "ijepa-demo")
    names = [layer.name for layer in pretext_layers(shown).values() if layer.visible]
    assert names
    assert all(name.startswith("tissue / ") for name in names)
    assert all(layer.name.startswith("tissue / ") for layer in pretext_layers(shown).values())


def test_the_region_is_read_at_the_resolution_of_the_maps(shown: Controller, pretext: KnownPretext) -> None:
    show(shown, "mae-demo")
    shown.workspace.resolution = "native"
    show(shown, "mae-demo")
    assert pretext.resolutions == ["trained", "native"]


def test_what_was_painted_is_of_the_resolution_it_was_painted_at(
    shown: Controller, pretext: KnownPretext
) -> None:
    show(shown, "mae-demo")
    mask_of(shown).brush_size = 1
    mask_of(shown).paint((2, 3), 1)
    assert pretext.asked[-1][2].mask is not None
    shown.workspace.resolution = "native"
    show(shown, "mae-demo")
    assert pretext.asked[-1][2].mask is None


def test_one_panel_is_in_view_and_another_can_be(viewer: ViewerModel, shown: Controller) -> None:
    show(shown, "mae-demo")
    layers = pretext_layers(shown)
    assert [kind for kind, layer in layers.items() if layer.visible] == ["reconstruction"]
    shown.workspace.panel = "error"
    assert [kind for kind, layer in layers.items() if layer.visible] == ["error"]


def test_the_page_decides_what_is_on_the_canvas(viewer: ViewerModel, shown: Controller) -> None:
    workspace = shown.workspace
    workspace.task = "maps"
    shown.run()
    workspace.add_anchor(Anchor((20.0, 20.0)), keep=False)
    (seen,) = (layer for layer in shown.layer_manager.maps_of(workspace.image) if layer.visible)
    workspace.task = "pretext"
    show(shown, "ijepa-demo")
    assert not seen.visible
    shapes = shapes_of(viewer)
    workspace.task = "maps"
    assert seen.visible
    assert not shapes.visible
    assert not any(layer.visible for layer in pretext_layers(shown).values())


def test_a_stroke_hides_what_it_painted(
    viewer: ViewerModel, shown: Controller, pretext: KnownPretext
) -> None:
    show(shown, "mae-demo")
    shown.workspace.pretext_tool = "paint"
    mask = mask_of(shown)
    assert (mask.visible, str(mask.mode), viewer.layers.selection.active) == (True, "paint", mask)
    reconstruction = pretext_layers(shown)["reconstruction"]
    before = reconstruction.data.copy()
    mask.brush_size = 1
    mask.paint((2, 3), 1)
    wanted = np.zeros((4, 4), bool)
    wanted[0], wanted[2, 3] = True, True
    np.testing.assert_array_equal(pretext.asked[-1][2].mask, wanted)
    changed = (reconstruction.data != before).any(axis=-1)
    assert changed[16:24, 24:32].all()
    assert not changed[:16].any()
    assert reconstruction.data[16:24, 24:32, :3].min() == 1
    assert str(mask.mode) == "paint"
    mask.fill((0, 0), 0)
    assert pretext.asked[-1][2].mask.sum() == 1
    mask.undo()
    np.testing.assert_array_equal(pretext.asked[-1][2].mask, wanted)


@pytest.mark.parametrize("encoder", ["mae-demo", "dinov3-demo"])
def test_a_mask_of_ones_own_begins_with_nothing_hidden(
    viewer: ViewerModel, shown: Controller, pretext: KnownPretext, encoder: str
) -> None:
    show(shown, encoder)
    mask, drawn = mask_of(shown), mask_of(shown).data.copy()
    shown.pretext.reveal()
    assert (str(mask.mode), viewer.layers.selection.active) == ("paint", mask)
    assert not shown.pretext.view.mask.any()
    assert shown.workspace.notes[-1] == "Nothing is hidden yet: paint over what is to be hidden."
    assert not shown.workspace.status.failed
    picture = pretext_layers(shown)["original"].data
    np.testing.assert_array_equal(pretext_layers(shown)["masked input"].data, picture)
    mask.undo()
    np.testing.assert_array_equal(shown.pretext.view.mask, drawn[:])
    mask.redo()
    mask.brush_size = 1
    mask.paint((2, 3), 1)
    assert shown.pretext.view.mask.sum() == 1
    shown.pretext.hide_at_random()
    np.testing.assert_array_equal(shown.pretext.view.mask, drawn)
    mask.undo()
    assert shown.pretext.view.mask.sum() == 1


def test_strokes_on_another_grid_are_not_undone(
    viewer: ViewerModel, shown: Controller, pretext: KnownPretext
) -> None:
    show(shown, "mae-demo")
    shown.workspace.pretext_tool = "paint"
    mask_of(shown).paint((3, 3), 1)
    pretext.side = 16
    shown.workspace.pretext = replace(shown.workspace.pretext, seed=1)
    mask = mask_of(shown)
    assert (mask.data.shape, str(mask.mode)) == ((2, 2), "paint")
    mask.undo()
    np.testing.assert_array_equal(mask.data, [[0, 0], [1, 1]])


def test_the_mask_joins_the_list_when_it_is_first_painted(viewer: ViewerModel, shown: Controller) -> None:
    """A Labels layer costs napari half a second, and most people only look."""
    show(shown, "mae-demo")
    show(shown, "dinov3-demo")
    assert not [layer for layer in viewer.layers if isinstance(layer, Labels)]
    shown.workspace.pretext_tool = "paint"
    assert [layer for layer in viewer.layers if isinstance(layer, Labels)] == [mask_of(shown)]


def test_a_stroke_is_computed_once_it_has_ended(
    viewer: ViewerModel, shown: Controller, pretext: KnownPretext
) -> None:
    show(shown, "mae-demo")
    shown.workspace.pretext_tool = "paint"
    mask, count = mask_of(shown), len(pretext.asked)
    release = press(mask)
    for spot in ((2, 2), (2, 3), (3, 3)):
        mask.paint(spot, 1)
    assert len(pretext.asked) == count
    release()
    assert len(pretext.asked) == count + 1


def test_the_tool_is_laid_down(viewer: ViewerModel, shown: Controller) -> None:
    show(shown, "mae-demo")
    shown.workspace.pretext_tool = "paint"
    shown.workspace.pretext_tool = ""
    mask = mask_of(shown)
    assert (mask.visible, str(mask.mode)) == (False, "pan_zoom")
    assert viewer.layers.selection.active is shown.workspace.image
    shown.workspace.pretext_tool = "paint"
    shown.workspace.task = "maps"
    assert shown.workspace.pretext_tool == ""
    assert not mask.visible


def test_what_was_painted_stays_until_something_else_is_drawn(
    viewer: ViewerModel, shown: Controller, pretext: KnownPretext
) -> None:
    show(shown, "mae-demo")
    mask_of(shown).paint((3, 3), 1)
    shown.pretext.show()
    assert pretext.asked[-1][2].mask is not None
    shown.workspace.pretext = replace(shown.workspace.pretext, seed=2)
    assert pretext.asked[-1][2].mask is None
    np.testing.assert_array_equal(np.asarray(mask_of(shown).data)[2], 1)
    assert np.asarray(mask_of(shown).data).sum() == 4
    shown.pretext.show()
    assert pretext.asked[-1][2].mask is None


def test_moved_targets_snap_to_tokens_and_show_their_agreement(
    viewer: ViewerModel, shown: Controller, pretext: KnownPretext
) -> None:
    show(shown, "ijepa-demo")
    shapes = shapes_of(viewer)
    assert list(shapes.features["label"]) == ["0.00", "0.10"]
    moved = [np.add(shapes.data[0], (9, 15)), np.asarray(shapes.data[1])]
    shapes.data = moved
    assert pretext.asked[-1][2].targets == (TokenBlock(1, 2, 2, 2), TokenBlock(2, 1, 2, 2))
    np.testing.assert_allclose(np.min(shapes.data[0], axis=0), (16 + 8 - 0.5, 24 + 16 - 0.5))
    assert list(shapes.features["label"]) == ["0.17", "0.10"]  # they share a token
    assert pretext_layers(shown)["agreement"].data[1, 3] == np.float32(0.2)
    assert pretext_layers(shown)["agreement"].data[2, 2] == np.float32(0.1)


def press(layer: Labels | Shapes) -> Callable[[], None]:
    """Begin a drag on a layer; return what ends it."""
    event = Mouse("mouse_press", (0, 0))
    running = [callback(layer, event) for callback in layer.mouse_drag_callbacks]
    for each in running:
        next(each)

    def release() -> None:
        event.type = "mouse_release"
        for each in running:
            next(each, None)

    return release


@pytest.fixture
def later(
    viewer: ViewerModel,
    workspace: WorkspaceModel,
    specs: tuple[EncoderSpec, ...],
    pretext: KnownPretext,
) -> Iterator[tuple[Controller, LaterRunner]]:
    """A controller with a MAE's view, and the runner whose answers come when it delivers them."""
    runners: list[LaterRunner] = []

    def make() -> LaterRunner:
        runners.append(LaterRunner())
        return runners[-1]

    made = Controller(viewer, workspace, make_runner=make, services=known_services(pretext=pretext))
    workspace.available = specs
    viewer.add_image(noise(64, 80))
    show(made, "mae-demo")
    (busy,) = (runner for runner in runners[:-1] if runner.waiting)
    busy.deliver()
    yield made, busy
    made.close()


def test_an_answer_paints_over_no_stroke_that_goes_on(
    viewer: ViewerModel, later: tuple[Controller, LaterRunner]
) -> None:
    controller, runner = later
    mask = mask_of(controller)
    controller.workspace.pretext = replace(controller.workspace.pretext, seed=1)
    mask.brush_size = 1
    release = press(mask)
    mask.paint((3, 3), 1)
    runner.deliver()
    np.testing.assert_array_equal(np.asarray(mask.data)[[0, 3]], [[1] * 4, [0, 0, 0, 1]])
    release()
    runner.deliver()
    np.testing.assert_array_equal(controller.pretext.view.mask[[0, 3]], [[True] * 4, [False] * 3 + [True]])


def test_only_the_last_of_several_edits_is_computed(
    viewer: ViewerModel, later: tuple[Controller, LaterRunner], pretext: KnownPretext
) -> None:
    controller, runner = later
    for column in range(4):
        mask_of(controller).paint((2, column), 1)
    runner.deliver()
    assert len(pretext.asked) == 2
    assert controller.pretext.view.mask[2].all()


def test_targets_can_be_added_and_removed(
    viewer: ViewerModel, shown: Controller, pretext: KnownPretext
) -> None:
    show(shown, "ijepa-demo")
    shapes = shapes_of(viewer)
    shapes.add_rectangles([[(15.5, 47.5), (31.5, 55.5)]])
    assert len(pretext.asked[-1][2].targets) == 3
    shapes.selected_data = {0, 1}
    shapes.remove_selected()
    assert pretext.asked[-1][2].targets == (TokenBlock(0, 3, 2, 1),)
    assert len(shapes.data) == 1
    shapes.selected_data = {0}
    shapes.remove_selected()
    assert pretext.asked[-1][2].targets is None
    assert len(shapes_of(viewer).data) == 2


def test_crops_keep_their_kind_and_a_new_one_is_local(
    viewer: ViewerModel, shown: Controller, pretext: KnownPretext
) -> None:
    show(shown, "dinov3-demo")
    shapes = shapes_of(viewer)
    assert shapes.name == "tissue / pretext crops"
    assert list(shapes.features["label"]) == ["global 0.25", "global 0.25", "0.25"]
    shapes.add_rectangles([[(15.5, 23.5), (27.5, 35.5)]])
    crops = pretext.asked[-1][2].crops
    assert [crop.kind for crop in crops] == ["global", "global", "local", "local"]
    assert crops[-1].region == Region(16, 24, 12, 12)
    assert crops[0].region == Region(16, 24, 32, 32)


def test_another_encoder_replaces_panels_and_tools(viewer: ViewerModel, shown: Controller) -> None:
    show(shown, "ijepa-demo")
    show(shown, "dinov3-demo")
    assert shapes_of(viewer).name == "tissue / pretext crops"
    in_view = [layer for layer in pretext_layers(shown).values() if layer.visible]
    assert {layer.metadata[OWN]["encoder"] for layer in in_view} == {"dinov3-demo"}
    count = len(viewer.layers)
    show(shown, "mae-demo")
    assert not [layer for layer in viewer.layers if isinstance(layer, Shapes) and layer.visible]
    assert mask_of(shown).name == "tissue / pretext mask"
    show(shown, "dinov3-demo")
    assert shapes_of(viewer).name == "tissue / pretext crops"
    assert len(viewer.layers) == count + 1  # the panel of the MAE's that was looked at


def test_side_by_side_gives_each_panel_a_cell_with_the_brush_on_it(
    viewer: ViewerModel, shown: Controller
) -> None:
    show(shown, "mae-demo")
    shown.workspace.panels_side_by_side = True
    shown.workspace.pretext_tool = "paint"
    mask, before = mask_of(shown), shown.cells.cells
    assert [title for title, _ in before.titles] == ["original", "masked input", "reconstruction", "error"]
    assert [encoder for _, encoder in before.titles] == ["mae-demo", "", "", ""]
    assert before.are_panels
    assert shown.cells.cells.tools == (mask,)
    assert (mask.visible, str(mask.mode)) == (True, "paint")
    mask.paint((3, 3), 1)
    assert (mask.visible, str(mask.mode)) == (True, "paint")
    assert shown.cells.cells.pictures == before.pictures
    shown.workspace.panels_side_by_side = False
    assert not shown.cells.active
    assert [kind for kind, layer in pretext_layers(shown).items() if layer.visible] == ["reconstruction"]


def test_each_page_has_a_side_by_side_of_its_own(shown: Controller) -> None:
    workspace = shown.workspace
    workspace.task = "maps"
    shown.run()
    workspace.side_by_side = True
    assert shown.cells.active
    workspace.task = "pretext"
    show(shown, "mae-demo")
    assert not shown.cells.active
    assert [layer.visible for layer in pretext_layers(shown).values()].count(True) == 1
    workspace.panels_side_by_side = True
    assert shown.cells.active
    workspace.task = "maps"
    titles = [title for title, _ in shown.cells.cells.titles]
    assert titles == ["mae-demo", "ijepa-demo", "dinov3-demo", "mae-untrained"]
    workspace.side_by_side = False
    workspace.task = "pretext"
    assert shown.cells.active


def test_a_refusal_is_said_and_the_last_view_stays(
    viewer: ViewerModel, shown: Controller, pretext: KnownPretext
) -> None:
    show(shown, "mae-demo")
    pretext.trouble = "Expected a file with a decoder; this one has none."
    show(shown, "ijepa-demo")
    assert shown.workspace.status.failed
    assert "decoder" in shown.workspace.status.text
    assert len(pretext_layers(shown)) == 4


def test_without_image_or_region_it_says_what_to_do(viewer: ViewerModel, controller: Controller) -> None:
    controller.pretext.show()
    assert "image layer" in controller.workspace.status.text
    viewer.add_image(noise(64, 80))
    controller.workspace.region = "rectangle"
    controller.pretext.show()
    assert "add a Shapes layer" in controller.workspace.status.text


def test_own_shapes_are_no_region(viewer: ViewerModel, shown: Controller) -> None:
    show(shown, "ijepa-demo")
    viewer.layers.selection.active = shapes_of(viewer)
    shown.workspace.region = "rectangle"
    shown.pretext.show()
    assert "add a Shapes layer" in shown.workspace.status.text


def test_layers_removed_by_hand_come_back_with_the_next_view(viewer: ViewerModel, shown: Controller) -> None:
    show(shown, "dinov3-demo")
    shown.workspace.pretext_tool = "paint"
    viewer.layers.remove(mask_of(shown))
    viewer.layers.remove(shapes_of(viewer))
    shown.pretext.show()
    assert len(shapes_of(viewer).data) == 3
    assert mask_of(shown).data.sum() == 4


def test_another_image_takes_the_tools_away(viewer: ViewerModel, shown: Controller) -> None:
    show(shown, "dinov3-demo")
    viewer.add_image(noise(50, 50), name="other")
    assert not [layer for layer in viewer.layers if isinstance(layer, Labels | Shapes)]
    assert shown.workspace.panels == ()


def test_moving_the_image_moves_panels_and_tools(viewer: ViewerModel, shown: Controller) -> None:
    show(shown, "dinov3-demo")
    image = shown.workspace.image
    image.translate, image.scale = (7, 9), (2, 2)
    panel, mask, shapes = pretext_layers(shown)["patch agreement"], mask_of(shown), shapes_of(viewer)
    for layer in (panel, mask):
        np.testing.assert_allclose(layer.data_to_world((-0.5, -0.5)), image.data_to_world((15.5, 23.5)))
    np.testing.assert_allclose(shapes.data_to_world((3, 4)), image.data_to_world((3, 4)))


def test_a_frame_of_a_stack_is_looked_at(viewer: ViewerModel, controller: Controller) -> None:
    stack = viewer.add_image(noise(3, 64, 80), name="video")
    viewer.dims.set_current_step(0, 2)
    for name in ("ijepa-demo", "mae-demo"):
        show(controller, name)
    panel = pretext_layers(controller)["reconstruction"]
    np.testing.assert_allclose(panel.data_to_world((0, -0.5, -0.5)), stack.data_to_world((2, 15.5, 23.5)))
    mask_of(controller).paint((0, 3, 3), 1)
    assert controller.pretext.view.mask[3, 3]


def test_what_was_looked_at_before_the_page_is_looked_at_after_it(
    viewer: ViewerModel, shown: Controller
) -> None:
    workspace = shown.workspace
    workspace.task = "maps"
    viewer.scene.camera.center, viewer.scene.camera.zoom = (0.0, 20.0, 30.0), 3.5
    workspace.task = "pretext"
    show(shown, "mae-demo")
    assert viewer.scene.camera.zoom != 3.5
    workspace.task = "compare"
    assert viewer.scene.camera.zoom == 3.5
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], (20.0, 30.0))


def test_a_view_that_is_being_computed_can_be_stopped(shown: Controller, pretext: KnownPretext) -> None:
    show(shown, "mae-demo")
    runner = LaterRunner()
    shown.pretext._runner = runner
    workspace, asked = shown.workspace, len(pretext.asked)
    workspace.pretext = replace(workspace.pretext, encoder="ijepa-demo")
    shown.pretext.show()
    assert workspace.showing
    shown.cancel()
    runner.deliver()
    assert not workspace.showing
    assert workspace.status.text == "Stopped; the last view stays."
    assert len(pretext.asked) == asked
    assert shown.pretext.view.provenance.encoder == "mae-demo"
