"""The window with the report of a reader study: a table at a time, and the page that was written."""

from pathlib import Path

from qtpy.QtCore import Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QDialog, QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_sslmaps._qt.findings_table import FindingsTable
from napari_sslmaps._qt.parts import ComboBox, dim, note, row
from napari_sslmaps.core.findings import Table
from napari_sslmaps.viewer.readers.study_report import ShownReport

_SIZE = 860, 560


class ReportWindow(QDialog):
    """Tables of what readers judged; the same as a page in the browser.

    Parameters
    ----------
    parent
        The widget it belongs to, and closes with.
    """

    scores_requested = Signal(object, object)
    """Analyse this study again, beside the AUROC of a comparison: both their folders."""
    folder_requested = Signal(object)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setModal(False)
        self.setWindowTitle("Report of the reader study")
        self._shown: ShownReport | None = None
        self._tables: dict[str, Table] = {}
        self.sentences = note()
        self.choice = ComboBox(tip="The table in view.")
        self.table = FindingsTable()
        self.notes = note()
        self.status = note()
        for text in (self.sentences, self.notes, self.status):
            text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.page = _button("Open page", "The whole report in the browser, to print or to send.")
        self.save = _button("Save to…", "Write page and tables (CSV) to another folder.")
        self.scores = _button(
            "Beside AUROC…",
            "Choose the folder that a comparison of the same images was written to: a further table tells "
            "whether readers liked what is right.",
        )
        column = QVBoxLayout(self)
        column.addWidget(self.sentences)
        column.addWidget(self.choice)
        column.addWidget(self.table, 1)
        column.addWidget(self.notes)
        column.addWidget(self.status)
        buttons = row(self.page, self.save, self.scores)
        buttons.addStretch(1)
        column.addLayout(buttons)
        self.resize(*_SIZE)
        self.choice.currentIndexChanged.connect(self._show_table)
        self.page.clicked.connect(self._open_page)
        self.save.clicked.connect(self._ask_for_folder)
        self.scores.clicked.connect(self._ask_for_scores)

    def set_report(self, shown: ShownReport) -> None:
        """Show a report; the table in view stays, where it has one like it."""
        self._shown = shown
        self._tables = {table.key: table for table in shown.report.tables}
        self.sentences.setText("\n".join(shown.report.sentences))
        self.sentences.setVisible(bool(shown.report.sentences))
        self.choice.set_options([(table.title, key) for key, table in self._tables.items()])
        self._show_table()
        self.page.setEnabled(shown.page is not None)
        self.status.setText(shown.status.text)
        dim(self.status, failed=shown.status.failed)

    def _show_table(self) -> None:
        table = self._tables.get(self.choice.value or "")
        if table is not None:
            self.table.set_table(table)
            self.notes.setText("\n".join(table.notes))
            self.notes.setVisible(bool(table.notes))

    def _open_page(self) -> None:
        if self._shown is not None and self._shown.page is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._shown.page)))

    def _ask_for_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Write page and tables to")
        if folder:
            self.folder_requested.emit(Path(folder))

    def _ask_for_scores(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of a comparison of the same images")
        if folder and self._shown is not None:
            self.scores_requested.emit(self._shown.study, Path(folder))


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setAutoDefault(False)
    return button
