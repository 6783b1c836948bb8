"""Sessions: saved and opened again, and taken over by the next dock."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from skimage import io as skio
from viewer_kit import KnownEmbedder, known_services, noise

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.segments import SegmentOptions
from napari_sslmaps.encoders.controls import controls_of
from napari_sslmaps.errors import RecordError
from napari_sslmaps.maps.similarity import SimilarityOptions
from napari_sslmaps.records.session import (
    SessionLabels,
    SessionRecord,
    SessionSearch,
    load_session,
    located_search,
    save_session,
)
from napari_sslmaps.viewer.canvas.npe2 import read
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.maps import session_files
from napari_sslmaps.viewer.state.session import Embedded
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
    assert workspace.anchor_mode  # a click sets, as after a run
    opened = workspace.anchors
    worked.history.undo()
    assert workspace.anchors == opened  # what was opened was no step


def test_a_session_holds_the_camera_of_the_maps_whatever_page_is_open(
    viewer: ViewerModel, worked: Controller, tmp_path: Path
) -> None:
    camera = viewer.scene.camera
    camera.center, camera.zoom = (0.0, 30.0, 40.0), 3.0
    worked.workspace.task = "pretext"
    camera.center, camera.zoom = (0.0, 500.0, 900.0), 9.0
    record = worked.session_files.record()
    assert record is not None
    assert (record.view.centre_yx, record.view.zoom) == ((30.0, 40.0), 3.0)
    worked.session_files.save(tmp_path / "mine.json")
    worked.session_files.open(tmp_path / "mine.json")
    assert worked.workspace.task == "maps"
    assert (tuple(camera.center[-2:]), camera.zoom) == ((30.0, 40.0), 3.0)


def test_opening_makes_no_map_of_what_is_only_on_the_way(worked: Controller, tmp_path: Path) -> None:
    workspace = worked.workspace
    worked.session_files.save(tmp_path / "mine.json")
    saved = workspace.anchors
    workspace.anchors, workspace.options = (Anchor((5.0, 5.0)),), replace(workspace.options)
    seen = []
    worked.map_controller.drawn.connect(lambda _: seen.append((workspace.anchors, workspace.options)))
    worked.session_files.open(tmp_path / "mine.json")
    assert seen
    assert {(anchors, options) for anchors, options in seen} == {(saved, workspace.options)}


def test_a_session_without_anchors_takes_their_maps_away(
    worked: Controller, image: Image, tmp_path: Path
) -> None:
    anchors, worked.workspace.anchors = worked.workspace.anchors, ()
    worked.session_files.save(tmp_path / "bare.json")
    worked.workspace.anchors = anchors
    assert worked.layer_manager.find(image, "similarity", "dinov3-demo") is not None
    worked.session_files.open(tmp_path / "bare.json")
    assert worked.layer_manager.find(image, "similarity", "dinov3-demo") is None


def test_colours_that_were_not_turned_side_by_side_open_so(worked: Controller, tmp_path: Path) -> None:
    workspace = worked.workspace
    workspace.side_by_side = True
    workspace.pca = replace(workspace.pca, aligned=False)
    worked.session_files.save(tmp_path / "mine.json")
    workspace.side_by_side = False
    worked.session_files.open(tmp_path / "mine.json")
    assert (workspace.side_by_side, workspace.pca.aligned) == (True, False)


def test_an_image_that_is_gone_is_asked_for(viewer: ViewerModel, worked: Controller, tmp_path: Path) -> None:
    worked.session_files.save(tmp_path / "mine.json")
    viewer.layers.clear()
    worked.session_files.open(tmp_path / "mine.json")
    assert worked.workspace.status.text == "Open the session's image, tissue, first: it is not there."


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


@pytest.fixture
def filed(viewer: ViewerModel, controller: Controller, tmp_path: Path) -> Path:
    """A session of an image file, saved in a folder of its own."""
    path = tmp_path / "there" / "field.png"
    path.parent.mkdir()
    skio.imsave(path, (255 * noise(64, 80)).astype(np.uint8), check_contrast=False)
    data, options, _ = read(str(path))[0]
    viewer.add_image(data, **{**options, "metadata": {"path": str(path)}})
    controller.run()
    controller.session_files.save(tmp_path / "sessions" / "mine.json")
    viewer.layers.clear()
    return path


def test_a_file_that_was_named_from_its_folder_is_found_from_another(
    viewer: ViewerModel, controller: Controller, filed: Path, last: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(filed.parent)
    data, options, _ = read(str(filed))[0]
    viewer.add_image(data, **{**options, "metadata": {"path": filed.name}})
    controller.run()
    controller.session_files.save_by_itself()
    viewer.layers.clear()
    monkeypatch.chdir(filed.parent.parent)
    controller.session_files.open(last)
    assert controller.workspace.image is not None
    assert "not" not in controller.workspace.status.text


def test_a_file_that_has_changed_is_told_of(controller: Controller, filed: Path, tmp_path: Path) -> None:
    controller.session_files.open(tmp_path / "sessions" / "mine.json")
    assert "changed" not in controller.workspace.status.text
    skio.imsave(filed, (255 * noise(80, 64)).astype(np.uint8), check_contrast=False)
    controller.viewer.layers.clear()
    controller.session_files.open(tmp_path / "sessions" / "mine.json")
    status = controller.workspace.status
    assert status.text.startswith("field.png has changed since the session was saved")
    assert not status.failed


@pytest.mark.parametrize("name", ["field.png", "renamed.png"])
def test_a_file_that_was_moved_is_found_beside_the_session(
    controller: Controller, filed: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "sessions" / "another.png").write_bytes(b"no image")
    filed.rename(tmp_path / "sessions" / name)
    controller.session_files.open(tmp_path / "sessions" / "mine.json")
    assert controller.workspace.status.text.startswith(f"{name} was found beside the session.")
    assert controller.session.embedded


def test_a_saved_session_tells_no_folder_and_moves_with_its_image(
    controller: Controller, filed: Path, tmp_path: Path
) -> None:
    text = (tmp_path / "sessions" / "mine.json").read_text(encoding="utf-8")
    assert json.loads(text)["path"] == "../there/field.png"
    assert str(tmp_path) not in text
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for folder in ("there", "sessions"):
        (tmp_path / folder).rename(moved / folder)
    controller.session_files.open(moved / "sessions" / "mine.json")
    assert "found beside" not in controller.workspace.status.text
    assert controller.session.embedded
    assert controller.workspace.image.metadata["path"] == str(moved / "there" / "field.png")


def test_an_image_whose_folder_a_session_does_not_tell_is_opened_first(
    viewer: ViewerModel, controller: Controller, filed: Path, tmp_path: Path
) -> None:
    path = tmp_path / "sessions" / "mine.json"
    record = load_session(path)
    save_session(replace(record, path="/mnt/Users/anna/field.png"), path)
    assert load_session(path).path == "field.png"
    controller.session_files.open(path)
    assert "Open the session's image, field (field.png), first" in controller.workspace.status.text
    data, options, _ = read(str(filed))[0]
    viewer.add_image(data, **{**options, "metadata": {"path": str(filed)}})
    controller.session_files.open(path)
    assert not controller.workspace.status.failed
    assert controller.session.embedded


def test_a_session_that_stays_here_keeps_its_folder(
    controller: Controller, filed: Path, last: Path, tmp_path: Path
) -> None:
    controller.session_files.open(tmp_path / "sessions" / "mine.json")
    controller.session_files.save_by_itself()
    assert load_session(last).path == str(filed)
    whole = tmp_path / "sessions" / "of_before.json"
    save_session(load_session(last), whole, here=True)
    controller.viewer.layers.clear()
    controller.session_files.open(whole)
    assert "found beside" not in controller.workspace.status.text
    assert controller.session.embedded


def test_the_archive_of_a_session_is_found_by_the_way_to_it(tmp_path: Path) -> None:
    store, images = tmp_path / "store", tmp_path / "images"
    search = SessionSearch(str(store), str(images))
    save_session(SessionRecord("a", search=search), tmp_path / "sessions" / "mine.json")
    kept = load_session(tmp_path / "sessions" / "mine.json").search
    assert (kept.store, kept.images) == ("../store", "../images")
    store.mkdir(), images.mkdir()
    assert located_search(kept, tmp_path / "sessions") == search
    assert located_search(SessionSearch(), tmp_path) == SessionSearch()
    assert located_search(search, tmp_path / "sessions") == search


def test_pixels_that_are_others_than_those_saved_are_told_of(
    viewer: ViewerModel, worked: Controller, image: Image, tmp_path: Path
) -> None:
    worked.workspace.chosen = ("mae-demo", "dinov3-demo")
    for name, embedded in worked.session.embedded.items():
        made = embedded.embedding
        provenance = replace(made.provenance, image_sha256="then")
        worked.session.embedded[name] = Embedded(replace(made, provenance=provenance))
    worked.session_files.save(tmp_path / "mine.json")
    worked.session_files.open(tmp_path / "mine.json")
    assert worked.workspace.status.text.startswith("tissue has changed since the session was saved")


def test_rectangles_controls_and_appearance_come_back(
    viewer: ViewerModel, worked: Controller, image: Image, tmp_path: Path
) -> None:
    workspace = worked.workspace
    worked.shapes.draw()
    viewer.layers["tissue / region"].add_rectangles([[(0, 0), (31, 47)]])
    workspace.controls = tuple(controls_of(workspace.specs[0])[:1])
    worked.run()
    worked.stage.set_look("opacity", 0.25)
    worked.stage.set_look("colormap", "turbo")
    before = worked.session_files.record()
    assert (before.region_choice, len(before.rectangles), before.region.shape_yx) == (
        "rectangle",
        1,
        (32, 48),
    )
    assert before.controls == (workspace.controls[0].name,)
    worked.session_files.save(tmp_path / "mine.json")
    workspace.region, workspace.controls = "whole", ()
    viewer.layers.remove("tissue / region")
    worked.layer_manager.drop(worked.layer_manager.maps_of(image))
    worked.shared_contrast.use(image, ())
    worked.run()
    worked.session_files.open(tmp_path / "mine.json")
    assert workspace.plan.text.startswith("32 × 48 px")
    assert worked.session_files.record() == before


@pytest.mark.parametrize("negative", [False, True])
def test_areas_come_back_with_the_threshold_they_had(
    worked: Controller, tmp_path: Path, *, negative: bool
) -> None:
    workspace = worked.workspace
    if negative:
        workspace.add_anchor(Anchor((20.0, 60.0), negative=True), keep=True)
    workspace.areas_shown = True
    workspace.area_options = SegmentOptions(0.7, least_px=128.0, fill_holes=False)
    before = workspace.areas_text
    worked.session_files.save(tmp_path / "mine.json")
    workspace.anchors, workspace.areas_shown, workspace.area_options = (), False, SegmentOptions()
    worked.session_files.open(tmp_path / "mine.json")
    assert workspace.area_options == SegmentOptions(0.7, least_px=128.0, fill_holes=False)
    assert workspace.areas_shown
    assert workspace.areas_text == before


def test_a_session_of_an_earlier_version_opens(worked: Controller, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    worked.session_files.save(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    for name in (
        "file_bytes",
        "file_sha256",
        "region_choice",
        "rectangles",
        "resolution",
        "detail",
        "controls",
        "looks",
        "areas",
        "areas_shown",
    ):
        del content[name]
    path.write_text(json.dumps(content), encoding="utf-8")
    worked.workspace.shown = "attention"
    worked.session_files.open(path)
    assert not worked.workspace.status.failed
    assert worked.workspace.in_view == "pca"


def test_labels_of_areas_are_kept_and_other_layers_are_told_of(
    viewer: ViewerModel, worked: Controller, image: Image, tmp_path: Path
) -> None:
    workspace = worked.workspace
    workspace.front, workspace.area_range = "dinov3-demo", (-2.0, 2.0)
    worked.areas.to_labels()
    name = "tissue / labels / dinov3-demo"
    painted = viewer.layers[name].data
    painted[0, 0] = 7  # what a user has changed since is kept as it is
    viewer.add_labels(np.ones((64, 80), np.uint8), name="lesion")
    worked.session_files.save(tmp_path / "mine.json")
    assert workspace.status.text == (
        "Session written to mine.json. Not in it, save these yourself (File, Save): lesion."
    )
    worked.session_files.open(tmp_path / "mine.json")
    assert [layer.name for layer in viewer.layers].count(name) == 1
    viewer.layers.remove(name)
    worked.session_files.open(tmp_path / "mine.json")
    np.testing.assert_array_equal(viewer.layers[name].data, painted)
    np.testing.assert_allclose(viewer.layers[name].data_to_world((-0.5, -0.5)), (-0.5, -0.5))
    assert worked.session_files.record().labels == load_session(tmp_path / "mine.json").labels


def test_an_annotation_file_is_chosen_again(worked: Controller, tmp_path: Path) -> None:
    model = worked.compare_page.model
    folder = tmp_path / "given"
    folder.mkdir()
    mask = np.zeros((64, 80), np.uint8)
    mask[:, 40:] = 1
    skio.imsave(folder / "mask.png", mask, check_contrast=False)
    model.annotation = folder / "mask.png"
    worked.session_files.save(folder / "mine.json")
    assert load_session(folder / "mine.json").annotation == "mask.png"
    model.annotation = None
    moved = folder.rename(tmp_path / "moved")
    worked.session_files.open(moved / "mine.json")
    assert model.annotation == moved / "mask.png"
    skio.imsave(moved / "mask.png", mask[::-1] * 2, check_contrast=False)
    worked.session_files.open(moved / "mine.json")
    assert "mask.png has changed" in worked.workspace.status.text
    (moved / "mask.png").unlink()
    worked.session_files.open(moved / "mine.json")
    assert "mask.png is not there" in worked.workspace.status.text


@pytest.mark.parametrize("runs", [(), (1,), (1, 5, 2, 2), (1, 0, 2, 6), (2**40, 6)])
def test_labels_that_do_not_fit_are_refused(runs: tuple[int, ...]) -> None:
    grid = TokenGrid(2, 3, (8.0, 8.0), (0.0, 0.0), (16.0, 24.0))
    with pytest.raises(RecordError, match="label for each of 6 cells"):
        SessionLabels("areas", grid, runs)
    labels = np.array([[1, 1, 0], [0, 2, 2]], np.int64)
    found = SessionLabels.of("areas", labels, grid, SegmentOptions(), 0)
    assert found.runs == (1, 2, 0, 2, 2, 2)
    np.testing.assert_array_equal(found.labels, labels)
