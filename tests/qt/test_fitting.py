"""Words on the dock's pages at the width that it takes on a laptop: none is cut."""

from collections.abc import Iterator

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qt_kit import Window
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QLabel,
    QStyle,
    QStyleOptionComboBox,
    QWidget,
)

from napari_sslmaps._qt.parts import ComboBox, Lines, Section
from napari_sslmaps.viewer.state.workspace import TASKS, Anchor, Task

pytestmark = pytest.mark.viewer
NAMES = (QLabel, QAbstractButton)
INSET = 5
"""Pixels of a line that Qt leaves free beside its words, with the cursor."""
PADDING = 6
"""Pixels that a style asks for beside words, and that nobody misses."""


def cut(page: QWidget) -> Iterator[str]:
    """Words of inputs, labels and buttons in view that have less room than they take."""
    for box in page.findChildren(QAbstractSpinBox):
        line = box.lineEdit()
        room = line.contentsRect().width() - INSET
        if box.isVisible() and line.fontMetrics().horizontalAdvance(box.text()) > room:
            yield f"{box.text()} in {room} px"
    for kind in NAMES:
        for part in page.findChildren(kind):
            wraps = isinstance(part, Lines) or (isinstance(part, QLabel) and part.wordWrap())
            if part.isVisible() and not wraps and part.width() + PADDING < part.minimumSizeHint().width():
                yield f"{part.text()} in {part.width()} px of {part.minimumSizeHint().width()}"
    for combo in page.findChildren(ComboBox):
        option = QStyleOptionComboBox()
        combo.initStyleOption(option)
        style = combo.style()
        part = QStyle.SubControl.SC_ComboBoxEditField
        field = style.subControlRect(QStyle.ComplexControl.CC_ComboBox, option, part, combo)
        longest = max(
            (combo.itemText(index) for index in range(combo.count())),
            key=combo.fontMetrics().horizontalAdvance,
            default="",
        )
        if combo.isVisible() and combo.fontMetrics().horizontalAdvance(longest) > field.width():
            yield f"{longest} in {field.width()} px"


@pytest.mark.parametrize("task", TASKS)
def test_no_words_are_cut_on_a_laptop(window: Window, task: Task, qtbot: QtBot) -> None:
    widget, viewer = window.widget, window.viewer
    viewer.window._qt_window.resize(1300, 740)
    stack = np.random.default_rng(1).random((3, 64, 80), np.float32)
    widget.workspace.image = viewer.add_image(
        stack, name="clip", scale=(1, 0.5, 0.5), units=("s", "um", "um")
    )
    widget.workspace.add_anchor(Anchor((20.0, 12.0)), keep=False)
    window.wait_until_idle()
    widget.tabs.setCurrentIndex(TASKS.index(task))
    for section in widget.findChildren(Section):
        section.fold(away=False)
    for _ in range(5):
        QApplication.processEvents()
    assert list(cut(widget)) == []
