"""Evidence by a folder's heads on the image in view: what is asked, drawn, said and taken away again."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from compare_page_kit import KnownComparer, known_comparison
from comparison_kit import EXACT, encoders_in
from napari.components import ViewerModel
from napari.layers import Image
from viewer_kit import KnownEmbedder, known_services, noise

from napari_sslmaps.compare.request import ComparisonRequest
from napari_sslmaps.compare.results import Comparison
from napari_sslmaps.core.linear_heads import ImageHead, LinearHead
from napari_sslmaps.core.region import Region
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.viewer.canvas.map_layers import EVIDENCE
from napari_sslmaps.viewer.compare.build import ComparePage
from napari_sslmaps.viewer.compare.class_evidence import EvidenceRequest, EvidenceResult, HeadEvidencer
from napari_sslmaps.viewer.compare.jobs import ComparisonResult, FolderRequest
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders
from napari_sslmaps.viewer.state.tasks import ImmediateRunner
from napari_sslmaps.viewer.state.workspace import WorkspaceModel


def head(encoder: str = "mae-demo", dim: int = 4) -> ImageHead:
    """For the class ``right``, which the first channel speaks against."""
    weights = np.zeros((2, dim), np.float32)
    weights[:, 0] = [1, -1]
    return ImageHead(
        LinearHead(weights, np.array([-3, 3], np.float32), np.arange(2)), ("left", "right"), encoder
    )


class BothKinds(HeadEvidencer):
    """Answers Grad-CAM without a network: rectified evidence of tokens."""

    def __call__(self, asked: EvidenceRequest) -> EvidenceResult:
        found = super().__call__(replace(asked, spec=None))
        if asked.spec is None:
            return found
        values = np.maximum(found.map.values, 0)
        return replace(found, map=replace(found.map, kind="grad-cam", values=values))


class HeadedComparer(KnownComparer):
    """Hands on a head of the first encoder."""

    def __call__(
        self, request: ComparisonRequest, *rest: Any, folder: Path | None = None, **known: Any
    ) -> ComparisonResult:
        found = super().__call__(request, *rest, folder=folder, **known)
        return replace(found, comparison=Comparison(request, (), (), heads={"mae-demo": head()}))


@pytest.fixture
def controller(
    viewer: ViewerModel, workspace: WorkspaceModel, specs: tuple[EncoderSpec, ...], embedder: KnownEmbedder
) -> Iterator[Controller]:
    services = replace(known_comparison(HeadedComparer()), evidencer=BothKinds(LoadedEncoders()))
    made = Controller(
        viewer, workspace, make_runner=ImmediateRunner, services=known_services(embedder, comparison=services)
    )
    workspace.available = specs
    workspace.chosen = tuple(spec.name for spec in specs)
    yield made
    made.close()


@pytest.fixture
def compared(controller: Controller, image: Image, tmp_path: Path) -> ComparePage:
    """A folder was compared, and the encoders were run on the image in view."""
    comparison = controller.compare_page.comparison
    (tmp_path / "cells").mkdir()
    iio.imwrite(tmp_path / "cells" / "one.png", np.zeros((8, 8), np.uint8))
    comparison.run_folder(FolderRequest(tmp_path, None, "subfolders", ("localisation",), tmp_path / "out"))
    controller.run()
    return controller.compare_page


def evidence_in(controller: Controller, image: Image) -> list[Image]:
    return controller.layer_manager.layers_of(image, EVIDENCE)


def test_a_picked_row_shows_where_the_likeliest_class_lies(
    compared: ComparePage, controller: Controller, image: Image, workspace: WorkspaceModel
) -> None:
    compared.comparison.follow_row("image-labels", ("mae-demo", 0.9))
    (layer,) = evidence_in(controller, image)
    assert layer.name == "tissue / evidence of right / mae-demo"
    assert layer.visible
    assert not any(other.visible for other in controller.layer_manager.maps_of(image))
    low, high = layer.contrast_limits
    assert low == -high
    assert workspace.status.text.startswith(
        "tissue / evidence of right / mae-demo: the region's likeliest class, with"
    )
    assert layer.data.shape == (8, 10)
    compared.comparison.follow_row("localisation", ("mae-demo, Grad-CAM", 1.0))
    (other,) = evidence_in(controller, image)
    assert other.name == "tissue / Grad-CAM of right / mae-demo"
    assert other.colormap.name == "inferno"
    assert other.contrast_limits[0] == 0
    compared.comparison.follow_row("localisation", ("mae-demo", 1.0))
    assert [each.name for each in evidence_in(controller, image)] == [layer.name]


def test_evidence_goes_when_another_map_comes(
    compared: ComparePage, controller: Controller, image: Image, workspace: WorkspaceModel
) -> None:
    compared.comparison.follow_row("localisation", ("mae-demo", 1.0))
    workspace.front = "dinov3-demo"
    assert not evidence_in(controller, image)


def test_a_method_without_head_or_tokens_shows_none(
    compared: ComparePage,
    controller: Controller,
    image: Image,
    viewer: ViewerModel,
    workspace: WorkspaceModel,
) -> None:
    compared.comparison.follow_row("localisation", ("dinov3-demo", 1.0))
    assert not evidence_in(controller, image)
    viewer.add_image(noise(64, 64), name="other")
    compared.comparison.follow_row("localisation", ("mae-demo", 1.0))
    assert workspace.status.text == "Run mae-demo on this region first: evidence is read off its tokens."
    assert workspace.status.failed


def test_tokens_that_a_head_does_not_fit_are_told(
    compared: ComparePage, controller: Controller, image: Image, workspace: WorkspaceModel
) -> None:
    compared.evidence.heads = {"mae-demo": head(dim=7)}
    compared.comparison.follow_row("localisation", ("mae-demo", 1.0))
    assert not evidence_in(controller, image)
    assert "Fit a head for each encoder" in workspace.status.text


def test_grad_cam_goes_through_the_network(tmp_path: Path) -> None:
    path = Path(encoders_in(tmp_path, "dira")[0].name)
    encoder = load_encoder(path, device="cpu", precision="float32")
    source = open_image(noise(64, 96))
    embedding = embed(source, encoder, region=Region(0, 0, 64, 96))
    made = head("dira-tiny", dim=embedding.tokens.shape[-1])
    loaded = LoadedEncoders()
    spec = replace(encoder.spec, name=str(path))
    through, plain = (
        HeadEvidencer(loaded)(EvidenceRequest(source, of, embedding, made)) for of in (spec, None)
    )
    assert isinstance(through, EvidenceResult)
    assert (through.map.kind, plain.map.kind) == ("grad-cam", "token")
    assert through.map.label == plain.map.label
    assert 0.5 <= through.probability == plain.probability <= 1
    assert through.map.values.min() >= 0
    assert EXACT.precision == encoder.precision
