"""Section on areas of similarity: threshold, sizes, holes, edges; Labels, files, most similar places."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QLabel, QPushButton, QSlider, QSpinBox

from napari_sslmaps._qt.parts import ComboBox, Lines, Section, ask_where, quiet, row, titled
from napari_sslmaps.core.segments import SPECK_TOKENS, SegmentOptions
from napari_sslmaps.maps.similarity import COSINES, MARGINS

_STEPS = 200
"""Steps of the threshold in 1."""
_OF_ITSELF = 0
"""Value of the size for the one that nobody has chosen."""
_FILES = "QuPath GeoJSON (*.geojson);;Table (*.csv);;OME-Zarr labels (*.zarr)"


class AreaSection(Section):
    """Areas above a threshold of similarity."""

    shown_requested = Signal(bool)
    options_requested = Signal(object)
    labels_requested = Signal()
    saved = Signal(str)
    places_requested = Signal(int)
    front_requested = Signal(str)

    def __init__(self) -> None:
        super().__init__("Areas", folded=True)
        self._options = SegmentOptions()
        self._unit = ""
        self.method = ComboBox(
            tip="The method whose areas are counted, copied to Labels and written, and whose most similar "
            "places are marked. It is the one in front; side by side, every cell shows its own areas."
        )
        self.shown = QCheckBox("Show")
        self.shown.setToolTip("Show the areas that are more similar to the anchors than the threshold.")
        self.threshold = QSlider(Qt.Orientation.Horizontal)
        self.number = QLabel()
        self.number.setMinimumWidth(96)
        self.least = QSpinBox()
        self.least.setRange(_OF_ITSELF, 1_000_000)
        self.least.setSpecialValueText(f"≥ {SPECK_TOKENS} patches")
        self.least.setSingleStep(64)
        self.least.setPrefix("≥ ")
        self.least.setSuffix(" px")
        self.least.setMinimumWidth(130)  # its buttons and their room take half of it
        self.least.setToolTip(
            f"Smaller areas are left out, in pixels of the image; at its lowest, those of fewer than "
            f"{SPECK_TOKENS} patches (tokens), most of which are noise."
        )
        self.holes = QCheckBox("fill holes")
        self.guided = QCheckBox("image edges")
        self.guided.setToolTip(
            "Align edges of areas with those of the image (guided filter); this can add an edge that the "
            "map does not have."
        )
        self.labels = QPushButton("To Labels")
        self.labels.setToolTip("Copy the areas of this method to a Labels layer that you can edit.")
        self.export = QPushButton("Export…")
        self.export.setToolTip("GeoJSON for QuPath, a CSV table, or OME-Zarr labels.")
        self.count = QSpinBox()
        self.count.setRange(1, 500)
        self.count.setValue(10)
        self.places = QPushButton("Most similar places")
        self.places.setToolTip("Mark the places of this image that are most similar to the anchors.")
        self.text = Lines(2)
        self._lay_out()
        self.set_range(COSINES)
        self._connect()

    def _lay_out(self) -> None:
        self.body.addLayout(titled("Method", self.method))
        self.body.addLayout(row(self.shown, self.threshold, self.number))
        self.body.addLayout(titled("Size", self.least, self.holes))
        buttons = row(self.guided, self.labels, self.export)
        for index in (1, 2):
            buttons.setStretch(index, 1)
        self.body.addLayout(buttons)
        places = row(self.count, self.places)
        places.setStretch(1, 1)
        self.body.addLayout(places)
        self.body.addWidget(self.text)

    def set_methods(self, names: Sequence[str], front: str) -> None:
        """Offer methods; show which is in front."""
        self.method.set_options([(name, name) for name in names])
        self.method.set_value(front if front in names else next(iter(names), ""))

    def set_range(self, ends: tuple[float, float]) -> None:
        """Let the threshold go over all values that the map can have, and say what they are."""
        margin = ends == MARGINS
        self._unit = "margin" if margin else "cosine"
        with quiet(self.threshold):
            self.threshold.setRange(*(round(end * _STEPS) for end in ends))
        what = (
            "the cosine to the anchors less that to the negative ones, from −2 to 2: above 0 is what is more "
            "like the anchors"
            if margin
            else "the cosine to the anchors, from −1 to 1"
        )
        self.threshold.setToolTip(f"Areas are where similarity is above this: {what}.")
        self.set_options(self._options)

    def set_options(self, options: SegmentOptions) -> None:
        """Show how areas are made."""
        self._options = options
        with quiet(self.threshold, self.least, self.holes, self.guided):
            self.threshold.setValue(round(options.threshold * _STEPS))
            self.least.setValue(_OF_ITSELF if options.least_px is None else round(options.least_px))
            self.holes.setChecked(options.fill_holes)
            self.guided.setChecked(options.guided)
        self.number.setText(f"{self._unit} > {options.threshold:.2f}".replace("-", "−"))

    def set_shown(self, on: bool) -> None:
        """Show whether areas are in view."""
        with quiet(self.shown):
            self.shown.setChecked(on)

    def set_text(self, text: str) -> None:
        """Say what was found."""
        self.text.show_text(text)

    def _connect(self) -> None:
        self.method.currentIndexChanged.connect(lambda _: self.front_requested.emit(self.method.value or ""))
        self.shown.toggled.connect(self.shown_requested)
        self.threshold.valueChanged.connect(lambda value: self._request(threshold=value / _STEPS))
        self.least.valueChanged.connect(self._on_least)
        self.holes.toggled.connect(lambda on: self._request(fill_holes=on))
        self.guided.toggled.connect(lambda on: self._request(guided=on))
        self.labels.clicked.connect(self.labels_requested)
        self.export.clicked.connect(self._ask_to_save)
        self.places.clicked.connect(lambda: self.places_requested.emit(self.count.value()))

    def _on_least(self, value: int) -> None:
        self._request(least_px=None if value == _OF_ITSELF else float(value))

    def _request(self, **changes: Any) -> None:
        self.options_requested.emit(replace(self._options, **changes))
        if not self.shown.isChecked():
            self.shown.click()

    def _ask_to_save(self) -> None:
        path = ask_where(self, "Export areas", "areas.geojson", _FILES)
        if path:
            self.saved.emit(path)
