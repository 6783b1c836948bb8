import logging
from collections.abc import Callable
from dataclasses import replace
from typing import get_type_hints

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Points
from napari.utils._proxies import PublicOnlyProxy
from viewer_kit import KnownEmbedder, LaterRunner, Mouse, click, gesture, known_services, noise

from napari_sslmaps.core.scale import TokenScale
from napari_sslmaps.core.tiling import ONE_PASS
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import DeviceMemoryError
from napari_sslmaps.maps.attention import AttentionOptions
from napari_sslmaps.maps.pca import PcaOptions
from napari_sslmaps.maps.similarity import SimilarityOptions
from napari_sslmaps.viewer.canvas.anchor_layers import BAR
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.maps import map_controller as maps
from napari_sslmaps.viewer.state.tasks import ImmediateRunner
from napari_sslmaps.viewer.state.workspace import TASKS, Anchor, Choices, Status, WorkspaceModel


def names(viewer: ViewerModel) -> list[str]:
    return [layer.name for layer in viewer.layers]


def test_run_makes_all_maps_and_lists_the_one_in_view(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    controller.run()
    assert names(viewer) == ["tissue", "tissue / attention / mae-demo"]
    assert {layer.name for layer in controller.layer_manager.maps_of(image)} == {
        f"tissue / {kind} / {name}" for kind in ("attention", "pca") for name in ("mae-demo", "dinov3-demo")
    }
    assert controller.workspace.progress is None
    assert not controller.workspace.status.failed
    assert viewer.layers.selection.active is image


def test_a_viewer_behind_napari_s_proxy_is_the_viewer(specs: tuple[EncoderSpec, ...]) -> None:
    """As napari hands it to a plugin that is opened from its menu."""

    def opened() -> Controller:
        proxy = PublicOnlyProxy(viewer)
        made = Controller(proxy, WorkspaceModel(), make_runner=ImmediateRunner, services=known_services())
        made.workspace.available = specs
        made.adopt()
        return made

    viewer = ViewerModel()
    clip = viewer.add_image(noise(3, 64, 80), name="clip")
    first = opened()
    first.workspace.chosen = (specs[0].name,)
    first.run()
    first.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    assert first.workspace.image is clip
    marks = first.marks.main
    viewer.dims.set_current_step(0, 2)
    assert first.marks.main is marks
    first.close()
    second = opened()
    assert second.workspace.anchors == (Anchor((20.0, 10.0)),)
    assert second.workspace.image is clip
    second.close()


def test_a_click_s_maps_come_before_the_layer_of_its_anchor(controller: Controller, image: Image) -> None:
    waiting: list[Callable[[], None]] = []
    controller.run()
    controller.marks.later = waiting.append
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    controller.workspace.add_anchor(Anchor((30.0, 10.0)), keep=False)
    assert controller.layer_manager.find(image, "similarity", "mae-demo") is not None
    assert controller.marks.main is None
    (make,) = waiting
    make()
    assert controller.marks.main is not None
    assert controller.marks.main.data.tolist() == [[30.0, 10.0]]


def test_an_anchor_that_is_gone_by_then_brings_no_layer(controller: Controller, image: Image) -> None:
    waiting: list[Callable[[], None]] = []
    controller.run()
    controller.marks.later = waiting.append
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    controller.workspace.anchors = ()
    waiting.pop()()
    assert controller.marks.main is None
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    controller.viewer.layers.remove(image)
    waiting.pop()()
    assert controller.marks.main is None


def test_metadata_records_how_a_layer_was_made(controller: Controller, image: Image) -> None:
    controller.run()
    controller.workspace.add_anchor(Anchor((10.0, 12.0)), keep=False)
    mark = controller.layer_manager.find(image, "similarity", "dinov3-demo").metadata[OWN]
    assert mark["provenance"]["encoder"] == "dinov3-demo"
    assert mark["provenance"]["region"] == {
        "y": 0, "x": 0, "height": 64, "width": 80, "level": 0, "frame": 0,
    }  # fmt: skip
    assert mark["options"]["anchors"] == [[10.0, 12.0]]
    assert mark["contrast"]["rule"] == "percentiles 1–99 of all encoders"


def test_click_in_anchor_mode_embeds_and_shows_similarity(
    viewer: ViewerModel, controller: Controller, image: Image, embedder: KnownEmbedder
) -> None:
    controller.workspace.anchor_mode = True
    click(viewer, (20.0, 10.0))
    assert [name for name, _ in embedder.calls] == ["mae-demo", "dinov3-demo"]
    similarity = controller.layer_manager.find(image, "similarity", "mae-demo")
    assert similarity.data.shape == (8, 10)
    assert similarity.data[:, :5].min() > similarity.data[:, 5:].max()
    assert similarity.visible
    np.testing.assert_allclose(controller.marks.main.data, [[20.0, 10.0]])
    assert str(controller.marks.main.symbol[0]) == "x"
    assert controller.marks.main.face_color[0, 0] == pytest.approx(1.0)


def test_a_map_that_is_removed_by_hand_takes_its_caption_along(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    controller.run()
    assert controller.workspace.caption.text
    viewer.layers.remove("tissue / attention / mae-demo")
    assert controller.workspace.caption.text == ""
    controller.run()
    assert controller.workspace.caption.text
    viewer.layers.remove(image)
    assert controller.workspace.caption.text == ""


def test_click_without_anchor_mode_does_nothing(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    click(viewer, (20.0, 10.0))
    assert controller.workspace.anchors == ()


@pytest.mark.parametrize("position", [(-1.0, 10.0), (63.6, 10.0), (20.0, 79.6)])
def test_click_beside_the_region_is_refused_with_a_sentence(
    viewer: ViewerModel, controller: Controller, image: Image, position: tuple[float, float]
) -> None:
    controller.workspace.anchor_mode = True
    click(viewer, position)
    assert controller.workspace.anchors == ()
    assert "inside the region" in controller.workspace.status.text
    click(viewer, (20.0, 10.0))
    assert len(controller.workspace.anchors) == 1
    assert "inside the region" not in controller.workspace.status.text


def test_plain_click_replaces_shift_adds_control_is_negative(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    workspace = controller.workspace
    workspace.anchor_mode = True
    click(viewer, (20.0, 10.0))
    click(viewer, (30.0, 40.0))
    assert workspace.anchors == (Anchor((30.0, 40.0)),)
    click(viewer, (5.0, 60.0), "Shift")
    assert [anchor.pixel_yx for anchor in workspace.anchors] == [(30.0, 40.0), (5.0, 60.0)]
    click(viewer, (50.0, 5.0), "Control")
    assert workspace.anchors[-1] == Anchor((50.0, 5.0), negative=True)
    sizes = controller.marks.main.size
    np.testing.assert_allclose(sizes[-1] / sizes[0], BAR)
    assert len(workspace.anchors) == 3
    assert controller.layer_manager.find(image, "similarity", "mae-demo").metadata[OWN]["options"][
        "negative"
    ] == [[50.0, 5.0]]
    blue = controller.marks.main.face_color[2]
    assert blue[2] > blue[0]


def test_alt_is_left_to_napari(viewer: ViewerModel, controller: Controller, image: Image) -> None:
    controller.workspace.anchor_mode = True
    click(viewer, (20.0, 10.0), "Alt")
    assert controller.workspace.anchors == ()


def test_a_pan_in_anchor_mode_is_not_a_click(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    controller.workspace.anchor_mode = True
    handled = gesture(
        viewer,
        Mouse("mouse_press", (20.0, 10.0)),
        Mouse("mouse_move", (30.0, 30.0)),
        Mouse("mouse_release", (30.0, 30.0)),
    )
    assert handled == [False, False, False]
    assert controller.workspace.anchors == ()


def test_another_layers_tool_has_the_mouse(viewer: ViewerModel, controller: Controller, image: Image) -> None:
    controller.workspace.anchor_mode = True
    shapes = viewer.add_shapes()
    shapes.mode = "add_rectangle"
    click(viewer, (20.0, 10.0))
    assert controller.workspace.anchors == ()


def test_drag_moves_the_anchor_and_its_maps_in_place(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    workspace = controller.workspace
    workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    layer = controller.layer_manager.find(image, "similarity", "mae-demo")
    array, count = layer.data, len(viewer.layers)
    seen = []

    def watch() -> None:
        seen.append(layer.data.copy())

    workspace.events.anchors.connect(watch)
    handled = gesture(
        viewer,
        Mouse("mouse_press", (20.0, 10.0)),
        Mouse("mouse_move", (20.0, 40.0)),
        Mouse("mouse_move", (21.0, 70.0)),
        Mouse("mouse_move", (900.0, 70.0)),
        Mouse("mouse_release", (900.0, 70.0)),
    )
    assert handled[:4] == [True] * 4
    assert len(seen) == 3
    assert layer.data is array
    assert len(viewer.layers) == count
    assert layer.data[:, 5:].min() > layer.data[:, :5].max()
    y, x = workspace.anchors[0].pixel_yx
    assert x == 70.0
    assert 63 < y < 63.5
    np.testing.assert_allclose(controller.marks.main.data, [[y, x]])


def test_keys_toggle_the_mode_and_delete_anchors(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    workspace = controller.workspace
    keymap = {str(key): action for key, action in viewer.keymap.items()}
    keymap["N"](viewer)
    assert workspace.anchor_mode
    workspace.add_anchor(Anchor((20.0, 10.0)), keep=True)
    workspace.add_anchor(Anchor((30.0, 10.0)), keep=True)
    keymap["Delete"](viewer)
    assert workspace.anchors == (Anchor((20.0, 10.0)),)


def test_run_again_replaces_whatever_the_layers_are_called(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    controller.run()
    layer = controller.layer_manager.find(image, "pca", "mae-demo")
    layer.name = "my favourite"
    count = len(viewer.layers)
    controller.run()
    assert len(viewer.layers) == count
    assert controller.layer_manager.find(image, "pca", "mae-demo") is layer
    assert layer.name == "my favourite"


def test_a_removed_map_comes_back_with_the_next_run(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    controller.run()
    viewer.layers.remove("tissue / attention / mae-demo")
    controller.run()
    assert viewer.layers["tissue / attention / mae-demo"].visible


def test_removing_the_anchors_layer_clears_the_anchors(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    viewer.layers.remove(controller.marks.main)
    assert controller.workspace.anchors == ()
    controller.workspace.add_anchor(Anchor((20.0, 20.0)), keep=False)
    assert controller.marks.main in viewer.layers


def test_points_edited_by_hand_become_the_anchors(controller: Controller, image: Image) -> None:
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    controller.marks.main.add([[30.0, 50.0]])
    assert controller.workspace.anchors == (Anchor((20.0, 10.0)), Anchor((30.0, 50.0)))


def test_each_image_keeps_its_anchors(viewer: ViewerModel, controller: Controller, image: Image) -> None:
    workspace = controller.workspace
    workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    other = viewer.add_image(noise(32, 32), name="other")
    assert workspace.image is other
    assert workspace.anchors == ()
    viewer.layers.selection.active = image
    assert workspace.image is image
    assert workspace.anchors == (Anchor((20.0, 10.0)),)


def test_the_layer_of_anchors_goes_along_to_another_image(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    workspace, waiting = controller.workspace, []
    workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    marks = controller.marks.main
    controller.marks.later = waiting.append
    other = viewer.add_image(noise(32, 32), name="other", scale=(2, 2))
    workspace.anchors = (Anchor((5.0, 6.0)),)
    waiting.pop()()
    assert controller.marks.main is marks
    assert viewer.layers[-1] is marks
    assert marks.name == "other / anchors"
    np.testing.assert_allclose(marks.data_to_world((5, 6)), other.data_to_world((5, 6)))
    assert marks.data.tolist() == [[5.0, 6.0]]
    workspace.image = image
    assert marks.data.tolist() == [[20.0, 10.0]]
    bare = viewer.add_image(noise(16, 16), name="bare")
    waiting.pop()()
    assert workspace.image is bare
    assert controller.marks.main is None
    assert marks not in viewer.layers


def test_selecting_a_map_does_not_change_the_image(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    controller.run()
    viewer.layers.selection.active = controller.layer_manager.find(image, "attention", "mae-demo")
    assert controller.workspace.image is image


def test_removing_the_image_while_it_is_embedded(
    viewer: ViewerModel, controller: Controller, image: Image, embedder: KnownEmbedder
) -> None:
    embedder.on_step = lambda step: viewer.layers.remove(image) if step and image in viewer.layers else None
    controller.run()
    assert controller.workspace.image is None
    assert controller.workspace.progress is None
    assert controller.workspace.plan == Status("Open or select an image layer.")


def test_cancel_keeps_what_was_painted(controller: Controller, image: Image, embedder: KnownEmbedder) -> None:
    embedder.on_step = lambda step: controller.cancel() if step else None
    controller.run()
    attention = controller.layer_manager.find(image, "attention", "mae-demo")
    assert np.isfinite(attention.data[:4]).all()
    assert len(embedder.calls) == 1
    assert "painted stays" in controller.workspace.status.text
    assert not controller.workspace.status.failed
    embedder.on_step = lambda _: None
    controller.run()
    assert controller.workspace.status.text.startswith("2 methods done")
    assert all(item.complete for item in controller.session.embedded.values())


def test_a_user_s_layers_change_no_cell_and_are_never_removed(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    workspace = controller.workspace
    workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    workspace.side_by_side = True
    before, rects = controller.cells.cells.titles, controller.cells.rects
    arrow, box = np.array([[[5.0, 5.0], [9.0, 9.0]]]), [[(4, 4), (4, 20), (20, 20), (20, 4)]]
    own = [
        viewer.add_vectors(arrow),
        viewer.add_shapes(box),
        viewer.add_points([[3.0, 3.0]]),
        viewer.add_labels(np.eye(64, 80, dtype=np.uint8)),
        viewer.add_tracks([[0, 0, 1.0, 1.0], [0, 1, 2.0, 2.0]]),
    ]
    assert (controller.cells.cells.titles, controller.cells.rects) == (before, rects)
    for task in TASKS:
        workspace.task = task
    workspace.task, workspace.side_by_side, workspace.difference = "maps", False, True
    workspace.region = "rectangle"
    controller.run()
    workspace.anchors = ()
    controller.close()
    assert all(layer in viewer.layers for layer in own)
    assert len(own[1].data) == len(own[2].data) == 1
    assert all(layer.visible for layer in own)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DeviceMemoryError("One tile does not fit."), "mae-demo: One tile does not fit."),
        (RuntimeError("mat1 and mat2 shapes"), "RuntimeError: mat1 and mat2 shapes"),
        (MemoryError(), "MemoryError: no message"),
    ],
)
def test_a_failure_becomes_one_sentence(
    controller: Controller,
    image: Image,
    embedder: KnownEmbedder,
    error: Exception,
    expected: str,
) -> None:
    def fail(step: int) -> None:
        raise error

    embedder.on_step = fail
    controller.run()
    assert controller.workspace.status.failed
    assert expected.removeprefix("mae-demo: ") in controller.workspace.status.text
    assert controller.workspace.progress is None


def test_options_repaint_without_embedding_again(
    controller: Controller, image: Image, embedder: KnownEmbedder
) -> None:
    workspace = controller.workspace
    controller.run()
    workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    assert workspace.heads == 2
    workspace.attention = AttentionOptions(head=1)
    workspace.pca = PcaOptions("whitened")
    workspace.similarity = SimilarityOptions(centred=False, display="fixed")
    find = controller.layer_manager.find
    assert find(image, "attention", "mae-demo").metadata[OWN]["options"]["reduction"] == "head 1"
    assert find(image, "pca", "mae-demo").metadata[OWN]["options"]["rendering"] == "whitened"
    similarity = find(image, "similarity", "mae-demo")
    assert tuple(similarity.contrast_limits) == (-1.0, 1.0)
    assert similarity.metadata[OWN]["options"]["centred"] is False
    assert len(embedder.calls) == 2


def test_the_chosen_tiling_is_planned_and_embedded(
    controller: Controller, image: Image, embedder: KnownEmbedder
) -> None:
    controller.workspace.tiling = ONE_PASS
    assert "1 tile " in f"{controller.workspace.plan.text} "
    controller.run()
    assert {options.tiling for options in embedder.options} == {ONE_PASS}


def test_a_run_begins_where_one_looks_and_keeps_what_it_computes(
    viewer: ViewerModel, controller: Controller, image: Image, embedder: KnownEmbedder
) -> None:
    image.scale = (2, 2)
    viewer.scene.camera.center = (0.0, 40.0, 100.0)
    viewer.scene.camera.zoom = 4.0
    controller.run()
    assert embedder.options[0].focus_yx == pytest.approx((20.0, 50.0))
    assert embedder.options[0].keep
    viewer.dims.ndisplay = 3
    controller.workspace.keep = False
    controller.run()
    assert embedder.options[-1].focus_yx is None
    assert not embedder.options[-1].keep


def test_what_the_cache_complains_about_is_said_once_and_maps_are_there(
    controller: Controller, image: Image, embedder: KnownEmbedder
) -> None:
    log = logging.getLogger("napari_sslmaps.cache.entry")
    embedder.on_step = lambda _: log.warning("Expected to keep %s; the disk is full.", "it")
    controller.run()
    status = controller.workspace.status
    assert status.text == ("2 methods done, 8 × 10 tokens each. Expected to keep it; the disk is full.")
    assert status.failed
    assert controller.layer_manager.find(image, "attention", "mae-demo") is not None
    embedder.on_step = str
    controller.run()
    assert not controller.workspace.status.failed


def test_the_status_says_what_came_from_the_cache(
    controller: Controller, image: Image, embedder: KnownEmbedder
) -> None:
    embedder.restored = 2
    controller.run()
    text = "2 methods done, 8 × 10 tokens each, from the cache."
    assert controller.workspace.status.text.startswith(text)
    embedder.restored = 1
    controller.run()
    assert controller.workspace.status.text.endswith("each, 50 % of it from the cache.")
    embedder.restored = 0
    controller.run()
    assert controller.workspace.status.text.endswith("tokens each.")


def test_negative_anchors_alone_ask_for_a_positive_one(controller: Controller, image: Image) -> None:
    controller.workspace.add_anchor(Anchor((20.0, 10.0), negative=True), keep=False)
    assert "set a positive one" in controller.workspace.status.text


def test_encoders_ticked_later_join_at_the_next_click(
    controller: Controller, image: Image, embedder: KnownEmbedder
) -> None:
    workspace = controller.workspace
    workspace.chosen = ("mae-demo",)
    workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    workspace.chosen = ("mae-demo", "dinov3-demo")
    workspace.add_anchor(Anchor((30.0, 10.0)), keep=False)
    assert [name for name, _ in embedder.calls] == ["mae-demo", "dinov3-demo"]
    assert controller.layer_manager.find(image, "similarity", "dinov3-demo") is not None


def test_shown_and_front_choose_the_map_in_view(controller: Controller, image: Image) -> None:
    workspace = controller.workspace
    workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)

    def visible() -> list[str]:
        return [layer.name for layer in controller.layer_manager.maps_of(image) if layer.visible]

    assert visible() == ["tissue / similarity / mae-demo"]
    workspace.front = "dinov3-demo"
    assert visible() == ["tissue / similarity / dinov3-demo"]
    workspace.shown = "pca"
    assert visible() == ["tissue / pca / dinov3-demo"]


def test_new_pixels_make_the_embedding_stale(
    controller: Controller, image: Image, embedder: KnownEmbedder
) -> None:
    controller.run()
    image.data = noise(64, 80) * 2
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    assert len(embedder.calls) == 4


def test_plan_says_what_will_happen(controller: Controller, image: Image) -> None:
    workspace = controller.workspace
    said = "64 × 80 px → 8 × 10 tokens, 1 tile × 2 encoders, 1 MB, about 1 s on cpu"
    workspace.touched = True
    workspace.region = "view"
    workspace.region = "whole"
    assert workspace.plan.text == said
    controller.run()
    assert workspace.plan.text == said.removesuffix(", 1 MB, about 1 s on cpu")
    workspace.chosen = ()
    assert workspace.plan == Status("Tick at least one encoder.")


def test_a_run_of_much_that_is_empty_says_how_to_leave_it_out(
    controller: Controller, image: Image, embedder: KnownEmbedder
) -> None:
    workspace, embedder.empty = controller.workspace, 0.5
    workspace.touched = True
    controller.run()
    assert workspace.plan.text.endswith(
        "50 % of it is empty; Region: Tissue or field of view leaves out what of that lies around"
    )
    embedder.empty = 0.1
    controller.run()
    assert "empty" not in workspace.plan.text


def test_much_that_is_empty_is_said_before_the_run(viewer: ViewerModel, controller: Controller) -> None:
    pixels = noise(128, 128)
    pixels[:, :64] = 0
    shown = viewer.add_image(pixels)
    assert controller.workspace.plan.text.endswith(
        "50 % of it is empty; Region: Tissue or field of view leaves out what of that lies around"
    )
    shown.data = noise(128, 128)
    assert "empty" not in controller.workspace.plan.text


def test_a_mask_that_is_opened_like_an_image_does_not_take_its_place(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    mask = np.zeros((64, 80), np.uint16)
    mask[10:40, 20:50] = 7
    opened = viewer.add_image(mask, name="glands")
    assert controller.workspace.image is image
    assert not opened.visible
    assert controller.workspace.status.text.startswith(
        "Hidden as a mask, and offered as annotation on the page Compare: glands."
    )
    viewer.layers.selection.active = opened
    assert controller.workspace.image is image
    assert controller.compare_page.model.annotation is opened
    controller.look_at(opened)  # where somebody says so, it is an image
    assert controller.workspace.image is opened


def test_axes_of_a_clip_that_were_numbered_are_named(viewer: ViewerModel, controller: Controller) -> None:
    clip = viewer.add_image(np.stack([noise(32, 32)] * 3))
    assert clip.axis_labels == viewer.dims.axis_labels == ("frame", "y", "x")
    named = viewer.add_image(np.stack([noise(32, 32)] * 3), axis_labels=("z", "y", "x"))
    assert named.axis_labels == ("z", "y", "x")


def test_labels_that_were_there_before_the_dock_have_their_classes(
    viewer: ViewerModel,
) -> None:
    viewer.add_image(noise(32, 32))
    viewer.add_labels(np.repeat(np.arange(2, dtype=np.uint8), 16)[:, None] * np.ones((1, 32), np.uint8))
    made = Controller(viewer, WorkspaceModel(), make_runner=ImmediateRunner, services=known_services())
    assert made.compare_page.model.classes == ((1, "class 1"),)
    made.close()


def test_the_plan_says_the_scale_where_it_is_that_of_the_region(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    workspace = controller.workspace
    workspace.scale = TokenScale(10.0, "%")
    assert ", compared at σ 6.4 px, 10 % of its side" in workspace.plan.text
    controller.shapes.draw()
    viewer.layers["tissue / region"].add_rectangles([[(0, 0), (31, 47)]])
    assert ", compared at σ 3.2 px, 10 % of its side" in workspace.plan.text
    workspace.scale = TokenScale(5.0, "px")
    assert "σ" not in workspace.plan.text


def test_run_without_an_image_says_what_to_do(controller: Controller) -> None:
    controller.run()
    assert "image layer" in controller.workspace.status.text


def test_a_region_smaller_than_a_patch_is_refused(viewer: ViewerModel, controller: Controller) -> None:
    viewer.add_image(noise(4, 4))
    assert "at least one patch" in controller.workspace.plan.text
    controller.run()
    assert controller.workspace.status.failed
    assert len(viewer.layers) == 1


def test_moving_the_image_moves_maps_and_anchors(controller: Controller, image: Image) -> None:
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    image.scale = (2.0, 3.0)
    image.translate = (100.0, -5.0)
    layer = controller.layer_manager.find(image, "similarity", "mae-demo")
    for corner, pixel in (((-0.5, -0.5), (-0.5, -0.5)), ((7.5, 9.5), (63.5, 79.5))):
        np.testing.assert_allclose(layer.data_to_world(corner), image.data_to_world(pixel))
    np.testing.assert_allclose(controller.marks.main.data_to_world((20, 10)), image.data_to_world((20, 10)))


def test_closing_side_by_side_leaves_the_map_in_front(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    """Not what another page showed before: below the cells it had stayed as it was."""
    workspace = controller.workspace
    controller.run()
    aligned = workspace.options.pca.aligned
    workspace.task = "pretext"
    workspace.pretext = replace(workspace.pretext, encoder="mae-demo")
    controller.pretext.show()
    workspace.side_by_side = True
    workspace.task = "maps"
    assert controller.cells.active
    controller.close()
    assert [layer.name for layer in viewer.layers if layer.visible] == [
        "tissue",
        "tissue / attention / mae-demo",
    ]
    assert workspace.options.pca.aligned == aligned


def test_close_undoes_every_connection(viewer: ViewerModel, workspace: WorkspaceModel) -> None:
    def listeners() -> list[int]:
        signals = [
            viewer.layers.events.inserted,
            viewer.layers.events.removed,
            viewer.layers.selection.events.active,
            viewer.dims.events.current_step,
            viewer.scene.camera.events,
            viewer.scene.camera.events.zoom,
            picture.events.scale,
            picture.events.data,
        ]
        own = [getattr(workspace.events, name) for name in workspace.events]
        return [len(signal.callbacks) for signal in signals] + [len(signal) for signal in own]

    picture = viewer.add_image(noise(32, 32))
    before, keys, mouse = listeners(), dict(viewer.keymap), list(viewer.mouse_drag_callbacks)
    made = Controller(
        viewer,
        workspace,
        make_runner=ImmediateRunner,
        services=known_services(),
    )
    assert listeners() != before
    made.close()
    assert listeners() == before
    assert dict(viewer.keymap) == keys
    assert list(viewer.mouse_drag_callbacks) == mouse


def test_scrolling_to_another_frame_embeds_that_frame(
    viewer: ViewerModel, controller: Controller, embedder: KnownEmbedder
) -> None:
    stack = viewer.add_image(noise(5, 64, 80), name="video")
    viewer.dims.set_current_step(0, 3)
    controller.workspace.anchor_mode = True
    click(viewer, (3.0, 20.0, 10.0))
    assert {region.frame for _, region in embedder.calls} == {3}
    layer = controller.layer_manager.find(stack, "similarity", "mae-demo")
    assert layer.data.shape == (1, 8, 10)
    np.testing.assert_allclose(layer.data_to_world((0, -0.5, -0.5)), (3, -0.5, -0.5))
    assert isinstance(controller.marks.main, Points)
    np.testing.assert_allclose(controller.marks.main.data, [[3.0, 20.0, 10.0]])


@pytest.fixture
def later(
    viewer: ViewerModel, controller: Controller, image: Image, monkeypatch: pytest.MonkeyPatch
) -> LaterRunner:
    """Let every repaint be too large to be done at once."""
    runner = LaterRunner()
    monkeypatch.setattr(controller.map_controller, "_runner", runner)
    monkeypatch.setattr(maps, "INLINE_MEGABYTES", 0.0)
    controller.run()
    runner.deliver()
    return runner


def test_averages_of_many_tokens_are_made_on_the_thread(
    controller: Controller, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = LaterRunner()
    monkeypatch.setattr(controller.map_controller, "_runner", runner)
    monkeypatch.setattr(maps, "AVERAGED_MEGABYTES", 0.0)
    controller.run()
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    assert not runner.waiting  # nothing is averaged
    controller.workspace.scale = TokenScale(12.5, "%")
    assert runner.waiting


def test_the_next_step_is_said_before_notes(controller: Controller, image: Image) -> None:
    workspace = controller.workspace

    def noted(text: str) -> None:
        workspace.say(text)
        workspace.anchor_mode, workspace.anchors = False, ()
        controller.runs.partial.emit(image, None)

    controller.run()
    noted("2 methods done. Something is to be known.")
    assert workspace.status.text == (
        "2 methods done. Click on the image: similarity to that place appears. Something is to be known."
    )
    workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    assert workspace.status.text == "2 methods done. Something is to be known."
    noted("2 methods done.")
    assert workspace.status.text == "2 methods done. Click on the image: similarity to that place appears."


def test_a_large_map_comes_into_view_when_it_is_done(
    controller: Controller, image: Image, later: LaterRunner
) -> None:
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    assert controller.layer_manager.find(image, "similarity", "mae-demo") is None
    later.deliver()
    assert controller.layer_manager.find(image, "similarity", "mae-demo").visible


def test_of_several_repaints_none_is_lost(controller: Controller, image: Image, later: LaterRunner) -> None:
    controller.workspace.pca = PcaOptions("whitened")
    controller.workspace.attention = AttentionOptions(head=1)
    later.deliver()
    find = controller.layer_manager.find
    assert find(image, "pca", "mae-demo").metadata[OWN]["options"]["rendering"] == "whitened"
    assert find(image, "attention", "mae-demo").metadata[OWN]["options"]["reduction"] == "head 1"


def test_a_repaint_of_another_image_is_dropped(
    viewer: ViewerModel, controller: Controller, image: Image, later: LaterRunner
) -> None:
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    viewer.add_image(noise(32, 32), name="other")
    later.deliver()
    assert controller.layer_manager.find(image, "similarity", "mae-demo") is None


def test_after_the_first_run_a_click_is_what_comes_next(controller: Controller, image: Image) -> None:
    controller.run()
    assert controller.workspace.anchor_mode
    assert "Click on the image" in controller.workspace.status.text
    controller.workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    controller.workspace.anchor_mode = False
    controller.run()
    assert not controller.workspace.anchor_mode


def test_a_plain_click_moves_a_single_anchor_but_destroys_no_set(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    workspace = controller.workspace
    workspace.anchor_mode = True
    click(viewer, (10.0, 10.0))
    click(viewer, (20.0, 20.0))
    assert [anchor.pixel_yx for anchor in workspace.anchors] == [(20.0, 20.0)]
    click(viewer, (30.0, 30.0), "Shift")
    click(viewer, (40.0, 40.0))
    assert [anchor.pixel_yx for anchor in workspace.anchors] == [(20.0, 20.0), (30.0, 30.0), (40.0, 40.0)]


def test_delete_takes_the_anchor_under_the_pointer_else_the_last(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    workspace = controller.workspace
    for place in ((20.0, 10.0), (30.0, 50.0), (50.0, 20.0)):
        workspace.add_anchor(Anchor(place), keep=True)
    keymap = {str(key): action for key, action in viewer.keymap.items()}
    viewer.cursor.position = (30.0, 50.0)
    keymap["Delete"](viewer)
    assert [anchor.pixel_yx for anchor in workspace.anchors] == [(20.0, 10.0), (50.0, 20.0)]
    keymap["Delete"](viewer)
    assert [anchor.pixel_yx for anchor in workspace.anchors] == [(20.0, 10.0)]


def test_an_image_that_is_chosen_by_name_stays_when_an_anchor_is_set(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    viewer.add_image(noise(64, 80), name="other")
    controller.workspace.image = image
    controller.workspace.add_anchor(Anchor((10.0, 12.0)), keep=False)
    assert controller.workspace.image is image
    assert "tissue / anchors" in names(viewer)


def test_what_the_dock_sets_has_the_types_that_the_workspace_says() -> None:
    known = get_type_hints(WorkspaceModel, localns={"Image": Image})
    settable = get_type_hints(Choices, localns={"Image": Image})
    assert settable
    assert settable == {name: known[name] for name in settable}


def test_a_run_waits_for_the_mask_that_is_looked_for(
    controller: Controller, image: Image, embedder: KnownEmbedder
) -> None:
    """As where a session is opened, or Run pressed at once."""
    workspace, found = controller.workspace, controller.region_selection.masked
    controller.region_selection.masked = lambda _: None
    workspace.region = "mask"
    controller.run()
    assert workspace.status.text.startswith("Looking for tissue")
    assert not workspace.status.failed
    controller.region_selection.masked = found
    controller.masks.changed.emit()
    session = controller.sessions.of(image)
    assert set(session.embedded) == set(workspace.chosen)
    assert session.mask is not None
    session.forget()
    controller.masks.changed.emit()  # painted on
    assert not session.embedded


def test_another_region_is_run_by_nobody_else(controller: Controller, image: Image) -> None:
    found, controller.region_selection.masked = controller.region_selection.masked, lambda _: None
    controller.workspace.region = "mask"
    controller.run()
    controller.workspace.region = "whole"
    controller.region_selection.masked = found
    controller.workspace.region = "mask"
    controller.masks.changed.emit()
    assert not controller.sessions.of(image).embedded
