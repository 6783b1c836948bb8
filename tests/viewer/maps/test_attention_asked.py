"""Attention that is not kept with embeddings: of a block, of an anchor's token, rollout, and all heads."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from viewer_kit import (
    KnownAttender,
    KnownEmbedder,
    KnownLibrary,
    KnownPretext,
    Mouse,
    gesture,
    known_services,
    noise,
)

from napari_sslmaps.core.results import Embedding
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import DeviceMemoryError, MapUnavailableError
from napari_sslmaps.maps.attention import AttentionOptions, AttentionStack
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.state.tasks import ImmediateRunner
from napari_sslmaps.viewer.state.workspace import Anchor, WorkspaceModel

UPPER, LOWER = (20.0, 10.0), (50.0, 70.0)


@pytest.fixture
def attender() -> KnownAttender:
    return KnownAttender()


@pytest.fixture
def attending(
    viewer: ViewerModel, workspace: WorkspaceModel, specs: tuple[EncoderSpec, ...], attender: KnownAttender
) -> Controller:
    services = known_services(KnownEmbedder(), KnownLibrary(), KnownPretext(), attender=attender)
    made = Controller(viewer, workspace, make_runner=ImmediateRunner, services=services)
    workspace.available, workspace.chosen = specs, tuple(spec.name for spec in specs)
    viewer.add_image(noise(64, 80), name="tissue")
    made.run()
    workspace.shown = "attention"
    yield made
    made.close()


def attention(controller: Controller, encoder: str = "mae-demo") -> Image:
    return controller.layer_manager.find(controller.workspace.image, "attention", encoder)


def test_a_block_is_computed_for_every_method(attending: Controller, attender: KnownAttender) -> None:
    workspace = attending.workspace
    assert workspace.blocks == 1
    workspace.attention = AttentionOptions(block=1)
    assert attender.asked == [("mae-demo", 1), ("dinov3-demo", 1)]
    np.testing.assert_allclose(attention(attending).data[1:], 0.25)
    assert attention(attending).metadata[OWN]["options"]["attention_kind"] == "cls"


def test_a_block_that_is_not_there_is_the_last(attending: Controller, attender: KnownAttender) -> None:
    attending.workspace.attention = AttentionOptions(block=7)
    assert attender.asked[0] == ("mae-demo", 1)


def test_rollout_says_what_it_leaves_out(attending: Controller, attender: KnownAttender) -> None:
    attending.workspace.attention = AttentionOptions(query="rollout")
    assert attender.asked == [("mae-demo", "rollout"), ("dinov3-demo", "rollout")]
    assert "follows attention alone" in attending.workspace.caption.caution


def test_going_back_shows_what_the_embedding_holds(attending: Controller, attender: KnownAttender) -> None:
    before = attention(attending).data.copy()
    attending.workspace.attention = AttentionOptions(query="rollout")
    assert not np.allclose(attention(attending).data, before)
    attending.workspace.attention = AttentionOptions()
    np.testing.assert_array_equal(attention(attending).data, before)
    assert len(attender.asked) == 2


def test_an_anchor_asks_once_per_tile(
    viewer: ViewerModel, attending: Controller, attender: KnownAttender
) -> None:
    workspace = attending.workspace
    workspace.attention = AttentionOptions(query="anchor")
    assert "Set an anchor" in workspace.status.text
    assert attender.asked == []
    workspace.add_anchor(Anchor(UPPER), keep=False)
    assert len(attender.asked) == 2
    np.testing.assert_array_equal(np.argwhere(attention(attending).data), [[2, 1]])
    layer, frames = attention(attending), []
    workspace.events.anchors.connect(lambda: frames.append(np.argwhere(layer.data)[0].tolist()))
    gesture(
        viewer,
        Mouse("mouse_press", UPPER),
        Mouse("mouse_move", (20.0, 42.0)),
        Mouse("mouse_release", (28.0, 42.0)),
    )
    assert frames == [[2, 5], [3, 5]]
    assert len(attender.asked) == 2
    workspace.move_anchor(0, LOWER)
    assert attender.asked[2:] == [("mae-demo", LOWER), ("dinov3-demo", LOWER)]


def test_a_failure_is_a_sentence_and_leaves_the_map(
    attending: Controller, attender: KnownAttender, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = attention(attending).data.copy()

    def fail(*_args: object, **_options: object) -> None:
        raise DeviceMemoryError("The attention does not fit. Choose smaller tiles.")

    monkeypatch.setattr(attender, "of_output", fail)
    attending.workspace.attention = AttentionOptions(block=1)
    assert attending.workspace.status.text == "The attention does not fit. Choose smaller tiles."
    np.testing.assert_array_equal(attention(attending).data, before)


def test_what_one_method_cannot_do_stops_no_other(
    attending: Controller, attender: KnownAttender, monkeypatch: pytest.MonkeyPatch
) -> None:
    able = attender.of_output

    def fail_once(embedding: Embedding, block: int | None, **options: object) -> AttentionStack:
        if embedding.provenance.encoder == "mae-demo":
            raise MapUnavailableError("mae-demo cannot be asked again.")
        return able(embedding, block, **options)

    monkeypatch.setattr(attender, "of_output", fail_once)
    attending.workspace.attention = AttentionOptions(block=1)
    np.testing.assert_allclose(attention(attending, "dinov3-demo").data[1:], 0.25)
    assert attending.workspace.status.text == "mae-demo cannot be asked again."


def test_heads_become_a_layer_to_slide_through(viewer: ViewerModel, attending: Controller) -> None:
    image = attending.workspace.image
    image.scale, image.translate, image.rotate = (0.5, 0.5), (3, 4), 20
    attending.stack_heads()
    layer = viewer.layers[f"{image.name} / attention heads / mae-demo"]
    assert layer.data.shape == (2, 8, 10)
    flat = attention(attending)
    np.testing.assert_allclose(layer.data_to_world((1, 2, 3))[1:], flat.data_to_world((2, 3)))
    assert viewer.dims.nsteps[0] == 2
    assert not flat.visible
    attending.stack_heads()
    assert sum(" / attention heads / " in each.name for each in viewer.layers) == 1
    viewer.layers.remove(viewer.layers[f"{image.name} / attention heads / mae-demo"])
    attending.workspace.front = "nobody"
    attending.stack_heads()
    said = attending.workspace.status
    assert "no attention of nobody" in said.text
    assert not said.failed
