"""What is in view, the run itself, and the last message."""

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QProgressBar, QPushButton

from napari_sslmaps._qt.parts import Choice, Section, dim, note, quiet, row
from napari_sslmaps.viewer.cost import duration
from napari_sslmaps.viewer.workspace import MapKind, Progress, Status, Task

_KINDS = (("similarity", "similarity"), ("attention", "attention"), ("PCA", "pca"))


class RunSection(Section):
    """Run, cancel, progress and status."""

    run_requested = Signal()
    pretext_requested = Signal()
    cancel_requested = Signal()

    def __init__(self) -> None:
        super().__init__("Run")
        self.run = QPushButton("Run")
        self.run.setToolTip("Embed the region by the ticked encoders and show their maps.")
        self.pretext = QPushButton("Show pretext")
        self.pretext.setToolTip("Give the encoder its own training task on the region.")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop; what was painted stays.")
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(True)
        self.status = note()
        self.status.setMinimumHeight(2 * self.status.fontMetrics().lineSpacing())
        buttons = row(self.run, self.pretext, self.cancel)
        buttons.setStretch(0, 2)
        buttons.setStretch(1, 2)
        buttons.setStretch(2, 1)
        self.body.addLayout(buttons)
        self.body.addWidget(self.bar)
        self.body.addWidget(self.status)
        self.set_progress(None)
        self.run.clicked.connect(self.run_requested)
        self.pretext.clicked.connect(self.pretext_requested)
        self.cancel.clicked.connect(self.cancel_requested)

    def set_task(self, task: Task) -> None:
        """Offer what is done next on the page that is open."""
        self.run.setVisible(task == "maps")
        self.pretext.setVisible(task == "pretext")

    def set_progress(self, progress: Progress | None) -> None:
        """Show how far the run is; None when nothing runs."""
        self.run.setEnabled(progress is None)
        self.cancel.setEnabled(progress is not None)
        if progress is None:
            self.bar.setValue(0)
            self.bar.setFormat("")
            return
        left = progress.seconds_left
        self.bar.setValue(round(1000 * progress.fraction))
        self.bar.setFormat(progress.label + ("" if left is None else f" · {duration(left)} left"))

    def set_status(self, status: Status) -> None:
        """Show the last message."""
        self.status.setText(status.text)
        dim(self.status, failed=status.failed)


class ViewSection(Section):
    """Which map is in view, of which encoder, or of all side by side."""

    shown_requested = Signal(str)
    front_requested = Signal(str)
    side_by_side_requested = Signal(bool)

    def __init__(self) -> None:
        super().__init__("View")
        self.shown = Choice(_KINDS, "The map in view.")
        self.front = Choice(tip="The encoder whose map is in view when stacked.")
        self.side_by_side = QPushButton("Side by side")
        self.side_by_side.setCheckable(True)
        self.side_by_side.setToolTip("One linked cell per encoder: same view, contrast and anchors.")
        line = row(self.shown, QLabel("of"), self.front)
        line.setStretch(0, 1)
        line.setStretch(2, 1)
        self.body.addLayout(line)
        self.body.addWidget(self.side_by_side)
        self.shown.currentIndexChanged.connect(lambda _: self.shown_requested.emit(self.shown.value))
        self.front.currentIndexChanged.connect(lambda _: self.front_requested.emit(self.front.value or ""))
        self.side_by_side.toggled.connect(self.side_by_side_requested)

    def set_shown(self, kind: MapKind) -> None:
        """Show which map is in view."""
        self.shown.set_value(kind)

    def set_fronts(self, names: Sequence[str], front: str) -> None:
        """Offer encoders, and show which is in view."""
        self.front.set_options([(name, name) for name in names])
        self.front.set_value(front)

    def set_side_by_side(self, on: bool) -> None:
        """Show whether cells are side by side."""
        with quiet(self.side_by_side):
            self.side_by_side.setChecked(on)
        self.front.setEnabled(not on)
