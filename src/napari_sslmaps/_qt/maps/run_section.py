"""Sections for what is in view, for the run itself, and for the last message."""

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QSlider,
    QToolButton,
    QWidget,
)

from napari_sslmaps._qt.parts import (
    NO_INDICATOR,
    ComboBox,
    Lines,
    Section,
    ask_where,
    dim,
    quiet,
    row,
    short_names,
    titled,
)
from napari_sslmaps.core.units import duration
from napari_sslmaps.maps.registry import selectable
from napari_sslmaps.viewer.canvas.flicker_keys import FLICKER_KEY, NEXT_KEY
from napari_sslmaps.viewer.maps.scale import LARGER_KEY, SMALLER_KEY, STEPS
from napari_sslmaps.viewer.state.workspace import Caption, RunProgress, Status, Task


class RunSection(Section):
    """Run, cancel, progress and status."""

    run_requested = Signal()
    pretext_requested = Signal()
    compare_requested = Signal()
    search_requested = Signal()
    cancel_requested = Signal()

    def __init__(self) -> None:
        super().__init__("")
        self.run = QPushButton("Run")
        self.run.setToolTip("Embed the region with the ticked encoders and show their maps.")
        self.pretext = QPushButton("Show pretext")
        self.pretext.setToolTip("Give the encoder its own training task on the region.")
        self.compare = QPushButton("Compare")
        self.compare.setToolTip("Score the ticked encoders on the region, beside their controls.")
        self.search = QPushButton("Search")
        self.search.setToolTip("Find the places most like the anchors, over all images of the archive.")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop; what is finished stays.")
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(True)
        self.bar.setMaximumHeight(18)
        policy = self.bar.sizePolicy()
        policy.setRetainSizeWhenHidden(True)  # so that no button moves from under the pointer
        self.bar.setSizePolicy(policy)
        self.status = Lines()
        buttons = row(self.run, self.pretext, self.compare, self.search, self.cancel)
        for index in range(buttons.count() - 1):
            buttons.setStretch(index, 2)
        buttons.setStretch(buttons.count() - 1, 1)
        self.body.addLayout(buttons)
        self.body.addWidget(self.bar)
        self.body.addWidget(self.status)
        self._runs = self._shows = False
        self.set_progress(None)
        self.run.clicked.connect(self.run_requested)
        self.pretext.clicked.connect(self.pretext_requested)
        self.compare.clicked.connect(self.compare_requested)
        self.search.clicked.connect(self.search_requested)
        self.cancel.clicked.connect(self.cancel_requested)

    def set_task(self, task: Task) -> None:
        """Offer what is done next on the page that is open."""
        self.run.setVisible(task == "maps")
        self.pretext.setVisible(task == "pretext")
        self.compare.setVisible(task == "compare")
        self.search.setVisible(task == "search")

    def set_progress(self, progress: RunProgress | None) -> None:
        """Show how far the run is; None when nothing runs."""
        self.run.setEnabled(progress is None)
        self.compare.setEnabled(progress is None)
        self.search.setEnabled(progress is None)
        self._runs = progress is not None
        self.cancel.setEnabled(self._runs or self._shows)
        self.bar.setVisible(progress is not None)
        if progress is None:
            self.bar.setValue(0)
            self.bar.setFormat("")
            return
        left = progress.seconds_left
        self.bar.setValue(round(1000 * progress.fraction))
        self.bar.setFormat(progress.label + ("" if left is None else f" · {duration(left)} left"))

    def set_showing(self, on: bool) -> None:
        """Show whether a pretext view is being computed."""
        self._shows = on
        self.cancel.setEnabled(self._runs or on)

    def set_status(self, status: Status) -> None:
        """Show the last message."""
        self.status.show_text(status.text)
        dim(self.status, failed=status.failed)


class ScaleRow(QWidget):
    """Size of the neighbourhoods that are compared, and whether it follows the zoom."""

    step_requested = Signal(int)
    follow_requested = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, len(STEPS) - 1)
        self.slider.setPageStep(2)
        self.slider.setToolTip(
            "How large a neighbourhood tokens are averaged over before they are compared: at the left single "
            "patches, at the right whole regions, up to an eighth of the image. σ is the standard deviation "
            "of its Gaussian weights; the ring around an anchor is drawn at 2 σ. "
            f"Keys: {LARGER_KEY} larger, {SMALLER_KEY} smaller."
        )
        self.value = QLabel()
        self.value.setMinimumWidth(118)
        dim(self.value)
        self.follow = QCheckBox("zoom")
        self.follow.setToolTip("The scale follows the zoom: cells are compared close up, regions from afar.")
        self.setLayout(titled("Scale", self.slider, self.value, self.follow))
        self.slider.valueChanged.connect(self.step_requested)
        self.follow.toggled.connect(self.follow_requested)

    def set_scale(self, step: int, text: str) -> None:
        """Show a step, and what it is on the image."""
        with quiet(self.slider):
            self.slider.setValue(step)
        self.value.setText(text)

    def set_follow(self, on: bool) -> None:
        """Show whether the scale follows the zoom."""
        with quiet(self.follow):
            self.follow.setChecked(on)


