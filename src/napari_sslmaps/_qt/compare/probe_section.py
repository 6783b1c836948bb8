"""A probe from scribbles: the brush, its classes, and how good the probe is."""

from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QToolButton

from napari_sslmaps._qt.parts import ComboBox, Section, note, quiet, row, tool
from napari_sslmaps.maps.classes import CLASS_COLOURS
from napari_sslmaps.viewer.compare.model import ProbeKind, ProbeOptions

_KINDS: tuple[tuple[str, ProbeKind], ...] = (("linear", "logistic"), ("k-NN", "knn"))
_OFFERED = 4
_SIDE = 24


class ProbeSection(Section):
    """Begins and ends painting, chooses class and probe."""

    scribbling_requested = Signal(bool)
    brush_requested = Signal(int)
    options_requested = Signal(object)

    def __init__(self) -> None:
        super().__init__("Probe from scribbles")
        self.paint = QPushButton("Paint")
        self.paint.setCheckable(True)
        self.paint.setToolTip(
            "Paint a few strokes of each class on the image: a probe on the tokens of the encoder in "
            "front labels "
            "the rest as you paint."
        )
        self.classes = [_swatch(number) for number in range(1, _OFFERED + 1)]
        self.erase = tool("⌫", "Rub out.")
        self.erase.setCheckable(True)
        self.erase.setFixedSize(_SIDE + 2, _SIDE)
        self.kind = ComboBox(_KINDS, "Logistic regression, or the vote of the nearest painted tokens.")
        self.text = note()
        line = row(self.paint, *self.classes, self.erase, self.kind)
        line.setStretch(0, 3)
        line.setStretch(line.count() - 1, 4)
        self.body.addLayout(line)
        self.body.addWidget(self.text)
        self.paint.toggled.connect(self.scribbling_requested)
        for number, button in enumerate([self.erase, *self.classes]):
            button.clicked.connect(partial(self._on_brush, number))
        self.kind.currentIndexChanged.connect(
            lambda _: self.options_requested.emit(ProbeOptions(kind=self.kind.value))
        )
        self.set_scribbling(on=False)
        self.set_text("")

    def set_scribbling(self, on: bool) -> None:
        """Show whether a user paints."""
        with quiet(self.paint):
            self.paint.setChecked(on)
        for button in (*self.classes, self.erase):
            button.setEnabled(on)

    def set_brush(self, number: int) -> None:
        """Show which class is painted."""
        for at, button in enumerate([self.erase, *self.classes]):
            with quiet(button):
                button.setChecked(at == number)

    def set_options(self, options: ProbeOptions) -> None:
        """Show which probe is fitted."""
        self.kind.set_value(options.kind)

    def set_text(self, text: str) -> None:
        """Say how good the probe is, or what it needs."""
        self.text.setText(text)
        self.text.setVisible(bool(text))

    def _on_brush(self, number: int) -> None:
        self.set_brush(number)
        self.brush_requested.emit(number)


def _swatch(number: int) -> QToolButton:
    colour = CLASS_COLOURS[number - 1]
    button = tool(str(number), f"Paint class {number}.")
    button.setCheckable(True)
    button.setFixedSize(_SIDE, _SIDE)
    button.setStyleSheet(
        f"QToolButton {{ background: {colour}; color: #14161a; border-radius: 3px; font-weight: bold; }}"
        "QToolButton:checked:enabled { border: 2px solid white; }"
        "QToolButton:disabled { background: rgba(128, 128, 128, 60); color: rgba(150, 155, 165, 255); }"
    )
    return button
