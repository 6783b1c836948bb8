"""The Compare page in a real window: scribbles are painted, rows picked and results exported by mouse."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from compare_page_kit import KnownComparer
from pytestqt.qtbot import QtBot
from qt_kit import LEFT, Window
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QLineEdit, QMenu, QWidget

from napari_sslmaps._qt.dock import SSLMapsWidget
from napari_sslmaps._qt.maps.image_section import REGIONS
from napari_sslmaps.compare.image_statistics import ImageStatistics, sentences_on_outside
from napari_sslmaps.compare.scores import DEFAULT_CONTROLS, DEFAULT_SCORES
from napari_sslmaps.maps.classes import CLASS_COLOURS
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.compare.scribbles import PREDICTION, SCRIBBLES

pytestmark = pytest.mark.viewer


@pytest.fixture
def page(window: Window, qtbot: QtBot) -> Window:
    """Everything embedded, and the page opened by its tab."""
    window.widget.run.run.click()
    window.wait_until_idle()
    tabs = window.widget.tabs
    qtbot.mouseClick(tabs, LEFT, pos=tabs.tabRect(2).center())
    assert window.widget.workspace.task == "compare"
    return window


def press(qtbot: QtBot, button: QWidget) -> None:
    """Click with the mouse where a button is."""
    QApplication.processEvents()
    assert button.isVisible()
    assert button.isEnabled()
    qtbot.mouseClick(button, LEFT)


def layer_of(window: Window, role: str) -> np.ndarray:
    (found,) = [layer for layer in window.viewer.layers if layer.metadata.get(OWN, {}).get("role") == role]
    return np.asarray(found.data)


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])


def test_scribbles_are_followed_by_the_classes_of_a_probe(page: Window, qtbot: QtBot) -> None:
    probe, model = page.widget.compare.probe, page.widget.controller.compare_page.model
    press(qtbot, probe.paint)
    page.drag((10, 6), (10, 14), (12, 20))
    qtbot.waitUntil(lambda: "at least two classes" in probe.text.text())
    press(qtbot, probe.classes[1])
    assert model.brush == 2
    page.drag((10, 60), (10, 66), (12, 72))
    scribbles = layer_of(page, SCRIBBLES)
    assert {1, 2} <= set(np.unique(scribbles))
    assert scribbles[10, 10] == 1
    assert scribbles[10, 66] == 2
    qtbot.waitUntil(lambda: "apart from the first" in probe.text.text())
    classes = layer_of(page, PREDICTION)
    assert (classes[:, :5] == 1).all()
    assert (classes[:, 5:] == 2).all()
    for column, colour in ((20, CLASS_COLOURS[0]), (60, CLASS_COLOURS[1])):
        drawn, mixed = page.colour((50, column)), 0.45 * rgb(colour) + 0.55 * 127.5
        np.testing.assert_allclose(drawn, mixed, atol=12)


def test_more_strokes_tell_how_good_the_probe_is_until_another_page_is_opened(
    page: Window, qtbot: QtBot
) -> None:
    probe, model = page.widget.compare.probe, page.widget.controller.compare_page.model
    press(qtbot, probe.paint)
    for number, column in ((0, 12), (1, 68)):
        press(qtbot, probe.classes[number])
        for row in (8, 52):
            page.drag((row, column), (row, column + 6))
    qtbot.waitUntil(lambda: "held-out strokes 1.000" in probe.text.text())
    assert model.findings[-1].key == "probe"
    press(qtbot, probe.erase)
    page.drag((52, 68), (52, 74), (50, 74), (50, 68), (54, 68), (54, 76), (56, 66))
    qtbot.waitUntil(lambda: "Paint another stroke" in probe.text.text())
    probe.kind.setCurrentIndex(1)
    assert model.probe.kind == "knn"
    press(qtbot, probe.paint)
    assert not model.scribbling
    assert page.viewer.layers.selection.active is page.image
    press(qtbot, probe.paint)
    tabs = page.widget.tabs
    qtbot.mouseClick(tabs, LEFT, pos=tabs.tabRect(0).center())
    assert not model.scribbling
    roles = {
        layer.metadata[OWN]["role"] for layer in page.viewer.layers if OWN in layer.metadata and layer.visible
    }
    assert not {SCRIBBLES, PREDICTION} & roles


def test_a_comparison_is_read_and_its_rows_lead_to_maps(page: Window, qtbot: QtBot) -> None:
    widget = page.widget
    labels = np.zeros((64, 80), np.uint8)
    labels[:, :40] = 1
    page.viewer.add_labels(labels, name="left")
    assert widget.compare.annotation.annotation.currentText() == "left"
    press(qtbot, widget.run.compare)
    qtbot.waitUntil(lambda: widget.workspace.status.text.startswith("Compared"))
    comparer: KnownComparer = widget.controller.compare_page.comparison._comparer
    (asked,) = comparer.asked
    assert asked.image.annotation.classes == (1,)
    assert {name for _, name in asked.embeddings} == {"mae-demo", "dinov3-demo"}
    results = widget.compare.results
    assert results.text.isVisible(), "what all of it says comes first"
    results.choice.setCurrentIndex(1)
    assert results.table.isVisible()
    setup = (widget.compare.annotation, widget.compare.scores, widget.compare.probe)
    assert not any(part.inner.isVisible() for part in setup), "folded away, to make room for the table"
    press(qtbot, widget.compare.scores.title)
    assert widget.compare.scores.inner.isVisible()
    widget.controller.compare_page.model.scribbling = True
    assert widget.compare.probe.inner.isVisible(), "whoever paints sees how the probe does"
    widget.controller.compare_page.model.scribbling = False
    assert results.notes.text() == "dinov3-demo does not beat its controls."
    click_row(qtbot, results.table, 1)
    assert widget.workspace.front == "dinov3-demo"
    results.choice.setCurrentIndex(results.choice.findText("Agreement of encoders"))
    click_row(qtbot, results.table, 0)
    qtbot.waitUntil(lambda: bool(widget.controller.layer_manager.layers_of(page.image, "agreement")))
    (agreement,) = widget.controller.layer_manager.layers_of(page.image, "agreement")
    assert agreement.name == "tissue / agreement / mae-demo ~ dinov3-demo"
    assert agreement.visible
    widget.workspace.front = "mae-demo"
    assert not widget.controller.layer_manager.layers_of(page.image, "agreement")
    page.viewer.add_image(page.image.data.copy(), name="other")
    assert all(part.inner.isVisible() for part in setup), "of another image nothing was compared"


def click_row(qtbot: QtBot, table: QWidget, row: int) -> None:
    QApplication.processEvents()
    where = table.visualRect(table.model().index(row, 0))
    qtbot.mouseClick(table.viewport(), LEFT, pos=where.center())


def test_figures_are_exported_by_menu_and_dialog(page: Window, qtbot: QtBot, tmp_path: Path) -> None:
    button = page.widget.compare.export
    with clicking_entry(qtbot, button.menu(), "Figures"):
        press(qtbot, button)  # until the menu is closed
    dialog = button.dialog
    assert dialog is not None
    folder = tmp_path / "out"
    folder.mkdir()
    dialog.findChild(QLineEdit).setText(str(folder))  # typed, its completer would pop up in the mouse's way
    choose = dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Open)
    qtbot.mouseClick(choose, LEFT)
    qtbot.waitUntil(lambda: page.widget.workspace.status.text.startswith("Wrote"))
    assert (
        page.widget.workspace.status.text
        == f"Wrote figure.png, figure.svg, figure.pdf and 3 more into {folder}."
    )
    written = sorted(path.name for path in folder.iterdir())
    assert written == [f"{name}.{suffix}" for name in ("figure", "heads") for suffix in ("pdf", "png", "svg")]


@contextmanager
def clicking_entry(qtbot: QtBot, menu: QMenu, text: str) -> Iterator[None]:
    """Click an entry as soon as its menu is open, which may block who opened it."""

    def look() -> None:
        if menu.isVisible():
            timer.stop()
            action = next(action for action in menu.actions() if action.text().startswith(text))
            qtbot.mouseClick(menu, LEFT, pos=menu.actionGeometry(action).center())

    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(10)
    yield
    qtbot.waitUntil(lambda: not timer.isActive())


def test_a_folder_is_asked_for_in_a_dialog(panel: SSLMapsWidget, qtbot: QtBot, tmp_path: Path) -> None:
    widget = panel
    widget.workspace.task = "compare"
    with qtbot.waitExposed(widget):
        widget.show()
    press(qtbot, widget.compare.annotation.folder)
    dialog = widget.compare.folder
    qtbot.waitUntil(dialog.isVisible)
    qtbot.mouseClick(dialog.start, LEFT)
    assert dialog.message.text() == "Choose a folder for images and results first."
    (tmp_path / "images" / "cells").mkdir(parents=True)
    iio.imwrite(tmp_path / "images" / "cells" / "one.png", np.zeros((8, 8), np.uint8))
    qtbot.keyClicks(dialog.images.line, str(tmp_path / "images"))
    qtbot.keyClicks(dialog.out.line, str(tmp_path / "out"))
    dialog.labels.setCurrentIndex(1)
    dialog.scores["localisation"].click()
    qtbot.mouseClick(dialog.start, LEFT)
    assert dialog.message.text() == "Choose a folder of masks, which maps and anchors need, or untick these."
    (tmp_path / "masks").mkdir()
    iio.imwrite(tmp_path / "masks" / "one.png", np.eye(8, dtype=np.uint8))
    qtbot.keyClicks(dialog.masks.line, str(tmp_path / "masks"))
    qtbot.mouseClick(dialog.start, LEFT)
    qtbot.waitUntil(lambda: widget.workspace.status.text.startswith("Compared 2 encoders"))
    (asked,) = widget.controller.compare_page.comparison._comparer.asked
    assert asked.request.scores == (*DEFAULT_SCORES, "localisation")
    assert asked.request.controls == DEFAULT_CONTROLS
    assert [(image.name, image.label) for image in asked.request.images] == [("cells/one.png", "cells")]
    assert asked.folder == tmp_path / "out"
    widget.compare.results.choice.setCurrentIndex(1)
    assert widget.compare.results.table.model_.cell(0, 0) == "mae-demo"


def test_what_is_said_to_leave_out_what_is_around_is_called_so_in_the_window() -> None:
    around = ImageStatistics("image", "none", *[math.nan] * 6, outside=0.2)
    [told] = sentences_on_outside([around])
    [text] = [text for text, key in REGIONS if key == "mask"]
    assert f"Region: {text}" in told
