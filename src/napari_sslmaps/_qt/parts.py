"""Small parts that the sections share."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

from qtpy.QtCore import QEvent, QObject, QSignalBlocker, Qt, Signal
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QSizePolicy,
    QSlider,
    QTabBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

GAP = 6
LINK = "#6ea8fe"
_JSON = "JSON (*.json);;All files (*)"
_ADDRESS = re.compile(r"(https://[^\s()]+)")


class Section(QWidget):
    """A titled part of the dock.

    Parameters
    ----------
    title
        Shown in bold, followed by a line; no line without a title.
    """

    def __init__(self, title: str) -> None:
        super().__init__()
        head = QLabel(title)
        font = head.font()
        font.setBold(True)
        head.setFont(font)
        line = QFrame()
        line.setFrameShape(QFrame.Shape.HLine)
        line.setFrameShadow(QFrame.Shadow.Plain)
        line.setStyleSheet("color: rgba(128, 128, 128, 90);")
        self.top = row(head, line)
        self.top.setStretch(1, 1)
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.setSpacing(GAP)
        if title:
            self.body.addLayout(self.top)


def row(*widgets: QWidget) -> QHBoxLayout:
    """Lay widgets in a line."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(GAP)
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def titled(title: str, *widgets: QWidget) -> QHBoxLayout:
    """Lay widgets in a line behind a title; the first takes the room there is."""
    label = QLabel(title)
    label.setFixedWidth(56)
    layout = row(label, *widgets)
    layout.setStretch(1, 1)
    return layout


def note(text: str = "") -> QLabel:
    """Return a dim label that wraps."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    dim(label)
    return label


def linked(text: str) -> QLabel:
    """Return a dim label that wraps, whose addresses open in a browser."""
    label = note()
    label.setTextFormat(Qt.TextFormat.RichText)
    link = rf'<a style="color: {LINK};" href="\1">\1</a>'
    label.setText(_ADDRESS.sub(link, escape(text)).replace("\n", "<br>"))
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
    label.setOpenExternalLinks(True)
    return label


def plain(buttons: QDialogButtonBox) -> None:
    """Take the style's icons off the buttons of a dialog."""
    for button in buttons.buttons():
        button.setIcon(QIcon())


def grow_to_text(dialog: QDialog) -> None:
    """Make a dialog as high as its wrapped texts ask, if it is lower."""
    layout = dialog.layout()
    if layout is not None:
        layout.activate()
        dialog.resize(dialog.width(), max(dialog.height(), layout.totalHeightForWidth(dialog.width())))


class Lines(QElidingLabel):
    """A dim label that is always as high as its lines; what does not fit is in the tool tip.

    Parameters
    ----------
    count
        Number of lines.
    """

    def __init__(self, count: int = 2) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(count * self.fontMetrics().lineSpacing() + GAP)
        dim(self)

    def show_text(self, text: str) -> None:
        """Show a text, and all of it in the tool tip."""
        self.setText(text)
        self.setToolTip(text)


def dim(label: QLabel, *, failed: bool = False) -> None:
    """Show a label dimmed, or as a failure."""
    label.setStyleSheet("color: #ff6b5e;" if failed else "color: rgba(150, 155, 165, 255);")


class ComboBox(QComboBox):
    """A combo box of (text, value) pairs that never asks for more width than there is."""

    def __init__(self, options: Sequence[tuple[str, Any]] = (), tip: str = "") -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(60)
        self.setToolTip(tip)
        self.set_options(options)

    @property
    def value(self) -> Any:
        """The chosen value; None if there is none."""
        return self.currentData()

    def set_options(self, options: Sequence[tuple[str, Any]]) -> None:
        """Replace the options, keeping the chosen value where it is still there."""
        with quiet(self):
            chosen = self.value
            self.clear()
            for text, value in options:
                self.addItem(text, value)
            self.set_value(chosen)

    def set_value(self, value: Any) -> None:
        """Choose a value without announcing it."""
        with quiet(self):
            for index in range(self.count()):
                data = self.itemData(index)
                if data is value or data == value:
                    self.setCurrentIndex(index)
                    return


class WheelGuard(QObject):
    """Leaves the wheel to the scrolling page, unless the input under the pointer has the focus.

    Parameters
    ----------
    page
        Whose inputs are guarded: combo boxes, spin boxes, sliders and tabs.
    """

    def __init__(self, page: QWidget) -> None:
        super().__init__(page)
        for kind in (QComboBox, QAbstractSpinBox, QSlider, QTabBar):
            for box in page.findChildren(kind):
                if box.focusPolicy() == Qt.FocusPolicy.WheelFocus:  # which the wheel itself would give
                    box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                box.installEventFilter(self)

    def eventFilter(self, box: QObject | None, event: QEvent | None) -> bool:
        """Refuse the wheel to an input without the focus; Qt then offers it to what lies around it."""
        wheel = event is not None and event.type() == QEvent.Type.Wheel
        if event is None or not wheel or not isinstance(box, QWidget) or box.hasFocus():
            return False
        event.ignore()
        return True


class FileMenu(QToolButton):
    """A button that offers to write something to a file and to read it back.

    Parameters
    ----------
    what
        Is written, in the plural.
    tip
        What the button is for.
    kept
        Whether what is there now can be kept without a file.
    """

    kept = Signal()
    saved = Signal(str)
    """Path of the file to write."""
    loaded = Signal(str)
    """Path of the file to read."""

    def __init__(self, what: str, tip: str, *, kept: bool = True) -> None:
        super().__init__()
        self._what = what
        self.setText("⋯")
        self.setToolTip(tip)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.setStyleSheet("QToolButton::menu-indicator {image: none;}")
        self.entries = QMenu(self)
        offers: list[tuple[str, Callable[..., None]]] = [
            (f"Save {what}…", self._ask_to_save),
            (f"Load {what}…", self._ask_to_load),
        ]
        if kept:
            offers.insert(0, (f"Keep {what} as they are", self.kept.emit))
        for text, ask in offers:
            entry = self.entries.addAction(text)
            if entry is not None:
                entry.triggered.connect(lambda _=False, ask=ask: ask())
        self.setMenu(self.entries)

    def _ask_to_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, f"Save {self._what}", f"{self._what}.json", _JSON)
        if path:
            self.saved.emit(path)

    def _ask_to_load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, f"Load {self._what}", "", _JSON)
        if path:
            self.loaded.emit(path)


@contextmanager
def quiet(*widgets: QWidget) -> Iterator[None]:
    """Set widgets without their signals."""
    blockers = [QSignalBlocker(widget) for widget in widgets]
    try:
        yield
    finally:
        for blocker in blockers:
            blocker.unblock()
