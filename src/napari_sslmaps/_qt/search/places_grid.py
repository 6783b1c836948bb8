"""Grid of thumbnails of the places that were found."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QImage, QPixmap
from qtpy.QtWidgets import QListView, QListWidget, QListWidgetItem

from napari_sslmaps._qt.parts import GAP, painting_on
from napari_sslmaps.core.units import told_apart
from napari_sslmaps.search.query import Place

_SIDE, _LINES = 96, 2


class PlacesGrid(QListWidget):
    """Shows a picture of each place, with its rank, similarity and image; its pixel is in the tool tip."""

    place_requested = Signal(int)
    """Number of the place, from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setUniformItemSizes(True)
        self.setIconSize(QSize(_SIDE, _SIDE))
        self.setGridSize(QSize(_SIDE + 2 * GAP, _SIDE + _LINES * self.fontMetrics().lineSpacing() + 2 * GAP))
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumHeight(self.gridSize().height() + GAP)
        self.setToolTip("A click opens the image there.")
        self.itemClicked.connect(self._on_chosen)
        self.itemActivated.connect(self._on_chosen)

    def set_places(self, places: Sequence[Place]) -> None:
        """Show places, without pictures at first."""
        self.clear()
        blank = QPixmap(_SIDE, _SIDE)
        blank.fill(QColor(128, 128, 128, 60))
        icon = QIcon(blank)
        most = _SIDE // self.fontMetrics().averageCharWidth()
        names = told_apart([place.name for place in places], most)
        for rank, place in enumerate(places, start=1):
            fitting = self._fitting(names[place.name])
            item = QListWidgetItem(icon, f"{rank} · {place.similarity:.2f}\n{fitting}")
            item.setToolTip(
                f"{place.name} at ({place.y:.0f}, {place.x:.0f}), similarity {place.similarity:.3f}. "
                "A click opens it there."
            )
            self.addItem(item)

    def set_picture(self, number: int, pixels: NDArray[np.uint8]) -> None:
        """Show what is around a place."""
        item = self.item(number)
        if item is None:
            return
        height, width, _ = pixels.shape
        data = pixels.tobytes()  # which has to live as long as the image
        image = QImage(data, width, height, 3 * width, QImage.Format.Format_RGB888)
        scaled = QPixmap.fromImage(image).scaled(
            _SIDE,
            _SIDE,
            Qt.AspectRatioMode.KeepAspectRatio,
            Qt.TransformationMode.SmoothTransformation,
        )
        square = QPixmap(_SIDE, _SIDE)  # so that words are on one line, where a picture is cut by its border
        square.fill(Qt.GlobalColor.transparent)
        with painting_on(square) as painter:
            painter.drawPixmap((_SIDE - scaled.width()) // 2, (_SIDE - scaled.height()) // 2, scaled)
        item.setIcon(QIcon(square))

    def _fitting(self, name: str) -> str:
        return self.fontMetrics().elidedText(name, Qt.TextElideMode.ElideMiddle, _SIDE)

    def _on_chosen(self, item: QListWidgetItem) -> None:
        self.place_requested.emit(self.row(item))
