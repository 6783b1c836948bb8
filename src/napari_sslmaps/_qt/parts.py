"""Small parts that the sections share."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qtpy.QtCore import QEvent, QObject, QPoint, QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QIcon,
    QPaintDevice,
    QPainter,
    QPaintEvent,
    QPalette,
    QResizeEvent,
)
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QMessageBox,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QStyle,
    QStyleOptionComboBox,
    QTabBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_sslmaps.viewer.state.workspace import TASKS, Task

GAP = 6
_HEAD = "QToolButton {border: none; background: transparent; padding: 0px; margin: 0px; font-weight: bold;}"
NO_INDICATOR = "QToolButton::menu-indicator {image: none;}"
"""Style of a button with a menu: Qt's own arrow lies over the word."""
TONES = {
    "dim": ("#a3a8b2", "#595d66"),
    "failed": ("#ff7a6e", "#b3261e"),
    "doubted": ("#e8b04a", "#7a4e00"),
    "link": ("#6ea8fe", "#0b57d0"),
}
"""Colours of text on a dark and on a light ground, at 4.5 : 1 at least."""
EDGES = ("#868c98", "#6f747d")
"""Colours of the outlines of controls on a dark and on a light ground, at 3 : 1 at least."""
PLACEHOLDERS = ("#b9bec8", "#4a4e56")
"""Colours of what stands in an empty input, on an input's ground, at 4.5 : 1 at least."""
_INACTIVE = "rgba(128, 128, 128, 110)"
_CONTROLS = """
QCheckBox::indicator:unchecked, QGroupBox::indicator:unchecked, QRadioButton::indicator:unchecked
{{border: 1px solid {edge};}}
QCheckBox::indicator:unchecked {{width: 14px; height: 14px;}}
QSlider::handle:horizontal {{background-color: {edge};}}
QCheckBox::indicator:unchecked:disabled {{border-color: {faint};}}
QSlider::handle:horizontal:disabled {{background-color: {faint};}}
QLineEdit, QPlainTextEdit {{border: 1px solid {edge}; placeholder-text-color: {placeholder};}}
QAbstractSpinBox QLineEdit, QComboBox QLineEdit {{border: none;}}
"""
_CANVAS = (720, 720)
"""Pixels of a canvas that a picture and a dock's page beside it are seen in at all."""
_WIDEST = 440
"""Pixels that a dock takes at most, however long the words on it: a laptop's screen has 1366."""
_MIDDLE = 128
_JSON = "JSON (*.json);;All files (*)"
_SUFFIX = re.compile(r"\*(\.\w+)")


class Section(QWidget):
    """A titled part of the dock.

    Parameters
    ----------
    title
        Title in bold, followed by a line; no line without a title. A click on it folds the section away.
    folded
        Whether it is folded at first.
    """

    def __init__(self, title: str, *, folded: bool = False) -> None:
        super().__init__()
        head = self.title = QToolButton()
        head.setText(title)
        head.setToolTip(f"Show or fold away: {title}")
        head.setStyleSheet(_HEAD)
        head.setCursor(Qt.CursorShape.PointingHandCursor)
        head.clicked.connect(lambda: self.fold(away=not self._away))
        self._away = folded
        self._named = title
        line = QFrame()
        line.setFrameShape(QFrame.Shape.HLine)
        line.setFrameShadow(QFrame.Shadow.Plain)
        line.setStyleSheet("color: rgba(128, 128, 128, 90);")
        self.top = row(head, line)
        self.top.setStretch(1, 1)
        self.inner = QWidget()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GAP)
        if title:
            column.addLayout(self.top)
        column.addWidget(self.inner)
        self.body = QVBoxLayout(self.inner)
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.setSpacing(GAP)
        self.fold(away=folded)

    def name(self, title: str) -> None:
        """Give it another title."""
        self._named = title
        self.fold(away=self._away)

    def fold(self, *, away: bool) -> None:
        """Hide what is under the title, or show it."""
        self._away = away
        self.inner.setVisible(not away)
        self.title.setText(f"{'▸' if away else '▾'} {self._named}")


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
    label.setFixedWidth(66)
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


