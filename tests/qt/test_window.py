"""Real mouse events on a real canvas, checked by the pixels that are drawn."""

from collections.abc import Callable
from pathlib import Path
from threading import Event

import napari
import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qt_kit import Window, destroying, is_red
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QLabel
from viewer_kit import KnownEmbedder, known_services

from napari_sslmaps._qt.dock import SSLMapsWidget
from napari_sslmaps.maps.similarity import SimilarityOptions
from napari_sslmaps.records.claim import check_file
from napari_sslmaps.viewer.state.workspace import Anchor

pytestmark = pytest.mark.viewer
SHIFT = Qt.KeyboardModifier.ShiftModifier
CONTROL = Qt.KeyboardModifier.ControlModifier


def warm(colour: np.ndarray) -> bool:
    """Whether it is nearer to the yellow end of viridis than to the violet one."""
    return bool(colour[1] > colour[2] + 40)


@pytest.fixture
def anchored(window: Window) -> Window:
    """A window in anchor mode with one click on the left half."""
    window.widget.anchors.mode.click()
    window.click((20, 10))
    window.wait_until_idle()
    return window


def test_a_click_sets_a_red_cross_and_a_map(anchored: Window) -> None:
    (anchor,) = anchored.widget.workspace.anchors
    np.testing.assert_allclose(anchor.pixel_yx, (20, 10), atol=0.1)
    assert is_red(anchored.colour((20, 10)))
    assert warm(anchored.colour((40, 20)))
    assert not warm(anchored.colour((40, 60)))


def test_the_map_ends_where_the_image_ends(anchored: Window) -> None:
    anchored.widget.workspace.similarity = SimilarityOptions(display="fixed")
    canvas, start, end = anchored.draw(), anchored.at((-0.5, -0.5)), anchored.at((63.5, 79.5))
    middle = anchored.at((48, 0)).y()
    row = canvas[middle, :, :3].astype(int).sum(axis=1)
    drawn = np.flatnonzero(row > 0)
    assert abs(drawn[0] - start.x()) <= 1
    assert abs(drawn[-1] + 1 - end.x()) <= 1
    coloured = np.ptp(canvas[middle, :, :3].astype(int), axis=1) > 10
    assert coloured[start.x() + 3 : end.x() - 3].all()


def test_a_drag_moves_cross_and_map_live(anchored: Window) -> None:
    layer_manager, image = anchored.widget.controller.layer_manager, anchored.image
    layer = layer_manager.find(image, "similarity", "mae-demo")
    array, frames = layer.data, []

    def watch() -> None:
        frames.append(layer.data.copy())

    anchored.widget.workspace.events.anchors.connect(watch)
    centre = anchored.viewer.scene.camera.center
    anchored.drag((20, 10), (20, 30), (30, 50), (40, 60))
    assert len(frames) == 3
    assert not np.array_equal(frames[0], frames[-1])
    assert layer.data is array
    np.testing.assert_allclose(anchored.widget.workspace.anchors[0].pixel_yx, (40, 60), atol=0.1)
    assert anchored.viewer.scene.camera.center == centre
    assert is_red(anchored.colour((40, 60)))
    assert not is_red(anchored.colour((20, 10)))
    assert warm(anchored.colour((10, 70)))
    assert not warm(anchored.colour((20, 20)))


def test_shift_adds_and_control_adds_a_negative_one(anchored: Window) -> None:
    anchored.click((50, 30), SHIFT)
    anchored.click((50, 70), CONTROL)
    anchors = anchored.widget.workspace.anchors
    assert [anchor.negative for anchor in anchors] == [False, False, True]
    assert is_red(anchored.colour((50, 30)))
    blue = anchored.colour((50, 70))
    assert blue[2] > 200
    assert blue[0] < 100


def test_anchors_become_fewer_side_by_side(anchored: Window) -> None:
    workspace = anchored.widget.workspace
    workspace.add_anchor(Anchor((50.0, 30.0)), keep=True)
    workspace.side_by_side = True
    anchored.wait_until_idle()
    workspace.anchors = (Anchor((30.0, 40.0)),)
    anchored.wait_until_idle()
    assert len(anchored.widget.controller.marks.main.data) == 1
    workspace.side_by_side = False
    assert is_red(anchored.colour((30, 40)))


