"""Live similarity, areas and undo by real mouse and keys, in cells and on napari's canvas."""

import json
from pathlib import Path

import numpy as np
import pytest
from qt_kit import Window, is_red
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

pytestmark = pytest.mark.viewer
LEFT, RIGHT = (20, 10), (20, 60)


def hover(window: Window, pixel: tuple[float, float]) -> None:
    """Move the mouse over an image pixel, with no button held."""
    point = window.at(pixel)
    at, everywhere = QPointF(point), QPointF(window.canvas.mapToGlobal(point))
    none = Qt.MouseButton.NoButton
    event = QMouseEvent(QEvent.Type.MouseMove, at, everywhere, none, none, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(window.canvas, event)


def warm(colour: np.ndarray) -> bool:
    return bool(colour[1] > colour[2] + 40)


def test_similarity_follows_the_pointer_in_every_cell(window: Window) -> None:
    widget = window.widget
    widget.run.run.click()
    window.wait_until_idle()
    widget.view.side_by_side.click()
    widget.anchors.live.click()
    for place, lit, dark in ((LEFT, (45, 20), (45, 60)), (RIGHT, (45, 60), (45, 20))):
        hover(window, place)
        for cell in (0, 1):
            assert warm(window.colour(lit, cell))
            assert not warm(window.colour(dark, cell))
    assert widget.workspace.anchors == ()
    widget.anchors.live.click()
    assert widget.view.shown.value == "attention"


def test_a_threshold_gives_areas_labels_and_geojson(window: Window, tmp_path: Path) -> None:
    widget = window.widget
    widget.anchors.mode.click()
    window.click(LEFT)
    window.wait_until_idle()
    widget.areas.threshold.setValue(80)
    assert widget.workspace.areas_shown
    red = window.colour((45, 20))
    assert red[0] > red[2] + 60
    assert red[0] > red[1] + 40
    widget.areas.labels.click()
    assert window.viewer.layers["tissue / labels / mae-demo"].data.max() == 1
    widget.areas.saved.emit(str(tmp_path / "areas.geojson"))
    (feature,) = json.loads((tmp_path / "areas.geojson").read_text(encoding="utf-8"))["features"]
    assert np.max(feature["geometry"]["coordinates"][0], axis=0).tolist() == [40, 64]


def test_the_method_of_labels_is_chosen_side_by_side(window: Window) -> None:
    widget = window.widget
    widget.anchors.mode.click()
    window.click(LEFT)
    window.wait_until_idle()
    widget.view.side_by_side.click()
    widget.areas.shown.click()
    method = widget.areas.method
    assert method.isEnabled()
    assert [method.itemText(place) for place in range(method.count())] == ["mae-demo", "dinov3-demo"]
    method.setCurrentIndex(1)
    assert widget.areas.text.text().startswith("dinov3-demo: ")
    widget.areas.labels.click()
    assert "tissue / labels / dinov3-demo" in window.viewer.layers


def test_values_of_one_question_are_told_while_the_pointer_asks(window: Window) -> None:
    widget = window.widget
    widget.anchors.mode.click()
    window.click(LEFT)
    window.wait_until_idle()
    legend = widget.canvas.legend
    (top,) = widget.controller.stage.seen(window.image)
    window.viewer.cursor.position = (45.0, 20.0)
    assert legend._values(top).split()[::2] == ["mae", "dinov3"]
    widget.anchors.live.click()
    hover(window, RIGHT)
    assert legend._values(top).split()[::2] == ["mae"]  # the others' maps still answer the anchor
    assert widget.view.caption.text().startswith("cosine to what is under the pointer")
    widget.anchors.live.click()
    assert legend._values(top).split()[::2] == ["mae", "dinov3"]


def test_a_click_is_undone_and_done_again_by_keys(window: Window) -> None:
    window.widget.anchors.mode.click()
    window.click(LEFT)
    window.wait_until_idle()
    control, shift = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
    window.canvas.setFocus()
    window.qtbot.keyClick(window.canvas, Qt.Key.Key_Z, control)
    assert window.widget.workspace.anchors == ()
    window.qtbot.keyClick(window.canvas, Qt.Key.Key_Z, control | shift)
    assert len(window.widget.workspace.anchors) == 1
    assert is_red(window.colour(LEFT))


def test_cells_are_painted_again_once_areas_are_hidden(window: Window) -> None:
    """A grab paints by itself, so that colours alone would not tell."""
    widget = window.widget
    widget.anchors.mode.click()
    window.click(LEFT)
    window.wait_until_idle()
    widget.view.side_by_side.click()
    for hide in (widget.areas.shown, widget.areas.labels):
        widget.areas.shown.click()
        window.draw()
        with window.qtbot.waitSignal(widget.canvas.cells.painted, timeout=5000):
            hide.click()
        assert not widget.workspace.areas_shown
