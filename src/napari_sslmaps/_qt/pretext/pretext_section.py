"""Pretext views: which encoder's, how it is made, with what it is changed, and which picture is in view."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QPushButton, QSpinBox, QWidget

from napari_sslmaps._qt.parts import ComboBox, Section, note, quiet, row
from napari_sslmaps.encoders.methods.method import Edits
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.pretext.options import PretextOptions
from napari_sslmaps.viewer.state.workspace import PretextTool

_FITS = (
    ("Centre of the region, as trained", "crop"),
    ("Region resized to the trained side", "resize"),
    ("Whole region in one pass", "whole"),
)
_DISTORTIONS = (
    ("as in training", "trained"),
    ("cut-outs", "cutout"),
    ("all but a window", "outer-cutout"),
    ("shuffled blocks", "shuffle"),
    ("none", "none"),
)
_STEP = 5
_MOST_SEEDS = 9999
_LABEL = 64
_PAINTED, _MOVED = frozenset[Edits]({"paint", "crops"}), frozenset[Edits]({"blocks", "crops"})
_HINTS: Mapping[Edits, str] = {
    "paint": "Paint to hide patches; label 0 or the eraser shows them again. Clear begins an own mask.",
    "blocks": "Drag, resize, add or delete target blocks; the number on each is its mean centred agreement.",
    "crops": "Drag or resize the crops: white are global, blue local. Paint to hide patches.",
    "distort": "What was cut out or shuffled, and what the U-Net makes of it.",
    "": "",
}


class PretextSection(Section):
    """One encoder's own task on the region, and what changes it."""

    options_requested = Signal(object)
    tool_requested = Signal(str)
    panel_requested = Signal(str)
    side_by_side_requested = Signal(bool)
    reveal_requested = Signal()
    random_requested = Signal()

    def __init__(self) -> None:
        super().__init__("Pretext task")
        self._options = PretextOptions()
        self._methods: dict[str, str] = {}
        self.encoder = ComboBox(tip="Encoder whose task is shown.")
        self.task = note()
        self.fit = ComboBox(_FITS, "How the region is brought to the size that the encoder was trained on.")
        self.ratio = QSpinBox()
        self.ratio.setRange(0, 95)
        self.ratio.setSingleStep(_STEP)
        self.ratio.setSuffix(" %")
        self.ratio.setSpecialValueText("as trained")
        self.ratio.setToolTip("Share of the patches that are hidden at random.")
        self.reveal = QPushButton("Clear")
        self.reveal.setToolTip("Hide nothing, and paint a mask of your own. Ctrl+Z brings the mask back.")
        self.random = QPushButton("Random")
        self.random.setToolTip("Hide patches at random again. Ctrl+Z brings the painted mask back.")
        self.seed = QSpinBox()
        self.seed.setRange(0, _MOST_SEEDS)
        self.seed.setPrefix("seed ")
        self.seed.setToolTip(
            "Random seed: another number gives another mask, other targets, crops or cut-outs."
        )
        self.distortion = ComboBox(_DISTORTIONS, "Distortion of the image before it is restored.")
        self.paint = _tool(
            "Paint mask", "Paint over what is to be hidden; the task is computed again after each stroke."
        )
        self.shift = _tool(
            "Move crops", "Drag and resize the rectangles; the task is computed again when you let go."
        )
        self.panel = ComboBox(tip="The picture in view.")
        self.side_by_side = _tool("Side by side", "A cell for each picture; paint in the first.")
        self.hint = note()
        self.notes = note()
        self._hidden = self._line("Hidden", self.ratio, self.random, self.reveal)
        self._distorted = self._line("Distort", self.distortion)
        self._lay_out()
        self._connect()
        self._show_fields()

    def set_encoders(self, specs: Sequence[EncoderSpec]) -> None:
        """Offer these encoders."""
        self._methods = {spec.name: spec.method for spec in specs}
        names = [(f"{spec.name} · {METHODS[spec.method].title}", spec.name) for spec in specs]
        self.encoder.set_options(names)
        self.encoder.set_value(self._options.encoder)
        self._show_fields()

    def set_options(self, options: PretextOptions) -> None:
        """Show how the view is made."""
        self._options = options
        self.encoder.set_value(options.encoder)
        self.fit.set_value(options.fit)
        self.distortion.set_value(options.distortion)
        with quiet(self.ratio, self.seed):
            self.ratio.setValue(0 if options.ratio is None else round(100 * options.ratio))
            self.seed.setValue(options.seed)
        self._show_fields()

    def set_tool(self, tool: PretextTool) -> None:
        """Show what a user holds."""
        with quiet(self.paint, self.shift):
            self.paint.setChecked(tool == "paint")
            self.shift.setChecked(tool == "move")

    def set_panels(self, names: Sequence[str]) -> None:
        """Offer the pictures of the view."""
        self.panel.set_options([(name, name) for name in names])
        for widget in (self.side_by_side, self.paint, self.shift, self.reveal, self.random):
            widget.setEnabled(bool(names))
        self.set_side_by_side(self.side_by_side.isChecked())

    def set_panel(self, name: str) -> None:
        """Show which picture is in view."""
        self.panel.set_value(name)

    def set_notes(self, notes: Sequence[str]) -> None:
        """Say what is to be known of the view."""
        self.notes.setText("\n".join(f"• {sentence}" for sentence in notes))

    def set_side_by_side(self, on: bool) -> None:
        """Show whether cells are side by side."""
        with quiet(self.side_by_side):
            self.side_by_side.setChecked(on)
        self.panel.setEnabled(not on and self.panel.count() > 0)

    def _lay_out(self) -> None:
        tools = row(self.paint, self.shift)
        view = row(QLabel("View"), self.panel, self.side_by_side)
        view.setStretch(1, 1)
        self.body.addWidget(self._line("Encoder", self.encoder))
        self.body.addWidget(self.task)
        self.body.addWidget(self._line("Input", self.fit))
        self.body.addWidget(self._hidden)
        self.body.addWidget(self._distorted)
        self.body.addWidget(self._line("Chance", self.seed))
        self.body.addLayout(tools)
        self.body.addWidget(self.hint)
        self.body.addLayout(view)
        self.body.addWidget(self.notes)

    def _connect(self) -> None:
        self.encoder.currentIndexChanged.connect(lambda _: self._request(encoder=self.encoder.value))
        self.fit.currentIndexChanged.connect(lambda _: self._request(fit=self.fit.value))
        self.distortion.currentIndexChanged.connect(lambda _: self._request(distortion=self.distortion.value))
        self.ratio.valueChanged.connect(lambda value: self._request(ratio=value / 100 if value else None))
        self.seed.valueChanged.connect(lambda value: self._request(seed=value))
        self.paint.toggled.connect(lambda on: self.tool_requested.emit("paint" if on else ""))
        self.shift.toggled.connect(lambda on: self.tool_requested.emit("move" if on else ""))
        self.reveal.clicked.connect(self.reveal_requested)
        self.random.clicked.connect(self.random_requested)
        self.panel.currentIndexChanged.connect(lambda _: self.panel_requested.emit(self.panel.value or ""))
        self.side_by_side.toggled.connect(self.side_by_side_requested)

    def _request(self, **changes: Any) -> None:
        self.options_requested.emit(replace(self._options, **changes))

    def _show_fields(self) -> None:
        """Show what the method of the chosen encoder can be told."""
        method = METHODS.get(self._methods.get(self._options.encoder, ""))
        edits = "" if method is None else method.edits
        self.task.setText("" if method is None else f"{method.title} {method.objective}.")
        self.hint.setText(_HINTS[edits])
        self.paint.setVisible(edits in _PAINTED)
        self.shift.setVisible(edits in _MOVED)
        self.shift.setText("Move targets" if edits == "blocks" else "Move crops")
        self._hidden.setVisible(edits in _PAINTED)
        self._distorted.setVisible(edits == "distort")

    @staticmethod
    def _line(title: str, *widgets: QWidget) -> QWidget:
        label = QLabel(title)
        label.setFixedWidth(_LABEL)
        line = QWidget()
        layout = row(label, *widgets)
        layout.setStretch(1, 1)
        line.setLayout(layout)
        return line


def _tool(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setCheckable(True)
    button.setToolTip(tip)
    return button
