"""Puts our canvas and legend where napari's canvas is, and changes between the two canvases."""

from typing import Any

from napari.layers import Image, Labels, Layer, Points
from qtpy.QtCore import QTimer
from qtpy.QtGui import QPixmap
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QBoxLayout, QWidget

from napari_sslmaps._qt.canvas.cells_canvas import CellsCanvas
from napari_sslmaps._qt.canvas.legend import Legend
from napari_sslmaps.viewer.canvas.image_layer import PLACES, is_own
from napari_sslmaps.viewer.canvas.map_layers import Picture
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.state.connections import Connections


class MountedCanvas:
    """Our canvas beside napari's in one window; one of them is seen.

    Parameters
    ----------
    widget
        A widget in napari's window, in which its canvas is looked for.
    controller
        Controller of what is shown.
    """

    def __init__(self, widget: QWidget, controller: Controller) -> None:
        self._controller = controller
        self._connections, self._annotated = Connections(), Connections()
        self._stepped = False
        self.native = _canvas_near(widget)
        self.cells = CellsCanvas(
            controller.viewer, controller.cells, controller.marks, controller.scale.rings
        )
        self.cells.over = self._over
        self.legend: Legend | None = None
        if self.native is not None:
            self._mount(self.native)
        self._connect()
        self._follow_annotation()
        self._follow()

    def picture(self) -> QPixmap | None:
        """Return what the canvas shows; None without a window."""
        if self.native is None:
            return None
        return self.cells.grab() if self._controller.cells.active else self.native.grab()

    def close(self) -> None:
        """Undo every connection, and give napari's canvas back."""
        self._connections.undo()
        self._annotated.undo()
        if self.native is None:
            return
        self.native.show()
        for widget in (self.cells, self.legend):
            if widget is not None:
                widget.hide()
                widget.deleteLater()

    def _on_gone(self) -> None:
        """Take note that the window was closed, and our widgets with it."""
        self._connections.undo()
        self._annotated.undo()
        self.native = self.legend = None

    def _mount(self, native: QWidget) -> None:
        controller = self._controller
        holder = native.parentWidget()
        layout = None if holder is None else holder.layout()
        if isinstance(layout, QBoxLayout):
            layout.insertWidget(layout.indexOf(native), self.cells, 1)
        native.destroyed.connect(self._on_gone)
        sessions, stage = controller.sessions, controller.stage
        self.legend = Legend(
            native,
            controller.viewer,
            lambda: [] if sessions.image is None else stage.seen(sessions.image),
            lambda: [] if sessions.image is None else stage.read_out(sessions.image),
            controller.scale.rings,
        )

    def _connect(self) -> None:
        controller, connect = self._controller, self._connections.add
        events = controller.workspace.events
        connect(controller.cells.changed, self._follow)
        connect(controller.layer_manager.drawn, self._on_drawn)
        connect(controller.compare_page.model.events.annotation, self._follow_annotation)
        for name in (
            "anchors",
            "groups",
            "group",
            "reference",
            "caption",
            "scale_text",
            "task",
            "areas_shown",
        ):
            connect(getattr(events, name), self._draw)
        viewer = controller.viewer
        for signal in (viewer.scene.camera.events, viewer.dims.events):
            connect(signal, self._on_moved)
        connect(controller.viewer.cursor.events.position, self._on_cursor)
        connect(viewer.dims.events.current_step, self._on_step)
        connect(viewer.layers.events.inserted, self._on_inserted)
        self.cells.painted.connect(self._on_painted)

    def _follow(self) -> None:
        """Show the canvas that is wanted, drawn anew."""
        active = self._controller.cells.active
        if self.native is not None and active == self.cells.isHidden():
            self.native.setVisible(not active)
            self.cells.setVisible(active)
        self._draw()

    def _draw(self) -> None:
        self.cells.follow()
        if self.legend is not None:
            self.legend.follow()

    def _on_drawn(self, layer: Layer) -> None:
        self.cells.redraw(layer)
        self._draw()

    def _follow_annotation(self) -> None:
        """Draw the annotation's outline as it is painted."""
        self._annotated.undo()
        layer = self._controller.compare_page.model.annotation
        if isinstance(layer, Labels):
            for name in ("paint", "labels_update", "set_data", "visible"):
                self._annotated.add(getattr(layer.events, name), lambda _: self._on_drawn(layer))

    def _over(self, picture: Picture, image: Image) -> list[Layer]:
        """Return what lies over a map side by side: its areas, the annotation's outline, marked places."""
        controller = self._controller
        areas, outline = controller.areas.over(picture, image), controller.compare_page.outline.layer(image)
        found = [layer for layer in (areas, outline) if layer is not None]
        return [*found, *controller.areas.places_over(picture, image)]

    def _on_inserted(self, event: Any) -> None:
        """Bring all of an image that was opened into sight: napari does so with the first alone."""
        layer = event.value
        if isinstance(layer, Points) and PLACES in layer.metadata:
            self._connections.add(layer.events.visible, self._draw)
            self._draw()
        if self.legend is not None and isinstance(layer, Image) and not is_own(layer):
            QTimer.singleShot(0, self.legend.refit)

    def _on_step(self) -> None:
        self._stepped = self._controller.cells.active

    def _on_painted(self) -> None:
        """Let a clip play on: napari waits until its own canvas, which is hidden, has drawn a frame."""
        if self._stepped:
            self._stepped = False
            QTimer.singleShot(0, self._draw_native)

    def _draw_native(self) -> None:
        if self.native is not None and self._controller.cells.active:
            self.native.grabFramebuffer()

    def _on_moved(self) -> None:
        """Let rings stay where they are in the world; the cells have a camera of their own."""
        if self.legend is not None and not self._controller.cells.active:
            self.legend.follow()

    def _on_cursor(self) -> None:
        if self.legend is not None:
            self.legend.follow()


def _canvas_near(widget: QWidget) -> QOpenGLWidget | None:
    """Return the OpenGL canvas in the window that a widget is in, or floats beside."""
    around: QWidget | None = widget
    while around is not None:
        found = around.findChild(QOpenGLWidget)
        if isinstance(found, QOpenGLWidget):
            return found
        around = around.parentWidget()
    return None
