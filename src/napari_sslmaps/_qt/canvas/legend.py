"""What napari's canvas shows, written on it: method and map, a colour bar, values under the pointer."""

from collections.abc import Callable

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QEvent, QObject, QRectF, Qt, QTimer
from qtpy.QtGui import QPainter, QPaintEvent
from qtpy.QtWidgets import QWidget

from napari_sslmaps._qt.canvas.painting import number, paint_bar, paint_text
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.canvas.map_layers import Picture
from napari_sslmaps.viewer.canvas.rendering import shades, value_at


class Legend(QWidget):
    """Lies on napari's canvas and lets the mouse through.

    Parameters
    ----------
    canvas
        Widget to lie on.
    viewer
        Whose cursor is followed.
    seen
        Gives the pictures that are in view.
    pictures
        Gives the maps of all methods that are of the kind in view.
    """

    def __init__(
        self,
        canvas: QWidget,
        viewer: ViewerModel,
        seen: Callable[[], list[Picture]],
        pictures: Callable[[], list[Picture]],
    ) -> None:
        super().__init__(canvas)
        self._viewer = viewer
        self._seen = seen
        self._pictures = pictures
        camera = viewer.scene.camera
        self._fitted = (camera.center, camera.zoom)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.resize(canvas.size())
        canvas.installEventFilter(self)
        self.show()

    def eventFilter(self, canvas: QObject | None, event: QEvent | None) -> bool:
        """Stay as large as the canvas."""
        if event is not None and event.type() == QEvent.Type.Resize and isinstance(canvas, QWidget):
            self.resize(canvas.size())
            QTimer.singleShot(0, self._refit)  # napari takes note of the new size first
        return False

    def _refit(self) -> None:
        """Fit the picture to the new size, unless a user has moved or zoomed it."""
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
        seen = self._seen()
        if not seen:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area, top = QRectF(self.rect()), seen[-1]
        mark = top.metadata[OWN]
        paint_text(painter, area, mark["encoder"], mark["title"])
        if isinstance(top, Image) and not top.rgb:
            low, high = (float(value) for value in top.contrast_limits)
            paint_bar(painter, area, shades(top), low, high)
        paint_text(painter, area, "", self._values(), below=True)
        painter.end()

    def _values(self) -> str:
        """Return the values of all methods under the pointer, where it is on the map."""
        place = self._viewer.cursor.position[-2:]
        found = {
            layer.metadata[OWN]["encoder"]: value_at(self._viewer, layer, place) for layer in self._pictures()
        }
        known = {name.partition("-")[0]: value for name, value in found.items() if value is not None}
        return "   ".join(f"{name} {number(value)}" for name, value in known.items())
