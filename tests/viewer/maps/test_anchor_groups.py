"""Anchors in groups: colours, the active one, the map of all, a file of them, and those of another image."""

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from viewer_kit import KnownEmbedder, Mouse, click, gesture, noise

from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.state.workspace import (
    GROUP_COLOURS,
    Anchor,
    Group,
    add_group,
    change_group,
    remove_group,
)

LEFT, RIGHT = (20.0, 10.0), (20.0, 70.0)


@pytest.fixture
def grouped(viewer: ViewerModel, controller: Controller, image: Image) -> Controller:
    """A group on the left and one on the right, set by clicks; the second is active."""
    controller.workspace.anchor_mode = True
    click(viewer, LEFT)
    add_group(controller.workspace)
    click(viewer, RIGHT)
    return controller


def labels_of(controller: Controller, image: Image, encoder: str = "mae-demo") -> Labels:
    layer = controller.layer_manager.find(image, "groups", encoder)
    assert isinstance(layer, Labels)
    return layer


def test_a_click_adds_to_the_active_group_and_leaves_the_others(grouped: Controller) -> None:
    assert grouped.workspace.anchors == (Anchor(LEFT, group=0), Anchor(RIGHT, group=1))
    np.testing.assert_allclose(grouped.marks.main.face_color[1, :3], (1, 0xB0 / 255, 0), atol=0.01)
    assert grouped.marks.main.face_color[0, 3] < grouped.marks.main.face_color[1, 3] == 1


def test_similarity_is_to_the_active_group(grouped: Controller, image: Image) -> None:
    layer = grouped.layer_manager.find(image, "similarity", "mae-demo")
    assert layer.data[:, 5:].min() > layer.data[:, :5].max()
    grouped.workspace.group = 0
    assert layer.data[:, :5].min() > layer.data[:, 5:].max()


def test_each_token_gets_the_group_it_is_most_like(grouped: Controller, image: Image) -> None:
    layer = labels_of(grouped, image)
    np.testing.assert_array_equal(np.unique(layer.data[:, :5]), [1])
    np.testing.assert_array_equal(np.unique(layer.data[:, 5:]), [2])
    np.testing.assert_allclose(layer.scale, (8, 8))
    np.testing.assert_allclose(layer.get_color(1)[:3], (1, 0x1A / 255, 0x1A / 255), atol=0.01)
    grouped.workspace.shown = "groups"
    assert layer.visible
    assert grouped.workspace.caption.text == "which it is most like: group 1, group 2, centred"


def test_one_group_alone_makes_no_map_of_groups(controller: Controller, image: Image) -> None:
    controller.workspace.add_anchor(Anchor(LEFT), keep=False)
    assert controller.layer_manager.find(image, "groups", "mae-demo") is None


def test_the_map_of_groups_follows_a_drag(viewer: ViewerModel, grouped: Controller, image: Image) -> None:
    grouped.workspace.shown = "groups"
    layer = labels_of(grouped, image)
    seen = []
    grouped.workspace.events.anchors.connect(lambda: seen.append(layer.data[0, 0]))
    gesture(
        viewer,
        Mouse("mouse_press", RIGHT),
        Mouse("mouse_move", (20.0, 40.0)),
        Mouse("mouse_move", (22.0, 12.0)),
        Mouse("mouse_release", (22.0, 12.0)),
    )
    assert grouped.workspace.anchors[1] == Anchor((22.0, 12.0), group=1)
    assert seen
    assert set(np.unique(layer.data[:, 5:])) == {0}


def test_a_group_is_renamed_coloured_and_removed(grouped: Controller, image: Image) -> None:
    workspace = grouped.workspace
    change_group(workspace, Group(1, "stroma", "#0000ff"))
    layer = labels_of(grouped, image)
    np.testing.assert_allclose(layer.get_color(2)[:3], (0, 0, 1))
    assert layer.metadata[OWN]["options"]["groups"][1]["name"] == "stroma"
    change_group(workspace, Group(1, "group 1", "#0000ff"))
    assert workspace.groups[1].name == "stroma"
    assert "Another group is called" in workspace.status.text
    remove_group(workspace, 1)
    assert workspace.groups == (Group(),)
    assert workspace.anchors == (Anchor(LEFT),)
    assert workspace.group == 0
    remove_group(workspace, 0)
    assert workspace.groups == (Group(),)


