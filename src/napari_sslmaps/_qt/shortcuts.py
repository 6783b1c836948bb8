"""A page of the keys and what the mouse does."""

from qtpy.QtWidgets import QDialog, QGridLayout, QLabel, QWidget

from napari_sslmaps.viewer.canvas.anchor_pointer import LIVE_KEY, MODE_KEY
from napari_sslmaps.viewer.canvas.flicker_keys import FLICKER_KEY, NEXT_KEY
from napari_sslmaps.viewer.maps.scale import LARGER_KEY, SMALLER_KEY

SHORTCUTS = (
    (MODE_KEY, "A click sets an anchor, or no longer does."),
    ("click", "Similarity to that place, in all methods."),
    ("Shift-click", "One more anchor."),
    ("Ctrl-click", "A negative anchor: tokens like it are pushed down."),
    ("drag an anchor", "Its maps follow."),
    (LIVE_KEY, "Similarity follows the pointer; held, only meanwhile."),
    ("Delete", "Removes the anchor under the pointer, else the last."),
    ("Ctrl+Z, Ctrl+Shift+Z", "Undo and redo of anchors, groups and the region."),
    (FLICKER_KEY, "The other method of two; held, only meanwhile."),
    (f"{NEXT_KEY}, Shift+{NEXT_KEY}", "The next method, the one before."),
    (f"{LARGER_KEY}, {SMALLER_KEY.replace('-', '+')}", "Compare larger neighbourhoods, or smaller ones."),
    ("wheel, drag", "Zoom and move, in every mode."),
)
"""What to press, and what it does."""


class ShortcutPage(QDialog):
    """Lists the shortcuts.

    Parameters
    ----------
    parent
        Widget that it belongs to.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys and mouse")
        grid = QGridLayout(self)
        grid.setHorizontalSpacing(18)
        for index, (key, text) in enumerate(SHORTCUTS):
            name = QLabel(key)
            font = name.font()
            font.setBold(True)
            name.setFont(font)
            grid.addWidget(name, index, 0)
            grid.addWidget(QLabel(text), index, 1)
