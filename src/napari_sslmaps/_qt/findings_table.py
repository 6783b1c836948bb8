"""A table of findings that can be sorted and copied."""

import math
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from qtpy.QtGui import QGuiApplication, QKeyEvent, QKeySequence, QPainter, QPalette, QResizeEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from napari_sslmaps._qt.parts import toned
from napari_sslmaps.core.findings import Cell, Estimate, Table, cell_text

Index = QModelIndex | QPersistentModelIndex
CELL_ROLE = int(Qt.ItemDataRole.UserRole)
DOUBT_ROLE = CELL_ROLE + 1
"""Whether a cell speaks against a method: drawn in amber."""
_EMPTY = Table("", (), ())
_NO = "no"
_PAD = 6
_WIDEST, _NARROWEST = 190, 64
_SHARES = (0.4, 0.3, 0.22)
"""Widest column, in pixels and as a share of the table, where one, two or more are of words."""
_SHORT_HEAD = 8
"""Letters of a head that is not broken."""
_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)


class FindingsModel(QAbstractTableModel):
    """The rows of a `Table`, sorted by numbers rather than their text; what is missing comes last."""

    def __init__(self) -> None:
        super().__init__()
        self.table = _EMPTY
        self._order: list[int] = []

    def set_table(self, table: Table) -> None:
        """Show another table, in its own order."""
        self.beginResetModel()
        self.table = table
        self._order = list(range(len(table.rows)))
        self.endResetModel()

    def cell(self, row: int, column: int) -> Cell:
        """Return what a cell shows, rows counted as they are sorted now."""
        return self.table.rows[self._order[row]][column]

    def rowCount(self, parent: Index | None = None) -> int:
        """Return how many rows there are."""
        return 0 if parent is not None and parent.isValid() else len(self._order)

    def columnCount(self, parent: Index | None = None) -> int:
        """Return how many columns there are."""
        return 0 if parent is not None and parent.isValid() else len(self.table.columns)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return text, tip, alignment, doubt or the cell itself."""
        if not index.isValid():
            return None
        row, column = index.row(), index.column()
        cell = self.cell(row, column)
        made: dict[int, Callable[[], Any]] = {
            CELL_ROLE: lambda: cell,
            int(Qt.ItemDataRole.DisplayRole): lambda: cell_text(cell, interval=False),
            int(Qt.ItemDataRole.ToolTipRole): lambda: _tip(cell),
            int(Qt.ItemDataRole.TextAlignmentRole): lambda: _LEFT if isinstance(cell, str) else _RIGHT,
            DOUBT_ROLE: lambda: self._is_doubted(row, column),
        }
        return made[role]() if role in made else None

    def _is_doubted(self, row: int, column: int) -> bool:
        """Whether a cell says no, or names a row that does: a method that does not beat its controls."""
        cells = self.table.rows[self._order[row]]
        return cells[column] == _NO or (column == 0 and _NO in cells)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return the head of a column."""
        if orientation != Qt.Orientation.Horizontal or section >= len(self.table.columns):
            return None
        head = self.table.columns[section]
        words = any(isinstance(row[section], str) for row in self.table.rows)
        if role == Qt.ItemDataRole.DisplayRole:
            return head if words else _broken(head)
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{head}: {tip}" if (tip := self.table.tips.get(head)) else head
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _LEFT if words else _RIGHT
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; −1 is the table's own order."""
        self.layoutAboutToBeChanged.emit()
        rows = range(len(self.table.rows))
        if 0 <= column < len(self.table.columns):
            keys = {row: _sort_key(self.table.rows[row][column]) for row in rows}
            there = [row for row in rows if keys[row] is not None]
            there.sort(
                key=lambda row: keys[row] or (0, 0.0, ""), reverse=order == Qt.SortOrder.DescendingOrder
            )
            self._order = [*there, *(row for row in rows if keys[row] is None)]
        else:
            self._order = list(rows)
        self.layoutChanged.emit()


def _broken(head: str) -> str:
    """Break the head of a column of numbers, which are narrow, at the space nearest to its middle."""
    spaces = [place for place, letter in enumerate(head) if letter == " "]
    if len(head) <= _SHORT_HEAD or not spaces:
        return head
    at = min(spaces, key=lambda place: abs(place - len(head) / 2))
    return f"{head[:at]}\n{head[at + 1 :]}"


def _sort_key(cell: Cell) -> tuple[int, float, str] | None:
    """Return what sorts a cell: numbers before words; None for what is missing."""
    value = cell.value if isinstance(cell, Estimate) else cell
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return (1, 0.0, value.casefold()) if isinstance(value, str) else (0, float(value), "")


def _tip(cell: Cell) -> str:
    known = isinstance(cell, Estimate) and math.isfinite(cell.low) and math.isfinite(cell.high)
    return f"{cell_text(cell)}, a 95 % interval" if known else cell_text(cell)


