"""The canvas of the comparison: it takes the place of napari's while cells are side by side."""

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points, Shapes
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QResizeEvent, QWheelEvent
from qtpy.QtWidgets import QWidget

from napari_sslmaps._qt.canvas.painting import (
    number,
    paint_anchor,
    paint_edges,
    paint_level_bar,
    paint_line,
    paint_outline,
    paint_picture,
    paint_places,
    paint_ring,
    through,
)
from napari_sslmaps._qt.parts import painting_on
from napari_sslmaps.viewer.canvas.anchor_layers import AnchorMarks
from napari_sslmaps.viewer.canvas.cell_camera import Rect
from napari_sslmaps.viewer.canvas.cell_mouse import CellMouse
from napari_sslmaps.viewer.canvas.image_layer import OWN, frame_of, is_own, lead_index, pixel_to_world
from napari_sslmaps.viewer.canvas.map_layers import Picture
from napari_sslmaps.viewer.canvas.rendering import Backdrop, Edges, edges_of, render, shades, value_at
from napari_sslmaps.viewer.canvas.scale_rings import ScaleRings
from napari_sslmaps.viewer.canvas.side_by_side import STRIP, Cells, SideBySide, drawable, outlines
from napari_sslmaps.viewer.state.workspace import Anchor

_NOTCH = 120.0
"""Qt counts eighths of a degree: so many a notch of a wheel."""
_PER_NOTCH = 1.15
_BUTTONS = {Qt.MouseButton.LeftButton: 1, Qt.MouseButton.RightButton: 2, Qt.MouseButton.MiddleButton: 3}
_KEYS = (
    (Qt.KeyboardModifier.ShiftModifier, "Shift"),
    (Qt.KeyboardModifier.ControlModifier, "Control"),
    (Qt.KeyboardModifier.AltModifier, "Alt"),
)


