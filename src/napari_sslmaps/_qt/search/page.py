"""The page ``Search`` of the dock: which archive, how it is searched, and what was found."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFileDialog,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_sslmaps._qt.parts import ComboBox, Section, note, quiet, row, titled
from napari_sslmaps._qt.search.places_grid import PlacesGrid
from napari_sslmaps.search.index import IndexState
from napari_sslmaps.search.query import Place
from napari_sslmaps.viewer.search.controller import SearchController
from napari_sslmaps.viewer.search.model import SearchModel, state_text
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.workspace import RunProgress

_MOST, _FARTHEST, _NARROWEST = 500, 1_000_000, 80


class ArchiveSection(Section):
    """The folder of a batch, what can be found in it, and where its images lie."""

    store_requested = Signal(str)
    images_requested = Signal(str)
    encoder_requested = Signal(str)
    build_requested = Signal()

    def __init__(self) -> None:
        super().__init__("Archive")
        self.dialog: QFileDialog | None = None
        self.store, self.images = _path_label(), _path_label()
        self.open = QPushButton("Open…")
        self.open.setToolTip("Choose the folder that a batch wrote; its tokens are searched.")
        self.browse = QPushButton("Folder…")
        self.browse.setToolTip(
            "Choose the folder of the images. A batch keeps no paths: without one they are looked for beside "
            "the images that are open, and in the batch's folder."
        )
        self.encoder = ComboBox(tip="Encoder whose tokens are searched.")
        self.build = QPushButton("Build")
        self.build.setToolTip("Build the index, or bring it up to date; what is indexed is not read again.")
        self.text = note()
        self._encoders = QWidget()
        self._encoders.setLayout(titled("Encoder", self.encoder))
        self.body.addLayout(titled("Batch", self.store, self.open))
        self.body.addLayout(titled("Images", self.images, self.browse))
        self.body.addWidget(self._encoders)
        held = row(self.text, self.build)
        held.setStretch(0, 1)
        self.body.addLayout(held)
        self.open.clicked.connect(lambda: self._ask("Folder of a batch", self.store_requested.emit))
        self.browse.clicked.connect(lambda: self._ask("Folder of the images", self.images_requested.emit))
        self.encoder.currentIndexChanged.connect(lambda _: self.encoder_requested.emit(self.encoder.value))
        self.build.clicked.connect(self.build_requested)

    def show_model(self, model: SearchModel, *, busy: bool) -> None:
        """Show what is chosen and what it holds."""
        for label, folder, lacking in (
            (self.store, model.store, "none"),
            (self.images, model.images, "beside those that are open"),
        ):
            label.setText(lacking if folder is None else str(folder))
            label.setToolTip("" if folder is None else str(folder))
        names = () if model.state is None else model.state.encoders
        with quiet(self.encoder):
            self.encoder.set_options([(_with_state(name, model.state), name) for name in names])
            self.encoder.set_value(None if model.state is None else model.state.encoder)
        self._encoders.setVisible(len(names) > 1)
        self.text.setText(state_text(model))
        self.name("Archive" if model.store is None else f"Archive · {model.store.name}")
        self.build.setVisible(model.state is not None)
        self.build.setEnabled(not busy)
        for widget in (self.open, self.encoder):
            widget.setEnabled(not busy)

    def _ask(self, title: str, chosen: Callable[[str], None]) -> None:
        self.dialog = QFileDialog(self, title)
        self.dialog.setFileMode(QFileDialog.FileMode.Directory)
        self.dialog.setOption(QFileDialog.Option.ShowDirsOnly)
        self.dialog.fileSelected.connect(chosen)
        self.dialog.open()


def _with_state(encoder: str, state: IndexState | None) -> str:
    return encoder if state is None or encoder in state.indexed else f"{encoder} · not indexed"


def _path_label() -> QElidingLabel:
    label = QElidingLabel()
    label.setElideMode(Qt.TextElideMode.ElideLeft)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return label


class SearchWidget(QWidget):
    """Everything of a search but anchors and the button that starts it.

    Parameters
    ----------
    search
        Controller that is told what a user asks, and whose model is shown.
    connections
        Connections that are undone when the dock is closed.
    """

    def __init__(self, search: SearchController, connections: Connections) -> None:
        super().__init__()
        self._search = search
        self._busy = False
        self.archive = ArchiveSection()
        self.count = _spin(1, _MOST, "Most places, over all images.")
        self.per_image = _spin(1, _MOST, "Most places of one image.")
        self.apart = QDoubleSpinBox()
        self.apart.setRange(0, _FARTHEST)
        self.apart.setDecimals(0)
        self.apart.setSuffix(" px")
        self.apart.setSpecialValueText("4 tokens")
        self.apart.setToolTip("Smallest distance between two places in one image, in pixels of level 0.")
        self.other_images = QCheckBox("Other images")
        self.other_images.setToolTip("Find nothing in the image that the anchors lie in.")
        self.grid = PlacesGrid()
        found = Section("Places")
        limits = titled("Most", self.count, QLabel("each"), self.per_image)
        limits.setStretch(3, 1)
        found.body.addLayout(limits)
        found.body.addLayout(titled("Apart", self.apart, self.other_images))
        found.body.addWidget(self.grid, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(10)
        column.addWidget(self.archive)
        column.addWidget(found, 1)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._connect(connections)

    def set_progress(self, progress: RunProgress | None) -> None:
        """Show whether something runs that a search would have to wait for."""
        self._busy = progress is not None
        self._on_archive()

    def _connect(self, connections: Connections) -> None:
        search, model, events = self._search, self._search.model, self._search.model.events
        self.archive.store_requested.connect(lambda path: search.choose_store(Path(path)))
        self.archive.images_requested.connect(lambda path: search.choose_images(Path(path)))
        self.archive.encoder_requested.connect(search.choose_encoder)
        self.archive.build_requested.connect(search.build)
        self.count.valueChanged.connect(lambda value: setattr(model, "count", value))
        self.per_image.valueChanged.connect(lambda value: setattr(model, "per_image", value))
        self.apart.valueChanged.connect(lambda value: setattr(model, "apart", value or None))
        self.other_images.toggled.connect(lambda on: setattr(model, "other_images", on))
        self.grid.place_requested.connect(search.open)
        for signal in (events.store, events.state, events.images):
            connections.add(signal, self._on_archive)
        connections.add(events.places, self._on_places)
        connections.add(search.pictured, self.grid.set_picture)
        for name, box in (("count", self.count), ("per_image", self.per_image), ("apart", self.apart)):
            connections.add(getattr(events, name), partial(_show, box))
            _show(box, getattr(model, name))
        connections.add(events.other_images, self._on_other_images)
        self._on_other_images(on=model.other_images)
        self._on_archive()

    def _on_other_images(self, on: bool) -> None:
        with quiet(self.other_images):
            self.other_images.setChecked(on)

    def _on_places(self, places: tuple[Place, ...]) -> None:
        """Show what was found; the archive folds away, so that more than a row is to be seen."""
        self.archive.fold(away=bool(places))
        self.grid.set_places(places)

    def _on_archive(self) -> None:
        self.archive.show_model(self._search.model, busy=self._busy)


def _show(box: Any, value: float | None) -> None:
    with quiet(box):
        box.setValue(value or 0)


def _spin(low: int, high: int, tip: str) -> QSpinBox:
    box = QSpinBox()
    box.setRange(low, high)
    box.setToolTip(tip)
    box.setMinimumWidth(_NARROWEST)
    box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return box
