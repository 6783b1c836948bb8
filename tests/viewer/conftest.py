"""A viewer model, a workspace and a controller whose embedder runs no network."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from napari.components import ViewerModel
from napari.layers import Image
from viewer_kit import KnownEmbedder, KnownLibrary, KnownPretext, known_services, make_spec, noise

from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.state.tasks import ImmediateRunner
from napari_sslmaps.viewer.state.workspace import WorkspaceModel


@pytest.fixture
def embedder() -> KnownEmbedder:
    return KnownEmbedder()


@pytest.fixture
def pretext() -> KnownPretext:
    return KnownPretext()


@pytest.fixture
def library() -> KnownLibrary:
    return KnownLibrary()


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def workspace() -> WorkspaceModel:
    return WorkspaceModel()


@pytest.fixture
def specs(tmp_path: Path) -> tuple[EncoderSpec, ...]:
    return (
        make_spec(tmp_path / "a", "mae-demo", "mae"),
        make_spec(tmp_path / "b", "dinov3-demo", "dinov3"),
    )


@pytest.fixture
def controller(
    viewer: ViewerModel,
    workspace: WorkspaceModel,
    specs: tuple[EncoderSpec, ...],
    embedder: KnownEmbedder,
    library: KnownLibrary,
    pretext: KnownPretext,
) -> Iterator[Controller]:
    made = Controller(
        viewer,
        workspace,
        make_runner=ImmediateRunner,
        services=known_services(embedder, library, pretext),
    )
    workspace.available = specs
    workspace.chosen = tuple(spec.name for spec in specs)
    yield made
    made.close()


@pytest.fixture
def image(viewer: ViewerModel, controller: Controller) -> Image:
    return viewer.add_image(noise(64, 80), name="tissue")
