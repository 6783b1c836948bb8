"""Legend on napari's canvas: method and map, a colour bar, values under the pointer."""

from collections.abc import Callable

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QObject, QRectF, Qt, QTimer
from qtpy.QtGui import QPainter, QPaintEvent
from qtpy.QtWidgets import QWidget

from napari_sslmaps._qt.canvas.painting import number, paint_bar, paint_ring, paint_text
from napari_sslmaps._qt.parts import painting_on, short_names
from napari_sslmaps.viewer.canvas.cell_camera import CellCamera, Rect
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.canvas.map_layers import Picture, titled
from napari_sslmaps.viewer.canvas.rendering import shades, value_at
from napari_sslmaps.viewer.canvas.scale_rings import ScaleRings

_MIDDLE = 2e-3
"""How far off the middle a picture may lie that nobody has moved, as a share of its side."""


class Legend(QWidget):
    """Lies on napari's canvas and lets the mouse through.

    Parameters
    ----------
    canvas
        Widget to lie on.
    viewer
        Viewer whose cursor is followed.
    seen
        Function that returns the pictures in view.
    pictures
        Function that returns the maps of all methods that are of the kind in view.
    rings
        Rings around anchors.
    """

    def __init__(
        self,
        canvas: QWidget,
        viewer: ViewerModel,
        seen: Callable[[], list[Picture]],
        pictures: Callable[[], list[Picture]],
        rings: ScaleRings,
    ) -> None:
        super().__init__(canvas)
        self._viewer = viewer
        self._seen = seen
        self._pictures = pictures
        self._rings = rings
        camera = viewer.scene.camera
        self._fitted = (camera.center, camera.zoom)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.resize(canvas.size())
        canvas.installEventFilter(self)
        if self._is_centred():
            QTimer.singleShot(0, self.refit)  # the dock has taken room from a picture that was all in sight
        self.show()

    def eventFilter(self, canvas: QObject | None, event: QEvent | None) -> bool:
        """Stay as large as the canvas."""
        if event is not None and event.type() == QEvent.Type.Resize and isinstance(canvas, QWidget):
            self.resize(canvas.size())
            QTimer.singleShot(0, self.refit)  # napari takes note of the new size first
        return False

    def _is_centred(self) -> bool:
        """Whether the picture lies in the middle of the canvas, where nobody has moved it."""
        if not self._viewer.layers:
            return False
        low, high = self._viewer.layers.extent.world[:, -2:]
        off = np.abs(np.asarray(self._viewer.scene.camera.center[-2:]) - (low + high) / 2)
        return bool((off <= _MIDDLE * (high - low)).all())

    def refit(self) -> None:
        """Fit what there is now to the canvas of now, unless a user has moved or zoomed it."""
        camera = self._viewer.scene.camera
        if self._fitted == (camera.center, camera.zoom) and self._viewer.layers:
            self._viewer.fit_to_view()
            self._fitted = (camera.center, camera.zoom)

    def follow(self) -> None:
        """Draw again soon."""
        if self.isVisible():
            self.update()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Write what is in view."""
        seen, rings = self._seen(), self._rings.rings()
        if not seen and not rings:
            return
        with painting_on(self) as painter:
            to_canvas = self._to_canvas()
            if to_canvas is not None:
                for ring in rings:
                    paint_ring(painter, ring, to_canvas)
            if seen:
                self._paint_words(painter, seen[-1])

    def _to_canvas(self) -> NDArray[np.float64] | None:
        """Return the (3, 3) matrix from the world's (x, y, 1) to the canvas; None where it shows no plane."""
        dims, camera = self._viewer.dims, self._viewer.scene.camera
        if dims.ndisplay != 2 or tuple(dims.displayed) != (dims.ndim - 2, dims.ndim - 1):
            return None
        rect = Rect(0, 0, self.width(), self.height())
        y, x = (float(value) for value in camera.center[-2:])
        matrix = CellCamera((y, x), float(camera.zoom)).to_cell(rect)
        up, left = camera.orientation2d[0] == "up", camera.orientation2d[1] == "left"
        mirror = np.diag([-1.0 if left else 1.0, -1.0 if up else 1.0, 1.0])
        mirror[:2, 2] = self.width() * left, self.height() * up
        found: NDArray[np.float64] = mirror @ matrix
        return found

    def _paint_words(self, painter: QPainter, top: Picture) -> None:
        area = QRectF(self.rect())
        mark = top.metadata[OWN]
        paint_text(painter, area, mark["encoder"], titled(mark))
        if isinstance(top, Image) and not top.rgb:
            low, high = (float(value) for value in top.contrast_limits)
            paint_bar(painter, area, shades(top), low, high)
        paint_text(painter, area, "", self._values(top), below=True)

    def _values(self, top: Picture) -> str:
        """Return the values of all methods under the pointer, where it is on the map.

        A method that is not in view may still answer the anchors while the one in front follows the pointer.
        """
        place, pictures = self._viewer.cursor.position[-2:], self._pictures()
        found = {
            layer.metadata[OWN]["encoder"]: value_at(self._viewer, layer, place)
            for layer in pictures
            if top not in pictures or _question(layer) == _question(top)
        }
        known = {name: value for name, value in found.items() if value is not None}
        short = short_names(tuple(found))
        return "   ".join(f"{short[name]} {number(value)}" for name, value in known.items())


def _question(picture: Picture) -> tuple[object, ...]:
    """Return what a map was asked, where it was: anchors, and whether the pointer is one."""
    options = picture.metadata[OWN].get("options", {})
    return tuple(options.get(name) for name in ("anchors", "negative", "pointer"))
