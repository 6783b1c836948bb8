"""Image and region: which layer, which part of it, at which resolution, and what a run will do."""

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QPushButton, QSpinBox, QVBoxLayout, QWidget

from napari_sslmaps._qt.parts import GAP, ComboBox, FileMenu, Lines, Section, dim, note, quiet, titled
from napari_sslmaps.core.tiling import ONE_PASS, TILED, Tiling
from napari_sslmaps.sources.base import Contents
from napari_sslmaps.viewer.canvas.image_layer import spacing_of
from napari_sslmaps.viewer.canvas.npe2 import contents_of
from napari_sslmaps.viewer.state.workspace import RegionChoice, Status, Task

REGIONS = (
    ("Whole image", "whole"),
    ("Current view", "view"),
    ("Selected rectangles", "rectangle"),
    ("Tissue or field of view", "mask"),
)
TILINGS = (
    ("Tiles beyond 64 × 64 tokens", TILED),
    ("One pass over the whole region", ONE_PASS),
)
DETAILS = (("1 token a patch", 1), ("2 × 2 tokens a patch", 2), ("4 × 4 tokens a patch", 4))


class ImageSection(Section):
    """Choice of image layer, region and level, and the line that says what will happen."""

    image_requested = Signal(object)
    region_requested = Signal(str)
    draw_requested = Signal()
    tiling_requested = Signal(object)
    detail_requested = Signal(int)
    keep_requested = Signal(bool)
    reading_requested = Signal(str)
    """Resolution that the next run reads the image at."""

    def __init__(self) -> None:
        super().__init__("Image and region")
        self.image = ComboBox(tip="The image layer to work on; it follows the selected layer.")
        self.region = ComboBox(
            REGIONS,
            tip="The part of the image that is embedded. Of several rectangles, and of tissue or field of "
            "view (found as a layer to paint in), tiles without any of it are left out.",
        )
        self.tiling = ComboBox(
            TILINGS,
            tip="Tiles limit time and memory, but each one carries a pattern of position; in one pass "
            "every token sees the whole region.",
        )
        self.detail = ComboBox(
            DETAILS,
            tip="Finer tokens, computed and not interpolated: the region is embedded 4 or 16 times with "
            "shifted "
            "patches. A coarse map comes first.",
        )
        self.resolution = ResolutionRows()
        self.keep = QCheckBox("keep")
        self.keep.setToolTip(
            "Keep embeddings on disk, so that a second look is quick and a stopped run continues."
        )
        self.reading = ComboBox(
            [("as trained", "trained"), ("pixels of the file", "native")],
            "Resolution that the next run reads the image at: the one that each encoder was trained at, "
            "where "
            "known, or the pixels as they are stored.",
        )
        self.how = Section("How it is read", folded=True)
        self.how.body.addWidget(self.resolution.pixel)
        self.how.body.addLayout(titled("Read at", self.reading, self.keep))
        self.how.body.addLayout(titled("Context", self.tiling))
        self.how.body.addLayout(titled("Detail", self.detail))
        self.plan = Lines(5)  # room for all that is said of a run, so that nothing below moves
        self.sessions = FileMenu(
            "session",
            "Save image, anchors and options as a session, and open it again.",
            kept="Open the last session",
        )
        self.choices = ContentRows()
        self.body.addLayout(titled("Image", self.image, self.sessions))
        self.body.addWidget(self.choices)
        self.draw = QPushButton("Draw")
        self.draw.setToolTip("Draw a rectangle on the image; it becomes the region.")
        self.draw.clicked.connect(self.draw_requested)
        self._region = QWidget()
        self._region.setLayout(titled("Region", self.region, self.draw))
        self.body.addWidget(self._region)
        self.body.addWidget(self.resolution)
        self.body.addWidget(self.plan)
        self.body.addWidget(self.how)
        self.image.currentIndexChanged.connect(lambda _: self.image_requested.emit(self.image.value))
        self.region.currentIndexChanged.connect(lambda _: self.region_requested.emit(self.region.value))
        self.tiling.currentIndexChanged.connect(lambda _: self.tiling_requested.emit(self.tiling.value))
        self.detail.currentIndexChanged.connect(lambda _: self.detail_requested.emit(self.detail.value))
        self.keep.toggled.connect(self.keep_requested)
        self.reading.currentIndexChanged.connect(lambda _: self.reading_requested.emit(self.reading.value))

    def set_images(self, layers: Sequence[Any], chosen: Any) -> None:
        """List the image layers and choose one."""
        self.image.set_options([(layer.name, layer) for layer in layers])
        self.image.set_value(chosen)
        self.image.setEnabled(bool(layers))
        count = len(chosen.data) if chosen is not None and chosen.multiscale else 1
        self.choices.set_contents(Contents() if chosen is None else contents_of(chosen.metadata))
        self.resolution.set_levels(count, tells=chosen is None or spacing_of(chosen) is not None)

    def set_region(self, choice: RegionChoice) -> None:
        """Show which region is chosen."""
        self.region.set_value(choice)

    def set_tiling(self, tiling: Tiling) -> None:
        """Show how the region is cut."""
        self.tiling.set_value(tiling)

    def set_detail(self, detail: int) -> None:
        """Show how many tokens a patch gives."""
        self.detail.set_value(detail)

    def set_keep(self, on: bool) -> None:
        """Show whether results are kept on disk."""
        with quiet(self.keep):
            self.keep.setChecked(on)

    def set_reading(self, resolution: str) -> None:
        """Show what the next run reads the image at."""
        self.reading.set_value(resolution)

    def set_task(self, task: Task) -> None:
        """Show how maps are made where maps are made; a search has no region."""
        self._region.setVisible(task != "search")
        self.how.setVisible(task == "maps")
        self.plan.setVisible(task == "maps")

    def set_plan(self, plan: Status) -> None:
        """Say what a run will do, or why it cannot."""
        self.plan.show_text(plan.text)
        dim(self.plan, failed=plan.failed)