def test_panning_and_zooming_work_in_anchor_mode(anchored: Window) -> None:
    camera = anchored.viewer.scene.camera
    centre, zoom = camera.center, camera.zoom
    anchored.drag((40, 40), (42, 45), (45, 50))
    assert camera.center != centre
    assert len(anchored.widget.workspace.anchors) == 1
    at = QPointF(anchored.at((20, 14)))
    wheel = QWheelEvent(
        at,
        QPointF(anchored.canvas.mapToGlobal(at.toPoint())),
        QPoint(),
        QPoint(0, 240),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,  # Qt's own signature
    )
    QApplication.sendEvent(anchored.canvas, wheel)
    anchored.draw()
    assert camera.zoom > zoom
    assert is_red(anchored.colour(anchored.widget.workspace.anchors[0].pixel_yx))


def test_a_click_lands_on_its_pixel_under_rotation_scale_and_units(window: Window) -> None:
    image = window.image
    image.scale, image.translate, image.rotate, image.units = (0.5, 0.75), (30, -10), 30, ("um", "um")
    window.viewer.add_image(np.zeros((4, 4), np.float32), units=("nm", "nm"), name="dot")
    window.viewer.layers.selection.active = image
    window.viewer.fit_to_view()
    window.widget.anchors.mode.click()
    window.click((45, 62))
    window.wait_until_idle()
    np.testing.assert_allclose(window.widget.workspace.anchors[0].pixel_yx, (45, 62), atol=0.2)
    assert is_red(window.colour((45, 62)))
    assert warm(window.colour((20, 70)))
    assert not warm(window.colour((20, 10)))


def test_side_by_side_draws_map_and_cross_in_every_cell(anchored: Window) -> None:
    anchored.widget.view.side_by_side.click()
    cells = anchored.widget.controller.cells
    assert len(cells.rects) == 2
    for cell in (0, 1):
        assert is_red(anchored.colour((20, 10), cell))
        assert warm(anchored.colour((40, 20), cell))
        assert not warm(anchored.colour((40, 60), cell))
    anchored.drag((20, 10), (30, 50), (40, 60), cell=1)
    for cell in (0, 1):
        assert is_red(anchored.colour((40, 60), cell))
        assert not warm(anchored.colour((40, 20), cell))
    anchored.widget.view.side_by_side.click()
    assert not cells.active
    assert is_red(anchored.colour((40, 60)))


def test_a_renamed_map_still_follows(anchored: Window) -> None:
    layer = anchored.widget.controller.layer_manager.find(anchored.image, "similarity", "mae-demo")
    layer.name = "renamed"
    count = len(anchored.viewer.layers)
    anchored.click((40, 60))
    assert len(anchored.viewer.layers) == count
    assert layer.data[:, 5:].min() > layer.data[:, :5].max()


@pytest.fixture
def running(window: Window, qtbot: QtBot, embedder: KnownEmbedder) -> tuple[Window, Event]:
    """A window in the middle of a run, and what lets the run go on."""
    reached, go = Event(), Event()

    def pause(step: int) -> None:
        if step == 1:
            reached.set()
            go.wait(1)

    embedder.on_step = pause
    window.widget.run.run.click()
    qtbot.waitUntil(reached.is_set)
    return window, go


def test_closing_the_window_while_a_job_runs(running: tuple[Window, Event]) -> None:
    window, go = running
    go.set()
    window.viewer.close()
    window.widget.close_controller()
    assert window.widget.workspace.image is None


def test_removing_maps_and_image_while_a_job_runs(running: tuple[Window, Event]) -> None:
    window, go = running
    window.viewer.layers.remove(window.image)
    go.set()
    window.wait_until_idle()
    assert "Open or select" in window.widget.workspace.plan.text
    assert not window.widget.controller.marks.main


def test_switching_the_image_while_a_job_runs(running: tuple[Window, Event], qtbot: QtBot) -> None:
    window, go = running
    other = window.viewer.add_image(np.full((40, 40), 0.2, np.float32), name="other")
    go.set()
    window.widget.workspace.add_anchor(Anchor((8.0, 8.0)), keep=False)
    window.wait_until_idle()
    layer_manager = window.widget.controller.layer_manager
    assert layer_manager.find(other, "similarity", "mae-demo") is not None
    assert layer_manager.find(window.image, "similarity", "mae-demo") is None


