"""The page ``Compare`` of the dock: its sections wired to the model of the comparison."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QModelIndex
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from napari_sslmaps._qt.compare_export import ExportButton
from napari_sslmaps._qt.compare_folder import FolderDialog
from napari_sslmaps._qt.compare_probe import ProbeSection
from napari_sslmaps._qt.compare_results import ResultsView, ResultsWindow, tool
from napari_sslmaps._qt.compare_section import AnnotationSection, ScoresSection
from napari_sslmaps._qt.parts import Section
from napari_sslmaps.viewer.comparison import ComparisonDesk
from napari_sslmaps.viewer.comparison_model import ComparisonModel
from napari_sslmaps.viewer.connections import Connections
from napari_sslmaps.viewer.exporting import ExportDesk


class ComparePage(QWidget):
    """Everything of a comparison but the button that starts it.

    Parameters
    ----------
    model
        What is chosen and found.
    desk, exports
        Are told of rows that a person picks, and of what is to be written where.
    connections
        Undone when the dock is closed.
    """

    def __init__(
        self,
        model: ComparisonModel,
        desk: ComparisonDesk,
        exports: ExportDesk,
        connections: Connections,
    ) -> None:
        super().__init__()
        self._model = model
        self._desk = desk
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
        self.annotation.annotation_requested.connect(lambda chosen: self._set("annotation", chosen))
        self.annotation.class_requested.connect(lambda kind: self._set("chosen_class", kind))
        self.annotation.folder_requested.connect(self.folder.open)
        self.folder.folder_requested.connect(self._desk.run_folder)
        self.scores.scores_requested.connect(lambda scores: self._set("scores", scores))
        self.scores.controls_requested.connect(lambda controls: self._set("controls", controls))
        self.probe.scribbling_requested.connect(lambda on: self._set("scribbling", on))
        self.probe.brush_requested.connect(lambda number: self._set("brush", number))
        self.probe.options_requested.connect(lambda options: self._set("probe", options))
        self.larger.clicked.connect(self._enlarge)
        self.export.export_requested.connect(lambda kind, folder: self._exports.export(kind, Path(folder)))
        for view in (self.results, self.window_.view):
            view.shown_requested.connect(lambda key: self._set("shown", key))
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
        self._on_findings()

    def _on_findings(self) -> None:
        for view in (self.results, self.window_.view):
            view.set_findings(self._model.findings, self._model.advice)
        self._on_shown()

    def _on_shown(self) -> None:
        for view in (self.results, self.window_.view):
            view.set_shown(self._model.shown)

    def _on_row(self, index: QModelIndex) -> None:
        table = self._model.finding
        model = self.results.table.model_ if self.sender() is self.results.table else None
        shown = model or self.window_.view.table.model_
        if table is not None:
            row = [shown.cell(index.row(), column) for column in range(shown.columnCount())]
            self._desk.follow_row(table.key, row)

    def _enlarge(self) -> None:
        self.window_.show()
        self.window_.raise_()

    def _set(self, name: str, value: Any) -> None:
        setattr(self._model, name, value)
