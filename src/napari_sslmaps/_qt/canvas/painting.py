"""Pictures, anchors, titles and colour bars, painted by Qt."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QFontMetricsF, QImage, QPainter, QPen, QPolygonF, QTransform

from napari_sslmaps.viewer.canvas.anchor_layers import SIZE
from napari_sslmaps.viewer.canvas.rendering import Colours, Rendered

Float = NDArray[np.float64]
SHADE = QColor(0, 0, 0, 165)
"""Lies behind text, so that it can be read on any image."""
_RGBA = QImage.Format.Format_RGBA8888
_INSET = 8.0
_BESIDE = 90.0
"""Room that a colour bar with its numbers takes at most."""
_BAR = (12.0, 110.0)
"""Width and greatest height of a colour bar."""


def paint_picture(painter: QPainter, drawn: Rendered, to_canvas: Float) -> None:
    """Paint a layer's pixels where a (3, 3) matrix from the world to the canvas puts them."""
    image = _image(drawn.colours)
    painter.save()
    painter.setOpacity(drawn.opacity)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, drawn.smooth)
    painter.setTransform(_transform(to_canvas @ drawn.to_world), combine=True)
    painter.drawImage(QPointF(0, 0), image)
    painter.restore()


def paint_anchor(painter: QPainter, x: float, y: float, colour: str, symbol: str) -> None:
    """Paint a × or a bar with a white edge, in a colour as ``#rrggbb`` or ``#rrggbbaa``."""
    half = SIZE / 2 * 0.7
    ink = QColor(colour[:7])
    if len(colour) > 7:
        ink.setAlpha(int(colour[7:], 16))
    strokes = (
        [((-half, 0), (half, 0))]
        if symbol == "hbar"
        else [((-half, -half), (half, half)), ((-half, half), (half, -half))]
    )
    for width, shade in ((5.0, QColor(255, 255, 255, ink.alpha())), (3.2, ink)):
        painter.setPen(QPen(shade, width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.SquareCap))
        for (x0, y0), (x1, y1) in strokes:
            painter.drawLine(QPointF(x + x0, y + y0), QPointF(x + x1, y + y1))


def paint_outline(painter: QPainter, corners: Float, colour: Sequence[float]) -> None:
    """Paint the edge of a shape, whose corners are (n, 2) canvas pixels as (x, y)."""
    painter.setPen(QPen(QColor.fromRgbF(*(float(value) for value in colour)), 2.0))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawPolygon(QPolygonF([QPointF(float(x), float(y)) for x, y in corners]))


def paint_text(painter: QPainter, area: QRectF, bold: str, plain: str, *, below: bool = False) -> None:
    """Paint what a picture shows into its upper left corner, or the lower one, cut where it is too long."""
    if below:
        area = area.adjusted(0, 0, -_BESIDE, 0)  # which leaves a colour bar alone
    font = QFont(painter.font())
    font.setPointSizeF(9.5)
    heavy = QFont(font)
    heavy.setBold(True)
    widths = [(heavy, bold), (font, plain)]
    room, x = area.width() - 3 * _INSET, area.x() + _INSET
    parts = []
    for face, text in widths:
        metrics = QFontMetricsF(face)
        shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, max(0.0, room))
        if shown and room > 20:
            wide = metrics.horizontalAdvance(shown)
            parts.append((face, shown, wide))
            room -= wide + _INSET
    if not parts:
        return
    height = QFontMetricsF(heavy).height() + 4
    y = area.bottom() - height - _INSET if below else area.y() + _INSET
    total = sum(wide for _, _, wide in parts) + _INSET * (len(parts) - 1)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(SHADE)
    painter.drawRoundedRect(QRectF(x, y, total + 10, height), 3, 3)
    painter.setPen(QColor("white"))
    x += 5
    for face, text, wide in parts:
        painter.setFont(face)
        painter.drawText(QRectF(x, y, wide + 2, height), Qt.AlignmentFlag.AlignVCenter, text)
        x += wide + _INSET
    painter.setFont(font)


def paint_bar(painter: QPainter, area: QRectF, shades: Colours, low: float, high: float) -> None:
    """Paint a colour bar with the numbers at its ends into the lower right corner."""
    width, most = _BAR
    height = min(most, area.height() / 3)
    if height < 36 or area.width() < 120:
        return
    font = QFont(painter.font())
    font.setPointSizeF(8.5)
    metrics = QFontMetricsF(font)
    texts = [number(high), number(low)]
    room = max(metrics.horizontalAdvance(text) for text in texts)
    left = area.right() - _INSET - width
    top = area.bottom() - _INSET - height
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(SHADE)
    painter.drawRoundedRect(QRectF(left - room - 10, top - 5, room + width + 15, height + 10), 3, 3)
    painter.drawImage(QRectF(left, top, width, height), _image(shades[::-1][:, None]))
    painter.setFont(font)
    painter.setPen(QColor("white"))
    line = metrics.height()
    for text, y in ((texts[0], top - 2), (texts[1], top + height - line + 2)):
        painter.drawText(QRectF(left - room - 5, y, room + 2, line), Qt.AlignmentFlag.AlignRight, text)


def number(value: float) -> str:
    """Write a number in three digits, with a minus sign."""
    return f"{value:.3g}".replace("-", "−")


def _image(colours: Colours) -> QImage:
    rows, cols = colours.shape[:2]
    pixels = np.ascontiguousarray(colours).tobytes()
    return QImage(pixels, cols, rows, 4 * cols, _RGBA).copy()  # which may outlive them


def _transform(matrix: Float) -> QTransform:
    across, down, shift = (column[:2].tolist() for column in matrix.T)
    found: QTransform = QTransform(across[0], across[1], down[0], down[1], shift[0], shift[1])
    return found
