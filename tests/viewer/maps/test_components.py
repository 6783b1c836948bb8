"""Colours of components: joint, kept, from a file, aligned; and controls as methods of their own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from viewer_kit import KnownEmbedder, noise

from napari_sslmaps.encoders.controls import controls_of
from napari_sslmaps.maps.pca import ComponentMap, PcaOptions
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.state.workspace import Anchor


@pytest.fixture
def two(viewer: ViewerModel, controller: Controller, image: Image) -> tuple[Image, Image]:
    """Two images, both embedded; the second, of another size, is looked at."""
    controller.run()
    other = viewer.add_image(noise(64, 40), name="other")
    controller.run()
    controller.workspace.shown = "pca"
    return image, other


def shown(controller: Controller, image: Image, encoder: str = "mae-demo") -> ComponentMap:
    result = controller.layer_manager.result_of(controller.layer_manager.find(image, "pca", encoder))
    assert isinstance(result, ComponentMap)
    return result


def test_a_joint_basis_is_of_all_images(controller: Controller, two: tuple[Image, Image]) -> None:
    first, second = two
    alone = shown(controller, second).basis
    controller.workspace.pca = PcaOptions(basis="joint")
    joint = shown(controller, second).basis
    assert not np.allclose(alone.mean, joint.mean, atol=1e-6)
    assert controller.workspace.caption.text.startswith("components of all images together")
    controller.workspace.image = first
    np.testing.assert_allclose(shown(controller, first).basis.mean, joint.mean, atol=1e-6)


def test_kept_components_colour_other_images(controller: Controller, two: tuple[Image, Image]) -> None:
    first, second = two
    controller.workspace.image = first
    controller.bases.lock()
    kept = shown(controller, first).basis
    assert controller.workspace.pca.basis == "kept"
    controller.workspace.image = second
    assert shown(controller, second).basis is kept
    assert controller.workspace.caption.text.startswith("components that were kept")


def test_a_basis_is_written_and_kept_again(
    controller: Controller, two: tuple[Image, Image], tmp_path: Path
) -> None:
    workspace, path = controller.workspace, tmp_path / "basis.json"
    controller.bases.save(path)
    assert "written to basis.json" in workspace.status.text
    before = shown(controller, two[1]).basis
    controller.bases.load(path)
    assert workspace.pca.basis == "kept"
    np.testing.assert_array_equal(shown(controller, two[1]).basis.components, before.components)


def test_a_basis_of_another_encoder_or_a_broken_file_is_refused(
    controller: Controller, two: tuple[Image, Image], tmp_path: Path
) -> None:
    workspace, path = controller.workspace, tmp_path / "basis.json"
    controller.bases.save(path)
    spec = workspace.available[0]
    workspace.available = (replace(spec, name="else"), *workspace.available[1:])
    controller.bases.load(path)
    assert "'mae-demo'" in workspace.status.text
    path.write_text("{", encoding="utf-8")
    controller.bases.load(path)
    assert workspace.status.failed
    assert workspace.bases == ()


def test_nothing_shown_is_nothing_to_keep(controller: Controller, image: Image, tmp_path: Path) -> None:
    controller.bases.lock()
    assert "Run first" in controller.workspace.status.text
    controller.bases.save(tmp_path / "basis.json")
    assert not (tmp_path / "basis.json").exists()


def test_aligned_colours_of_equal_tokens_are_equal(
    controller: Controller, image: Image, embedder: KnownEmbedder
) -> None:
    controller.workspace.pca = PcaOptions(aligned=True)
    controller.run()
    controller.workspace.shown = "pca"
    maps = [shown(controller, image, name) for name in ("mae-demo", "dinov3-demo")]
    assert [result.aligned_to for result in maps] == ["", "mae-demo"]
    np.testing.assert_allclose(maps[0].values, maps[1].values, atol=0.02)
    controller.workspace.front = "dinov3-demo"
    assert controller.workspace.caption.text.endswith("colours turned to mae-demo")


def test_controls_are_methods_of_their_own(
    viewer: ViewerModel, controller: Controller, image: Image, embedder: KnownEmbedder
) -> None:
    workspace = controller.workspace
    controls = {control.kind: control for control in controls_of(workspace.available[0])}
    workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    workspace.controls = (controls["position"], controls["untrained"])
    names = ("mae-demo", "mae-untrained", "position-8px", "dinov3-demo")
    assert set(workspace.methods) == set(names)
    assert workspace.methods[0] == "mae-demo"
    assert [name for name, _ in embedder.calls][2:] == list(workspace.methods[1:3])
    assert controller.layer_manager.find(image, "similarity", "position-8px") is not None
    workspace.side_by_side = True
    assert [title for title, _ in controller.cells.cells.titles] == list(workspace.methods)
    workspace.side_by_side = False
    assert controller.stage.methods() == list(workspace.methods)
    mark = controller.layer_manager.find(image, "similarity", "mae-untrained").metadata[OWN]
    assert mark["contrast"]["rule"] == "percentiles 1–99 of all encoders"


def test_a_control_waits_for_the_run_of_an_image_that_is_not_embedded(
    controller: Controller, image: Image, embedder: KnownEmbedder
) -> None:
    workspace = controller.workspace
    workspace.controls = controls_of(workspace.available[0])[:1]
    assert embedder.calls == []
    controller.run()
    assert [name for name, _ in embedder.calls] == list(workspace.methods)


def test_side_by_side_turns_colours_alike_and_gives_them_back(
    controller: Controller, two: tuple[Image, Image]
) -> None:
    workspace, image = controller.workspace, two[1]
    second = workspace.methods[1]
    workspace.side_by_side = True
    assert workspace.pca.aligned
    assert shown(controller, image, second).aligned_to == workspace.methods[0]
    workspace.side_by_side = False
    assert not workspace.pca.aligned
    assert shown(controller, image, second).aligned_to == ""


def test_a_tick_taken_away_stays_away_and_one_set_by_hand_stays(controller: Controller) -> None:
    workspace = controller.workspace
    workspace.side_by_side = True
    workspace.pca = replace(workspace.pca, aligned=False)
    workspace.side_by_side = False
    workspace.side_by_side = True
    assert not workspace.pca.aligned
    workspace.pca = replace(workspace.pca, aligned=True)
    workspace.side_by_side = False
    assert workspace.pca.aligned


def test_kept_components_are_turned_by_nothing(controller: Controller, two: tuple[Image, Image]) -> None:
    controller.bases.lock()
    controller.workspace.side_by_side = True
    assert not controller.workspace.pca.aligned
    assert shown(controller, two[1]).aligned_to == ""