class ViewSection(Section):
    """Choice of the map in view, of its encoder or all side by side, and of its scale."""

    shown_requested = Signal(str)
    front_requested = Signal(str)
    against_requested = Signal(str)
    side_by_side_requested = Signal(bool)
    difference_requested = Signal(bool)
    figure_requested = Signal(str)
    print_requested = Signal(object)
    """Path to save it to; empty to copy it."""

    def __init__(self) -> None:
        super().__init__("View")
        self.shown = ComboBox([(kind.heading, kind.key) for kind in selectable()], "The map in view.")
        self.front = ComboBox(tip=f"The method whose map is in view, unless side by side. Next: {NEXT_KEY}.")
        self.against = ComboBox(tip="The method to compare with, by flicker or difference.")
        self.side_by_side = QPushButton("Side by side")
        self.side_by_side.setCheckable(True)
        self.side_by_side.setToolTip("A cell for each method, with the same view, contrast and anchors.")
        self.difference = QPushButton("Difference")
        self.difference.setCheckable(True)
        self.difference.setToolTip(
            "The map of the first method minus that of the second: red where the first is higher."
        )
        self.flicker = QPushButton(f"⇄ {FLICKER_KEY}")
        self.flicker.setToolTip(f"Swap the two methods. Shortcut: tap {FLICKER_KEY}, or hold it to peek.")
        self.figure = QToolButton()
        self.figure.setText("Figure ▾")
        self.figure.setStyleSheet(NO_INDICATOR)
        self.figure.setToolTip(
            "Copy or save what the canvas shows; or save a figure to be printed: the image and all maps of "
            "all methods, on white."
        )
        self.figure.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.figure)
        entries = (
            ("Copy view", self._copy),
            ("Save view…", self._ask_to_save),
            ("Save figure to print…", self._ask_to_print),
        )
        for text, ask in entries:
            entry = menu.addAction(text)
            if entry is not None:
                entry.triggered.connect(ask)
        self.figure.setMenu(menu)
        self.caption = Lines()
        modes = row(self.shown, self.side_by_side, self.difference)
        pair = row(self.front, QLabel("–"), self.against, self.flicker, self.figure)
        for line, widths in ((modes, (4, 3, 3)), (pair, (1, 0, 1))):
            for index, width in enumerate(widths):
                line.setStretch(index, width)
            self.body.addLayout(line)
        self.scale = ScaleRow()
        self.body.addWidget(self.scale)
        self.body.addWidget(self.caption)
        self.shown.currentIndexChanged.connect(lambda _: self.shown_requested.emit(self.shown.value))
        self.front.currentIndexChanged.connect(lambda _: self.front_requested.emit(self.front.value or ""))
        self.against.currentIndexChanged.connect(
            lambda _: self.against_requested.emit(self.against.value or "")
        )
        self.side_by_side.toggled.connect(self.side_by_side_requested)
        self.difference.toggled.connect(self.difference_requested)
        self.flicker.clicked.connect(lambda: self.front_requested.emit(self.against.value or ""))

    def _copy(self) -> None:
        self.figure_requested.emit("")

    def _ask_to_save(self) -> None:
        path = ask_where(self, "Save view", "view.png", "PNG (*.png);;JPEG (*.jpg);;TIFF (*.tif)")
        if path:
            self.figure_requested.emit(path)

    def _ask_to_print(self) -> None:
        kinds = "PNG, 300 dpi (*.png);;PDF (*.pdf);;SVG (*.svg);;TIFF, 300 dpi (*.tif);;JPEG, 300 dpi (*.jpg)"
        path = ask_where(self, "Save figure to print", "figure.png", kinds)
        if path:
            self.print_requested.emit(Path(path))

    def set_shown(self, kind: str) -> None:
        """Show which map is in view."""
        self.shown.set_value(kind)

    def set_fronts(self, names: Sequence[str], front: str, against: str) -> None:
        """Offer methods; show which is in view and which it is compared with, before a run the first two."""
        front = front if front in names else next(iter(names), "")
        self.front.set_options([(short, name) for name, short in short_names(names).items()])
        self.front.set_value(front)
        self.against.set_options(
            [(short, name) for name, short in short_names(names).items() if name != front]
        )
        self.against.set_value(against)
        self.difference.setEnabled(len(names) > 1)
        self._enable_pair()

    def _enable_pair(self) -> None:
        """Let a pair be chosen where one is in view: side by side all methods are."""
        one_by_one = not self.side_by_side.isChecked()
        self.front.setEnabled(one_by_one)
        for widget in (self.against, self.flicker):
            widget.setEnabled(one_by_one and self.against.count() > 0)

    def set_difference(self, on: bool) -> None:
        """Show whether the difference is in view."""
        with quiet(self.difference):
            self.difference.setChecked(on)

    def set_caption(self, caption: Caption) -> None:
        """Say how the map in view was made; what has to be known of it is in the tool tip."""
        self.caption.setText(f"Caution (point here). {caption.text}" if caption.caution else caption.text)
        self.caption.setToolTip(caption.caution or caption.text)

    def set_side_by_side(self, on: bool) -> None:
        """Show whether cells are side by side."""
        with quiet(self.side_by_side):
            self.side_by_side.setChecked(on)
        self._enable_pair()
