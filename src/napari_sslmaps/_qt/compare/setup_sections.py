"""Sections that set up a comparison: the annotation with its classes, scores, and controls."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QGridLayout, QLabel, QWidget

from napari_sslmaps._qt.parts import GAP, ComboBox, Section, quiet, titled, tool
from napari_sslmaps.compare.scores import CONTROL_TIPS, SCORES
from napari_sslmaps.encoders.controls import ControlKind

_MASKS = "Masks (*.png *.tif *.tiff *.npy *.bmp *.geojson)"
_COLUMNS = 3


class AnnotationSection(Section):
    """Choice of annotation and class."""

    annotation_requested = Signal(object)
    class_requested = Signal(object)
    folder_requested = Signal()

    def __init__(self) -> None:
        super().__init__("Annotation")
        self._layers: tuple[Any, ...] = ()
        self._file: Path | None = None
        self._dialog: QFileDialog | None = None
        self.annotation = ComboBox(
            tip="Annotation that the classes come from: a Labels or Shapes layer, or a mask."
        )
        self.browse = tool("File …", "Use a mask file: PNG, TIFF or NPY, with a whole number per pixel.")
        self.folder = tool("Folder …", "Compare over a folder of images, with masks or labels of images.")
        self.kind = ComboBox(tip="The class that is scored against all others.")
        self.body.addLayout(titled("From", self.annotation, self.browse, self.folder))
        self.body.addLayout(titled("Class", self.kind))
        self.annotation.currentIndexChanged.connect(
            lambda _: self.annotation_requested.emit(self.annotation.value)
        )
        self.kind.currentIndexChanged.connect(lambda _: self.class_requested.emit(self.kind.value))
        self.browse.clicked.connect(self.ask_for_file)
        self.folder.clicked.connect(self.folder_requested)
        self.set_classes(())

    def set_offered(self, layers: Sequence[Any]) -> None:
        """Offer these layers, and the file that was chosen last."""
        self._layers = tuple(layers)
        options: list[tuple[str, Any]] = [("none", None)]
        options += [(layer.name, layer) for layer in layers]
        if self._file is not None:
            options.append((self._file.name, self._file))
        self.annotation.set_options(options)

    def set_annotation(self, chosen: Any) -> None:
        """Show which layer or file is chosen."""
        if isinstance(chosen, Path) and chosen != self._file:
            self._file = chosen
            self.set_offered(self._layers)
        self.annotation.set_value(chosen)

    def set_classes(self, classes: Sequence[tuple[int, str]]) -> None:
        """Offer these classes."""
        every = "each class" if len(classes) > 1 else "—" if not classes else classes[0][1]
        named = classes if len(classes) > 1 else ()
        self.kind.set_options([(every, None), *((name, number) for number, name in named)])
        self.kind.setEnabled(len(classes) > 1)

    def set_class(self, kind: int | None) -> None:
        """Show which class is scored."""
        self.kind.set_value(kind)

    def ask_for_file(self) -> None:
        """Open a dialog for a mask file."""
        dialog = self._dialog = QFileDialog(self, "Mask of the image", "", _MASKS)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(lambda path: self.annotation_requested.emit(Path(path)))
        dialog.open()


class ScoresSection(Section):
    """A tick per score and per control."""

    scores_requested = Signal(tuple)
    controls_requested = Signal(tuple)

    def __init__(self) -> None:
        super().__init__("Scores and controls")
        self.scores = {key: _box(key, score.tip) for key, score in SCORES.items() if score.in_window}
        self.controls = {kind: _box(kind, tip) for kind, tip in CONTROL_TIPS.items()}
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(GAP)
        grid.setVerticalSpacing(2)
        below = _fill(grid, "Scores", list(self.scores.values()), 0)
        grid.setRowMinimumHeight(below, GAP)
        _fill(grid, "Against", list(self.controls.values()), below + 1)
        for column in range(1, _COLUMNS + 1):
            grid.setColumnStretch(column, 1)
        self.body.addLayout(grid)
        for box in self.scores.values():
            box.toggled.connect(lambda: self.scores_requested.emit(_ticked(self.scores)))
        for box in self.controls.values():
            box.toggled.connect(lambda: self.controls_requested.emit(_ticked(self.controls)))

    def set_scores(self, scores: Sequence[str]) -> None:
        """Tick these scores."""
        _tick(self.scores, scores)

    def set_controls(self, controls: Sequence[ControlKind]) -> None:
        """Tick these controls."""
        _tick(self.controls, controls)


def _box(text: str, tip: str) -> QCheckBox:
    box = QCheckBox(text)
    box.setToolTip(tip)
    return box


def _fill(grid: QGridLayout, title: str, boxes: Sequence[QWidget], first: int) -> int:
    """Lay boxes in rows behind a title; return the row below."""
    label = QLabel(title)
    label.setFixedWidth(56)
    grid.addWidget(label, first, 0)
    for index, box in enumerate(boxes):
        grid.addWidget(box, first + index // _COLUMNS, 1 + index % _COLUMNS)
    return first + -(-len(boxes) // _COLUMNS)


def _ticked(boxes: dict[Any, QCheckBox]) -> tuple[Any, ...]:
    return tuple(name for name, box in boxes.items() if box.isChecked())


def _tick(boxes: dict[Any, QCheckBox], chosen: Sequence[str]) -> None:
    for name, box in boxes.items():
        with quiet(box):
            box.setChecked(name in chosen)