def toned(tone: str, palette: QPalette) -> QColor:
    """Return a colour of `TONES` for the ground that the palette's text can be read on."""
    return QColor(TONES[tone][0 if is_light(palette.color(QPalette.ColorRole.Text)) else 1])


def is_light(ink: QColor) -> bool:
    """Whether a text's colour is one that is read on a dark ground."""
    return ink.lightness() > _MIDDLE


def plain(buttons: QDialogButtonBox) -> None:
    """Take the style's icons off the buttons of a dialog."""
    for button in buttons.buttons():
        button.setIcon(QIcon())


def keep_on_screen(window: QWidget) -> None:
    """Bring a window that reaches beyond its screen back onto it, smaller where it has to be.

    napari grows by a dock that is added to it, on a laptop beyond the screen's edge.
    """
    screen = window.screen()
    if screen is None or window.isMaximized() or window.isFullScreen():
        return
    room, frame = screen.availableGeometry(), window.frameGeometry()
    if room.contains(frame):
        return
    window.resize(window.size().boundedTo(room.size() - (frame.size() - window.size())))
    size = window.frameGeometry().size()
    low, high = room.topLeft(), room.bottomRight() - QPoint(size.width() - 1, size.height() - 1)
    window.move(max(low.x(), min(frame.x(), high.x())), max(low.y(), min(frame.y(), high.y())))


def grow_for(window: QWidget, canvas: QWidget) -> None:
    """Make a window larger that leaves a canvas no room beside the docks, as far as its screen allows.

    napari opens small, and makes a dock's room out of the canvas.
    """
    screen = window.screen()
    if screen is None or window.isMaximized() or window.isFullScreen():
        return
    lacking = QSize(*_CANVAS) - canvas.size()
    grown = window.size() + lacking.expandedTo(QSize(0, 0))
    frame = window.frameGeometry().size() - window.size()
    window.resize(grown.boundedTo(screen.availableGeometry().size() - frame).expandedTo(window.size()))


