"""Sessions: saved and opened again, and taken over by the next dock."""

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from viewer_kit import KnownEmbedder, known_services, noise

from napari_sslmaps.maps.similarity import SimilarityOptions
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.maps import session_files
from napari_sslmaps.viewer.state.tasks import ImmediateRunner
from napari_sslmaps.viewer.state.workspace import Anchor, WorkspaceModel, add_group


@pytest.fixture(autouse=True)
def last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "state" / "last-session.json"
    monkeypatch.setattr(session_files, "last_session", lambda: path)
    return path


@pytest.fixture
def worked(controller: Controller, image: Image) -> Controller:
    """A session with two groups, an option, and another map in view."""
    workspace = controller.workspace
    workspace.similarity = SimilarityOptions(centred=False)
    workspace.add_anchor(Anchor((20.0, 10.0)), keep=False)
    add_group(workspace)
    workspace.add_anchor(Anchor((20.0, 60.0), negative=True, group=1), keep=True)
    workspace.group = 0
    workspace.chosen = ("dinov3-demo",)
    workspace.shown = "pca"
    return controller


def test_a_saved_session_opens_as_it_was(
    viewer: ViewerModel, worked: Controller, image: Image, tmp_path: Path
) -> None:
    workspace, before = worked.workspace, worked.session_files.record()
    worked.session_files.save(tmp_path / "mine")
    workspace.anchors, workspace.chosen, workspace.shown = (), ("mae-demo",), "attention"
    workspace.similarity = SimilarityOptions()
    viewer.scene.camera.zoom = 17.0
    worked.session_files.open(tmp_path / "mine.json")
    assert worked.session_files.record() == before
    assert workspace.in_view == "pca"
    assert not workspace.status.failed


def test_an_image_that_is_gone_is_asked_for(viewer: ViewerModel, worked: Controller, tmp_path: Path) -> None:
    worked.session_files.save(tmp_path / "mine.json")
    viewer.layers.clear()
    worked.session_files.open(tmp_path / "mine.json")
    assert worked.workspace.status.text == "Open tissue first: it is not there."


def test_a_file_that_is_no_session_gets_a_sentence(worked: Controller, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    worked.session_files.open(tmp_path / "other.json")
    assert worked.workspace.status.failed
    assert "session" in worked.workspace.status.text


def test_closing_keeps_the_session_and_the_next_dock_takes_it_over(
    viewer: ViewerModel, worked: Controller, image: Image, embedder: KnownEmbedder, last: Path
) -> None:
    maps = {layer.name for layer in worked.layer_manager.maps_of(image)}
    before, calls = worked.session_files.record(), len(embedder.calls)
    specs = worked.workspace.available
    worked.close()
    assert last.exists()
    assert not any("anchors" in layer.name for layer in viewer.layers)
    workspace = WorkspaceModel()
    made = Controller(viewer, workspace, make_runner=ImmediateRunner, services=known_services(embedder))
    workspace.available = specs
    made.adopt()
    assert made.session_files.record() == before
    assert {layer.name for layer in made.layer_manager.maps_of(image)} == maps
    assert len(embedder.calls) == calls
    np.testing.assert_allclose(made.marks.main.data, [[20.0, 10.0], [20.0, 60.0]])
    made.close()


def test_nothing_is_kept_of_a_window_in_which_nothing_was_done(controller: Controller, last: Path) -> None:
    controller.viewer.add_image(noise(8, 8))
    controller.session_files.save_by_itself()
    assert not last.exists()
