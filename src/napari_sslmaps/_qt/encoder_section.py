"""The encoders as a checklist, set by set."""

from collections.abc import Sequence
from functools import partial
from html import escape

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_sslmaps._qt.parts import Section, dim, quiet, row
from napari_sslmaps.encoders.catalog import METHOD_INFO
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.viewer.offer import grouped, verdict

_FILES = "Weights (*.safetensors *.pth *.pt *.bin *.tar);;All files (*)"
_INDENT = 14
_SMALL = " font-size: 8pt;"  # napari's style sheet wins over a font
_ROUND = (
    "QToolButton {font: italic bold 8pt serif; border: 1px solid rgba(150, 155, 165, 140); "
    "border-radius: 8px; min-width: 12px; min-height: 12px; "
    "background: transparent; padding: 0px; margin: 0px;} "
    "QToolButton:hover {background: rgba(150, 155, 165, 90);}"
)
_SHORT = {
    "It beat its controls": "beats control",
    "It did not beat its control": "not above control",
}


class EncoderRow(QWidget):
    """One encoder: a tick with its name, what it is worth, and the way to its model card."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        label, sentence = verdict(spec)
        self.box = QCheckBox(spec.name)
        self.known = QElidingLabel(_known(spec, label))
        dim(self.known)
        self.known.setStyleSheet(self.known.styleSheet() + _SMALL)
        self.known.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.known.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.card = QToolButton()
        self.card.setText("i")
        self.card.setStyleSheet(_ROUND)
        self.card.setCursor(Qt.CursorShape.PointingHandCursor)
        self.card.setToolTip(f"Model card of {spec.name}")
        self.card.setAccessibleName(f"Model card of {spec.name}")
        layout = row(self.box, self.known, self.card)
        layout.setContentsMargins(_INDENT, 0, 0, 0)
        layout.setStretch(1, 1)
        self.setLayout(layout)
        self.setToolTip(_tip(spec, sentence))


class EncoderGroup(QCheckBox):
    """Title of a set; a click ticks all of it, or none if all of it is ticked."""

    def __init__(self, title: str, rows: Sequence[EncoderRow]) -> None:
        super().__init__(title)
        self._rows = rows
        self.setToolTip(f"Tick all or none of: {title}")
        self.setTristate(True)

    def nextCheckState(self) -> None:
        """Leave no half-ticked state to a click."""
        every = self.checkState() == Qt.CheckState.Checked
        self.setCheckState(Qt.CheckState.Unchecked if every else Qt.CheckState.Checked)

    def tick_rows(self) -> None:
        """Give every row of the set the title's state, without announcing it."""
        for line in self._rows:
            with quiet(line.box):
                line.box.setChecked(self.isChecked())

    def follow_rows(self) -> None:
        """Show whether all, some or none of the set are ticked."""
        ticked = sum(line.box.isChecked() for line in self._rows)
        some = Qt.CheckState.PartiallyChecked if ticked else Qt.CheckState.Unchecked
        with quiet(self):
            self.setCheckState(Qt.CheckState.Checked if ticked == len(self._rows) else some)


class EncoderSection(Section):
    """Checklist of encoders, and the way to add one's own."""

    chosen_requested = Signal(tuple)
    checkpoint_requested = Signal(str)
    card_requested = Signal(str)

    def __init__(self) -> None:
        super().__init__("Encoders")
        self.rows: dict[str, EncoderRow] = {}
        self.groups: dict[str, EncoderGroup] = {}
        self._layout = QVBoxLayout()
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(0)
        self.add_button = QPushButton("Add checkpoint…")
        self.add_button.setToolTip("Open a weight file of your own; what it is will be recognised.")
        self.add_button.clicked.connect(self._ask_for_file)
        self.body.addLayout(self._layout)
        self.body.addWidget(self.add_button)

    def set_available(self, specs: Sequence[EncoderSpec]) -> None:
        """List these encoders."""
        for old in (*self.rows.values(), *self.groups.values()):
            self._layout.removeWidget(old)
            old.deleteLater()
        self.rows, self.groups = {}, {}
        for title, members in grouped(specs):
            rows = {spec.name: EncoderRow(spec) for spec in members}
            group = EncoderGroup(title, tuple(rows.values()))
            group.clicked.connect(partial(self._on_group_clicked, group))
            self._layout.addWidget(group)
            for name, line in rows.items():
                self._layout.addWidget(line)
                line.box.toggled.connect(self._on_toggled)
                line.card.clicked.connect(partial(self._on_card_clicked, name))
            self.groups[title] = group
            self.rows |= rows

    def set_chosen(self, names: Sequence[str]) -> None:
        """Tick these encoders."""
        for name, line in self.rows.items():
            with quiet(line.box):
                line.box.setChecked(name in names)
        self._follow_rows()

    def _on_toggled(self) -> None:
        self._follow_rows()
        self.chosen_requested.emit(tuple(name for name, line in self.rows.items() if line.box.isChecked()))

    def _on_group_clicked(self, group: EncoderGroup) -> None:
        group.tick_rows()
        self._on_toggled()

    def _on_card_clicked(self, name: str) -> None:
        self.card_requested.emit(name)

    def _follow_rows(self) -> None:
        for group in self.groups.values():
            group.follow_rows()

    def _ask_for_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Add checkpoint", "", _FILES)
        if path:
            self.checkpoint_requested.emit(path)


def _known(spec: EncoderSpec, label: str) -> str:
    """Say beside a name what its card says of it, and how large its file is."""
    if spec.origin != "embedded":
        title = METHOD_INFO[spec.method].title
        return title if spec.path is None else f"{title} · {spec.megabytes:.1f} MB"
    worth = _SHORT.get(label, label.removeprefix("It "))
    return " · ".join(part for part in (worth, f"{spec.megabytes:.1f} MB") if part)


def _tip(spec: EncoderSpec, sentence: str) -> str:
    info = METHOD_INFO[spec.method]
    places = {"embedded": "embedded", "control": "drawn when it is loaded", "file": str(spec.path)}
    size = f"{spec.megabytes:.1f} MB, " if spec.path is not None else ""
    return (
        f"<p><b>{escape(spec.name)}</b>: {escape(info.title)}, {escape(info.objective)}.</p>"
        f"<p>{escape(sentence)}</p>"
        f"<p>{escape(spec.architecture.summary)}<br>{size}{escape(spec.licence)}, "
        f"{escape(places[spec.origin])}</p>"
        f"<p>Attention: {escape(info.attention_note)}.<br>{escape(info.citation)}</p>"
    )