class CellsCanvas(QWidget):
    """Draws what is side by side, and takes the mouse over it.

    Parameters
    ----------
    viewer
        Viewer whose layers and tools are used.
    cells
        Cells that are drawn.
    marks, rings
        Anchors, and the rings around them.
    """

    pointed = Signal(object)
    """World position under the pointer, (y, x); None when it leaves."""
    painted = Signal()
    """What the cells show has been painted."""

    def __init__(
        self,
        viewer: ViewerModel,
        cells: SideBySide,
        marks: AnchorMarks,
        rings: ScaleRings,
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._cells = cells
        self._marks = marks
        self._rings = rings
        self._mouse = CellMouse(viewer)
        self._backdrop = Backdrop(viewer)
        self.over: Callable[[Picture, Image], Sequence[Layer]] = lambda _picture, _image: ()
        """Layers that lie over a map: areas, outlines, places."""
        self._edges: WeakKeyDictionary[Layer, Edges] = WeakKeyDictionary()
        self._pan_from: QPointF | None = None
        self._held: int | None = None
        self._at: tuple[float, float] | None = None
        self.setMouseTracking(True)
        self.setMinimumSize(100, 100)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.hide()

    def follow(self) -> None:
        """Draw again soon: something in the cells has changed."""
        if self.isVisible():
            self.update()

    def redraw(self, layer: Layer) -> None:
        """Draw again soon: a layer has changed."""
        self._edges.pop(layer, None)
        self.follow()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Paint all cells."""
        with painting_on(self) as painter:
            painter.fillRect(self.rect(), QColor("black"))
            shown = self._cells.cells
            if shown is None:
                return
            cells = zip(self._cells.rects, shown.pictures, shown.titles, strict=True)
            for rect, picture, (title, kind) in cells:
                self._paint_cell(painter, rect, shown, picture)
                self._paint_words(painter, rect, picture, title, kind)
        self.painted.emit()

    def _paint_cell(self, painter: QPainter, rect: Rect, shown: Cells, picture: Picture) -> None:
        area = QRectF(rect.x, rect.y, rect.width, rect.height)
        camera = self._cells.camera
        to_canvas = camera.to_cell(rect)
        painter.save()
        painter.setClipRect(area)
        backdrop = self._backdrop.render(shown.image, camera.box(rect))
        if backdrop is not None:
            paint_picture(painter, backdrop, to_canvas)
        if self._is_of_frame(shown.image, picture):
            paint_picture(painter, render(self._viewer, picture), to_canvas)
            for layer in self.over(picture, shown.image):
                self._paint_over(painter, layer, to_canvas)
        for tool in drawable(shown.tools) if picture is shown.pictures[0] else ():  # it hides what it tints
            paint_picture(painter, render(self._viewer, tool), to_canvas)
        for shapes in shown.tools:
            if isinstance(shapes, Shapes) and shapes.visible:
                for corners, colour in outlines(self._viewer, shapes):
                    paint_outline(painter, through(to_canvas, corners), colour)
        if not shown.are_panels:
            self._paint_marks(painter, shown, to_canvas)
        painter.restore()

    def _paint_over(self, painter: QPainter, layer: Layer, to_canvas: Any) -> None:
        """Paint a ring around each point, the outlines of shapes and of labels, or areas as they are."""
        if isinstance(layer, Points):
            places = np.array([pixel_to_world(self._viewer, layer, place)[-2:][::-1] for place in layer.data])
            if len(places):
                paint_places(
                    painter, through(to_canvas, places), [str(rank) for rank in layer.features["rank"]]
                )
        elif isinstance(layer, Shapes):
            for corners, colour in outlines(self._viewer, layer):
                paint_outline(painter, through(to_canvas, corners), colour)
        elif isinstance(layer, Labels) and (layer.contour or not is_own(layer)):
            if layer not in self._edges:
                self._edges[layer] = edges_of(self._viewer, layer)
            paint_edges(painter, self._edges[layer], to_canvas)
        elif isinstance(layer, Image | Labels):
            paint_picture(painter, render(self._viewer, layer), to_canvas)

    def _paint_marks(self, painter: QPainter, shown: Cells, to_canvas: Any) -> None:
        """Paint what the cells are told to mark; else the rings and anchors of the workspace."""
        if shown.words is not None:
            self._paint_anchors(painter, shown.image, to_canvas, shown.words.marks)
            return
        for ring in self._rings.rings():
            paint_ring(painter, ring, to_canvas)
        self._paint_anchors(painter, shown.image, to_canvas, self._marks.marks())

    def _is_of_frame(self, image: Image, picture: Picture) -> bool:
        """Whether a picture belongs to the frame that the slider shows."""
        return bool(picture.metadata[OWN]["frame"] == frame_of(self._viewer, image))

    def _paint_anchors(
        self, painter: QPainter, image: Image, to_canvas: Any, marks: Sequence[tuple[Anchor, str, str]]
    ) -> None:
        lead = lead_index(self._viewer, image)
        for anchor, colour, symbol in marks:
            y, x = pixel_to_world(self._viewer, image, [*lead, *anchor.pixel_yx])[-2:]
            ((at_x, at_y),) = through(to_canvas, np.array([[x, y]]))
            paint_anchor(painter, at_x, at_y, colour, symbol)

    def _paint_words(self, painter: QPainter, rect: Rect, picture: Picture, title: str, kind: str) -> None:
        above = QRectF(rect.x, rect.y - STRIP, rect.width, STRIP)
        below = QRectF(rect.x, rect.y + rect.height, rect.width, STRIP)
        image = None if self._cells.cells is None else self._cells.cells.image
        if image is not None and not self._is_of_frame(image, picture):
            kind = f"still frame {picture.metadata[OWN]['frame']}"
        paint_line(painter, above, title, kind)
        taken = 0.0
        if isinstance(picture, Image) and not picture.rgb:
            low, high = (float(value) for value in picture.contrast_limits)
            taken = paint_level_bar(painter, below, shades(picture), low, high)
        value = None if self._at is None else value_at(self._viewer, picture, self._at)
        if value is not None:
            paint_line(painter, below.adjusted(0, 0, -taken, 0), number(value), "here")

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Let the cells fill what there is."""
        super().resizeEvent(event)
        self._cells.resize(float(self.width()), float(self.height()))

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Hand the press to the tools; what none takes moves the picture."""
        if event is not None:
            self._held = self._nearest(event)
        found = None if event is None else self._find(event)
        if event is None or found is None:
            return
        button = _BUTTONS.get(event.button(), 0)
        taken = self._has_tools and self._mouse.press(
            *found, self._cells.camera.zoom, button, _modifiers(event)
        )
        self._pan_from = None if taken or button != 1 else event.position()
        event.accept()

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Move the picture, or what a tool holds."""
        if event is None:
            return
        found = self._find(event)
        if found is None:
            return
        if self._pan_from is not None:
            way = event.position() - self._pan_from
            self._pan_from = event.position()
            self._cells.look(self._cells.camera.moved(way.x(), way.y()))
            found = self._find(event) or found
        if self._has_tools:
            self._mouse.move(*found, self._cells.camera.zoom)
        self._at = found[1]
        self.pointed.emit(self._at)
        self.follow()

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        """Let go."""
        found = None if event is None else self._find(event)
        self._pan_from = self._held = None
        if event is not None and found is not None and self._has_tools:
            self._mouse.release(*found, self._cells.camera.zoom)
            self.follow()

    def leaveEvent(self, event: Any) -> None:
        """Show no values any more."""
        super().leaveEvent(event)
        self._at = None
        self.pointed.emit(None)
        self.follow()

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Come nearer or go away, about what is under the pointer."""
        if event is None:
            return
        at = event.position()
        under = self._cells.pixel_of((at.x(), at.y()))
        if under is not None:
            factor = _PER_NOTCH ** (event.angleDelta().y() / _NOTCH)
            self._cells.look(self._cells.camera.zoomed(factor, under[1]))
        event.accept()

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:
        """Take the second press of a double click for a press."""
        self.mousePressEvent(event)

    @property
    def _has_tools(self) -> bool:
        """Whether the viewer's tools and its cursor are for what is shown, not for something else below."""
        return self._cells.cells is None or self._cells.cells.words is None

    def _find(self, event: QMouseEvent) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """Return a position in the cell of the press, or the nearest, and the world's (y, x) there."""
        x, y = event.position().x(), event.position().y()
        rects = self._cells.rects
        index = self._nearest(event) if self._held is None else self._held
        if index is None or index >= len(rects):
            return None
        rect = rects[index]
        return (x - rect.x, y - rect.y), self._cells.camera.world_at(rect, x, y)

    def _nearest(self, event: QMouseEvent) -> int | None:
        x, y = event.position().x(), event.position().y()
        rects = self._cells.rects
        return min(range(len(rects)), key=lambda n: _distance(rects[n], x, y), default=None)


def _distance(rect: Rect, x: float, y: float) -> float:
    beside_x = max(rect.x - x, 0.0, x - rect.x - rect.width)
    beside_y = max(rect.y - y, 0.0, y - rect.y - rect.height)
    return beside_x + beside_y


def _modifiers(event: QMouseEvent) -> tuple[str, ...]:
    return tuple(name for key, name in _KEYS if event.modifiers() & key)
