"""The page ``Compare`` of the dock: its sections and its export, wired to the model of the comparison."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from qtpy.QtCore import QModelIndex, Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from napari_sslmaps._qt.compare.folder_dialog import FolderDialog
from napari_sslmaps._qt.compare.probe_section import ProbeSection
from napari_sslmaps._qt.compare.results import ResultsView, ResultsWindow
from napari_sslmaps._qt.compare.setup_sections import AnnotationSection, ScoresSection
from napari_sslmaps._qt.parts import NO_INDICATOR, Section, tool
from napari_sslmaps.viewer.compare.controller import ComparisonController
from napari_sslmaps.viewer.compare.export import ExportController, ExportKind
from napari_sslmaps.viewer.compare.model import ComparisonModel
from napari_sslmaps.viewer.state.connections import Connections


class CompareWidget(QWidget):
    """Everything of a comparison but the button that starts it.

    Parameters
    ----------
    model
        Model of what is chosen and found.
    comparison, exports
        Controllers that are told of rows that a user picks, and of what is to be written where.
    connections
        Connections that are undone when the dock is closed.
    """

    def __init__(
        self,
        model: ComparisonModel,
        comparison: ComparisonController,
        exports: ExportController,
        connections: Connections,
    ) -> None:
        super().__init__()
        self._model = model
        self._comparison = comparison
        self._exports = exports
        self.annotation = AnnotationSection()
        self.scores = ScoresSection()
        self.probe = ProbeSection()
        self.larger = tool("Enlarge", "Show tables and plots in a window of their own.")
        self.export = ExportButton()
        self.results = ResultsView(self.larger, self.export)
        self.window_ = ResultsWindow(self)
        self.folder = FolderDialog(self)
        section = Section("Results")
        section.body.addWidget(self.results, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(10)
        for part in (self.annotation, self.scores, self.probe):
            column.addWidget(part)
        column.addWidget(section, 1)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._connect_views()
        self._connect_model(connections)

    def _connect_views(self) -> None:
        chosen = {
            "annotation": self.annotation.annotation_requested,
            "chosen_class": self.annotation.class_requested,
            "scores": self.scores.scores_requested,
            "controls": self.scores.controls_requested,
            "scribbling": self.probe.scribbling_requested,
            "brush": self.probe.brush_requested,
            "probe": self.probe.options_requested,
        }
        for name, requested in chosen.items():
            requested.connect(partial(setattr, self._model, name))
        self.annotation.folder_requested.connect(self.folder.open)
        self.folder.folder_requested.connect(self._comparison.run_folder)
        self.larger.clicked.connect(self._enlarge)
        self.export.export_requested.connect(lambda kind, folder: self._exports.export(kind, Path(folder)))
        for view in (self.results, self.window_.view):
            view.shown_requested.connect(partial(setattr, self._model, "shown"))
            view.table.clicked.connect(self._on_row)

    def _connect_model(self, connections: Connections) -> None:
        model, events = self._model, self._model.events
        pairs: dict[str, Callable[..., None]] = {
            "offered": self.annotation.set_offered,
            "annotation": self.annotation.set_annotation,
            "classes": self.annotation.set_classes,
            "chosen_class": self.annotation.set_class,
            "scores": self.scores.set_scores,
            "controls": self.scores.set_controls,
            "scribbling": self.probe.set_scribbling,
            "brush": self.probe.set_brush,
            "probe": self.probe.set_options,
            "probe_text": self.probe.set_text,
        }
        for name, setter in pairs.items():
            connections.add(getattr(events, name), setter)
            setter(getattr(model, name))
        for signal in (events.findings, events.advice):
            connections.add(signal, self._on_findings)
        connections.add(events.shown, self._on_shown)
        for view in (self.results, self.window_.view):
            connections.add(events.outdated, view.set_outdated)
        connections.add(events.advice, self._make_room)
        connections.add(events.scribbling, lambda on: self.probe.fold(away=False) if on else None)
        self._on_findings()

    def _on_findings(self) -> None:
        for view in (self.results, self.window_.view):
            view.set_findings(self._model.findings, self._model.advice)
        self._on_shown()

    def _make_room(self, advice: tuple[str, ...]) -> None:
        """Fold away what was chosen while there are results, so that more than two rows are to be seen."""
        for part in (self.annotation, self.scores, self.probe):
            part.fold(away=bool(advice) and not (part is self.probe and self._model.scribbling))

    def _on_shown(self) -> None:
        for view in (self.results, self.window_.view):
            view.set_shown(self._model.shown)

    def _on_row(self, index: QModelIndex) -> None:
        table = self._model.finding
        model = self.results.table.model_ if self.sender() is self.results.table else None
        shown = model or self.window_.view.table.model_
        if table is not None:
            row = [shown.cell(index.row(), column) for column in range(shown.columnCount())]
            self._comparison.follow_row(table.key, row)

    def _enlarge(self) -> None:
        self.window_.show()
        self.window_.raise_()


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
        self.setStyleSheet(NO_INDICATOR)
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
