"""A clip in the dock: its buttons, and the plot of similarity over time."""

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qt_kit import Window
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QPalette

from napari_sslmaps._qt.dock import SSLMapsWidget
from napari_sslmaps._qt.maps.time_window import TimePlot, colours_of
from napari_sslmaps.viewer.maps.clip import TimeCourses
from napari_sslmaps.viewer.state.workspace import Anchor

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def clip(panel: SSLMapsWidget) -> SSLMapsWidget:
    stack = np.random.default_rng(1).random((5, 64, 80), np.float32)
    panel.workspace.image = panel.controller.viewer.add_image(stack, name="clip")
    return panel


def test_an_image_of_one_frame_has_no_buttons_for_several(panel: SSLMapsWidget, clip: SSLMapsWidget) -> None:
    assert not panel.anchors.clip.isHidden()
    panel.workspace.image = panel.controller.viewer.layers["tissue"]
    assert panel.anchors.clip.isHidden()


def test_all_frames_can_be_cancelled_and_follow_the_slider(clip: SSLMapsWidget, qtbot: QtBot) -> None:
    buttons, workspace = clip.anchors.clip, clip.workspace
    qtbot.mouseClick(buttons.all_frames, LEFT)
    assert (buttons.all_frames.isEnabled(), clip.run.cancel.isEnabled()) == (False, True)
    qtbot.mouseClick(clip.run.cancel, LEFT)
    qtbot.waitUntil(lambda: workspace.progress is None)
    qtbot.mouseClick(buttons.all_frames, LEFT)
    qtbot.waitUntil(lambda: workspace.progress is None)
    assert buttons.all_frames.isEnabled()
    assert "5 frames embedded" in workspace.status.text
    qtbot.mouseClick(buttons.track, LEFT)
    assert workspace.track
    clip.controller.viewer.dims.set_current_step(0, 4)
    assert clip.controller.coordinator.take_frame()


def test_the_plot_opens_once_there_is_something_to_plot(clip: SSLMapsWidget, qtbot: QtBot) -> None:
    buttons, window, workspace = clip.anchors.clip, clip.over_time, clip.workspace
    qtbot.mouseClick(buttons.plot, LEFT)
    assert "All frames" in workspace.status.text
    workspace.add_anchor(Anchor((20.0, 12.0)), keep=False)
    qtbot.waitUntil(lambda: workspace.progress is None)
    qtbot.mouseClick(buttons.all_frames, LEFT)
    qtbot.waitUntil(lambda: workspace.progress is None)
    qtbot.mouseClick(buttons.plot, LEFT)
    assert window.isVisible()
    assert "mae-demo (lowest" in window.legend.text()
    place = QPoint(round(window.plot.x_of(4)), 40)
    qtbot.mouseClick(window.plot, LEFT, pos=place)
    assert clip.controller.viewer.dims.current_step[0] == 4
    clip.controller.coordinator.take_frame()
    qtbot.waitUntil(lambda: window.plot.courses is not None and window.plot.courses.at == 4)
    workspace.anchors = ()
    qtbot.waitUntil(lambda: window.plot.courses is None)
    window.close()


@pytest.mark.viewer
def test_a_clip_plays_side_by_side(window: Window, qtbot: QtBot) -> None:
    viewer, widget = window.viewer, window.widget
    stack = np.random.default_rng(1).random((6, 64, 80), np.float32)
    widget.workspace.image = viewer.add_image(stack, name="clip")
    widget.run.run.click()
    window.wait_until_idle()
    widget.view.side_by_side.click()
    assert widget.controller.cells.active
    window.draw()
    seen: list[int] = []
    viewer.dims.events.current_step.connect(lambda: seen.append(viewer.dims.current_step[0]))
    viewer.window._qt_viewer.dims.play(0, fps=30)
    qtbot.waitUntil(lambda: len(seen) > 8)
    viewer.window._qt_viewer.dims.stop()
    window.wait_until_idle()
    assert len(set(seen)) > 3


def test_a_line_is_drawn_in_its_colour_and_a_click_finds_the_nearest_frame(qtbot: QtBot) -> None:
    plot = TimePlot()
    qtbot.addWidget(plot)
    plot.resize(560, 240)
    plot.show_courses(TimeCourses((0, 2, 9), {"a": (1.0, -1.0, -1.0), "b": (1.0, 0.5, float("nan"))}, 0))
    picture = plot.grab().toImage()
    middle = round((plot.x_of(2) + plot.x_of(9)) / 2)
    column = {picture.pixelColor(middle, y).name() for y in range(plot.height())}
    ink = plot.palette().color(QPalette.ColorRole.WindowText)
    first, second = (colour.name() for colour in colours_of(plot.courses, ink))
    assert first in column
    assert second not in column
    assert [plot.frame_at(x) for x in (0, plot.x_of(3), plot.x_of(7), 1000)] == [0, 2, 9, 9]
