"""The scale of comparison: a slider from single patches to an eighth of the region."""

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QLabel, QSlider

from napari_sslmaps._qt.parts import ComboBox, Section, dim, quiet, titled
from napari_sslmaps.viewer.maps.scale import LARGER_KEY, SMALLER_KEY, STEPS


class ScaleSection(Section):
    """Size of the neighbourhoods that are compared, and whether it follows the zoom."""

    step_requested = Signal(int)
    follow_requested = Signal(bool)
    resolution_requested = Signal(str)

    def __init__(self) -> None:
        super().__init__("")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, len(STEPS) - 1)
        self.slider.setPageStep(2)
        self.slider.setToolTip(
            "Tokens are averaged over so large a neighbourhood before they are compared: at the left single "
            "patches; at the right regions, up to an eighth of the image. Rings around anchors show it. "
            f"Keys: {LARGER_KEY} larger, {SMALLER_KEY} smaller."
        )
        self.value = QLabel()
        self.value.setMinimumWidth(118)
        dim(self.value)
        self.follow = QCheckBox("zoom")
        self.follow.setToolTip("The scale follows the zoom: cells are compared close up, regions from afar.")
        self.body.addLayout(titled("Scale", self.slider, self.value, self.follow))
        self.resolution = ComboBox(
            [("as trained", "trained"), ("pixels of the file", "native")],
            "What the image is read at by the next run: the resolution that each encoder learned at, where "
            "that is known, or the pixels as they are stored.",
        )
        self.body.addLayout(titled("Read at", self.resolution))
        self.resolution.currentIndexChanged.connect(
            lambda _: self.resolution_requested.emit(self.resolution.value)
        )
        self.slider.valueChanged.connect(self.step_requested)
        self.follow.toggled.connect(self.follow_requested)

    def set_scale(self, step: int, text: str) -> None:
        """Show a step, and what it is on the image."""
        with quiet(self.slider):
            self.slider.setValue(step)
        self.value.setText(text)

    def set_resolution(self, resolution: str) -> None:
        """Show what the next run reads the image at."""
        self.resolution.set_value(resolution)

    def set_follow(self, on: bool) -> None:
        """Show whether the scale follows the zoom."""
        with quiet(self.follow):
            self.follow.setChecked(on)
