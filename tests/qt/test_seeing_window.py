"""Groups, modes and flicker by real mouse and keys on a real canvas, checked by the pixels that are drawn."""

import numpy as np
import pytest
from qt_kit import Window
from qtpy.QtCore import Qt
from viewer_kit import KnownEmbedder

from napari_sslmaps.viewer.canvas.flicker_keys import HELD

pytestmark = pytest.mark.viewer
LEFT, RIGHT = (20, 10), (20, 60)


@pytest.fixture
def grouped(window: Window, embedder: KnownEmbedder) -> Window:
    """A red group on the left, an orange one on the right; the second encoder tells upper from lower."""
    embedder.turned = "dinov3-demo"
    window.widget.anchors.mode.click()
    window.click(LEFT)
    window.wait_until_idle()
    window.widget.anchors.add.click()
    window.click(RIGHT)
    window.wait_until_idle()
    return window


def press(window: Window, key: Qt.Key, held: float = 0.0) -> None:
    """Press a key with the canvas in focus and release it, `held` seconds later by the keys' own clock."""
    keys = window.widget.controller.keys
    window.canvas.setFocus()
    keys.clock = lambda: 0.0
    window.qtbot.keyPress(window.canvas, key)
    keys.clock = lambda: held
    window.qtbot.keyRelease(window.canvas, key)


def reddish(colour: np.ndarray) -> bool:
    return bool(colour[0] > colour[1] + 60 and colour[0] > colour[2] + 60)


def yellow(colour: np.ndarray) -> bool:
    return bool(colour[1] > colour[2] + 40)


def test_groups_are_drawn_in_their_colours_and_similarity_is_to_the_active_one(grouped: Window) -> None:
    assert yellow(grouped.colour((45, 60)))
    grouped.widget.anchors.group.activated.emit(0)
    assert yellow(grouped.colour((45, 20)))
    assert not yellow(grouped.colour((45, 60)))
    grouped.widget.anchors.group.activated.emit(1)
    grouped.widget.view.shown.setCurrentIndex(3)
    for place in ((45, 12), (45, 30)):
        assert reddish(grouped.colour(place))
    orange = grouped.colour((45, 60))
    assert yellow(orange)
    assert orange[0] > orange[2] + 60
    cross = grouped.colour(RIGHT)
    assert cross[0] > 200
    assert 140 < cross[1] < 200


def test_a_drag_of_a_groups_anchor_moves_its_labels(grouped: Window) -> None:
    grouped.widget.view.shown.setCurrentIndex(3)
    grouped.drag(RIGHT, (24, 40), (28, 14))
    first, second = grouped.widget.workspace.anchors
    assert (first.group, second.group) == (0, 1)
    np.testing.assert_allclose(second.pixel_yx, (28, 14), atol=0.2)
    assert not yellow(grouped.colour((45, 60)))
    grouped.drag(LEFT, (24, 40), (20, 70))
    assert reddish(grouped.colour((45, 60)))


def test_the_difference_is_red_and_blue_and_gives_way_to_other_modes(grouped: Window) -> None:
    grouped.widget.view.difference.click()
    lower_right, upper_left = grouped.colour((50, 70)), grouped.colour((8, 26))
    assert lower_right[0] > lower_right[2] + 40
    assert upper_left[2] > upper_left[0] + 40
    grouped.drag(RIGHT, (24, 50), (50, 14))
    assert grouped.colour((50, 70))[2] > grouped.colour((50, 70))[0] + 40
    view, cells = grouped.widget.view, grouped.widget.controller.cells
    view.side_by_side.click()
    assert len(cells.rects) == 2
    view.difference.click()
    assert not cells.active
    assert not view.side_by_side.isChecked()
    view.difference.click()
    assert yellow(grouped.colour((20, 20)))


def test_a_tap_shows_the_other_method_and_a_held_key_only_meanwhile(grouped: Window) -> None:
    lower_right, upper_left = (50, 70), (8, 26)
    assert yellow(grouped.colour(lower_right))
    assert not yellow(grouped.colour(upper_left))
    press(grouped, Qt.Key.Key_K)
    assert grouped.widget.view.front.value == "dinov3-demo"
    assert yellow(grouped.colour(upper_left))
    assert not yellow(grouped.colour(lower_right))
    press(grouped, Qt.Key.Key_K, held=2 * HELD)
    assert grouped.widget.workspace.front == "dinov3-demo"
    press(grouped, Qt.Key.Key_J)
    assert yellow(grouped.colour(lower_right))
