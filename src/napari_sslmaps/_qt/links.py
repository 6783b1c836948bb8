"""Text with links, which open in a web browser and can be read on the ground of every theme."""

import re
from html import escape

from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QTextCharFormat, QTextCursor
from qtpy.QtWidgets import QLabel, QTextBrowser

from napari_sslmaps._qt.parts import dim, toned

_ADDRESS = re.compile(r"(https://[^\s()]+)")


class Browser(QTextBrowser):
    """Shows rich text, whose links open in a web browser and have a colour that follows the theme."""

    def __init__(self) -> None:
        super().__init__()
        self.setOpenExternalLinks(True)

    def setHtml(self, text: str | None) -> None:
        """Show HTML."""
        super().setHtml(text)
        self._colour_links()

    def setMarkdown(self, markdown: str | None) -> None:
        """Show Markdown."""
        super().setMarkdown(markdown)
        self._colour_links()

    def changeEvent(self, event: QEvent | None) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._colour_links()

    def _colour_links(self) -> None:
        """Give links their colour: Qt takes the application's, whatever the widget's palette says."""
        document = self.document()
        if document is None:
            return
        look = QTextCharFormat()
        look.setForeground(toned("link", self.palette()))
        cursor, block = QTextCursor(document), document.begin()
        while block.isValid():
            piece = block.begin()
            while not piece.atEnd():
                fragment = piece.fragment()
                piece += 1
                if fragment.charFormat().isAnchor():
                    cursor.setPosition(fragment.position())
                    end = fragment.position() + fragment.length()
                    cursor.setPosition(end, QTextCursor.MoveMode.KeepAnchor)
                    cursor.mergeCharFormat(look)
            block = block.next()


class LinkedText(QLabel):
    """A dim label that wraps, whose addresses open in a web browser and have a colour that follows the theme.

    Parameters
    ----------
    text
        Plain text with addresses in it.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._words = text
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self.setOpenExternalLinks(True)
        dim(self)
        self._colour_links()

    def changeEvent(self, event: QEvent | None) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._colour_links()

    def _colour_links(self) -> None:
        link = rf'<a style="color: {toned("link", self.palette()).name()};" href="\1">\1</a>'
        text = _ADDRESS.sub(link, escape(self._words)).replace("\n", "<br>")
        if text != self.text():
            self.setText(text)
