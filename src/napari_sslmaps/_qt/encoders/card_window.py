"""A model card in a window of its own, beside which the viewer stays usable."""

from qtpy.QtGui import QColor, QTextDocument, QTextFrameFormat, QTextTable
from qtpy.QtWidgets import QDialog, QVBoxLayout, QWidget

from napari_sslmaps._qt.links import Browser

_LINE = QColor(128, 128, 128, 110)


class CardWindow(QDialog):
    """Shows one card at a time.

    Parameters
    ----------
    parent
        The widget it belongs to, and closes with.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setModal(False)
        self.text = Browser()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text)
        self.resize(680, 720)

    def show_card(self, name: str, markdown: str) -> None:
        """Show the card of an encoder."""
        self.setWindowTitle(f"Model card · {name}")
        self.text.setMarkdown(markdown)
        document = self.text.document()
        if document is not None:
            _tidy(document)
        self.show()
        self.raise_()


def _tidy(document: QTextDocument) -> None:
    """Give tables thin lines and some air, and take away headings that Markdown wants and nobody filled."""
    document.setDocumentMargin(14)
    root = document.rootFrame()
    for table in [] if root is None else root.childFrames():
        if not isinstance(table, QTextTable):
            continue
        cells = (table.cellAt(0, column) for column in range(table.columns()))
        if all(cell.firstCursorPosition() == cell.lastCursorPosition() for cell in cells):
            table.removeRows(0, 1)
        shape = table.format()
        shape.setBorderCollapse(True)
        shape.setBorder(1)
        shape.setBorderBrush(_LINE)
        shape.setBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
        shape.setCellPadding(4)
        shape.setTopMargin(8)
        shape.setBottomMargin(8)
        table.setFormat(shape)
