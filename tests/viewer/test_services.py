"""The real services behind the window: from a folder of a user to its pretext view, without a window."""

from pathlib import Path

import numpy as np
import pytest
from made_transformers import random_model, save_folder
from napari.components import ViewerModel
from viewer_kit import noise

from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.errors import CheckpointError
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.encoders.library import FileLibrary
from napari_sslmaps.viewer.services import real_services
from napari_sslmaps.viewer.state.tasks import ImmediateRunner
from napari_sslmaps.viewer.state.workspace import WorkspaceModel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_folder(random_model("vit_mae"), tmp_path / "my-mae")


def warn(text: str) -> None:
    raise AssertionError(text)


def test_a_folder_is_added_run_and_asked_for_its_pretext(folder: Path) -> None:
    viewer, workspace = ViewerModel(), WorkspaceModel()
    controller = Controller(viewer, workspace, make_runner=ImmediateRunner, services=real_services())
    viewer.add_image((noise(64, 80) * 255).astype(np.uint8), name="tissue")
    review = controller.files.review(folder)
    review.inspect()
    assert review.error_text == ""
    review.accept("")
    assert workspace.chosen == ("my-mae",)
    controller.run()
    assert controller.session.embedded["my-mae"].embedding.tokens.shape == (8, 10, 96)
    workspace.task = "pretext"
    controller.pretext.show()
    assert workspace.status.text == "my-mae: 32 × 32 px, 4 × 4 tokens."
    mask = controller.pretext.tools.mask
    mask.brush_size = 1
    mask.paint((0, 0), 1 - int(mask.data[0, 0]))
    assert not workspace.status.failed
    np.testing.assert_array_equal(controller.pretext.view.mask, mask.data != 0)
    controller.close()


def test_a_folder_is_remembered_and_forgotten(folder: Path) -> None:
    library = FileLibrary()
    report = library.inspect(folder, Overrides(num_heads=3))
    assert report.method == "mae"
    added = library.remember(folder, Overrides(num_heads=3), "mine")
    assert [(spec.name, dict(spec.overrides)) for spec in library.remembered(warn)] == [
        ("mine", {"num_heads": 3})
    ]
    assert added.path == folder
    library.forget("mine")
    assert library.remembered(warn) == []
    with pytest.raises(CheckpointError):
        library.inspect(folder.parent, Overrides())


def test_a_damaged_list_is_complained_of(nobody_at_home: Path) -> None:
    written = nobody_at_home / "config" / "encoders.json"
    written.parent.mkdir(parents=True)
    written.write_text("{")
    said: list[str] = []
    assert FileLibrary().remembered(said.append) == []
    assert "damaged" in said[0]


def test_published_encoders_are_listed_but_not_here() -> None:
    published = FileLibrary().published()
    assert {spec.origin for spec in published} == {"published"}
    assert all(spec.trouble for spec in published)
