"""One encoder of the checklist, and the title of a set of them."""

from collections.abc import Callable, Sequence
from functools import partial
from html import escape

from qtpy.QtCore import QPoint, QSignalBlocker, Qt, Signal
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QCheckBox, QLabel, QMenu, QSizePolicy, QToolButton, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_sslmaps._qt.parts import dim, quiet, row, set_tone
from napari_sslmaps.encoders.cards import CardFacts, facts_of
from napari_sslmaps.encoders.controls import Control, controls_of
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.viewer.encoders.encoder_list import verdict, warning_of

_INDENT = 18
_SMALL = " font-size: 8pt;"  # napari's style sheet wins over a font
_BUTTON = (
    "QToolButton {{font: {font}; border: 1px solid rgba(150, 155, 165, 140); "
    "border-radius: 8px; min-width: 12px; min-height: 12px; "
    "background: transparent; padding: 0px; margin: 0px;}} "
    "QToolButton:hover {{background: rgba(150, 155, 165, 90);}}"
)
_ARROW = (
    "QToolButton {border: none; background: transparent; padding: 0px; margin: 0px; "
    "min-width: 14px; min-height: 14px;}"
)
_CONTROLS = (
    "QToolButton {border: none; background: transparent; padding: 0px 2px; margin: 0px; "
    "font-size: 8pt;} QToolButton::menu-indicator {image: none;}"
)
CONTROLS_MEAN = (
    "Controls know less than a trained encoder does; maps that are no better than theirs need not have been "
    "learned."
)
_CONTROL_TITLES = {
    "untrained": "Untrained twin",
    "constant": "Constant image",
    "position": "Position only",
    "pixels": "Raw pixels",
    "colour": "Mean colour",
}
_ACTIONS = (
    ("Model card", "card"),
    ("Look again and correct…", "review"),
    ("Locate…", "locate"),
    ("Forget", "forget"),
)


class EncoderRow(QWidget):
    """One encoder: a tick with its name, what is known of it, and the way to its model card.

    Parameters
    ----------
    spec
        The encoder. One of the user's files has a menu; one that is not downloaded asks for its download
        when it is ticked; a file that moved or changed cannot be ticked.
    """

    ticked = Signal()
    download_requested = Signal()
    action_requested = Signal(str)
    """``card``, ``review``, ``locate`` or ``forget``."""
    control_requested = Signal(object, bool)
    """A control of the encoder, and whether it is wanted."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self._absent = spec.origin == "published" and bool(spec.trouble)
        label, sentence = verdict(spec)
        facts = facts_of(spec)
        self.box = QCheckBox(spec.name)
        self.box.setEnabled(self._absent or not spec.trouble)
        self.known = QElidingLabel(warning_of(spec) or _known(spec, label, facts))
        dim(self.known, failed=bool(spec.trouble) and not self._absent)
        self.known.setStyleSheet(_SMALL)
        self.known.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.known.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.card = self._menu_button(spec) if spec.origin == "file" else self._card_button(spec)
        self.controls: dict[Control, QAction] = {}
        self.versus = self._controls_button(spec)
        layout = row(self.box, self.known, self.versus, self.card)
        layout.setContentsMargins(_INDENT, 0, 0, 0)
        layout.setStretch(1, 1)
        self.setLayout(layout)
        self.set_controls(())
        self.setToolTip(_tip(spec, spec.trouble or sentence, None if spec.trouble else facts))
        self.box.toggled.connect(self._on_toggled)

    def _on_toggled(self, on: bool) -> None:
        if not self._absent:
            self.ticked.emit()
        elif on:
            with quiet(self.box):
                self.box.setChecked(False)
            self.download_requested.emit()

    def set_controls(self, controls: Sequence[Control]) -> None:
        """Tick these controls, as far as they are this encoder's."""
        ticked = 0
        for control, entry in self.controls.items():
            with QSignalBlocker(entry):
                entry.setChecked(control in controls)
            ticked += control in controls
        self.versus.setText(f"vs {ticked}" if ticked else "vs")
        set_tone(self.versus, "link" if ticked else "dim")

    def _controls_button(self, spec: EncoderSpec) -> QToolButton:
        button = QToolButton()
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setCursor(Qt.CursorShape.PointingHandCursor)
        button.setToolTip(
            f"Controls of {spec.name}, shown beside it as methods of their own. {CONTROLS_MEAN}"
        )
        menu = QMenu(button)
        menu.setToolTipsVisible(True)
        for control in () if self._absent else controls_of(spec):
            entry = menu.addAction(_CONTROL_TITLES[control.kind])
            if entry is not None:
                entry.setCheckable(True)
                entry.setToolTip(control.shows)
                entry.toggled.connect(partial(self.control_requested.emit, control))
                self.controls[control] = entry
        button.setMenu(menu)
        button.setStyleSheet(_CONTROLS)
        button.setVisible(not self._absent)
        return button

    def _card_button(self, spec: EncoderSpec) -> QToolButton:
        button = _round("i", "italic bold 8pt serif", f"Model card of {spec.name}")
        button.clicked.connect(lambda: self.action_requested.emit("card"))
        return button

    def _menu_button(self, spec: EncoderSpec) -> QToolButton:
        button = _round("⋮", "bold 9pt", f"What can be done with {spec.name}")
        menu = QMenu(button)
        for text, action in _ACTIONS:
            entry = menu.addAction(text)
            if entry is not None:
                entry.triggered.connect(partial(self.action_requested.emit, action))
        button.clicked.connect(lambda: menu.popup(button.mapToGlobal(QPoint(0, button.height()))))
        return button


