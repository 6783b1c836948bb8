"""What Qt paints on our own widgets."""

import pytest
from qtpy.QtGui import QPixmap

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
