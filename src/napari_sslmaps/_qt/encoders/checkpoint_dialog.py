"""The dialog in which a weight file is reviewed, corrected and added."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_sslmaps._qt.encoders.correction_form import CorrectionForm
from napari_sslmaps._qt.parts import Section, dim, grow_to_text, note, plain, row, set_tone
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.viewer.encoders.checkpoint_review import CheckpointReview

if TYPE_CHECKING:
    from napari_sslmaps.encoders.checkpoint.report import RecognitionReport

_COLUMNS = ("value", "is", "because")
_TABLE = (
    "QTableWidget {background: transparent; border: none;} QTableWidget::item {padding: 0px 10px 0px 2px;}"
)
_SIZE = (640, 620)


class CheckpointDialog(QDialog):
    """Shows a review and steers it.

    Parameters
    ----------
    review
        Review to show; started here and closed with the dialog.
    parent
        The widget it belongs to.
    """

    def __init__(self, review: CheckpointReview, parent: QWidget) -> None:
        super().__init__(parent)
        self.review = review
        self.setWindowTitle(f"Add checkpoint · {review.path.name}")
        self.head = QLabel("…")
        self.head.setWordWrap(True)
        self.head.setStyleSheet("font-size: 13pt; font-weight: bold;")
        self.place = QElidingLabel(str(review.path))
        self.place.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.place.setToolTip(str(review.path))
        dim(self.place)
        self.doubts = note()
        set_tone(self.doubts, "doubted")
        self.table = _evidence_table()
        self.left_out = note()
        self.recognised = Section("Recognised")
        self.form = CorrectionForm(review.overrides)
        self.name = QLineEdit(review.name)
        self.name.setPlaceholderText("named after the file")
        self.name.setToolTip("Name to list the encoder under.")
        self.message = note()
        self.busy = QProgressBar()
        self.busy.setRange(0, 0)
        self.busy.setTextVisible(False)
        self.busy.setFixedHeight(4)
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.add = QPushButton("Add")
        plain(self.buttons)
        self.buttons.addButton(self.add, QDialogButtonBox.ButtonRole.AcceptRole)
        self._lay_out()
        self.form.corrected.connect(lambda fields: review.correct(**fields))
        self.buttons.accepted.connect(lambda: review.accept(self.name.text().strip()))
        self.buttons.rejected.connect(self.reject)
        review.changed.connect(self._on_changed)
        review.accepted.connect(self._on_accepted)
        self.finished.connect(lambda _: review.close())
        self.setMinimumWidth(_SIZE[0])
        self.resize(*_SIZE)
        review.inspect()

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 14, 16, 12)
        column.setSpacing(8)
        corrections = Section("Correct what you know better")
        self.recognised.body.addWidget(self.table)
        self.recognised.body.addWidget(self.left_out)
        corrections.body.addWidget(self.form)
        corrections.body.addLayout(row(QLabel("Name"), self.name))
        for widget in (self.head, self.place, self.message, self.busy, self.doubts):
            column.addWidget(widget)
        column.addWidget(self.recognised, 100)
        column.addWidget(corrections)
        column.addStretch(1)
        column.addWidget(self.buttons)

    def _on_changed(self) -> None:
        review = self.review
        self.busy.setVisible(bool(review.doing))
        self.add.setEnabled(review.addable)
        self.message.setText(review.doing or review.error_text)
        self.message.setVisible(bool(self.message.text()))
        dim(self.message, failed=bool(review.error_text))
        if review.doing:
            return
        if review.report is None:
            self.head.setText("Not recognised")
            self.doubts.setText("")
            self.table.setRowCount(0)
        elif not review.error_text:
            self._show(review.report)
        self.doubts.setVisible(bool(self.doubts.text()))
        if self.recognised.isHidden() != (review.report is None):
            self.recognised.setVisible(review.report is not None)
            self.resize(_SIZE[0], 0 if review.report is None else _SIZE[1])
        grow_to_text(self)

    def _show(self, report: "RecognitionReport") -> None:
        self.head.setText(f"{METHODS[report.method].title} · {report.architecture.summary}")
        self.doubts.setText("\n".join(f"⚠ {sentence}" for sentence in report.ambiguous))
        rows = [("layout", report.layout, "its key names")]
        rows += [(item.field, item.value, item.how) for item in report.inferred]
        _fill(self.table, rows)
        counts = Counter(report.left_out.values())
        left_out = "; ".join(f"{count} × {reason}" for reason, count in counts.most_common())
        lines = [f"Left out: {left_out}." if left_out else "Every tensor of the file is used."]
        if report.companions:
            lines.append(f"For its pretext view: {', '.join(report.companions)}.")
        self.left_out.setText("\n".join(lines))
        self.form.show_recognised(report)

    def _on_accepted(self, _spec: EncoderSpec) -> None:
        self.accept()


def _evidence_table() -> QTableWidget:
    table = QTableWidget(0, len(_COLUMNS))
    table.setHorizontalHeaderLabels(list(_COLUMNS))
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
    table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    table.setShowGrid(False)
    table.setWordWrap(True)
    table.setStyleSheet(_TABLE)
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    down, across = table.verticalHeader(), table.horizontalHeader()
    if down is not None and across is not None:
        down.hide()
        down.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        across.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        across.setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
        across.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft)
    return table


def _fill(table: QTableWidget, rows: Sequence[tuple[str, str, str]]) -> None:
    table.setRowCount(len(rows))
    for index, cells in enumerate(rows):
        for column, text in enumerate(cells):
            item = QTableWidgetItem(text)
            item.setToolTip(text)
            table.setItem(index, column, item)
