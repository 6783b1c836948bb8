"""What the window writes of its maps is enough to make them again without a window, to the last bit."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from encoders_factory import write_encoder
from napari.components import ViewerModel
from napari.layers import Image
from viewer_kit import KnownLibrary, KnownPaces, KnownPretext

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.tiling import ONE_PASS
from napari_sslmaps.encoders import catalog
from napari_sslmaps.encoders.controls import controls_of
from napari_sslmaps.encoders.registry import get_spec
from napari_sslmaps.maps.attention import AttentionOptions
from napari_sslmaps.maps.pca import PcaOptions
from napari_sslmaps.maps.registry import standard
from napari_sslmaps.maps.similarity import SimilarityOptions
from napari_sslmaps.records.map_files import read_map
from napari_sslmaps.records.run import RunRecord
from napari_sslmaps.run.compute import compute_run
from napari_sslmaps.run.outcome import RunOutcome
from napari_sslmaps.run.write import request_from_record
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.compare.build import real_comparison_services
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.maps.attention_controller import PipelineAttender
from napari_sslmaps.viewer.maps.embedding_job import PipelineEmbedder
from napari_sslmaps.viewer.services import Services
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders
from napari_sslmaps.viewer.state.tasks import ImmediateRunner
from napari_sslmaps.viewer.state.workspace import Anchor, Group, WorkspaceModel, add_group, change_group

CHOSEN = ("mae-histology", "dinov3-histology", "dira-histology")


@pytest.fixture(scope="module")
def folder_of_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedded")
    for name in CHOSEN:
        write_encoder(folder / f"{name}.safetensors", name.partition("-")[0])  # type: ignore[arg-type]
        (folder / f"{name}.md").write_text(f"# {name}\n", encoding="utf-8")
    return folder


@pytest.fixture
def real(
    folder_of_weights: Path, viewer: ViewerModel, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Controller]:
    """A window, but for Qt, with real rooms below it and tiny encoders in float32."""
    monkeypatch.setattr(catalog, "_weights_folder", lambda: folder_of_weights)
    encoders = LoadedEncoders()
    services = Services(
        PipelineEmbedder(encoders),
        KnownPretext(),
        KnownLibrary(),
        KnownPaces(),
        PipelineAttender(encoders),
        real_comparison_services(encoders),
    )
    workspace = WorkspaceModel()
    made = Controller(viewer, workspace, make_runner=ImmediateRunner, services=services)
    workspace.keep = False
    workspace.available = tuple(get_spec(name) for name in CHOSEN)
    workspace.chosen = CHOSEN
    yield made
    made.close()


def picture(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 90, (height, width, 3), np.uint8)
    pixels[:, width // 2 :] += 120
    return pixels


def again(folder: Path) -> RunOutcome:
    """Make the maps again from the record, as ``napari-sslmaps run --from`` does."""
    return compute_run(request_from_record(RunRecord.read(folder / "run.json"), folder))


def assert_layers_are_remade(controller: Controller, image: Image, outcome: RunOutcome) -> set[str]:
    """Compare every layer of an image with the map made again; return the kinds there were."""
    compared = set()
    for found in outcome.encoders:
        for kind in standard():
            remade = found.maps.get(
                "activation" if "activation" in found.maps and kind == "attention" else kind
            )
            layer = controller.layer_manager.find(image, kind, found.name)
            assert (layer is None) == (remade is None), (found.name, kind)
            if layer is None or remade is None:
                continue
            shown = controller.layer_manager.result_of(layer)
            np.testing.assert_array_equal(shown.values, remade.values, err_msg=f"{found.name}, {kind}")
            if kind == "groups":
                np.testing.assert_array_equal(np.asarray(layer.data).squeeze(), remade.labels)
            assert shown.grid == remade.grid
            compared.add(f"{found.name}, {kind}")
    return compared


def test_a_window_is_made_again_headless(real: Controller, viewer: ViewerModel, tmp_path: Path) -> None:
    workspace = real.workspace
    viewer.add_image(picture(1), name="first", rgb=True)
    real.run()
    real.bases.lock()
    image = viewer.add_image(picture(2), name="second", rgb=True)
    workspace.controls = tuple(
        control for control in controls_of(get_spec(CHOSEN[0])) if control.kind in ("constant", "pixels")
    )
    workspace.add_anchor(Anchor((20.0, 50.0)), keep=True)
    workspace.add_anchor(Anchor((4.0, 4.0), negative=True), keep=True)
    change_group(workspace, Group(0, "gland", "#ff1a1a"))
    add_group(workspace)
    workspace.add_anchor(Anchor((10.0, 10.0), group=workspace.group), keep=True)
    workspace.attention = AttentionOptions(head=1, block=1, query="anchor")
    workspace.similarity = SimilarityOptions(centred=False, combine="max")
    workspace.pca = PcaOptions(rendering="whitened", basis="kept", aligned=True)
    workspace.front, workspace.against, workspace.difference = CHOSEN[0], CHOSEN[2], True
    workspace.shown = "similarity"
    real.compare_page.exports.export("maps", tmp_path / "out")
    assert not workspace.status.failed, workspace.status
    outcome = again(tmp_path / "out")
    compared = assert_layers_are_remade(real, image, outcome)
    assert {f"{name}, {kind}" for name in CHOSEN for kind in ("attention", "pca", "similarity", "groups")} < (
        compared
    )
    assert "pixels-8px, pca" in compared
    (difference,) = real.layer_manager.layers_of(image, "difference")
    np.testing.assert_array_equal(difference.data, outcome.differences["similarity"].values)
    stored = read_map(tmp_path / "out" / CHOSEN[0] / "similarity.tif")
    np.testing.assert_array_equal(stored.values, outcome.encoders[0].maps["similarity"].values)
    record = RunRecord.read(tmp_path / "out" / "run.json")
    assert [group.name for group in record.groups] == ["gland", "group 1"]
    assert {basis.path for basis in record.bases} == {f"bases/{name}.json" for name in CHOSEN}
    assert (tmp_path / "out" / "heads.png").is_file()


def test_a_joint_basis_a_mask_and_one_pass_are_made_again(
    real: Controller, viewer: ViewerModel, tmp_path: Path
) -> None:
    workspace = real.workspace
    workspace.chosen = CHOSEN[:2]
    workspace.tiling = ONE_PASS
    viewer.add_image(picture(1), name="first", rgb=True)
    real.run()
    image = viewer.add_image(np.stack([picture(3), picture(2)]), name="clip", rgb=True)
    viewer.dims.set_current_step(0, 1)
    shapes = viewer.add_shapes(
        [np.array([(0, 0), (0, 20), (20, 20), (20, 0)]), np.array([(24, 24), (24, 63), (47, 63), (47, 24)])]
    )
    shapes.selected_data = {0, 1}
    viewer.layers.selection.active = image
    workspace.region = "rectangle"
    workspace.attention = AttentionOptions(reduction="max", query="rollout")
    workspace.pca = PcaOptions(basis="joint")
    workspace.add_anchor(Anchor((30.0, 40.0)), keep=False)
    real.run()
    workspace.tiling = replace(ONE_PASS, tile=3, overlap=1)  # chosen, but nothing is embedded by it yet
    real.compare_page.exports.export("maps", tmp_path)
    assert not workspace.status.failed, workspace.status
    record = RunRecord.read(tmp_path / "run.json")
    assert record.mask is not None
    assert record.region == Region(0, 0, 48, 64)
    outcome = again(tmp_path)
    assert np.isnan(outcome.encoders[0].maps["pca"].values).any()
    assert len(assert_layers_are_remade(real, image, outcome)) == 6


def test_tokens_of_another_block_are_made_again(
    real: Controller, viewer: ViewerModel, tmp_path: Path
) -> None:
    workspace = real.workspace
    workspace.chosen = CHOSEN[:2]
    image = viewer.add_image(picture(2), name="second", rgb=True)
    workspace.add_anchor(Anchor((20.0, 50.0)), keep=True)
    own = real.layer_manager.result_of(real.layer_manager.find(image, "similarity", CHOSEN[0]))
    workspace.token_block, workspace.token_norm = 0, False
    layer = real.layer_manager.find(image, "similarity", CHOSEN[0])
    assert not np.allclose(real.layer_manager.result_of(layer).values, own.values)
    assert layer.name == f"second / similarity / {CHOSEN[0]} / block 0, without norm"
    assert "block 0" in layer.metadata[OWN]["provenance"].values()
    real.compare_page.exports.export("maps", tmp_path)
    assert not workspace.status.failed, workspace.status
    options = RunRecord.read(tmp_path / "run.json").options
    assert (options.token_block, options.token_norm) == (0, False)
    assert len(assert_layers_are_remade(real, image, again(tmp_path))) >= 4


def test_tokens_of_several_depths_are_told_apart_before_they_are_written(
    real: Controller, viewer: ViewerModel, tmp_path: Path
) -> None:
    workspace = real.workspace
    workspace.chosen = CHOSEN[:1]
    viewer.add_image(picture(2), name="second", rgb=True)
    real.run()
    _, session = real.sessions.here
    before = session.embedded[CHOSEN[0]]
    workspace.chosen = CHOSEN[:2]
    workspace.token_block = 0
    session.embedded[CHOSEN[0]] = before
    real.compare_page.exports.export("maps", tmp_path)
    assert workspace.status.failed
    assert f"{CHOSEN[0]}: its own, {CHOSEN[1]}: block 0" in workspace.status.text


def test_anchors_of_another_image_are_found_again(
    real: Controller, viewer: ViewerModel, tmp_path: Path
) -> None:
    workspace = real.workspace
    workspace.chosen = CHOSEN[:1]
    first = viewer.add_image(picture(1), name="first", rgb=True)
    real.run()
    workspace.add_anchor(Anchor((12.0, 50.0)), keep=False)
    image = viewer.add_image(picture(2, 40, 32), name="second", rgb=True)
    real.run()
    workspace.reference = first
    real.compare_page.exports.export("maps", tmp_path)
    assert not workspace.status.failed, workspace.status
    outcome = again(tmp_path)
    assert outcome.request.reference is not None
    assert len(assert_layers_are_remade(real, image, outcome)) == 3
