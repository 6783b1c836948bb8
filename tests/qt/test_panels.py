"""Each panel in both directions: a person's action reaches the workspace, a change reaches the panel."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qt_kit import destroying
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QColor, QWheelEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QWidget,
)
from viewer_kit import KnownEmbedder, KnownPretext, known_services

from napari_sslmaps._qt import parts
from napari_sslmaps._qt.dock import WIDTH, SSLMapsWidget
from napari_sslmaps._qt.maps import anchor_section
from napari_sslmaps._qt.task_runner import QtTaskRunner
from napari_sslmaps.core.tiling import ONE_PASS, Tiling
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import WeightsUnavailableError
from napari_sslmaps.maps.attention import AttentionOptions
from napari_sslmaps.maps.clusters import ClusterOptions
from napari_sslmaps.maps.pca import PcaOptions
from napari_sslmaps.maps.registry import MapOptions
from napari_sslmaps.maps.similarity import SimilarityOptions
from napari_sslmaps.pretext.options import PretextOptions
from napari_sslmaps.viewer.encoders import encoder_list
from napari_sslmaps.viewer.state.workspace import TASKS, Anchor, Caption, RunProgress, Status, Task


def test_names_are_short_where_that_leaves_them_apart() -> None:
    short = parts.short_names(("mae-histology", "dinov3-histology", "dinov3-mine", "uni"))
    assert list(short.values()) == ["mae", "dinov3-histology", "dinov3-mine", "uni"]


def test_a_window_that_reaches_beyond_its_screen_is_brought_back(qtbot: QtBot) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    window.show()
    room = window.screen().availableGeometry()
    window.setGeometry(room.width() // 2, 10, 2 * room.width(), room.height() // 2)
    qtbot.waitUntil(lambda: window.frameGeometry().width() > room.width())
    parts.keep_on_screen(window)
    qtbot.waitUntil(lambda: room.contains(window.frameGeometry()))
    assert window.height() == room.height() // 2
    window.resize(200, 100)
    place = window.pos()
    parts.keep_on_screen(window)
    assert (window.pos(), window.width()) == (place, 200)


@pytest.mark.parametrize("task", TASKS)
def test_no_page_is_cut_off_at_the_least_width(panel: SSLMapsWidget, qtbot: QtBot, task: Task) -> None:
    panel.workspace.task = task
    panel.show()
    panel.resize(1, 500)
    (scroll,) = panel.findChildren(parts.PageScroll)
    qtbot.waitUntil(lambda: panel.width() < 450)
    page = scroll.widget()
    qtbot.waitUntil(lambda: page.width() == scroll.viewport().width() >= page.minimumSizeHint().width())


def test_image_list_follows_the_viewer(panel: SSLMapsWidget) -> None:
    viewer, choice = panel.controller.viewer, panel.image.image
    assert choice.currentText() == "tissue"
    other = viewer.add_image(viewer.layers[0].data, name="other")
    assert [choice.itemText(index) for index in range(choice.count())] == ["tissue", "other"]
    assert choice.currentText() == "other"
    choice.setCurrentIndex(0)
    assert panel.workspace.image is viewer.layers[0]
    viewer.layers[0].name = "renamed"
    assert choice.itemText(0) == "renamed"
    viewer.layers.remove(other)
    assert choice.count() == 1


def test_region_both_ways(panel: SSLMapsWidget) -> None:
    panel.image.region.setCurrentIndex(1)
    assert panel.workspace.region == "view"
    panel.workspace.region = "rectangle"
    assert panel.image.region.currentText().startswith("Selected rectangles")
    assert "add a Shapes layer" in panel.image.plan.text()


def test_context_both_ways(panel: SSLMapsWidget) -> None:
    assert panel.image.keep.isChecked()
    panel.image.keep.click()
    assert not panel.workspace.keep
    panel.workspace.keep = True
    assert panel.image.keep.isChecked()
    panel.image.tiling.setCurrentIndex(1)
    assert panel.workspace.tiling == ONE_PASS
    panel.workspace.tiling = Tiling()
    assert panel.image.tiling.currentText() == "Tiles beyond 64 × 64 tokens"
    panel.image.detail.setCurrentIndex(1)
    assert panel.workspace.detail == 2
    panel.workspace.detail = 4
    assert panel.image.detail.currentText() == "4 × 4 tokens a patch"


def test_methods_are_named_by_their_first_word_where_it_tells_them_apart(panel: SSLMapsWidget) -> None:
    panel.view.set_fronts(("mae-demo", "dinov3-demo", "dinov3-untrained"), "mae-demo", "dinov3-demo")
    front = panel.view.front
    assert [front.itemText(place) for place in range(3)] == ["mae", "dinov3-demo", "dinov3-untrained"]


def test_a_pair_is_chosen_where_one_is_in_view_and_never_of_a_method_with_itself(
    panel: SSLMapsWidget,
) -> None:
    view = panel.view
    pair = (view.front, view.against, view.flicker)
    names = ("mae-demo", "dinov3-demo")
    for front, against in (("", ""), ("", "mae-demo"), ("dinov3-demo", "dinov3-demo")):
        view.set_fronts(names, front, against)
        assert view.front.value != view.against.value
    view.set_side_by_side(True)
    view.set_fronts(names, "gone-demo", "mae-demo")
    assert view.front.value != view.against.value
    view.set_fronts(names, "dinov3-demo", "mae-demo")
    assert not any(part.isEnabled() for part in pair), "side by side all methods are in view"
    view.set_side_by_side(False)
    assert all(part.isEnabled() for part in pair)
    view.set_fronts(names[:1], "mae-demo", "")
    assert [part.isEnabled() for part in pair] == [True, False, False]


def test_levels_are_offered_for_pyramids_only(panel: SSLMapsWidget) -> None:
    viewer = panel.controller.viewer
    resolution = panel.image.resolution
    assert resolution.isHidden()
    fine = viewer.layers[0].data
    viewer.add_image([fine, fine[::2, ::2]], multiscale=True)
    assert not resolution.isHidden()
    resolution.level.setValue(1)
    assert panel.workspace.level == 1
    assert "32 × 40 px (level 1)" in panel.image.plan.text()


def test_the_size_of_a_pixel_can_be_typed_where_the_file_does_not_tell(panel: SSLMapsWidget) -> None:
    viewer, resolution = panel.controller.viewer, panel.image.resolution
    assert not resolution.pixel.isHidden()
    resolution.spacing.setValue(0.25)
    assert panel.workspace.spacing_um == 0.25
    viewer.add_image(viewer.layers[0].data, units=("um", "um"))
    assert resolution.pixel.isHidden()


def test_the_level_goes_by_the_size_of_its_pixels(panel: SSLMapsWidget) -> None:
    viewer, resolution = panel.controller.viewer, panel.image.resolution
    fine = viewer.layers[0].data
    viewer.add_image([fine, fine[::2, ::2]], multiscale=True)
    resolution.by.setCurrentIndex(1)
    assert panel.workspace.target_um == 0.5
    assert resolution.level.isHidden()
    assert "the image does not tell" in panel.image.plan.text()
    resolution.spacing.setValue(0.25)
    assert "32 × 40 px at 0.5 µm/px (level 1)" in panel.image.plan.text()
    resolution.target.setValue(0.3)
    assert "64 × 80 px at 0.25 µm/px (level 0)" in panel.image.plan.text()
    panel.workspace.target_um = None
    assert resolution.by.value is False
    assert resolution.pixel.isHidden()
    viewer.add_image([fine, fine[::2, ::2]], multiscale=True, units=("um", "um"))
    panel.workspace.target_um = 1.0
    assert panel.workspace.spacing_um is None
    assert resolution.pixel.isHidden()


def test_encoders_both_ways(panel: SSLMapsWidget, qtbot: QtBot) -> None:
    row = panel.encoders.rows["mae-demo"]
    assert row.box.text() == "mae-demo"
    assert row.known.text() == "beat its controls"
    for known in ("MAE", "It beat its controls in a test.", "0.0 MB, test"):
        assert known in row.toolTip()
    assert row.box.isChecked()
    row.box.setChecked(False)
    assert panel.workspace.chosen == ("dinov3-demo",)
    panel.workspace.chosen = ()
    assert not panel.encoders.rows["dinov3-demo"].box.isChecked()
    assert "Tick at least one encoder" in panel.image.plan.text()


def test_the_title_of_a_set_ticks_all_or_none_of_it(panel: SSLMapsWidget) -> None:
    group, states = panel.encoders.groups["Histology"].box, Qt.CheckState
    assert group.checkState() == states.Checked
    panel.encoders.rows["mae-demo"].box.click()
    assert group.checkState() == states.PartiallyChecked
    group.click()
    assert panel.workspace.chosen == ("mae-demo", "dinov3-demo")
    assert group.checkState() == states.Checked
    group.click()
    assert panel.workspace.chosen == ()
    assert group.checkState() == states.Unchecked


def test_sets_are_listed_apart_and_the_fitting_one_is_ticked(
    panel: SSLMapsWidget, qtbot: QtBot, embedded_specs: dict[str, EncoderSpec]
) -> None:
    embedded_specs["mae-demo"] = replace(embedded_specs["mae-demo"], domain="histology")
    embedded_specs["dinov3-demo"] = replace(embedded_specs["dinov3-demo"], domain="ultrasound")
    viewer = panel.controller.viewer
    widget = SSLMapsWidget(viewer, known_services())
    qtbot.addWidget(widget)
    rows = widget.encoders.rows
    assert list(widget.encoders.groups) == ["Histology", "Ultrasound"]
    assert (rows["mae-demo"].box.isChecked(), rows["dinov3-demo"].box.isChecked()) == (False, True)
    stained = np.random.default_rng(0).random((64, 80, 1)) * [0.8, 0.5, 0.7]
    grey = viewer.layers[0]
    viewer.add_image(stained, rgb=True)
    assert (rows["mae-demo"].box.isChecked(), rows["dinov3-demo"].box.isChecked()) == (True, False)
    rows["dinov3-demo"].box.click()
    viewer.layers.selection.active = grey
    assert (rows["mae-demo"].box.isChecked(), rows["dinov3-demo"].box.isChecked()) == (True, True)
    widget.close_controller()


def test_a_click_opens_the_model_card_beside_the_viewer(
    panel: SSLMapsWidget, qtbot: QtBot, tmp_path: Path
) -> None:
    (tmp_path / "a.md").write_text("# mae-demo\n\n**It is new.**\n\n| | |\n|---|---|\n| crop | 64 px |\n")
    panel.encoders.rows["mae-demo"].card.click()
    qtbot.waitUntil(panel.card.isVisible)
    assert not panel.card.isModal()
    assert panel.card.windowTitle() == "Model card · mae-demo"
    assert panel.card.text.toPlainText().split() == ["mae-demo", "It", "is", "new.", "crop", "64", "px"]
    panel.encoders.rows["dinov3-demo"].card.click()
    assert "It beat its controls in a test." in panel.card.text.toPlainText()
    (tmp_path / "a.md").unlink()
    panel.encoders.rows["mae-demo"].card.click()
    assert "model card of mae-demo is missing" in panel.run.status.text()
    panel.card.close()


def test_a_lost_weight_file_is_said_and_the_others_are_listed(
    qtbot: QtBot, panel: SSLMapsWidget, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = encoder_list.get_spec

    def lose(name: str) -> object:
        if name == "mae-demo":
            raise WeightsUnavailableError("The weight file of mae-demo is missing. Install again.")
        return listed(name)

    monkeypatch.setattr(encoder_list, "get_spec", lose)
    widget = SSLMapsWidget(panel.controller.viewer, known_services())
    qtbot.addWidget(widget)
    assert list(widget.encoders.rows) == ["dinov3-demo"]
    assert "Install again" in widget.run.status.text()
    widget.close_controller()


def test_maps_both_ways(panel: SSLMapsWidget) -> None:
    maps, workspace = panel.maps, panel.workspace
    maps.boxes["pca"].setChecked(False)
    assert set(workspace.maps) == {"attention", "similarity", "groups"}
    workspace.maps = ("pca",)
    assert [kind for kind, box in maps.boxes.items() if box.isChecked()] == ["pca"]
    maps.rendering.setCurrentIndex(1)
    assert workspace.pca == PcaOptions("whitened")
    workspace.heads = 6
    maps.reduction.setCurrentIndex(2)
    assert workspace.attention == AttentionOptions(head=0)
    maps.head.setValue(4)
    assert workspace.attention.head == 4
    assert maps.head_label.text() == "5 of 6"
    workspace.attention = AttentionOptions(reduction="max")
    assert maps.reduction.currentText() == "maximum over heads"
    assert maps.head.isHidden()
    workspace.blocks = 12
    maps.block.setValue(4)
    maps.query.setCurrentIndex(1)
    assert workspace.attention == AttentionOptions(reduction="max", block=4, query="anchor")
    workspace.attention = AttentionOptions()
    assert maps.block.text() == "last block"
    assert maps.query.value == "output"
    maps.basis.setCurrentIndex(1)
    maps.aligned.click()
    assert workspace.pca == PcaOptions("whitened", "joint", aligned=True)
    workspace.pca = PcaOptions(basis="kept")
    assert maps.basis.currentText() == "kept"
    assert not maps.aligned.isChecked()
    maps.centred.setChecked(False)
    maps.combine.setCurrentIndex(1)
    panel.appearance.contrast.setCurrentIndex(1)
    assert workspace.similarity == SimilarityOptions(centred=False, combine="max", display="fixed")
    workspace.similarity = SimilarityOptions(centred=True, combine="mean", display="each")
    assert maps.centred.isChecked()
    assert panel.appearance.contrast.value == "each"
    maps.centred.setChecked(False)
    assert workspace.similarity.display == "each"


def test_depth_both_ways(panel: SSLMapsWidget) -> None:
    encoders, workspace = panel.encoders, panel.workspace
    assert encoders.tokens_of.currentText() == "each encoder's own"
    count = min(len(spec.architecture.token_places) for spec in workspace.specs)
    assert encoders.tokens_of.count() == 1 + count
    encoders.tokens_of.setCurrentIndex(1)
    encoders.normed.setChecked(False)
    assert (workspace.token_block, workspace.token_norm) == (0, False)
    workspace.token_block, workspace.token_norm = count, True
    assert encoders.tokens_of.currentText() == f"block {count}, which some have not"
    assert encoders.normed.isChecked()
    workspace.token_block = None
    assert encoders.tokens_of.count() == 1 + count


def test_clusters_both_ways(panel: SSLMapsWidget) -> None:
    maps, workspace = panel.maps, panel.workspace
    maps.count.setValue(8)
    maps.joint.setChecked(True)
    maps.matched.setChecked(False)
    assert workspace.options.clusters == ClusterOptions(8, "joint", matched=False)
    workspace.options = MapOptions()
    assert maps.count_label.text() == "k = 6"
    assert maps.matched.isChecked()


def test_anchors_both_ways(panel: SSLMapsWidget) -> None:
    anchors, workspace = panel.anchors, panel.workspace
    anchors.mode.click()
    assert workspace.anchor_mode
    workspace.anchor_mode = False
    assert not anchors.mode.isChecked()
    anchors.negative.click()
    assert workspace.negative_mode
    assert not anchors.clear.isEnabled()
    workspace.anchors = (Anchor((8.0, 8.0), negative=True), Anchor((9.0, 9.0), negative=True))
    assert "0 positive, 2 negative" in anchors.hint.text()
    anchors.remove.click()
    assert len(workspace.anchors) == 1
    anchors.clear.click()
    assert workspace.anchors == ()


def test_groups_both_ways(panel: SSLMapsWidget, monkeypatch: pytest.MonkeyPatch) -> None:
    anchors, workspace = panel.anchors, panel.workspace
    assert not anchors.drop.isEnabled()
    anchors.add.click()
    assert [group.name for group in workspace.groups] == ["group 1", "group 2"]
    assert anchors.group.currentText() == "group 2"
    line = anchors.group.lineEdit()
    line.setText("stroma")
    line.editingFinished.emit()
    assert workspace.groups[1].name == "stroma"
    line.setText("")
    line.editingFinished.emit()
    assert anchors.group.currentText() == "stroma"
    assert panel.run.status.text() == "A group needs a name."
    line.setText("group 1")
    line.editingFinished.emit()
    assert workspace.group == 0
    workspace.group = 1
    assert anchors.group.currentText() == "stroma"
    monkeypatch.setattr(anchor_section.QColorDialog, "getColor", lambda *_: QColor("#123456"))
    anchors.colour.click()
    assert workspace.groups[1].colour == "#123456"
    anchors.group.activated.emit(0)
    assert workspace.group == 0
    anchors.drop.click()
    assert [group.name for group in workspace.groups] == ["stroma"]
    assert workspace.group == workspace.groups[0].key


def test_files_of_anchors_and_components_are_asked_for(
    panel: SSLMapsWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "kept.json")
    for ask in ("getSaveFileName", "getOpenFileName"):
        monkeypatch.setattr(parts.QFileDialog, ask, lambda *_: (path, ""))
    for menu, sentences in (
        (panel.anchors.files, ("there are no anchors", "cannot be read")),
        (panel.maps.basis_files, ("Run first", "Run first", "cannot be read")),
    ):
        for entry, sentence in zip(menu.entries.actions(), sentences, strict=True):
            entry.trigger()
            assert panel.workspace.status.failed == (sentence == "cannot be read")
            assert sentence in panel.run.status.text(), entry.text()


def test_a_suffix_that_is_put_to_a_name_replaces_no_file_unasked(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    widget, answers = QWidget(), [parts.QMessageBox.StandardButton.No, parts.QMessageBox.StandardButton.Yes]
    qtbot.addWidget(widget)
    (tmp_path / "mine.csv").touch()
    monkeypatch.setattr(parts.QMessageBox, "question", lambda *_: answers.pop(0))
    for typed, wanted in (
        ("mine", ""),
        ("mine", "mine.csv"),
        ("other", "other.csv"),
        ("mine.geojson", "mine.geojson"),
    ):
        chosen = str(tmp_path / typed), "Table (*.csv)"
        monkeypatch.setattr(parts.QFileDialog, "getSaveFileName", lambda *_, chosen=chosen: chosen)
        path = parts.ask_where(widget, "Save", "a.json", "JSON (*.json);;Table (*.csv)")
        assert path == (str(tmp_path / wanted) if wanted else "")
    assert not answers


def test_a_figure_to_print_is_asked_for_by_its_kinds(
    panel: SSLMapsWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def answer(*words: object) -> tuple[str, str]:
        asked.append(words)
        return str(tmp_path / "mine.pdf"), ""

    monkeypatch.setattr(parts.QFileDialog, "getSaveFileName", answer)
    entry = panel.view.figure.menu().actions()[-1]
    assert entry.text() == "Save figure to print…"
    entry.trigger()
    assert all(f"(*.{suffix})" in str(asked[0][-1]) for suffix in ("png", "pdf", "svg", "tif", "jpg"))
    assert panel.workspace.status.text.startswith("Press Run or Compare first")


def test_anchors_of_another_image_are_offered(panel: SSLMapsWidget) -> None:
    reference, workspace = panel.anchors.reference, panel.workspace
    assert not reference.isEnabled()
    tissue = workspace.image
    panel.controller.viewer.add_image(tissue.data.copy(), name="other")
    assert [reference.itemText(index) for index in range(reference.count())] == ["this image", "tissue"]
    reference.setCurrentIndex(1)
    assert workspace.reference is tissue
    workspace.reference = None
    assert reference.currentText() == "this image"


def test_controls_are_ticked_beside_their_encoder(panel: SSLMapsWidget) -> None:
    line, workspace = panel.encoders.rows["mae-demo"], panel.workspace
    entries = {control.kind: entry for control, entry in line.controls.items()}
    entries["position"].trigger()
    assert [control.name for control in workspace.controls] == ["position-8px"]
    assert line.versus.text() == "vs 1"
    assert workspace.methods == ("mae-demo", "position-8px", "dinov3-demo")
    assert panel.view.against.findData("position-8px") >= 0
    entries["untrained"].trigger()
    entries["position"].trigger()
    assert [control.name for control in workspace.controls] == ["mae-untrained"]
    workspace.controls = ()
    assert line.versus.text() == "vs"
    assert not entries["untrained"].isChecked()


def test_view_both_ways(panel: SSLMapsWidget) -> None:
    view, workspace = panel.view, panel.workspace
    view.shown.setCurrentIndex(1)
    assert workspace.shown == "pca"
    view.front.setCurrentIndex(1)
    assert workspace.front == "dinov3-demo"
    view.side_by_side.click()
    assert workspace.side_by_side
    assert not view.front.isEnabled()
    workspace.side_by_side = False
    assert not view.side_by_side.isChecked()
    assert workspace.against == "mae-demo"
    view.flicker.click()
    assert (workspace.front, workspace.against) == ("mae-demo", "dinov3-demo")
    view.difference.click()
    assert workspace.difference
    view.side_by_side.click()
    assert not view.difference.isChecked()
    workspace.caption = Caption("cosine", "weak")
    assert view.caption.text() == "Caution (point here). cosine"
    assert view.caption.toolTip() == "weak"


def test_pretext_both_ways(panel: SSLMapsWidget, qtbot: QtBot, pretext: KnownPretext) -> None:
    section, workspace = panel.pretext, panel.workspace
    panel.tabs.setCurrentIndex(1)
    assert workspace.task == "pretext"
    assert [section.encoder.itemData(index) for index in range(2)] == ["mae-demo", "dinov3-demo"]
    section.encoder.setCurrentIndex(1)
    section.ratio.setValue(40)
    section.seed.setValue(3)
    section.fit.setCurrentIndex(2)
    section.distortion.setCurrentIndex(1)
    wanted = PretextOptions("dinov3-demo", "whole", 0.4, 3, "cutout")
    assert workspace.pretext == wanted
    assert not pretext.asked
    panel.run.pretext.click()
    qtbot.waitUntil(lambda: bool(workspace.panels))
    assert pretext.asked[0][1] == wanted
    assert section.notes.text().splitlines()[-1] == "• drawn with 3"
    assert [section.panel.itemText(index) for index in range(4)] == list(workspace.panels)
    section.panel.setCurrentIndex(3)
    assert workspace.panel == "patch agreement"
    section.paint.click()
    assert workspace.pretext_tool == "paint"
    section.shift.click()
    assert workspace.pretext_tool == "move"
    assert not section.paint.isChecked()
    section.side_by_side.click()
    assert workspace.panels_side_by_side
    assert not panel.view.side_by_side.isChecked()
    workspace.panels = workspace.panels[:2]
    assert not section.panel.isEnabled()
    workspace.pretext = replace(wanted, seed=8, ratio=None)
    assert (section.seed.value(), section.ratio.text()) == (8, "as trained")
    panel.tabs.setCurrentIndex(0)
    assert workspace.pretext_tool == ""


def test_progress_and_status_are_shown(panel: SSLMapsWidget) -> None:
    panel.workspace.progress = RunProgress("mae-demo: tile 3 of 9", 1 / 3, 6.2)
    assert not panel.run.run.isEnabled()
    assert panel.run.cancel.isEnabled()
    assert panel.run.bar.format() == "mae-demo: tile 3 of 9 · 6 s left"
    assert panel.run.bar.value() == 333
    panel.workspace.progress = None
    assert panel.run.run.isEnabled()
    panel.workspace.status = Status("Expected this; got that.", failed=True)
    assert panel.run.status.text() == "Expected this; got that."


def test_run_button_paints_and_says_so(panel: SSLMapsWidget, qtbot: QtBot) -> None:
    panel.run.run.click()
    assert panel.workspace.progress is not None
    qtbot.waitUntil(lambda: panel.workspace.progress is None)
    assert panel.run.status.text().startswith("2 methods done")
    assert len(panel.controller.viewer.layers) == 2  # the image, and the map in view


def test_cancel_button_keeps_what_was_painted(
    panel: SSLMapsWidget, qtbot: QtBot, embedder: KnownEmbedder
) -> None:
    reached, go = Event(), Event()

    def pause(step: int) -> None:
        if step == 1:
            reached.set()
            go.wait(5)

    embedder.on_step = pause
    panel.run.run.click()
    qtbot.waitUntil(reached.is_set)
    panel.run.cancel.click()
    go.set()
    qtbot.waitUntil(lambda: panel.workspace.progress is None)
    image = panel.workspace.image
    assert panel.controller.layer_manager.find(image, "attention", "mae-demo") is not None
    assert panel.controller.layer_manager.find(image, "attention", "dinov3-demo") is None
    assert "painted stays" in panel.run.status.text()


def test_an_error_of_torch_becomes_a_sentence(
    panel: SSLMapsWidget, qtbot: QtBot, embedder: KnownEmbedder
) -> None:
    def fail(step: int) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    embedder.on_step = fail
    panel.run.run.click()
    qtbot.waitUntil(lambda: panel.workspace.progress is None)
    assert "RuntimeError: mat1 and mat2" in panel.run.status.text()
    assert panel.run.run.isEnabled()


def test_closing_while_a_job_runs_leaves_no_thread(
    panel: SSLMapsWidget, qtbot: QtBot, embedder: KnownEmbedder
) -> None:
    reached, go = Event(), Event()

    def pause(step: int) -> None:
        reached.set()
        go.wait(0.2)

    embedder.on_step = pause
    panel.run.run.click()
    qtbot.waitUntil(reached.is_set)
    panel.close_controller()
    panel.close_controller()
    runners = [r for r in panel.controller._runners if isinstance(r, QtTaskRunner)]
    assert len(runners) == len(panel.controller._runners) > 2
    assert not any(runner.busy for runner in runners)


def test_closing_while_a_pretext_view_is_computed_leaves_no_thread(
    panel: SSLMapsWidget, qtbot: QtBot, pretext: KnownPretext
) -> None:
    reached, go = Event(), Event()

    def pause() -> None:
        reached.set()
        go.wait(0.2)

    pretext.on_call = pause
    panel.run.pretext.click()
    qtbot.waitUntil(reached.is_set)
    panel.close_controller()
    assert panel.workspace.panels == ()


def test_destroying_the_widget_closes_the_controller(qtbot: QtBot, panel: SSLMapsWidget) -> None:
    viewer = panel.controller.viewer
    before = len(viewer.mouse_drag_callbacks)
    widget = SSLMapsWidget(viewer, known_services())
    assert len(viewer.mouse_drag_callbacks) == before + 1
    with destroying(qtbot, widget):
        widget.deleteLater()
    assert len(viewer.mouse_drag_callbacks) == before


@pytest.mark.parametrize("encoder", ["", "mae-demo", "dinov3-demo"], ids=["maps", "mae", "dinov3"])
def test_nothing_is_truncated_at_the_usual_width(panel: SSLMapsWidget, qtbot: QtBot, encoder: str) -> None:
    if encoder:
        panel.workspace.task = "pretext"
        panel.workspace.pretext = replace(panel.workspace.pretext, encoder=encoder)
    panel.resize(WIDTH, 1000)
    with qtbot.waitExposed(panel):
        panel.show()
    for label in panel.findChildren(QLabel):
        if label.isVisible() and not label.wordWrap():
            assert label.width() >= label.sizeHint().width(), label.text()
    for button in panel.findChildren(QAbstractButton):
        if button.isVisible():
            assert button.width() >= button.minimumSizeHint().width(), button.text()
    for box in panel.findChildren(QComboBox):
        widest = max(
            (box.fontMetrics().horizontalAdvance(box.itemText(i)) for i in range(box.count())), default=0
        )
        assert box.width() >= widest, box.currentText()


def test_a_small_window_grows_until_the_canvas_has_room(qtbot: QtBot) -> None:
    window, canvas = QWidget(), QWidget()
    canvas.setParent(window)
    qtbot.addWidget(window)
    room = window.screen().availableGeometry()
    window.resize(500, 300)
    canvas.resize(180, 260)
    with qtbot.waitExposed(window):
        window.show()
    parts.grow_for(window, canvas)
    assert window.width() == min(500 + 540, room.width())
    assert window.height() == min(300 + 460, room.height())
    canvas.resize(900, 900)
    before = window.size()
    parts.grow_for(window, canvas)
    assert window.size() == before


def test_the_dock_opens_without_libraries_that_a_later_click_needs() -> None:
    code = (
        "import sys, warnings; warnings.simplefilter('ignore')\n"
        "from qtpy.QtWidgets import QApplication\n"
        "from napari.components import ViewerModel\n"
        "app = QApplication([])\n"
        "from napari_sslmaps._qt.dock import SSLMapsWidget\n"
        "widget = SSLMapsWidget(ViewerModel())\n"
        "late = ('torch', 'timm', 'matplotlib', 'zarr', 'scipy.ndimage', 'scipy.sparse', 'scipy.spatial')\n"
        "loaded = [name for name in late if name in sys.modules]\n"
        "assert not loaded, loaded\n"
        "widget.close_controller()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_the_wheel_changes_no_input_that_has_no_focus(panel: SSLMapsWidget, qtbot: QtBot) -> None:
    panel.resize(WIDTH, 400)
    with qtbot.waitExposed(panel):
        panel.show()
    combos = [box for box in panel.findChildren(QComboBox) if box.isVisible() and box.isEnabled()]
    spins = [box for box in panel.findChildren(QAbstractSpinBox) if box.isVisible()]
    before = [box.currentIndex() for box in combos], [box.text() for box in spins]
    assert len(combos) > 5
    panel.setFocus()
    for box in (*combos, *spins, panel.tabs):
        assert not wheel(box).isAccepted()  # so that Qt offers it to what lies around, which scrolls
    assert ([box.currentIndex() for box in combos], [box.text() for box in spins]) == before
    assert panel.workspace.task == "maps"


def wheel(box: QWidget) -> QWheelEvent:
    middle, down = QPointF(box.rect().center()), QPoint(0, -120)
    event = QWheelEvent(
        middle,
        QPointF(box.mapToGlobal(box.rect().center())),
        QPoint(),
        down,
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(box, event)
    return event


def test_the_buttons_stay_where_they_are_whatever_is_said(panel: SSLMapsWidget, qtbot: QtBot) -> None:
    panel.resize(WIDTH, 700)
    with qtbot.waitExposed(panel):
        panel.show()

    def places() -> list[QPoint]:
        QApplication.processEvents()
        return [box.mapTo(panel, QPoint()) for box in (panel.run.run, panel.view.side_by_side)]

    before, long = places(), "Tokens differ across the borders of tiles. " * 8
    panel.workspace.progress = RunProgress("mae-demo: loading", 0.2)
    panel.workspace.say(long)
    panel.workspace.caption = Caption(long)
    assert places() == before
    assert panel.run.status.toolTip() == long
