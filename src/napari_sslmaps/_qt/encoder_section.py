"""The encoders as a checklist."""

from collections.abc import Sequence
from html import escape

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_sslmaps._qt.parts import Section, note, quiet, row
from napari_sslmaps.encoders.catalog import METHOD_INFO
from napari_sslmaps.encoders.spec import EncoderSpec

_FILES = "Weights (*.safetensors *.pth *.pt *.bin *.tar);;All files (*)"


class EncoderRow(QWidget):
    """One encoder: a tick with its name, and beside it what else is known of it."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        info = METHOD_INFO[spec.method]
        self.box = QCheckBox(spec.name)
        place = "embedded" if spec.origin == "embedded" else "your file"
        self.known = note(f"{info.title} · {spec.megabytes:.1f} MB\n{spec.licence} · {place}")
        font = self.known.font()
        font.setPointSizeF(max(7.0, font.pointSizeF() - 1))
        self.known.setFont(font)
        self.known.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        layout = row(self.box, self.known)
        layout.setStretch(1, 1)
        self.setLayout(layout)
        self.setToolTip(
            f"<p><b>{escape(spec.name)}</b>: {escape(info.title)}, {escape(info.objective)}.</p>"
            f"<p>{escape(spec.architecture.summary)}<br>{escape(str(spec.path))}</p>"
            f"<p>Attention: {escape(info.attention_note)}.<br>{escape(info.citation)}</p>"
        )


class EncoderSection(Section):
    """Checklist of encoders, and the way to add one's own."""

    chosen_requested = Signal(tuple)
    checkpoint_requested = Signal(str)

    def __init__(self) -> None:
        super().__init__("Encoders")
        self.rows: dict[str, EncoderRow] = {}
        self._layout = QVBoxLayout()
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(2)
        self.add_button = QPushButton("Add checkpoint…")
        self.add_button.setToolTip("Open a weight file of your own; what it is will be recognised.")
        self.add_button.clicked.connect(self._ask_for_file)
        self.body.addLayout(self._layout)
        self.body.addWidget(self.add_button)

    def set_available(self, specs: Sequence[EncoderSpec]) -> None:
        """List these encoders."""
        for old in self.rows.values():
            self._layout.removeWidget(old)
            old.deleteLater()
        self.rows = {spec.name: EncoderRow(spec) for spec in specs}
        for line in self.rows.values():
            self._layout.addWidget(line)
            line.box.toggled.connect(self._on_toggled)

    def set_chosen(self, names: Sequence[str]) -> None:
        """Tick these encoders."""
        for name, line in self.rows.items():
            with quiet(line.box):
                line.box.setChecked(name in names)

    def _on_toggled(self) -> None:
        self.chosen_requested.emit(tuple(name for name, line in self.rows.items() if line.box.isChecked()))

    def _ask_for_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Add checkpoint", "", _FILES)
        if path:
            self.checkpoint_requested.emit(path)
