"""Setting, turning and removing anchors."""

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QToolButton

from napari_sslmaps._qt.parts import Section, note, quiet, row
from napari_sslmaps.viewer.anchors import MODE_KEY
from napari_sslmaps.viewer.workspace import Anchor


class AnchorSection(Section):
    """Anchor mode, polarity, and what removes anchors."""

    mode_requested = Signal(bool)
    negative_requested = Signal(bool)
    remove_requested = Signal()
    clear_requested = Signal()

    def __init__(self) -> None:
        super().__init__("Anchors")
        self.mode = QPushButton(f"×  Set anchors  ({MODE_KEY})")
        self.mode.setCheckable(True)
        self.mode.setToolTip(f"A click on the image sets an anchor. Shortcut: {MODE_KEY}.")
        self.negative = QPushButton("Negative")
        self.negative.setCheckable(True)
        self.negative.setToolTip("The next anchors are negative, blue: tokens like them are pushed down.")
        self.remove = QToolButton()
        self.remove.setText("⌫")
        self.remove.setToolTip("Remove the last anchor. Shortcut: Delete.")
        self.clear = QToolButton()
        self.clear.setText("Clear")
        self.clear.setToolTip("Remove all anchors.")
        self.hint = note()
        line = row(self.mode, self.negative, self.remove, self.clear)
        line.setStretch(0, 1)
        self.body.addLayout(line)
        self.body.addWidget(self.hint)
        self.set_anchors(())
        self.mode.toggled.connect(self.mode_requested)
        self.negative.toggled.connect(self.negative_requested)
        self.remove.clicked.connect(self.remove_requested)
        self.clear.clicked.connect(self.clear_requested)

    def set_mode(self, on: bool) -> None:
        """Show whether a click sets an anchor."""
        with quiet(self.mode):
            self.mode.setChecked(on)

    def set_negative(self, on: bool) -> None:
        """Show whether the next anchor is negative."""
        with quiet(self.negative):
            self.negative.setChecked(on)

    def set_anchors(self, anchors: Sequence[Anchor]) -> None:
        """Say how many anchors there are."""
        self.remove.setEnabled(bool(anchors))
        self.clear.setEnabled(bool(anchors))
        negative = sum(anchor.negative for anchor in anchors)
        count = f"{len(anchors) - negative} positive, {negative} negative. " if anchors else ""
        self.hint.setText(f"{count}Click sets, Shift adds, Ctrl negative, drag moves.")
