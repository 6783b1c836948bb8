"""Questions about the maps on a screen, and buttons to answer them."""

from functools import partial

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QSlider, QStyle, QVBoxLayout, QWidget

from napari_sslmaps._qt.parts import GAP, note, quiet, row
from napari_sslmaps.readers.reading import Screen, Slot, Value
from napari_sslmaps.readers.study import Question

_SIDE = 24
"""Pixels of a button with one sign."""
_HERE = "▸"
"""Before what a key answers."""
_NO_HANDLE = "QSlider::handle, QSlider::sub-page { background: transparent; border: none; }"
_COLUMNS = 2
"""Maps beside each other, where a map has five small buttons."""


class QuestionsView(QWidget):
    """Every question with its buttons; what a key answers is in bold."""

    answered = Signal(str, object)
    """Name of the slot, and its value."""

    def __init__(self) -> None:
        super().__init__()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(GAP)
        self._slots: tuple[Slot, ...] = ()
        self._body = QWidget()
        self._words: dict[str, QLabel] = {}
        self.rows: dict[str, SlotRow] = {}

    def set_screen(self, screen: Screen | None) -> None:
        """Show what is asked and what was answered."""
        slots = () if screen is None else screen.slots
        if slots != self._slots:
            self._slots = slots
            self._build(slots)
        if screen is None:
            return
        here = screen.slots[screen.focus]
        for key, words in self._words.items():
            _embolden(words, on=key == here.question.key)
        for name, line in self.rows.items():
            line.show_answer(screen.given.get(name), current=name == here.name)

    def _build(self, slots: tuple[Slot, ...]) -> None:
        self._body.deleteLater()
        self._body = QWidget()
        self._column.addWidget(self._body)
        column = QVBoxLayout(self._body)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GAP)
        self._words, self.rows = {}, {}
        questions = {slot.question.key: slot.question for slot in slots}
        for number, question in enumerate(questions.values(), start=1):
            own = [slot for slot in slots if slot.question.key == question.key]
            words = note(_words(question, number if len(questions) > 1 else 0, rated=len(own[0].part) == 1))
            self._words[question.key] = words
            column.addWidget(words)
            column.addLayout(self._grid(own))

    def _grid(self, slots: list[Slot]) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(2 * GAP)
        grid.setVerticalSpacing(GAP // 2)
        visual = len(slots[0].part) == 1 and slots[0].question.scale == "visual"
        columns = _COLUMNS if len(slots[0].part) == 1 and not visual else 1
        for place, slot in enumerate(slots):
            line = self.rows[slot.name] = SlotRow(slot)
            line.answered.connect(partial(self.answered.emit, slot.name))
            grid.addWidget(line, place // columns, place % columns)
        parts = [self.rows[slot.name].part for slot in slots]
        widest = max(part.minimumWidth() for part in parts)
        for part in parts:  # so that buttons stand below each other
            part.setFixedWidth(widest)
        grid.setColumnStretch(0 if visual else columns, 1)
        return grid


class SlotRow(QWidget):
    """One slot: what it is about, and its buttons, or a line to choose a place on.

    Parameters
    ----------
    slot
        Slot that is answered.
    """

    answered = Signal(object)

    def __init__(self, slot: Slot) -> None:
        super().__init__()
        self.part = QLabel()
        _embolden(self.part, on=True)
        self.part.setText(f"{_HERE}{slot.part or ' '}M")  # the theme's letters are larger than these
        self.part.setFixedWidth(self.part.sizeHint().width())
        self._slot = slot
        self.buttons: dict[Value, QPushButton] = {}
        self.line: VisualScale | None = None
        if slot.question.scale == "visual" and len(slot.part) == 1:
            self.line = self._line(slot)
            line = row(self.part, self.line)
            line.setStretch(1, 1)
        else:
            line = row(self.part, *(self._button(slot, *choice) for choice in slot.choices))
            line.setSpacing(2)
        self.setLayout(line)

    def show_answer(self, value: Value | None, *, current: bool) -> None:
        """Show what was answered, None if nothing, and whether a key answers it."""
        _embolden(self.part, on=current)
        self.part.setText(f"{_HERE if current else ''}{self._slot.part}")
        for own, button in self.buttons.items():
            with quiet(button):
                button.setChecked(own == value)
        if self.line is not None:
            self.line.set_answer(None if value is None else float(value))

    def _button(self, slot: Slot, key: str, text: str, value: Value) -> QPushButton:
        button = QPushButton(text)
        button.setCheckable(True)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys answer, whatever was clicked
        if len(text) == 1:
            button.setFixedWidth(_SIDE)
        button.setToolTip(f"Key {key}")
        button.setAccessibleName(f"{slot.part}: {text}" if slot.part else text)
        button.clicked.connect(lambda: self.answered.emit(value))
        self.buttons[value] = button
        return button

    def _line(self, slot: Slot) -> "VisualScale":
        line = VisualScale(int(slot.choices[0].value), int(slot.choices[-1].value))
        line.setAccessibleName(f"{slot.part}: {slot.question.text}")
        line.chosen.connect(self.answered)
        return line


class VisualScale(QSlider):
    """A line on which a place is chosen with the mouse; until then it has no handle that suggests one.

    Parameters
    ----------
    low, high
        Numbers at its ends.
    """

    chosen = Signal(object)
    """A place on it, when the mouse is let go."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setRange(low, high)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys answer, whatever was clicked
        self.set_answer(None)

    def set_answer(self, value: float | None) -> None:
        """Show an answer, or that there is none."""
        with quiet(self):
            self.setValue((self.minimum() + self.maximum()) // 2 if value is None else round(value))
        self.setStyleSheet(_NO_HANDLE if value is None else "")

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Go to the place that is clicked, not a step towards it."""
        self._follow(event)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Follow the mouse."""
        self._follow(event)

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        """Answer."""
        if self._follow(event):
            self.chosen.emit(self.value())

    def _follow(self, event: QMouseEvent | None) -> bool:
        pressed = Qt.MouseButton.LeftButton
        if event is None or not (event.button() == pressed or event.buttons() & pressed):
            return False
        x = round(event.position().x())
        self.setStyleSheet("")
        self.setValue(QStyle.sliderValueFromPosition(self.minimum(), self.maximum(), x, self.width()))
        return True


def _words(question: Question, number: int, *, rated: bool) -> str:
    low, high = ("0", "100") if question.scale == "visual" else ("1", "5")
    ends = f" ({low}: {question.low}, {high}: {question.high})" if rated and question.high else ""
    return f"{f'{number}. ' if number else ''}{question.text}{ends}"


def _embolden(label: QLabel, *, on: bool) -> None:
    font = label.font()
    if font.bold() != on:
        font.setBold(on)
        label.setFont(font)