def grow_to_text(dialog: QDialog) -> None:
    """Make a dialog as high as its wrapped texts ask, if it is lower."""
    layout = dialog.layout()
    if layout is not None:
        layout.activate()
        dialog.resize(dialog.width(), max(dialog.height(), layout.totalHeightForWidth(dialog.width())))


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return name → its first word, or all of it where another name begins with the same word."""
    words = [name.partition("-")[0] for name in names]
    return {name: word if words.count(word) == 1 else name for word, name in zip(words, names, strict=True)}


def ask_where(parent: QWidget, title: str, name: str, kinds: str) -> str:
    """Ask which file to write, and return its path; empty if none.

    A name without a suffix gets that of its kind. Qt has then asked about another name: a file that is there
    is asked about here.
    """
    path, kind = QFileDialog.getSaveFileName(parent, title, name, kinds)
    if not path or Path(path).suffix:
        return path
    found = _SUFFIX.search(kind or kinds)
    path += found[1] if found else Path(name).suffix
    if Path(path).exists():
        question = f"{Path(path).name} is there already. Replace it?"
        if QMessageBox.question(parent, title, question) != QMessageBox.StandardButton.Yes:
            return ""
    return path


def tool(text: str, tip: str) -> QToolButton:
    """Return a small button."""
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    return button


class PathLine(QWidget):
    """A line for a path, and a button that opens a dialog for it.

    Parameters
    ----------
    files
        Whether a file is chosen, or a folder.
    lacking
        Words for no path.
    """

    def __init__(self, *, files: bool = False, lacking: str = "") -> None:
        super().__init__()
        self._files = files
        self.line = QLineEdit()
        self.line.setPlaceholderText(lacking)
        self.browse = tool("…", "Choose.")
        self.browse.clicked.connect(self._ask)
        self.dialog: QFileDialog | None = None
        layout = row(self.line, self.browse)
        layout.setStretch(0, 1)
        self.setLayout(layout)
        self.setFocusProxy(self.line)

    @property
    def text(self) -> str:
        """The path; empty if there is none."""
        return self.line.text().strip()

    def _ask(self) -> None:
        self.dialog = QFileDialog(self, "Choose", self.text)
        if not self._files:
            self.dialog.setFileMode(QFileDialog.FileMode.Directory)
        self.dialog.fileSelected.connect(self.line.setText)
        self.dialog.open()


class Lines(QLabel):
    """A dim label that is always as high as its lines; what does not fit is in the tool tip.

    Parameters
    ----------
    count
        Number of lines.
    """

    def __init__(self, count: int = 2) -> None:
        super().__init__()
        self._count = count
        self._text = ""
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setIndent(0)
        self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._fit()
        dim(self)

    def text(self) -> str:
        """Return all of the text."""
        return self._text

    def setText(self, text: str | None) -> None:
        """Show as much of a text as there is room for."""
        self._text = text or ""
        super().setText(self._wrapped())

    def show_text(self, text: str) -> None:
        """Show a text, and all of it in the tool tip."""
        self.setText(text)
        self.setToolTip(text)

    def changeEvent(self, event: QEvent | None) -> None:
        """Stay as high as the lines when a style sheet brings another font."""
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Break the text anew."""
        super().resizeEvent(event)
        super().setText(self._wrapped())

    def _fit(self) -> None:
        self.setFixedHeight(self._count * self.fontMetrics().lineSpacing() + 2 * GAP)  # napari pads texts
        super().setText(self._wrapped())

    def _wrapped(self) -> str:
        """Return the text broken into lines that fit beside the style's padding, the last one cut."""
        room = self.contentsRect().width() - 2 * self.margin()
        parts = self._text.splitlines()
        lines = [line.strip() for part in parts for line in QElidingLabel.wrapText(part, room, self.font())]
        shown = lines[: self._count - 1]
        rest = " ".join(lines[self._count - 1 :])
        if rest:
            shown.append(self.fontMetrics().elidedText(rest, Qt.TextElideMode.ElideRight, room))
        return "\n".join(shown)


def dim(label: QWidget, *, failed: bool = False) -> None:
    """Show a label dimmed, or as a failure."""
    set_tone(label, "failed" if failed else "dim")


def set_tone(widget: QWidget, tone: str) -> None:
    """Let a widget's text have a colour of `TONES`, which follows the theme."""
    if widget.property("tone") != tone:
        widget.setProperty("tone", tone)
        style = widget.style()
        if style is not None:
            style.unpolish(widget)
            style.polish(widget)


def tone_sheet(*, dark: bool) -> str:
    """Return the style sheet that gives tones their colours, and controls outlines that can be seen."""
    index = 0 if dark else 1
    controls = _CONTROLS.format(edge=EDGES[index], faint=_INACTIVE, placeholder=PLACEHOLDERS[index])
    return controls + "".join(
        f'*[tone="{tone}"] {{color: {colours[index]};}} ' for tone, colours in TONES.items()
    )


