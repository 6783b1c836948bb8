"""A real napari window with the dock, and a real mouse on its canvas."""

from collections.abc import Iterator
from contextlib import contextmanager

import napari
import numpy as np
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QImage, QMouseEvent
from qtpy.QtWidgets import QApplication, QWidget

from napari_sslmaps._qt.dock import SSLMapsWidget
from napari_sslmaps.viewer.canvas.image_layer import pixel_to_world
from napari_sslmaps.viewer.services import Services

LEFT = Qt.MouseButton.LeftButton
THROTTLE_MS = 6
NONE = Qt.KeyboardModifier.NoModifier


class Window:
    """A viewer with a tissue-like image and the dock; positions are image pixels."""

    def __init__(self, viewer: napari.Viewer, services: Services, qtbot: QtBot) -> None:
        self.viewer = viewer
        self.qtbot = qtbot
        viewer.window._qt_window.resize(1480, 820)  # room for a canvas that the dock makes no larger
        self.image = viewer.add_image(
            np.full((64, 80), 0.5, np.float32), name="tissue", contrast_limits=(0, 1)
        )
        self.widget = SSLMapsWidget(viewer, services)
        viewer.window.add_dock_widget(self.widget, name="SSL Maps", area="right")
        with qtbot.waitExposed(viewer.window._qt_window):
            viewer.window._qt_window.show()
        qtbot.waitUntil(self._is_laid_out)
        viewer.fit_to_view()

    @property
    def canvas(self) -> QWidget:
        """napari's canvas, or the one of the cells while they are side by side."""
        if self.widget.controller.cells.active:
            return self.widget.canvas.cells
        return self.viewer.window._qt_viewer.canvas.native

    def _is_laid_out(self) -> bool:
        """Whether the dock has its width, and napari knows the size of the canvas."""
        QApplication.processEvents()
        shown = (self.canvas.height(), self.canvas.width())
        return self.widget.width() >= self.widget.minimumWidth() and tuple(self.viewer.canvas.size) == shown

    def draw(self) -> np.ndarray:
        """Return the canvas as (height, width, 4) uint8, after what is pending was laid out and drawn."""
        for _ in range(3):
            QApplication.processEvents()
        if not self.widget.controller.cells.active:
            return self.viewer.screenshot(canvas_only=True, flash=False)
        image = self.canvas.grab().toImage().convertToFormat(QImage.Format.Format_RGBA8888)
        bits = image.constBits()
        if hasattr(bits, "setsize"):  # of PyQt; PySide's knows its size
            bits.setsize(image.sizeInBytes())
        return np.frombuffer(bits, np.uint8).reshape(image.height(), image.bytesPerLine() // 4, 4).copy()

    def at(self, pixel_yx: tuple[float, float], cell: int = 0) -> QPoint:
        """Return the canvas position of an image pixel, in a grid cell."""
        view, cells = self.viewer, self.widget.controller.cells
        y, x = pixel_to_world(view, self.image, pixel_yx)[-2:]
        if cells.active:
            left, top, _ = cells.camera.to_cell(cells.rects[cell]) @ [x, y, 1]
            return QPoint(round(left), round(top))
        height, width = view.canvas.viewbox_size(view.layers)
        offset = (np.array([y, x]) - np.asarray(view.scene.camera.center[-2:])) * view.scene.camera.zoom
        return QPoint(round(width / 2 + offset[1]), round(height / 2 + offset[0]))

    def colour(self, pixel_yx: tuple[float, float], cell: int = 0) -> np.ndarray:
        """Return the drawn RGB at an image pixel."""
        picture, point = self.draw(), self.at(pixel_yx, cell)
        return picture[point.y(), point.x(), :3].astype(int)

    def click(self, pixel_yx: tuple[float, float], modifier: Qt.KeyboardModifier = NONE) -> None:
        """Press and release the left button."""
        point = self.at(pixel_yx)
        self.qtbot.mouseMove(self.canvas, point)
        self.qtbot.mousePress(self.canvas, LEFT, modifier, point)
        self.qtbot.mouseRelease(self.canvas, LEFT, modifier, point)

    def drag(self, start: tuple[float, float], *ways: tuple[float, float], cell: int = 0) -> None:
        """Press, move along, and release."""
        points = [self.at(pixel, cell) for pixel in (start, *ways)]
        self.qtbot.mouseMove(self.canvas, points[0])
        self._rest()
        self.qtbot.mousePress(self.canvas, LEFT, NONE, points[0])
        for point in points[1:]:
            self.move(point)
        self.qtbot.mouseRelease(self.canvas, LEFT, NONE, points[-1])

    def move(self, point: QPoint) -> None:
        """Move with the left button held; QTest's own moves carry no button."""
        at, everywhere = QPointF(point), QPointF(self.canvas.mapToGlobal(point))
        event = QMouseEvent(QEvent.Type.MouseMove, at, everywhere, Qt.MouseButton.NoButton, LEFT, NONE)
        QApplication.sendEvent(self.canvas, event)
        self._rest()

    def _rest(self) -> None:
        """Wait until napari takes another move; it takes one in 5 ms."""
        self.qtbot.wait(2 * THROTTLE_MS)  # timers fire in their order: napari's, begun before, is over then

    def wait_until_idle(self) -> None:
        """Wait for the end of a run."""
        self.qtbot.waitUntil(lambda: self.widget.workspace.progress is None)


@contextmanager
def destroying(qtbot: QtBot, widget: QWidget) -> Iterator[None]:
    """Wait until a widget is destroyed; `QtBot.waitSignal` would disconnect from it, which PySide refuses."""
    gone: list[bool] = []
    widget.destroyed.connect(lambda: gone.append(True))
    yield
    qtbot.waitUntil(lambda: bool(gone))


def is_red(colour: np.ndarray) -> bool:
    return bool(colour[0] > 200 and colour[1] < 80 and colour[2] < 80)
