"""Tissue as the region: found once, painted over, and used as a mask by runs and their forecast."""

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels
from skimage.data import immunohistochemistry
from viewer_kit import KnownEmbedder

from napari_sslmaps.core.region import Region
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.controller import Controller


def on_glass(viewer: ViewerModel) -> Image:
    glass = np.full((600, 700, 3), 242, np.uint8)
    glass[200:456, 300:556] = immunohistochemistry()[:256, :256]
    return viewer.add_image(glass, name="slide", rgb=True)


def masks_of(viewer: ViewerModel) -> list[Labels]:
    return [layer for layer in viewer.layers if layer.metadata.get(OWN, {}).get("role") == "mask"]


def test_choosing_tissue_finds_it_as_a_layer_and_runs_use_it(
    viewer: ViewerModel, controller: Controller, embedder: KnownEmbedder, specs: tuple[EncoderSpec, ...]
) -> None:
    image, workspace = on_glass(viewer), controller.workspace
    workspace.image = image
    workspace.region = "mask"
    (layer,) = masks_of(viewer)
    assert layer.visible
    assert viewer.layers.selection.active is image
    assert not workspace.plan.failed
    assert "of them in the mask" in workspace.plan.text or "tokens, " in workspace.plan.text
    controller.run()
    (_, region) = embedder.calls[-1]
    assert abs(region.y - 200) < 16
    assert abs(region.x - 300) < 16
    assert abs(region.height - 256) < 32
    assert embedder.options[-1].mask.values.shape == (600, 700)


def test_painting_in_the_mask_changes_the_plan_and_the_next_run(
    viewer: ViewerModel, controller: Controller, embedder: KnownEmbedder
) -> None:
    image, workspace = on_glass(viewer), controller.workspace
    workspace.image, workspace.region = image, "mask"
    controller.run()
    calls, said = len(embedder.calls), workspace.plan.text
    (layer,) = masks_of(viewer)
    layer.data_setitem((np.arange(0, 50).repeat(50), np.tile(np.arange(50), 50)), 1)
    assert workspace.plan.text != said
    controller.run()
    assert embedder.calls[calls][1] == Region(0, 0, *np.argwhere(layer.data).max(axis=0) + 1)
    assert controller.session.mask.values[:50, :50].all()
    layer.data = np.zeros_like(layer.data)
    assert not workspace.plan.failed
    assert "Paint what is to be embedded" in workspace.plan.text


def test_the_mask_hides_where_it_is_not_the_region_and_its_removal_leaves_the_whole(
    viewer: ViewerModel, controller: Controller
) -> None:
    image, workspace = on_glass(viewer), controller.workspace
    workspace.image, workspace.region = image, "mask"
    (layer,) = masks_of(viewer)
    workspace.region = "view"
    assert not layer.visible
    workspace.region = "mask"
    assert layer.visible
    assert masks_of(viewer) == [layer]
    viewer.layers.remove(layer)
    assert workspace.region == "whole"


def test_the_mask_follows_its_image_and_belongs_to_it_alone(
    viewer: ViewerModel, controller: Controller
) -> None:
    first, workspace = on_glass(viewer), controller.workspace
    workspace.image, workspace.region = first, "mask"
    first.scale = (0.5, 0.5)
    (layer,) = masks_of(viewer)
    np.testing.assert_allclose(layer.scale, (0.5, 0.5))
    second = on_glass(viewer)
    workspace.image = second
    assert len(masks_of(viewer)) == 2
    assert [mask.visible for mask in masks_of(viewer)] == [False, True]


def test_anchors_after_a_masked_run_keep_its_mask(
    viewer: ViewerModel, controller: Controller, embedder: KnownEmbedder
) -> None:
    image, workspace = on_glass(viewer), controller.workspace
    workspace.image, workspace.region = image, "mask"
    workspace.chosen = ("mae-demo",)
    controller.run()
    workspace.region = "whole"
    workspace.chosen = ("mae-demo", "dinov3-demo")
    controller.coordinator.embed_missing()
    assert [name for name, _ in embedder.calls] == ["mae-demo", "dinov3-demo"]
    assert embedder.options[0].mask.sha256 == embedder.options[1].mask.sha256
