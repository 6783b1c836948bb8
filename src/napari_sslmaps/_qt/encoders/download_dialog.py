"""The dialog that shows a published encoder's licence, then fetches it."""

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_sslmaps._qt.links import LinkedText
from napari_sslmaps._qt.parts import dim, grow_to_text, note, plain
from napari_sslmaps.core.units import size_text
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.viewer.encoders.actions import Download

_WIDTH = 520
_STEPS = 1000


class DownloadDialog(QDialog):
    """Asks whether the licence is accepted, and shows how far the download is.

    Parameters
    ----------
    download
        Download to show; started here and closed with the dialog.
    parent
        The widget it belongs to.
    """

    def __init__(self, download: Download, parent: QWidget) -> None:
        super().__init__(parent)
        self.download = download
        entry = download.entry
        self.setWindowTitle(f"Download · {entry.name}")
        head = QLabel(entry.name)
        head.setStyleSheet("font-size: 13pt; font-weight: bold;")
        info = METHODS[entry.method]
        self.facts = LinkedText(
            f"{info.title} · {entry.architecture.summary}\n"
            f"about {size_text(entry.megabytes)} from {entry.page}\n"
            + ("Its file carries what its pretext view needs.\n" if entry.has_pretext else "")
            + info.citation
        )
        self.licence = QLabel(f"Licence: {entry.licence}")
        self.licence.setStyleSheet("font-weight: bold;")
        self.terms = LinkedText(entry.terms)
        self.gate = LinkedText(
            "Its authors ask who uses it: sign in at the page above and request access. Then create a read "
            "token in your account there and put it into the environment variable HF_TOKEN, or log in once "
            "with the command: hf auth login"
        )
        self.gate.setVisible(entry.gated)
        self.bar = QProgressBar()
        self.bar.setRange(0, _STEPS)
        self.message = note()
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        plain(self.buttons)
        self.accept_button = QPushButton("Accept the licence and download")
        self.buttons.addButton(self.accept_button, QDialogButtonBox.ButtonRole.AcceptRole)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 14, 16, 12)
        column.setSpacing(10)
        for widget in (head, self.facts, self.licence, self.terms, self.gate, self.bar, self.message):
            column.addWidget(widget)
        column.addStretch(1)
        column.addWidget(self.buttons)
        self.setMinimumWidth(_WIDTH)
        self.resize(_WIDTH, 0)
        self.buttons.accepted.connect(download.start)
        self.buttons.rejected.connect(self._on_cancel)
        download.changed.connect(self._on_changed)
        download.arrived.connect(self._on_arrived)
        self.finished.connect(lambda _: download.close())
        self._on_changed()

    def _on_cancel(self) -> None:
        """Stop the download; without one, close."""
        if self.download.running:
            self.message.setText("Stopping; what came is kept, and the next attempt goes on from there.")
            self.download.stop()
        else:
            self.reject()

    def _on_changed(self) -> None:
        download = self.download
        self.accept_button.setEnabled(not download.running)
        self.bar.setVisible(download.running or download.done_bytes > 0)
        self.bar.setRange(0, 0 if download.running and not download.total_bytes else _STEPS)
        self.bar.setValue(round(_STEPS * download.fraction))
        self.bar.setFormat(f"{download.done_bytes / 1e6:.0f} of {download.total_bytes / 1e6:.0f} MB")
        if download.error_text or not download.running:
            self.message.setText(download.error_text)
        dim(self.message, failed=bool(download.error_text))
        grow_to_text(self)

    def _on_arrived(self, _name: str) -> None:
        self.accept()