class _CellDelegate(QStyledItemDelegate):
    """Draws the interval of an estimate small under its value, and in amber what speaks against a method."""

    def initStyleOption(self, option: QStyleOptionViewItem | None, index: QModelIndex) -> None:
        super().initStyleOption(option, index)
        if option is not None and index.data(DOUBT_ROLE):
            option.palette.setColor(QPalette.ColorRole.Text, toned("doubted", option.palette))

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        cell = index.data(CELL_ROLE)
        interval = _interval(cell)
        if painter is None or not interval:
            super().paint(painter, option, index)
            return
        faint = toned("dim", option.palette)
        self.initStyleOption(option, index)
        text, option.text = option.text, ""
        widget = option.widget
        style = None if widget is None else widget.style()
        if style is not None:
            style.drawControl(QStyle.ControlElement.CE_ItemViewItem, option, painter, widget)
        upper, lower = option.rect.adjusted(_PAD, 3, -_PAD, 0), option.rect.adjusted(_PAD, 0, -_PAD, -3)
        painter.save()
        painter.setPen(option.palette.color(QPalette.ColorRole.Text))
        painter.drawText(upper, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop), text)
        font = option.font
        font.setPointSizeF(font.pointSizeF() * 0.8)
        painter.setFont(font)
        painter.setPen(faint)
        painter.drawText(lower, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignBottom), interval)
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> Any:
        size = super().sizeHint(option, index)
        interval = _interval(index.data(CELL_ROLE))
        if interval:
            metrics = option.fontMetrics
            size.setWidth(max(size.width(), round(0.82 * metrics.horizontalAdvance(interval)) + 2 * _PAD + 2))
            size.setHeight(round(1.8 * metrics.height()) + 6)
        return size


def _interval(cell: Cell) -> str:
    if not isinstance(cell, Estimate) or not (math.isfinite(cell.low) and math.isfinite(cell.high)):
        return ""
    return f"{_short(cell.low)} – {_short(cell.high)}"


def _short(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


class FindingsTable(QTableView):
    """Shows a table; a click on a head sorts, Ctrl+C copies what is selected.

    Parameters
    ----------
    parent
        The widget it lies in.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model_ = FindingsModel()
        self.setModel(self.model_)
        self.setItemDelegate(_CellDelegate(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # names differ at both ends
        self.heads.setHighlightSections(False)
        self.heads.setSortIndicatorClearable(True)
        self.heads.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
        rows = self.verticalHeader()
        if rows is not None:
            rows.hide()

    @property
    def heads(self) -> QHeaderView:
        """The heads of the columns."""
        header = self.horizontalHeader()
        assert header is not None  # noqa: S101  # Qt gives every table one; its stubs do not say so
        return header

    @property
    def whole_height(self) -> int:
        """Pixels that all rows take, with heads, frame and the bar below."""
        rows, bar = self.verticalHeader(), self.horizontalScrollBar()
        below = bar.sizeHint().height() if bar is not None else 0
        length = rows.length() if rows is not None else 0
        return self.heads.sizeHint().height() + length + below + 2 * self.frameWidth()

    def set_table(self, table: Table) -> None:
        """Show a table in its own order."""
        self.heads.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.model_.set_table(table)
        self._fit_columns()
        self.resizeRowsToContents()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Fit columns to another width; a table that was filled out of sight has learnt its own now."""
        super().resizeEvent(event)
        if event is not None and event.size().width() != event.oldSize().width():
            self._fit_columns()

    def _fit_columns(self) -> None:
        self.resizeColumnsToContents()
        rows, columns = self.model_.table.rows, range(self.model_.columnCount())
        words = sum(any(isinstance(row[column], str) for row in rows) for column in columns)
        share = _SHARES[min(max(words, 1), len(_SHARES)) - 1]  # names are shortened for numbers to be seen
        widest = min(_WIDEST, max(_NARROWEST, round(share * self.width())))
        for column in columns:
            self.setColumnWidth(column, min(self.columnWidth(column), widest))

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Copy the selected rows with their heads, cells parted by tabs, as spreadsheets take them."""
        clipboard = QGuiApplication.clipboard()
        if event is None or clipboard is None or not event.matches(QKeySequence.StandardKey.Copy):
            super().keyPressEvent(event)
            return
        clipboard.setText(self.copied())

    def copied(self) -> str:
        """Return the heads and the selected rows, or all if none is, as lines parted by tabs."""
        chosen = self.selectionModel()
        picked = sorted(index.row() for index in chosen.selectedRows()) if chosen is not None else []
        columns = range(self.model_.columnCount())
        rows = picked or range(self.model_.rowCount())
        cells = [[cell_text(self.model_.cell(row, column)) for column in columns] for row in rows]
        return "\n".join("\t".join(line) for line in [self.model_.table.columns, *cells])
