"""Adding weight files and published encoders through their dialogs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QFileDialog
from viewer_kit import KnownLibrary, make_spec

from napari_sslmaps._qt.dock import SSLMapsWidget
from napari_sslmaps._qt.encoders.checkpoint_dialog import CheckpointDialog
from napari_sslmaps._qt.encoders.download_dialog import DownloadDialog
from napari_sslmaps.viewer.encoders.library import OnBytes

OpenDialog = Callable[[str], CheckpointDialog]


@pytest.fixture
def opened(panel: SSLMapsWidget, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenDialog:
    """Click through Add checkpoint → File…, and wait until the file was looked at."""

    def add(name: str) -> CheckpointDialog:
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / name), ""))
        panel.encoders.add_menu.actions()[0].trigger()
        dialog = panel.findChildren(CheckpointDialog)[-1]
        qtbot.waitUntil(lambda: not dialog.review.doing)
        return dialog

    return add


def test_the_dialog_tells_what_was_recognised_and_how(opened: OpenDialog) -> None:
    dialog = opened("mine.safetensors")
    assert dialog.head.text() == "MAE · ViT d4 × 1, 2 heads, patch 8"
    cells = [dialog.table.item(1, column).text() for column in range(3)]
    assert cells == ["heads", "2", "head width 2, as is usual"]
    assert dialog.doubts.text() == "⚠ The file does not tell the number of heads."
    assert dialog.left_out.text() == "Left out: 2 × optimiser."
    assert dialog.form.method.currentText() == "MAE (as recognised)"
    dialog.reject()


def test_corrections_are_shown_added_and_ticked(
    opened: OpenDialog, panel: SSLMapsWidget, qtbot: QtBot, library: KnownLibrary
) -> None:
    dialog = opened("mine.safetensors")
    form = dialog.form
    form.heads.setValue(4)
    form.method.setCurrentIndex(form.method.findText("I-JEPA"))
    form.eps.setText("1e-5")
    form.eps.editingFinished.emit()
    qtbot.waitUntil(lambda: not dialog.review.doing)
    assert dialog.head.text() == "I-JEPA · ViT d4 × 1, 4 heads, patch 8"
    dialog.name.setText("four-heads")
    with qtbot.waitSignal(dialog.finished):
        dialog.add.click()
    qtbot.waitUntil(lambda: "four-heads" in panel.encoders.rows)
    assert panel.encoders.rows["four-heads"].box.isChecked()
    assert library.listed["four-heads"].overrides == {"method": "ijepa", "num_heads": 4, "eps": 1e-5}
    assert "Corrected by you: method ijepa, num_heads 4" in panel.encoders.rows["four-heads"].toolTip()
    assert "recognised as I-JEPA" in panel.run.status.text()


def test_an_ambiguous_file_asks_for_its_method(opened: OpenDialog, qtbot: QtBot) -> None:
    dialog = opened("ambiguous.pth")
    assert dialog.head.text() == "Not recognised"
    assert "Say which" in dialog.message.text()
    assert not dialog.add.isEnabled()
    dialog.form.method.setCurrentIndex(dialog.form.method.findText("DINO"))
    qtbot.waitUntil(dialog.add.isEnabled)
    assert dialog.head.text().startswith("DINO ·")
    dialog.reject()


def test_a_refused_file_is_a_sentence_and_the_list_stays(opened: OpenDialog, panel: SSLMapsWidget) -> None:
    before = list(panel.encoders.rows)
    dialog = opened("refused.pth")
    assert "os.system" in dialog.message.text()
    assert not dialog.add.isEnabled()
    dialog.reject()
    assert list(panel.encoders.rows) == before


def test_a_folder_is_asked_for_as_well(
    panel: SSLMapsWidget, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    panel.encoders.add_menu.actions()[1].trigger()
    (dialog,) = panel.findChildren(CheckpointDialog)
    qtbot.waitUntil(lambda: not dialog.review.doing)
    assert dialog.review.path == tmp_path
    dialog.reject()


def test_a_file_that_moved_is_shown_located_and_forgotten(
    opened: OpenDialog,
    panel: SSLMapsWidget,
    qtbot: QtBot,
    tmp_path: Path,
    library: KnownLibrary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dialog = opened("mine.safetensors")
    with qtbot.waitSignal(dialog.finished):
        dialog.add.click()
    (tmp_path / "mine.safetensors").unlink()
    library.listed["mine"] = replace(library.listed["mine"], trouble="Expected the weights of mine.")
    panel.controller.encoder_list.list_again()
    row = panel.encoders.rows["mine"]
    assert row.known.text() == "moved"
    assert not row.box.isEnabled()
    assert "Expected the weights of mine." in row.toolTip()
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "found.pth"), ""))
    row.action_requested.emit("locate")
    found = panel.findChildren(CheckpointDialog)[-1]
    qtbot.waitUntil(found.add.isEnabled)
    assert found.name.text() == "mine"
    with qtbot.waitSignal(found.finished):
        found.add.click()
    assert panel.encoders.rows["mine"].box.isEnabled()
    panel.encoders.rows["mine"].action_requested.emit("forget")
    assert "mine" not in panel.encoders.rows


@pytest.fixture
def published(panel: SSLMapsWidget, library: KnownLibrary, tmp_path: Path) -> SSLMapsWidget:
    for name in ("mae-vit-b16", "dinov3-vit-s16"):
        absent = replace(make_spec(tmp_path / name), name=name, origin="published", trouble="Not here yet.")
        library.hub[name] = absent
    panel.controller.encoder_list.list_again()
    return panel


def test_published_encoders_are_folded_away_and_not_ticked(published: SSLMapsWidget) -> None:
    group = published.encoders.groups["Published"]
    assert not group.rows  # none is made before somebody looks
    group.arrow.click()
    assert [row.box.text() for row in group.rows] == ["mae-vit-b16", "dinov3-vit-s16"]
    assert not any(row.box.isChecked() for row in group.rows)
    published.controller.encoder_list.list_again()
    assert not published.encoders.groups["Published"].rows[0].parentWidget().isHidden()


def test_a_tick_asks_for_the_licence_then_downloads_and_ticks(
    published: SSLMapsWidget, qtbot: QtBot, library: KnownLibrary
) -> None:
    def fetch(on_bytes: OnBytes) -> None:
        on_bytes(100_000_000, 400_000_000)

    library.on_download = fetch
    row = published.encoders.rows["mae-vit-b16"]
    row.box.click()
    assert not row.box.isChecked()
    (dialog,) = published.findChildren(DownloadDialog)
    assert "CC-BY-NC-4.0" in dialog.licence.text()
    assert "448 MB" in dialog.facts.text()
    assert dialog.gate.isHidden()
    with qtbot.waitSignal(dialog.finished):
        dialog.accept_button.click()
    assert published.encoders.rows["mae-vit-b16"].box.isChecked()


def test_a_gated_one_says_what_to_request_and_can_be_cancelled(
    published: SSLMapsWidget, qtbot: QtBot
) -> None:
    published.encoders.rows["dinov3-vit-s16"].box.click()
    (dialog,) = published.findChildren(DownloadDialog)
    assert not dialog.gate.isHidden()
    assert "HF_TOKEN" in dialog.gate.text()
    with qtbot.waitSignal(dialog.finished):
        dialog.buttons.rejected.emit()
    assert not published.encoders.rows["dinov3-vit-s16"].box.isChecked()