def test_a_dock_that_is_closed_stops_and_the_next_takes_over(anchored: Window, qtbot: QtBot) -> None:
    viewer, first = anchored.viewer, anchored.widget
    docked = viewer.window.dock_widgets["SSL Maps"].parent()
    first.areas.shown.click()
    first.view.side_by_side.click()
    anchors, before = first.workspace.anchors, len(viewer.mouse_drag_callbacks)
    with destroying(qtbot, first):
        docked.destroyOnClose()  # as its × does
    assert len(viewer.mouse_drag_callbacks) == before - 1
    assert [layer.name for layer in viewer.layers if "anchors" in layer.name] == []
    second = SSLMapsWidget(viewer, known_services(KnownEmbedder()))
    viewer.window.add_dock_widget(second, name="SSL Maps", area="right")
    qtbot.waitUntil(lambda: second.canvas is not None)
    assert second.workspace.anchors == anchors
    assert second.workspace.in_view == "similarity"
    assert (second.workspace.areas_shown, second.workspace.anchor_mode) == (True, True)
    assert second.controller.cells.active
    assert second.workspace.areas_text
    second.close_controller()


def test_a_picture_that_was_all_in_sight_is_so_beside_the_dock(
    make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1300, 600)
    viewer.add_image(np.full((64, 120), 0.5, np.float32))
    QApplication.processEvents()
    viewer.fit_to_view()
    before = viewer.scene.camera.zoom
    widget = SSLMapsWidget(viewer, known_services(KnownEmbedder()))
    viewer.window.add_dock_widget(widget, name="SSL Maps", area="right")
    qtbot.waitUntil(lambda: viewer.scene.camera.zoom < 0.9 * before)
    width = viewer.window._qt_viewer.canvas.native.width()
    qtbot.waitUntil(lambda: 120 * viewer.scene.camera.zoom <= width)
    widget.close_controller()


def test_an_image_that_is_opened_is_all_in_sight_unless_somebody_moved_the_picture(
    window: Window, qtbot: QtBot
) -> None:
    viewer = window.viewer
    camera = viewer.scene.camera
    qtbot.waitUntil(lambda: window.widget.canvas is not None)
    window.widget.canvas.legend.refit()
    before = camera.zoom
    viewer.add_image(np.full((256, 320), 0.5, np.float32), name="larger")
    qtbot.waitUntil(lambda: camera.zoom < 0.3 * before)
    camera.zoom = moved = 2 * camera.zoom
    viewer.add_image(np.full((512, 512), 0.5, np.float32), name="largest")
    qtbot.wait(50)
    assert camera.zoom == moved


@pytest.mark.parametrize(
    "text",
    [
        "4 methods done, 64 × 64 tokens each. Click on the image: similarity to that place appears.",
        "Caution (point here). " + "Attention of the CLS token in the last block, mean over heads. " * 3,
        "A first line.\nA second one.\nA third one.",
    ],
)
def test_two_lines_of_words_are_not_cut(window: Window, text: str) -> None:
    widget = window.widget
    for label in (widget.run.status, widget.view.caption):
        label.setText(text)
        QApplication.processEvents()
        shown, room = QLabel.text(label).splitlines(), label.contentsRect()
        metrics = label.fontMetrics()
        assert len(shown) == 2
        assert len(shown) * metrics.lineSpacing() <= room.height()
        assert max(metrics.horizontalAdvance(line) for line in shown) <= room.width()
        assert label.text() == text


def test_a_figure_of_the_canvas_is_known_as_this_package_s_own(anchored: Window, tmp_path: Path) -> None:
    widget = anchored.widget
    widget.view.figure_requested.emit(str(tmp_path / "a.jpg"))
    assert widget.workspace.status.text == "View written to a.jpg."
    check_file(tmp_path / "a.jpg")
    widget.view.figure_requested.emit(str(tmp_path / "a.docx"))
    assert "Expected a picture ending in png" in widget.workspace.status.text