def test_new_groups_get_names_and_colours_of_their_own(controller: Controller) -> None:
    workspace = controller.workspace
    for _ in range(2 * len(GROUP_COLOURS)):
        add_group(workspace)
    assert len({group.name for group in workspace.groups}) == 2 * len(GROUP_COLOURS) + 1
    assert len({group.colour for group in workspace.groups[: len(GROUP_COLOURS)]}) == len(GROUP_COLOURS)


def test_anchors_are_written_and_set_on_another_image(
    viewer: ViewerModel, grouped: Controller, tmp_path: Path
) -> None:
    workspace = grouped.workspace
    anchors, groups = workspace.anchors, workspace.groups
    grouped.anchor_sets.save(tmp_path / "mine")
    assert workspace.status.text == "2 anchors written to mine.json."
    other = viewer.add_image(noise(64, 80), name="other")
    assert workspace.image is other
    assert workspace.anchors == ()
    workspace.groups = (Group(),)
    grouped.anchor_sets.load(tmp_path / "mine.json")
    assert (workspace.anchors, workspace.groups) == (anchors, groups)
    assert "set on tissue" in workspace.status.text
    assert labels_of(grouped, other).data[0, 0] == 1


def test_anchors_that_lie_outside_the_image_are_refused(
    viewer: ViewerModel, grouped: Controller, tmp_path: Path
) -> None:
    grouped.anchor_sets.save(tmp_path / "mine.json")
    viewer.add_image(noise(32, 32), name="small")
    grouped.anchor_sets.load(tmp_path / "mine.json")
    assert grouped.workspace.status.failed
    assert "on the region" in grouped.workspace.status.text
    assert grouped.workspace.anchors == ()


def test_anchors_of_one_image_are_looked_for_in_another(
    viewer: ViewerModel, grouped: Controller, image: Image, embedder: KnownEmbedder
) -> None:
    workspace = grouped.workspace
    other = viewer.add_image(noise(64, 80), name="other")
    workspace.reference = image
    assert [name for name, _ in embedder.calls] == ["mae-demo", "dinov3-demo"] * 2
    layer = grouped.layer_manager.find(other, "similarity", "mae-demo")
    assert layer.data[:, 5:].min() > layer.data[:, :5].max()
    assert layer.metadata[OWN]["options"]["reference"] == "tissue"
    assert "in tissue" in workspace.caption.text
    assert grouped.marks.main is None or len(grouped.marks.main.data) == 0
    click(viewer, LEFT)
    assert workspace.reference is None
    layer = grouped.layer_manager.find(other, "similarity", "mae-demo")
    assert layer.data[:, :5].min() > layer.data[:, 5:].max()


def test_a_method_that_has_not_seen_the_other_image_is_named(
    viewer: ViewerModel, controller: Controller, image: Image
) -> None:
    workspace = controller.workspace
    workspace.chosen = ("mae-demo",)
    workspace.add_anchor(Anchor(LEFT), keep=False)
    other = viewer.add_image(noise(64, 80), name="other")
    workspace.chosen = ("mae-demo", "dinov3-demo")
    workspace.reference = image
    assert controller.layer_manager.find(other, "similarity", "mae-demo") is not None
    assert controller.layer_manager.find(other, "similarity", "dinov3-demo") is None
    assert "Run dinov3-demo on the image with the anchors" in workspace.status.text


def test_the_image_with_the_anchors_may_go(viewer: ViewerModel, grouped: Controller, image: Image) -> None:
    viewer.add_image(noise(64, 80), name="other")
    grouped.workspace.reference = image
    viewer.layers.remove(image)
    assert grouped.workspace.reference is None
