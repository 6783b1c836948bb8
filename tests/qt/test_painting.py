"""What Qt paints on our own widgets."""

import numpy as np
import pytest
from qtpy.QtGui import QColor, QPixmap

from napari_sslmaps._qt.canvas.painting import pixels_of
from napari_sslmaps._qt.parts import painting_on


def test_a_painter_is_ended_when_something_fails(qtbot: object) -> None:
    canvas, painters = QPixmap(10, 10), []

    def fail() -> None:
        with painting_on(canvas) as painter:
            painters.append(painter)
            assert painter.isActive()
            raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        fail()
    assert not painters[0].isActive()
    assert not canvas.paintingActive()


def test_a_picture_of_the_canvas_is_written_pixel_by_pixel(qtbot: object) -> None:
    picture = QPixmap(31, 20)
    picture.fill(QColor(200, 30, 90))
    pixels = pixels_of(picture)
    assert pixels.shape == (20, 31, 3)
    assert np.all(pixels == (200, 30, 90))
