"""Image and region: which layer, which part of it, and what a run will do."""

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QWidget

from napari_sslmaps._qt.parts import Choice, Section, dim, note, quiet, titled
from napari_sslmaps._qt.resolution_rows import ResolutionRows
from napari_sslmaps.core.tiling import DEFAULT_TILE, ONE_PASS, SINGLE_PASS_TOKENS, TILED, Tiling
from napari_sslmaps.viewer.image import spacing_of
from napari_sslmaps.viewer.workspace import RegionChoice, Status, Task

REGIONS = (
    ("Whole image", "whole"),
    ("Current view", "view"),
    ("Selected rectangles of a Shapes layer", "rectangle"),
    ("Tissue or field of view", "mask"),
)

TILINGS = (
    (f"Tiles of {DEFAULT_TILE} × {DEFAULT_TILE} tokens, beyond {SINGLE_PASS_TOKENS}", TILED),
    ("One pass over the whole region", ONE_PASS),
)


class ImageSection(Section):
    """Choice of image layer, region and level, and the line that says what will happen."""

    image_requested = Signal(object)
    region_requested = Signal(str)
    tiling_requested = Signal(object)
    keep_requested = Signal(bool)

    def __init__(self) -> None:
        super().__init__("Image and region")
        self.image = Choice(tip="The layer that is looked at; it follows the selected image layer.")
        self.region = Choice(
            REGIONS,
            tip="The part of the image that is embedded. Of several rectangles, and of tissue or field of "
            "view (found as a layer to paint in), tiles without any of it are left out.",
        )
        self.tiling = Choice(
            TILINGS,
            tip="Tiles bound time and memory, but position leaves its pattern in each; one pass sees all.",
        )
        self.resolution = ResolutionRows()
        self.keep = QCheckBox("keep")
        self.keep.setToolTip(
            "Keep on disk what is computed: a second look finds it there, a stopped run goes on where it was."
        )
        self.context = QWidget()
        self.context.setLayout(titled("Context", self.tiling, self.keep))
        self.plan = note()
        self.plan.setMinimumHeight(2 * self.plan.fontMetrics().lineSpacing())
        self.body.addLayout(titled("Image", self.image))
        self.body.addLayout(titled("Region", self.region))
        self.body.addWidget(self.resolution)
        self.body.addWidget(self.context)
        self.body.addWidget(self.plan)
        self.image.currentIndexChanged.connect(lambda _: self.image_requested.emit(self.image.value))
        self.region.currentIndexChanged.connect(lambda _: self.region_requested.emit(self.region.value))
        self.tiling.currentIndexChanged.connect(lambda _: self.tiling_requested.emit(self.tiling.value))
        self.keep.toggled.connect(self.keep_requested)

    def set_images(self, layers: Sequence[Any], chosen: Any) -> None:
        """List the image layers and choose one."""
        self.image.set_options([(layer.name, layer) for layer in layers])
        self.image.set_value(chosen)
        self.image.setEnabled(bool(layers))
        count = len(chosen.data) if chosen is not None and chosen.multiscale else 1
        self.resolution.set_levels(count, tells=chosen is not None and spacing_of(chosen) is not None)

    def set_region(self, choice: RegionChoice) -> None:
        """Show which region is chosen."""
        self.region.set_value(choice)

    def set_tiling(self, tiling: Tiling) -> None:
        """Show how the region is cut."""
        self.tiling.set_value(tiling)

    def set_keep(self, on: bool) -> None:
        """Show whether results are kept on disk."""
        with quiet(self.keep):
            self.keep.setChecked(on)

    def set_task(self, task: Task) -> None:
        """Show how maps are made where maps are made."""
        self.context.setVisible(task == "maps")
        self.plan.setVisible(task == "maps")

    def set_plan(self, plan: Status) -> None:
        """Say what a run will do, or why it cannot."""
        self.plan.setText(plan.text)
        dim(self.plan, failed=plan.failed)
