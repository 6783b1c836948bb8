"""Results of a comparison: a table, a plot or advice at a time, in the dock or in a window."""

from collections.abc import Sequence
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QDialog,
    QFrame,
    QLabel,
    QScrollArea,
    QScrollBar,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_sslmaps._qt.findings_table import FindingsTable
from napari_sslmaps._qt.links import Browser
from napari_sslmaps._qt.parts import GAP, ComboBox, note, row, set_tone
from napari_sslmaps.core.findings import Finding, Table
from napari_sslmaps.viewer.compare.model import ADVICE

if TYPE_CHECKING:
    from napari_sslmaps._qt.compare.plot_canvas import PlotCanvas

_EMPTY = (
    "Tick encoders on the page Maps, choose what they are measured against, and press Compare: "
    "scores, plots and what they say of the methods come here."
)
_HEIGHT = 170
_LINES = 4


class ResultsView(QWidget):
    """Shows one finding and lets a user choose which.

    Parameters
    ----------
    tools
        Widgets to the right of the choice.
    """

    shown_requested = Signal(str)

    def __init__(self, *tools: QWidget) -> None:
        super().__init__()
        self._findings: dict[str, Finding] = {}
        self._advice: tuple[str, ...] = ()
        self.choice = ComboBox(tip="The table or plot in view.")
        self.table = FindingsTable()
        self.text = Browser()
        self.notes = note()
        self.notes.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.notes.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.below = _Rolling(self.notes)
        self.outdated = note()
        set_tone(self.outdated, "doubted")
        self.stack = QStackedWidget()
        for page in (self.text, self.table):
            self.stack.addWidget(page)
        self.stack.setMinimumHeight(_HEIGHT)
        self.stack.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        top = row(self.choice, *tools)
        top.setStretch(0, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GAP)
        column.addLayout(top)
        column.addWidget(self.outdated)
        column.addWidget(self.stack, 1)
        column.addWidget(self.below)
        self.choice.currentIndexChanged.connect(lambda _: self.shown_requested.emit(self.choice.value or ""))
        self.set_findings((), ())
        self.set_outdated("")

    @cached_property
    def plot(self) -> "PlotCanvas":
        """The page of plots, made for the first of them: the dock opens before matplotlib is loaded."""
        from napari_sslmaps._qt.compare.plot_canvas import PlotCanvas

        canvas = PlotCanvas()
        self.stack.addWidget(canvas)
        return canvas

    def set_findings(self, findings: Sequence[Finding], advice: Sequence[str]) -> None:
        """Offer these findings, and advice if there is any."""
        self._findings = {finding.key: finding for finding in findings}
        self._advice = tuple(advice)
        options = [("What speaks for which method", ADVICE)] if advice else []
        options += [(_words(finding), finding.key) for finding in findings]
        self.choice.set_options(options)
        self.choice.setEnabled(bool(options))
        self.set_shown(self.choice.value or "")

    def set_shown(self, key: str) -> None:
        """Show a finding by its key."""
        self.choice.set_value(key)
        finding = self._findings.get(key)
        self.notes.setText("\n".join(finding.notes) if finding is not None else "")
        self.below.setVisible(bool(self.notes.text()))
        self.below.bar.setValue(0)
        if finding is None:
            sentences = self._advice if key == ADVICE else ()
            self.text.setHtml(_html(sentences or (_EMPTY,)))
            set_tone(self.text, "plain" if sentences else "dim")
            self.stack.setCurrentWidget(self.text)
        elif isinstance(finding, Table):
            self.table.set_table(finding)
            self.stack.setCurrentWidget(self.table)
        else:
            self.plot.set_plot(finding)
            self.stack.setCurrentWidget(self.plot)
        self._fit_notes()

    def set_outdated(self, text: str) -> None:
        """Say what the findings are of, where something else is chosen by now."""
        self.outdated.setText(text)
        self.outdated.setVisible(bool(text))

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Share the room anew between a table and its notes."""
        super().resizeEvent(event)
        self._fit_notes()

    def _fit_notes(self) -> None:
        """Give the notes what they need, but no more than a quarter or what a table leaves over."""
        shown = self.stack.currentWidget()
        rows = max(self.table.whole_height, _HEIGHT)
        left = self.height() - rows - self.choice.height() - 2 * GAP
        line = self.notes.fontMetrics().lineSpacing()
        least = line * max(_LINES, self.height() // 4 // line)
        needed = max(0, self.notes.heightForWidth(self.width() - self.below.bar.sizeHint().width()))
        self.below.setFixedHeight(min(needed, max(least, left if shown is self.table else 0)))


class ResultsWindow(QDialog):
    """The same findings in a window of their own, which can be as large as the screen.

    Parameters
    ----------
    parent
        The widget it belongs to, and closes with.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setModal(False)
        self.setWindowTitle("Comparison")
        self.view = ResultsView()
        layout = QVBoxLayout(self)
        layout.addWidget(self.view)
        self.resize(900, 620)


def _words(finding: Finding) -> str:
    """Return what the choice calls a finding; plots of one title show different things."""
    return finding.title if isinstance(finding, Table) else f"{finding.title} · {finding.y_label}"


class _Rolling(QScrollArea):
    """Shows a text in the height that it is given, however long it is."""

    def __init__(self, label: QLabel) -> None:
        super().__init__()
        self.setWidget(label)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    @property
    def bar(self) -> QScrollBar:
        """The bar beside the text."""
        bar = self.verticalScrollBar()
        assert bar is not None  # noqa: S101  # Qt gives every area one; its stubs do not say so
        return bar


def _html(sentences: Sequence[str]) -> str:
    return "".join(f'<p style="margin: 0 0 8px 0;">{escape(sentence)}</p>' for sentence in sentences)
