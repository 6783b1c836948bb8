"""Undo and redo of anchors, groups and the region, through the keys of the viewer."""

from collections.abc import Callable

import pytest
from napari.components import ViewerModel
from napari.layers import Image
from viewer_kit import Mouse, gesture, noise

from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.state.workspace import Anchor, WorkspaceModel, add_group, remove_group

A, B = Anchor((20.0, 10.0)), Anchor((30.0, 50.0))


@pytest.fixture
def press(viewer: ViewerModel, controller: Controller, image: Image) -> Callable[[str], None]:
    def press(key: str) -> None:
        {str(bound): action for bound, action in viewer.keymap.items()}[key](viewer)

    return press


def test_anchors_come_back_one_by_one(workspace: WorkspaceModel, press: Callable[[str], None]) -> None:
    workspace.add_anchor(A, keep=True)
    workspace.add_anchor(B, keep=True)
    workspace.anchors = ()
    press("Ctrl+Z")
    assert workspace.anchors == (A, B)
    press("Ctrl+Z")
    assert workspace.anchors == (A,)
    press("Ctrl+Shift+Z")
    press("Ctrl+Shift+Z")
    assert workspace.anchors == ()
    press("Ctrl+Z")
    workspace.add_anchor(Anchor((1.0, 2.0)), keep=True)
    press("Ctrl+Shift+Z")
    assert workspace.status.text == "Nothing to redo."
    assert not workspace.status.failed


def test_a_group_comes_back_with_its_anchors_in_one_step(
    workspace: WorkspaceModel, press: Callable[[str], None]
) -> None:
    add_group(workspace)
    key = workspace.group
    workspace.add_anchor(Anchor((20.0, 10.0), group=key), keep=True)
    groups = workspace.groups
    remove_group(workspace, key)
    assert workspace.anchors == ()
    press("Ctrl+Z")
    assert (workspace.groups, workspace.group) == (groups, key)
    assert workspace.anchors == (Anchor((20.0, 10.0), group=key),)
    workspace.group = 0
    press("Ctrl+Z")
    assert workspace.anchors == ()
    assert len(workspace.groups) == 2


def test_a_drag_is_one_step(
    viewer: ViewerModel, workspace: WorkspaceModel, press: Callable[[str], None]
) -> None:
    workspace.add_anchor(A, keep=True)
    way = [Mouse("mouse_move", (20.0 + step, 10.0)) for step in range(1, 6)]
    gesture(viewer, Mouse("mouse_press", (20.0, 10.0)), *way, Mouse("mouse_release", (25.0, 10.0)))
    assert workspace.anchors[0].pixel_yx == (25.0, 10.0)
    press("Ctrl+Z")
    assert workspace.anchors == (A,)
    press("Ctrl+Shift+Z")
    assert workspace.anchors[0].pixel_yx == (25.0, 10.0)


def test_the_region_is_a_step_and_another_image_begins_anew(
    viewer: ViewerModel, workspace: WorkspaceModel, press: Callable[[str], None]
) -> None:
    workspace.region = "view"
    press("Ctrl+Z")
    assert workspace.region == "whole"
    workspace.add_anchor(A, keep=True)
    viewer.add_image(noise(32, 32), name="other")
    press("Ctrl+Z")
    assert workspace.status.text == "Nothing to undo."


def test_a_stroke_on_the_mask_is_undone_from_any_layer(
    viewer: ViewerModel,
    controller: Controller,
    workspace: WorkspaceModel,
    image: Image,
    press: Callable[[str], None],
) -> None:
    workspace.region = "mask"
    mask = next(layer for layer in viewer.layers if layer.name == "tissue / mask")
    before = mask.data.copy()
    with mask.block_history():
        mask.paint((1, 1), 1 - int(before[1, 1]))
        mask.paint((1, 4), 1 - int(before[1, 1]))
    after = mask.data.copy()
    assert (before != after).any()
    workspace.add_anchor(A, keep=True)
    press("Ctrl+Z")
    assert (mask.data == after).all()
    press("Ctrl+Z")
    assert ((mask.data != 0) == (before != 0)).all()
    assert workspace.region == "mask"
    press("Ctrl+Shift+Z")
    assert ((mask.data != 0) == (after != 0)).all()
    press("Ctrl+Z")
    press("Ctrl+Z")
    assert workspace.region == "whole"
