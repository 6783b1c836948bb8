"""One button for all that is handed on: a menu of what, then a dialog of where."""

from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QToolButton

from napari_sslmaps.viewer.export_job import ExportKind

_ENTRIES: tuple[tuple[str, ExportKind, str], ...] = (
    ("Everything …", "all", "Report, tables, figure, maps, and run.json that makes it all again."),
    ("Maps as they are now (TIFF) …", "maps", "Every map of every method, and run.json that makes it again."),
    ("Figures (PNG, SVG, PDF) …", "figure", "Methods × maps as they are embedded, and every attention head."),
    ("Report (HTML) …", "report", "One file with evidence, scores, curves and maps."),
    ("Tables (CSV) …", "tables", "Every table and every curve."),
)


class ExportButton(QToolButton):
    """Asks what to write, and where."""

    export_requested = Signal(str, str)

    def __init__(self) -> None:
        super().__init__()
        self.setText("Export ▾")
        self.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        self.setToolTip("Write figures, tables, a report, or everything into a folder.")
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for text, kind, tip in _ENTRIES:
            action = menu.addAction(text)
            if action is not None:
                action.setToolTip(tip)
                action.triggered.connect(partial(self._ask_where, kind))
        self.setMenu(menu)
        self.dialog: QFileDialog | None = None

    def _ask_where(self, kind: ExportKind, *_checked: bool) -> None:
        self.dialog = QFileDialog(self, "Folder to write into")
        self.dialog.setFileMode(QFileDialog.FileMode.Directory)
        self.dialog.setOption(QFileDialog.Option.ShowDirsOnly)
        self.dialog.fileSelected.connect(partial(self.export_requested.emit, kind))
        self.dialog.open()
