"""Setting, turning, grouping and removing anchors."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QColorDialog, QComboBox, QPushButton, QSizePolicy, QToolButton, QWidget

from napari_sslmaps._qt.maps.clip_row import ClipRow
from napari_sslmaps._qt.parts import ComboBox, FileMenu, Section, note, quiet, row, titled
from napari_sslmaps.viewer.canvas.anchor_pointer import LIVE_KEY, MODE_KEY
from napari_sslmaps.viewer.state.workspace import Anchor, Group, Task

if TYPE_CHECKING:
    from napari.layers import Image


class AnchorSection(Section):
    """Anchor mode, polarity, groups, and what removes anchors."""

    mode_requested = Signal(bool)
    live_requested = Signal(bool)
    negative_requested = Signal(bool)
    remove_requested = Signal()
    clear_requested = Signal()
    group_requested = Signal(int)
    """Key of the group to be active."""
    group_added = Signal()
    group_changed = Signal(object)
    group_removed = Signal(int)
    reference_requested = Signal(object)
    saved = Signal(str)
    loaded = Signal(str)

    def __init__(self) -> None:
        super().__init__("Anchors")
        self._groups: tuple[Group, ...] = ()
        self.mode = QPushButton(f"× Set  ({MODE_KEY})")
        self.mode.setCheckable(True)
        self.mode.setToolTip(f"A click on the image sets an anchor. Shortcut: {MODE_KEY}.")
        self.live = QPushButton(f"Live  ({LIVE_KEY})")
        self.live.setCheckable(True)
        self.live.setToolTip(
            f"Similarity follows the pointer, without a click. Shortcut: {LIVE_KEY}, or hold it meanwhile."
        )
        self.negative = QPushButton("Negative")
        self.negative.setCheckable(True)
        self.negative.setToolTip(
            "The next anchors are negative, drawn as bars: tokens like them are pushed down."
        )
        self.remove = _button("⌫", "Remove the last anchor. Shortcut: Delete.")
        self.clear = _button("Clear", "Remove all anchors.")
        self.group = QComboBox()
        self.group.setEditable(True)
        self.group.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.group.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.group.setToolTip(
            "The active group: clicks add to it, and similarity is to its anchors. Type to rename it."
        )
        self.colour = _button("", "Colour of the group.")
        self.add = _button("+", "Add a group of anchors.")
        self.drop = _button("−", "Remove the group with its anchors.")
        self.reference = ComboBox(
            tip="Image that the anchors are taken from: this one, or another, to find the same thing here."
        )
        self.files = FileMenu(
            "anchors", "Save anchors with their groups to a file, or load them.", kept=False
        )
        self.clip = ClipRow()
        self.hint = note()
        line = row(self.mode, self.live, self.negative, self.remove, self.clear)
        line.setStretch(0, 1)
        self.body.addLayout(line)
        self.body.addLayout(titled("Group", self.group, self.colour, self.add, self.drop))
        self._from = QWidget()
        self._from.setLayout(titled("From", self.reference, self.files))
        self.body.addWidget(self._from)
        self.body.addWidget(self.clip)
        self.body.addWidget(self.hint)
        self.set_groups((Group(),))
        self.set_anchors(())
        self.set_references((), None)
        self._connect()

    def _connect(self) -> None:
        self.mode.toggled.connect(self.mode_requested)
        self.live.toggled.connect(self.live_requested)
        self.negative.toggled.connect(self.negative_requested)
        self.remove.clicked.connect(self.remove_requested)
        self.clear.clicked.connect(self.clear_requested)
        self.group.activated.connect(lambda index: self.group_requested.emit(self._groups[index].key))
        line = self.group.lineEdit()
        if line is not None:
            line.editingFinished.connect(self._on_renamed)
        self.colour.clicked.connect(self._ask_for_colour)
        self.add.clicked.connect(self.group_added)
        self.drop.clicked.connect(lambda: self.group_removed.emit(self._active.key))
        self.reference.currentIndexChanged.connect(
            lambda _: self.reference_requested.emit(self.reference.value)
        )
        self.files.saved.connect(self.saved)
        self.files.loaded.connect(self.loaded)

    def set_task(self, task: Task) -> None:
        """Offer anchors of other images where maps are made; a search is for those of this one."""
        self._from.setVisible(task != "search")

    @property
    def _active(self) -> Group:
        return self._groups[max(0, self.group.currentIndex())]

    def set_mode(self, on: bool) -> None:
        """Show whether a click sets an anchor."""
        with quiet(self.mode):
            self.mode.setChecked(on)

    def set_live(self, on: bool) -> None:
        """Show whether similarity follows the pointer."""
        with quiet(self.live):
            self.live.setChecked(on)

    def set_negative(self, on: bool) -> None:
        """Show whether the next anchor is negative."""
        with quiet(self.negative):
            self.negative.setChecked(on)

    def set_groups(self, groups: Sequence[Group]) -> None:
        """Offer these groups, with their colours."""
        key = self._active.key if self._groups else 0
        self._groups = tuple(groups)
        with quiet(self.group):
            self.group.clear()
            for group in groups:
                self.group.addItem(_swatch(group.colour), group.name)
        self.drop.setEnabled(len(groups) > 1)
        self.set_group(key)

    def set_group(self, key: int) -> None:
        """Show which group is active."""
        index = next((i for i, group in enumerate(self._groups) if group.key == key), 0)
        with quiet(self.group):
            self.group.setCurrentIndex(index)
            self.group.setEditText(self._active.name)
        self.colour.setIcon(_swatch(self._active.colour))

    def set_references(self, images: "Sequence[Image]", chosen: "Image | None") -> None:
        """Offer the images whose anchors can be looked for, and show which is chosen."""
        self.reference.set_options([("this image", None), *((image.name, image) for image in images)])
        self.reference.set_value(chosen)
        self.reference.setEnabled(bool(images))

    def set_anchors(self, anchors: Sequence[Anchor]) -> None:
        """Say how many anchors there are."""
        self.remove.setEnabled(bool(anchors))
        self.clear.setEnabled(bool(anchors))
        negative = sum(anchor.negative for anchor in anchors)
        count = f"{len(anchors) - negative} positive, {negative} negative. Shift adds, drag moves."
        self.hint.setText(count if anchors else "Click sets, Shift adds, Ctrl negative, drag moves.")

    def _on_renamed(self) -> None:
        name = self.group.currentText().strip()
        if name != self._active.name:
            self.group_changed.emit(replace(self._active, name=name))
            self.set_group(self._active.key)  # a name that was refused gives way to the old one

    def _ask_for_colour(self) -> None:
        chosen = QColorDialog.getColor(QColor(self._active.colour), self, f"Colour of {self._active.name}")
        if chosen.isValid():
            self.group_changed.emit(replace(self._active, colour=chosen.name()))


def _button(text: str, tip: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    return button


def _swatch(colour: str) -> QIcon:
    pixels = QPixmap(12, 12)
    pixels.fill(QColor(colour))
    return QIcon(pixels)
