"""Pictures, anchors, titles and colour bars, painted by Qt."""

import io
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from qtpy.QtCore import QBuffer, QIODevice, QPointF, QRectF, Qt
from qtpy.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QImage,
    QPainter,
    QPainterPath,
    QPen,
    QPixmap,
    QPolygonF,
    QTransform,
)

from napari_sslmaps.viewer.canvas.anchor_layers import BAR, SIZE
from napari_sslmaps.viewer.canvas.rendering import Colours, Edges, Rendered
from napari_sslmaps.viewer.canvas.scale_rings import Ring

Float = NDArray[np.float64]
SHADE = QColor(0, 0, 0, 165)
"""Lies behind text, so that it can be read on any image."""
_RGBA = QImage.Format.Format_RGBA8888
_INSET = 8.0
_BESIDE = 90.0
"""Room that a colour bar with its numbers takes at most."""
_RING = 1.5
"""Width of a ring's line in canvas pixels."""
_PLACE = 7.0
"""Radius of the ring around a place in canvas pixels."""
_LYING = (90.0, 10.0)
"""Greatest length and height of a lying colour bar."""
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


def pixels_of(picture: QPixmap) -> NDArray[np.uint8]:
    """Return (h, w, 3) RGB of what Qt holds."""
    written = QBuffer()
    written.open(QIODevice.OpenModeFlag.WriteOnly)
    picture.save(written, "PPM")
    with Image.open(io.BytesIO(bytes(written.data().data()))) as image:
        return np.asarray(image.convert("RGB"))


def paint_anchor(painter: QPainter, x: float, y: float, colour: str, symbol: str) -> None:
    """Paint a × or a bar with a white edge, in a colour as ``#rrggbb`` or ``#rrggbbaa``."""
    half = SIZE / 2 * (0.7 * BAR if symbol == "hbar" else 0.7)
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


def paint_edges(painter: QPainter, edges: Edges, to_canvas: Float) -> None:
    """Paint the edges of labels where a (3, 3) matrix from the world to the canvas puts them."""
    for lines, colour in zip(edges.lines, edges.colours, strict=True):
        painter.setPen(QPen(QColor.fromRgbF(*colour), 2.0))
        path = QPainterPath()
        for x0, y0, x1, y1 in through(to_canvas, lines.reshape(-1, 2)).reshape(-1, 4).tolist():
            path.moveTo(x0, y0)
            path.lineTo(x1, y1)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(path)


def paint_places(painter: QPainter, at_xy: Float, words: Sequence[str]) -> None:
    """Paint a ring around each of (n, 2) places on the canvas, and a word beside it."""
    font = QFont(painter.font())
    font.setPointSizeF(8.5)
    painter.setFont(font)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for (x, y), word in zip(at_xy.tolist(), words, strict=True):
        for width, shade in ((3.5, QColor(0, 0, 0, 110)), (_RING, QColor("white"))):
            painter.setPen(QPen(shade, width))
            painter.drawEllipse(QPointF(x, y), _PLACE, _PLACE)
        painter.drawText(QPointF(x + _PLACE + 2, y - _PLACE + 4), word)


def paint_ring(painter: QPainter, ring: Ring, to_canvas: Float) -> None:
    """Paint a ring where a (3, 3) matrix from the world to the canvas puts it, and its words below it."""
    corners = through(to_canvas, ring.corners_xy)
    for width, shade in ((3.0, QColor(0, 0, 0, 110)), (_RING, QColor(ring.colour))):
        painter.setPen(QPen(shade, width))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPolygon(QPolygonF([QPointF(float(x), float(y)) for x, y in corners]))
    if not ring.words:
        return
    font = QFont(painter.font())
    font.setPointSizeF(8.5)
    metrics = QFontMetricsF(font)
    wide, high = metrics.horizontalAdvance(ring.words), metrics.height()
    left = float(corners[:, 0].mean()) - wide / 2
    box = QRectF(left - 4, float(corners[:, 1].max()) + 3, wide + 8, high)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(SHADE)
    painter.drawRoundedRect(box, 3, 3)
    painter.setFont(font)
    painter.setPen(QColor("white"))
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, ring.words)