class EncoderGroup(QWidget):
    """A set that can be folded away; a click on its title ticks all of it, or none if all is ticked.

    Parameters
    ----------
    title
        Title of the set.
    make_rows
        Function that makes its rows; called when they are first to be seen or ticked, for dozens of rows
        that nobody looks at would keep the dock from opening.
    tickable
        Whether the title has a tick; the published encoders are ticked one by one.
    """

    ticked = Signal()
    folded = Signal(bool)

    def __init__(
        self, title: str, make_rows: Callable[[], Sequence[EncoderRow]], *, tickable: bool = True
    ) -> None:
        super().__init__()
        self._make_rows = make_rows
        self.rows: tuple[EncoderRow, ...] = ()
        self.arrow = QToolButton()
        self.arrow.setStyleSheet(_ARROW)
        self.arrow.setToolTip(f"Show or fold away: {title}")
        self.box = TitleBox(title)
        self.box.setToolTip(f"Tick all or none of: {title}")
        self.box.clicked.connect(self._tick_rows)
        self._inner = QWidget()
        self._column = QVBoxLayout(self._inner)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        head = row(self.arrow, self.box if tickable else QLabel(title))
        head.setSpacing(2)
        head.setStretch(1, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(head)
        column.addWidget(self._inner)
        self.arrow.clicked.connect(lambda: self.fold(away=not self._inner.isHidden()))
        self.fold(away=True)

    def make(self) -> None:
        """Make the rows, unless they are there."""
        if self.rows:
            return
        self.rows = tuple(self._make_rows())
        for line in self.rows:
            self._column.addWidget(line)
            line.ticked.connect(self.ticked)
        self.follow_rows()

    def fold(self, *, away: bool) -> None:
        """Hide the rows, or show them."""
        if not away:
            self.make()
        self._inner.setVisible(not away)
        self.arrow.setText("▸" if away else "▾")
        self.folded.emit(away)

    def follow_rows(self) -> None:
        """Show whether all, some or none of the set are ticked."""
        ticked = sum(line.box.isChecked() for line in self.rows)
        usable = sum(line.box.isEnabled() for line in self.rows)
        some = Qt.CheckState.PartiallyChecked if ticked else Qt.CheckState.Unchecked
        with quiet(self.box):
            self.box.setCheckState(Qt.CheckState.Checked if usable and ticked == usable else some)

    def _tick_rows(self) -> None:
        self.make()
        for line in self.rows:
            with quiet(line.box):
                line.box.setChecked(self.box.isChecked() and line.box.isEnabled())
        self.ticked.emit()


class TitleBox(QCheckBox):
    """A tick of three states, of which a click reaches two."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self.setTristate(True)

    def nextCheckState(self) -> None:
        """Leave no half-ticked state to a click."""
        every = self.checkState() == Qt.CheckState.Checked
        self.setCheckState(Qt.CheckState.Unchecked if every else Qt.CheckState.Checked)


def _round(text: str, font: str, tip: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setStyleSheet(_BUTTON.format(font=font))
    button.setCursor(Qt.CursorShape.PointingHandCursor)
    button.setToolTip(tip)
    button.setAccessibleName(tip)
    return button


def _known(spec: EncoderSpec, label: str, facts: CardFacts | None) -> str:
    """Say beside a name what its card says of it, or else how large its file is; the tip says both."""
    if spec.origin != "embedded":
        title = METHODS[spec.method].title
        return title if spec.path is None else f"{title} · {spec.megabytes:.1f} MB"
    if facts is not None:
        return facts.short
    return label.removeprefix("It ") or f"{spec.megabytes:.1f} MB"


def _tip(spec: EncoderSpec, sentence: str, facts: CardFacts | None) -> str:
    info = METHODS[spec.method]
    places = {
        "embedded": "embedded",
        "control": "random weights, made when it is loaded",
        "file": str(spec.path),
        "published": "published by its authors",
    }
    corrections = ", ".join(f"{name} {value}" for name, value in spec.overrides.items())
    corrected = f"<p>Corrected by you: {escape(corrections)}.</p>" if corrections else ""
    size = f"{spec.megabytes:.1f} MB, " if spec.path is not None else ""
    return (
        f"<p><b>{escape(spec.name)}</b>: {escape(info.title)}, {escape(info.objective)}.</p>"
        f"<p>{escape(_readable(sentence, facts))}</p>"
        f"<p>{size}{escape(spec.licence)}, {escape(places[spec.origin])}</p>{corrected}"
    )


def _readable(sentence: str, facts: CardFacts | None) -> str:
    """Say what a card's verdict means for somebody who clicks; its numbers stay in the card."""
    if facts is None or not facts.real_sets:
        return sentence
    return f"{facts.label}. {facts.explained} {CONTROLS_MEAN} Numbers: model card (i)."
