"""The window of the demo."""

from collections.abc import Callable

import napari
import pytest
from qt_kit import Window
from viewer_kit import known_services

from napari_sslmaps._qt import demo
from napari_sslmaps._qt.dock import SSLMapsWidget

pytestmark = pytest.mark.viewer


def test_it_fills_the_screen_while_somebody_looks(
    make_napari_viewer: Callable[..., napari.Viewer], qtbot: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = make_napari_viewer(show=True)
    seen: list[bool] = []

    def open_known(_viewer: napari.Viewer, _sample: str) -> SSLMapsWidget:
        return Window(viewer, known_services(), qtbot).widget

    monkeypatch.setattr(napari, "Viewer", lambda **_: viewer)
    monkeypatch.setattr(demo, "open_demo", open_known)
    monkeypatch.setattr(
        napari, "run", lambda: seen.append(viewer.window.dock_widgets["SSL Maps"].window().isMaximized())
    )
    demo.run_demo()
    assert seen == [True]
    viewer.window.dock_widgets["SSL Maps"].close_controller()