_COLOURS = ("red", "green", "blue")


class ContentRows(QWidget):
    """Choices of an image of a file, and of its channels; each row is hidden where there is no choice."""

    series_requested = Signal(int)
    channels_requested = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.series = ComboBox(tip="The file holds several images; this one is shown.")
        self.channels = tuple(
            ComboBox(
                tip="The channel that is shown; with a second and a third, what is shown as red."
                if not place
                else f"A channel that is shown as {_COLOURS[place]}; - for one channel less."
            )
            for place in range(len(_COLOURS))
        )
        self._of_images, self._of_channels = QWidget(), QWidget()
        self._of_images.setLayout(titled("Series", self.series))
        of_channels = titled("Channel", *self.channels)
        for place in range(len(self.channels)):
            of_channels.setStretch(1 + place, 1)
        self._of_channels.setLayout(of_channels)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GAP)
        column.addWidget(self._of_images)
        column.addWidget(self._of_channels)
        self.hide()
        self.series.currentIndexChanged.connect(lambda _: self.series_requested.emit(self.series.value))
        for box in self.channels:
            box.currentIndexChanged.connect(self._on_channel)

    def set_contents(self, contents: Contents) -> None:
        """Offer what a file has to choose from, and show what is chosen."""
        self.series.set_options([(title, number) for number, title in enumerate(contents.series)])
        self.series.set_value(contents.shown)
        named = [(title, number) for number, title in enumerate(contents.channels)]
        for place, box in enumerate(self.channels):
            box.set_options([("-", None), *named] if place else named)
            box.set_value(contents.picked[place] if place < len(contents.picked) else None)
            listed = box.view()
            if listed is not None:  # names are longer than the boxes are wide
                listed.setMinimumWidth(listed.sizeHintForColumn(0) + 4 * GAP)
        self.channels[2].setEnabled(len(contents.picked) > 1)
        self._of_images.setVisible(bool(contents.series))
        self._of_channels.setVisible(bool(contents.channels))
        self.setVisible(bool(contents.series or contents.channels))

    def _on_channel(self) -> None:
        chosen = [box.value for box in self.channels]
        several = chosen[: chosen.index(None) if None in chosen else None]
        self.channels_requested.emit(tuple(several))


_UNIT = " µm/px"
_USUAL_UM = 0.5
_WIDTH = 150


class ResolutionRows(QWidget):
    """Level or target, hidden for a single level; and a row of its own for what the file does not tell.

    `pixel`, the row with the size of a pixel, is put where its owner wants it.
    """

    level_requested = Signal(int)
    target_requested = Signal(object)
    spacing_requested = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._tells, self._count = True, 1
        self.by = ComboBox(
            (("by level", False), ("by µm/px", True)),
            tip="Resolution level of the pyramid that is embedded.",
        )
        self.level = QSpinBox()
        self.level.setToolTip("0 is the finest.")
        self.level.setFixedWidth(_WIDTH)
        self.target = _lengths(
            "Micrometres per pixel to read; the nearest level that is at least as fine is taken."
        )
        self.target.setMinimum(0.001)
        self.target.setValue(_USUAL_UM)
        self.spacing = _lengths(
            "Size of a pixel of the finest level, which this file does not tell; needed for scale bars "
            "and for resolutions in µm."
        )
        self.spacing.setSpecialValueText("not known")
        self.pixel = QWidget()
        self.pixel.setLayout(titled("", note("size of a pixel"), self.spacing))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GAP)
        column.addLayout(titled("Detail", self.by, self.level, self.target))
        self.set_target(None)
        self.hide()
        self.by.currentIndexChanged.connect(self._on_target)
        self.level.valueChanged.connect(self.level_requested)
        self.target.valueChanged.connect(self._on_target)
        self.spacing.valueChanged.connect(lambda value: self.spacing_requested.emit(value or None))

    def set_levels(self, count: int, *, tells: bool) -> None:
        """Offer that many levels of an image that tells the size of its pixels, or does not."""
        self._tells, self._count = tells, count
        with quiet(self.level):
            self.level.setMaximum(count - 1)
        self.setVisible(count > 1)
        self._show_fields()

    def set_level(self, level: int) -> None:
        """Show which level is chosen."""
        with quiet(self.level):
            self.level.setValue(level)

    def set_target(self, target_um: float | None) -> None:
        """Show the target; None goes by the level's number."""
        self.by.set_value(target_um is not None)
        if target_um is not None:
            with quiet(self.target):
                self.target.setValue(target_um)
        self._show_fields()

    def set_spacing(self, spacing_um: float | None) -> None:
        """Show the size of a pixel that was typed."""
        with quiet(self.spacing):
            self.spacing.setValue(spacing_um or 0.0)

    def _show_fields(self) -> None:
        by_size = bool(self.by.value)
        self.level.setVisible(not by_size)
        self.target.setVisible(by_size)
        self.pixel.setVisible(not self._tells and (by_size or self._count == 1))

    def _on_target(self) -> None:
        self._show_fields()
        self.target_requested.emit(self.target.value() if self.by.value else None)


def _lengths(tip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setDecimals(3)
    box.setMaximum(10_000.0)
    box.setSuffix(_UNIT)
    box.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
    box.setKeyboardTracking(False)
    box.setFixedWidth(_WIDTH)
    box.setToolTip(tip)
    return box