def through(matrix: Float, points_xy: Float) -> Float:
    """Take (n, 2) points through a (3, 3) matrix."""
    found: Float = points_xy @ matrix[:2, :2].T + matrix[:2, 2]
    return found


def paint_text(painter: QPainter, area: QRectF, bold: str, plain: str, *, below: bool = False) -> None:
    """Paint what a picture shows into its upper left corner, or the lower one, cut where it is too long."""
    if below:
        area = area.adjusted(0, 0, -_BESIDE, 0)  # which leaves a colour bar alone
    parts = _fitting(painter, bold, plain, area.width() - 3 * _INSET)
    if not parts:
        return
    height = QFontMetricsF(parts[0][0]).height() + 4
    y = area.bottom() - height - _INSET if below else area.y() + _INSET
    total = sum(wide for _, _, wide in parts) + _INSET * (len(parts) - 1)
    box = QRectF(area.x() + _INSET, y, total + 10, height)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(SHADE)
    painter.drawRoundedRect(box, 3, 3)
    _write(painter, parts, box.x() + 5, box.y(), height)


def paint_line(painter: QPainter, area: QRectF, bold: str, plain: str) -> None:
    """Paint words into a strip beside a picture, cut where they are too long."""
    parts = _fitting(painter, bold, plain, area.width() - 2 * _INSET)
    _write(painter, parts, area.x() + _INSET, area.y(), area.height())


_Part: TypeAlias = tuple[QFont, str, float]
"""Words, their font and their width."""


def _fitting(painter: QPainter, bold: str, plain: str, room: float) -> list[_Part]:
    font = QFont(painter.font())
    font.setPointSizeF(9.5)
    heavy = QFont(font)
    heavy.setBold(True)
    parts = []
    for face, text in ((heavy, bold), (font, plain)):
        metrics = QFontMetricsF(face)
        shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, max(0.0, room))
        if shown and room > 20:
            wide = metrics.horizontalAdvance(shown)
            parts.append((face, shown, wide))
            room -= wide + _INSET
    return parts


def _write(painter: QPainter, parts: Sequence[_Part], x: float, y: float, height: float) -> None:
    before = painter.font()
    painter.setPen(QColor("white"))
    for face, text, wide in parts:
        painter.setFont(face)
        painter.drawText(QRectF(x, y, wide + 2, height), Qt.AlignmentFlag.AlignVCenter, text)
        x += wide + _INSET
    painter.setFont(before)


def paint_level_bar(painter: QPainter, area: QRectF, shades: Colours, low: float, high: float) -> float:
    """Paint a lying colour bar between its numbers at the right of a strip; return the width it takes."""
    font = QFont(painter.font())
    font.setPointSizeF(8.5)
    metrics = QFontMetricsF(font)
    texts = [number(low), number(high)]
    wides = [metrics.horizontalAdvance(text) + 2 for text in texts]
    length = min(_LYING[0], area.width() - sum(wides) - 5 * _INSET)
    if length < 20:
        return 0.0
    taken = sum(wides) + length + 3 * _INSET
    x = area.right() - taken + _INSET / 2
    before = painter.font()
    painter.setFont(font)
    painter.setPen(QColor("white"))
    middle = Qt.AlignmentFlag.AlignVCenter
    painter.drawText(QRectF(x, area.y(), wides[0], area.height()), middle, texts[0])
    x += wides[0] + _INSET / 2
    painter.drawImage(QRectF(x, area.center().y() - _LYING[1] / 2, length, _LYING[1]), _image(shades[None]))
    x += length + _INSET / 2
    painter.drawText(QRectF(x, area.y(), wides[1], area.height()), middle, texts[1])
    painter.setFont(before)
    return taken


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
