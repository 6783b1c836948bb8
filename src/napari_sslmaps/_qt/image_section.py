"""Image and region: which layer, which part of it, and what a run will do."""

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QSpinBox, QWidget

from napari_sslmaps._qt.parts import Choice, Section, dim, note, quiet, row
from napari_sslmaps.core.tiling import DEFAULT_TILE, ONE_PASS, SINGLE_PASS_TOKENS, TILED, Tiling
from napari_sslmaps.viewer.workspace import RegionChoice, Status, Task

REGIONS = (("Whole image", "whole"), ("Current view", "view"), ("Rectangle of a Shapes layer", "rectangle"))

TILINGS = (
    (f"Tiles of {DEFAULT_TILE} × {DEFAULT_TILE} tokens, beyond {SINGLE_PASS_TOKENS}", TILED),
    ("One pass over the whole region", ONE_PASS),
)


class ImageSection(Section):
    """Choice of image layer, region and level, and the line that says what will happen."""

    image_requested = Signal(object)
    region_requested = Signal(str)
    level_requested = Signal(int)
    tiling_requested = Signal(object)

    def __init__(self) -> None:
        super().__init__("Image and region")
        self.image = Choice(tip="The layer that is looked at; it follows the selected image layer.")
        self.region = Choice(REGIONS, tip="The part of the image that is embedded.")
        self.tiling = Choice(
            TILINGS,
            tip="Tiles bound time and memory, but position leaves its pattern in each; one pass sees all.",
        )
        self.level = QSpinBox()
        self.level.setPrefix("level ")
        self.level.setToolTip("Resolution level of a pyramid; 0 is the finest.")
        self.level.setFixedWidth(82)
        self.context = QWidget()
        self.context.setLayout(self._line("Context", self.tiling))
        self.plan = note()
        self.plan.setMinimumHeight(2 * self.plan.fontMetrics().lineSpacing())
        self.body.addLayout(self._line("Image", self.image))
        self.body.addLayout(self._line("Region", self.region, self.level))
        self.body.addWidget(self.context)
        self.body.addWidget(self.plan)
        self.level.hide()
        self.image.currentIndexChanged.connect(lambda _: self.image_requested.emit(self.image.value))
        self.region.currentIndexChanged.connect(lambda _: self.region_requested.emit(self.region.value))
        self.tiling.currentIndexChanged.connect(lambda _: self.tiling_requested.emit(self.tiling.value))
        self.level.valueChanged.connect(self.level_requested)

    def set_images(self, layers: Sequence[Any], chosen: Any) -> None:
        """List the image layers and choose one."""
        self.image.set_options([(layer.name, layer) for layer in layers])
        self.image.set_value(chosen)
        self.image.setEnabled(bool(layers))
        self.set_levels(len(chosen.data) if chosen is not None and chosen.multiscale else 1)

    def set_levels(self, count: int) -> None:
        """Offer the levels of a pyramid, if there is more than one."""
        with quiet(self.level):
            self.level.setMaximum(count - 1)
        self.level.setVisible(count > 1)

    def set_region(self, choice: RegionChoice) -> None:
        """Show which region is chosen."""
        self.region.set_value(choice)

    def set_tiling(self, tiling: Tiling) -> None:
        """Show how the region is cut."""
        self.tiling.set_value(tiling)

    def set_task(self, task: Task) -> None:
        """Show how maps are made where maps are made."""
        self.context.setVisible(task == "maps")
        self.plan.setVisible(task == "maps")

    def set_level(self, level: int) -> None:
        """Show which level is chosen."""
        with quiet(self.level):
            self.level.setValue(level)

    def set_plan(self, plan: Status) -> None:
        """Say what a run will do, or why it cannot."""
        self.plan.setText(plan.text)
        dim(self.plan, failed=plan.failed)

    @staticmethod
    def _line(title: str, *widgets: QWidget) -> Any:
        label = QLabel(title)
        label.setFixedWidth(56)
        layout = row(label, *widgets)
        layout.setStretch(1, 1)
        return layout
