"""Section on how the map in view is drawn, for all methods at once."""

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QLabel, QSlider

from napari_sslmaps._qt.parts import ComboBox, Section, quiet, row
from napari_sslmaps.maps.similarity import RANGE_WORDS

_DISPLAYS = (
    ("shared by all methods", "shared"),
    ("fixed, the whole range", "fixed"),
    ("stretched for each", "each"),
)
COLORMAPS = ("viridis", "inferno", "magma", "turbo", "cividis", "gray", "RdBu_r")


class AppearanceSection(Section):
    """Opacity, colours, smoothness and contrast."""

    look_requested = Signal(str, object)
    """Attribute of the layers, and its value."""
    contrast_requested = Signal(str)
    """What decides the limits between which attention and similarity are drawn."""

    def __init__(self) -> None:
        super().__init__("Appearance", folded=True)
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setToolTip("Opacity of the map in view, for all methods.")
        self.colormap = ComboBox([(name, name) for name in COLORMAPS], "Colours, for all methods.")
        self.smooth = QCheckBox("smooth")
        self.smooth.setToolTip("Interpolate between tokens, or show each token as the block that it is.")
        self.body.addLayout(row(QLabel("Opacity"), self.opacity))
        colours = row(QLabel("Colours"), self.colormap, self.smooth)
        colours.setStretch(1, 1)
        self.body.addLayout(colours)
        self.contrast = ComboBox(
            _DISPLAYS,
            "Limits of attention and similarity: the same for all methods, so that colours can be compared; "
            f"all that the cosine can be, {RANGE_WORDS}; or each method's own.",
        )
        contrast = row(QLabel("Contrast"), self.contrast)
        contrast.setStretch(1, 1)
        self.body.addLayout(contrast)
        self.contrast.currentIndexChanged.connect(lambda _: self.contrast_requested.emit(self.contrast.value))
        self.opacity.valueChanged.connect(lambda value: self.look_requested.emit("opacity", value / 100))
        self.colormap.currentIndexChanged.connect(
            lambda _: self.look_requested.emit("colormap", self.colormap.value)
        )
        self.smooth.toggled.connect(
            lambda on: self.look_requested.emit("interpolation2d", "linear" if on else "nearest")
        )

    def set_contrast(self, display: str) -> None:
        """Show what decides the limits."""
        self.contrast.set_value(display)

    def set_look(self, opacity: float, colormap: str, *, smooth: bool) -> None:
        """Show how the map in view is drawn; colours and labels have no colour map."""
        with quiet(self.opacity, self.smooth):
            self.opacity.setValue(round(100 * opacity))
            self.smooth.setChecked(smooth)
        self.colormap.set_value(colormap)
        self.colormap.setEnabled(bool(colormap))
        self.smooth.setEnabled(bool(colormap))