class ComboBox(QComboBox):
    """A combo box of (text, value) pairs that never asks for more width than there is."""

    def __init__(self, options: Sequence[tuple[str, Any]] = (), tip: str = "") -> None:
        super().__init__()
        self._tip = tip
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(60)
        self.setToolTip(tip)
        self.set_options(options)

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Shorten a text that there is no room for in its middle; the tool tip has all of it."""
        option, style = QStyleOptionComboBox(), self.style()
        self.initStyleOption(option)
        text, field = option.currentText, QStyle.SubControl.SC_ComboBoxEditField
        if style is None:
            return
        frame = QStyle.ComplexControl.CC_ComboBox
        room = style.subControlRect(frame, option, field, self).width() - 2
        option.currentText = self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, room)
        whole = option.currentText == text
        with painting_on(self) as painter:
            style.drawComplexControl(frame, option, painter, self)
            style.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option, painter, self)
        tip = self._tip if whole else "\n".join(filter(None, (text, self._tip)))
        if tip != self.toolTip():
            self.setToolTip(tip)

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


class PageScroll(QScrollArea):
    """Scrolls a page up and down, and is never narrower than what is on it.

    Parameters
    ----------
    page
        Widget to scroll.
    least
        Pixels that it is wide at least.
    """

    def __init__(self, page: QWidget, least: int) -> None:
        super().__init__()
        self._least = least
        self.setWidget(page)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def minimumSizeHint(self) -> QSize:
        """Return the width of the page beside the scroll bar, up to a bound that leaves room for a canvas."""
        page, bar, size = self.widget(), self.verticalScrollBar(), super().minimumSizeHint()
        if page is None or bar is None:
            return size
        wanted = page.minimumSizeHint().width() + bar.sizeHint().width()
        return QSize(max(self._least, min(wanted, _WIDEST)), size.height())

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Take note when what is on the page has changed."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))


class WheelGuard(QObject):
    """Leaves the wheel to the scrolling page, unless the input under the pointer has the focus.

    Parameters
    ----------
    page
        Page whose inputs are guarded: combo boxes, spin boxes, sliders and tabs.
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
        Name of what is written, in the plural.
    tip
        Sentence that tells what the button is for.
    kept
        Whether what is there now can be kept without a file, or the words of what is offered instead.
    """

    kept = Signal()
    saved = Signal(str)
    """Path of the file to write."""
    loaded = Signal(str)
    """Path of the file to read."""

    def __init__(self, what: str, tip: str, *, kept: bool | str = True) -> None:
        super().__init__()
        self._what = what
        self.setText("⋯")
        self.setToolTip(tip)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.setStyleSheet(NO_INDICATOR)
        self.entries = QMenu(self)
        offers: list[tuple[str, Callable[..., None]]] = [
            (f"Save {what}…", self.ask_to_save),
            (f"Load {what}…", self.ask_to_load),
        ]
        if kept:
            text = kept if isinstance(kept, str) else f"Keep {what} as they are"
            offers.insert(0, (text, self.kept.emit))
        for text, ask in offers:
            entry = self.entries.addAction(text)
            if entry is not None:
                entry.triggered.connect(lambda _=False, ask=ask: ask())
        self.setMenu(self.entries)

    def ask_to_save(self) -> None:
        """Ask which file to write."""
        path = ask_where(self, f"Save {self._what}", f"{self._what}.json", _JSON)
        if path:
            self.saved.emit(path)

    def ask_to_load(self) -> None:
        """Ask which file to read."""
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


@contextmanager
def painting_on(device: QPaintDevice) -> Iterator[QPainter]:
    """Paint a widget or a picture; the painter is ended whatever happens, else Qt paints no more."""
    painter = QPainter(device)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    try:
        yield painter
    finally:
        painter.end()


_TITLES = {
    "maps": "Maps",
    "pretext": "Pretext",
    "compare": "Compare",
    "readers": "Readers",
    "search": "Search",
}
_TIPS = {
    "maps": "What the encoders' tokens say of the image.",
    "pretext": "What an encoder was trained to do, done on the image.",
    "compare": "Which encoder fits the image: scores, controls, probes, and what they say.",
    "readers": "Judge the maps of a reader study, blind.",
    "search": "Places like the anchors, over all images that a batch has embedded.",
}


class TaskTabs(QTabBar):
    """Chooses the page; what is on the canvas follows."""

    task_requested = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setExpanding(True)
        self.setDrawBase(False)
        self.setUsesScrollButtons(False)
        for index, task in enumerate(TASKS):
            self.addTab(_TITLES[task])
            self.setTabToolTip(index, _TIPS[task])
        self.currentChanged.connect(lambda index: self.task_requested.emit(TASKS[index]))

    def set_task(self, task: Task) -> None:
        """Show which page is open."""
        with quiet(self):
            self.setCurrentIndex(TASKS.index(task))
