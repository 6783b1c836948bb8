"""Similarity over time at the anchors, as a plot in a window of its own."""

from collections.abc import Callable
from math import isfinite

from qtpy.QtCore import QPointF, QRectF, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QDialog, QVBoxLayout, QWidget

from napari_sslmaps._qt.parts import GAP, is_light, note, painting_on
from napari_sslmaps.viewer.maps.clip import TimeCourses

COLOURS = ("#4c9ff0", "#ffb000", "#12c48b", "#ff6fd8", "#b366ff", "#ff7a6e", "#8fae00", "#00b4c8")
"""Colours of the methods' lines on a dark ground, in their order."""
_DARKER = 170
"""Per cent by which they are darker on a light ground, where they would be too pale."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 12, 12, 26
_STEPS = (-1.0, -0.5, 0.0, 0.5, 1.0)
_SOON_MS = 30
_BESIDE = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class TimePlot(QWidget):
    """A line for each method; a click or a drag goes to a frame."""

    frame_requested = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.courses: TimeCourses | None = None
        self.setMinimumSize(320, 160)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def sizeHint(self) -> QSize:
        """Return a size at which thirty frames can be told apart."""
        return QSize(560, 240)

    def show_courses(self, courses: TimeCourses | None) -> None:
        """Draw these, or nothing."""
        self.courses = courses
        self.update()

    @property
    def area(self) -> QRectF:
        """Area of the lines, within the axes."""
        return QRectF(_LEFT, _TOP, self.width() - _LEFT - _RIGHT, self.height() - _TOP - _BOTTOM)

    def x_of(self, frame: int) -> float:
        """Return where a frame lies."""
        first, last = self._ends
        return self.area.left() + self.area.width() * (frame - first) / max(1, last - first)

    def frame_at(self, x: float) -> int | None:
        """Return the embedded frame nearest to a position; None where there is nothing to go to."""
        if self.courses is None:
            return None
        return min(self.courses.frames, key=lambda frame: abs(self.x_of(frame) - x))

    @property
    def _ends(self) -> tuple[int, int]:
        frames = (0,) if self.courses is None else self.courses.frames
        return frames[0], frames[-1]

    def _y_of(self, value: float) -> float:
        return self.area.bottom() - self.area.height() * (value + 1) / 2

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Paint axes, the frame that is shown, and the lines."""
        with painting_on(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        faint = QColor(ink)
        faint.setAlpha(50)
        area = self.area
        for value in _STEPS:
            y = self._y_of(value)
            painter.setPen(faint)
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(ink)
            box = QRectF(0, y - 8, _LEFT - GAP, 16)
            painter.drawText(box, int(_BESIDE), f"{value:g}".replace("-", "−"))
        courses = self.courses
        if courses is not None:
            self._paint_frames(painter, ink)
            x = self.x_of(courses.at)
            painter.setPen(QPen(ink, 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
            for colour, values in zip(colours_of(courses, ink), courses.values.values(), strict=True):
                painter.setPen(QPen(colour, 2))
                points = [
                    QPointF(self.x_of(frame), self._y_of(value))
                    for frame, value in zip(courses.frames, values, strict=True)
                    if isfinite(value)
                ]
                painter.drawPolyline(QPolygonF(points))

    def _paint_frames(self, painter: QPainter, ink: QColor) -> None:
        first, last = self._ends
        painter.setPen(ink)
        for frame in sorted({first, (first + last) // 2, last}):
            box = QRectF(self.x_of(frame) - 60, self.area.bottom() + 4, 120, 16)
            box.moveRight(min(box.right(), self.width() - 2.0))
            right = frame == last and frame != first
            side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignHCenter
            painter.drawText(box, int(side), f"frame {frame}")

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Go to the frame under the pointer."""
        self._go(event)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Go along with a button that is held."""
        self._go(event)

    def _go(self, event: QMouseEvent | None) -> None:
        frame = None if event is None else self.frame_at(event.position().x())
        if frame is not None:
            self.frame_requested.emit(frame)


def colours_of(courses: TimeCourses, ink: QColor) -> list[QColor]:
    """Return the colour of each method's line, on a ground that texts are written on in `ink`."""
    colours = [QColor(COLOURS[place % len(COLOURS)]) for place in range(len(courses.values))]
    return [colour if is_light(ink) else colour.darker(_DARKER) for colour in colours]


class TimeWindow(QDialog):
    """The plot with its legend; it follows anchors and slider while it is open.

    Parameters
    ----------
    parent
        Dock that the window belongs to.
    courses
        Function that returns what is plotted now; None where there is nothing.
    """

    frame_requested = Signal(int)

    def __init__(self, parent: QWidget, courses: Callable[[], TimeCourses | None]) -> None:
        super().__init__(parent)
        self.setWindowTitle("Similarity over time")
        self._courses = courses
        self.plot = TimePlot()
        self.plot.frame_requested.connect(self.frame_requested)
        self.legend = note()
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.what = note(
            "Cosine of each frame's token at the anchors to what is under them in the frame that is shown, "
            "less each frame's mean token; the mean over the anchors of the active group. With Track, at the "
            "best match near the last place, which is high by construction. A click goes to a frame."
        )
        column = QVBoxLayout(self)
        column.addWidget(self.plot, 1)
        column.addWidget(self.legend)
        column.addWidget(self.what)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SOON_MS)
        self._soon.timeout.connect(self.follow)

    def follow_soon(self) -> None:
        """Plot anew when what changes now has changed, if the window is open."""
        if self.isVisible():
            self._soon.start()

    def follow(self) -> bool:
        """Plot what is there now; tell whether there is anything."""
        found = self._courses()
        self.plot.show_courses(found)
        if found is None:
            self.legend.setText("Set an anchor, and press All frames.")
            return False
        at = found.frames.index(found.at)
        rest = {name: [v for n, v in enumerate(values) if n != at] for name, values in found.values.items()}
        colours = colours_of(found, self.palette().color(QPalette.ColorRole.WindowText))
        self.legend.setText(
            " &nbsp; ".join(
                f'<nobr><span style="color: {colour.name()};">▬</span> '
                f"{name} (lowest {min(rest[name]):.2f})</nobr>"
                for colour, name in zip(colours, found.values, strict=True)
            )
        )
        return True
