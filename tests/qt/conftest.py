"""A dock whose embedder runs no network, alone or in a real napari window."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import enumerate as threads
from typing import Any

import napari
import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qt_kit import Window
from qtpy.QtWidgets import QApplication, QWidget
from viewer_kit import KnownEmbedder, KnownLibrary, KnownPretext, known_services, make_spec

from napari_sslmaps._qt.dock import SSLMapsWidget
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.viewer.encoders import encoder_list


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        # napari 0.9.2's window and test fixture
        "ignore:.*Public access to Window.qt_viewer:FutureWarning",
        "ignore:.*is a deprecated attribute since 0.9.0:FutureWarning",
    ):
        config.addinivalue_line("filterwarnings", line)


class PatientBot(QtBot):
    """Waits a minute: what is waited for may import a large library on a busy machine."""

    def waitUntil(self, callback: Callable[[], bool | None], *, timeout: int = 60_000) -> None:  # noqa: N802  # of pytest-qt
        super().waitUntil(callback, timeout=timeout)

    def waitSignal(self, signal: Any, *, timeout: int = 60_000, **options: Any) -> Any:  # noqa: N802  # of pytest-qt
        return super().waitSignal(signal, timeout=timeout, **options)

    def waitExposed(self, widget: QWidget, *, timeout: int = 60_000) -> Any:  # noqa: N802  # of pytest-qt
        return super().waitExposed(widget, timeout=timeout)


@pytest.fixture
def qtbot(qapp: QApplication, request: pytest.FixtureRequest) -> QtBot:
    return PatientBot(request)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread.name for thread in threads() if thread.name.startswith("napari-sslmaps")]


@pytest.fixture(autouse=True)
def embedded_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, EncoderSpec]:
    specs = {
        "mae-demo": make_spec(tmp_path / "a", "mae-demo", "mae"),
        "dinov3-demo": make_spec(tmp_path / "b", "dinov3-demo", "dinov3"),
    }
    monkeypatch.setattr(encoder_list, "EMBEDDED", tuple(specs))
    monkeypatch.setattr(encoder_list, "CONTROLS", {})
    monkeypatch.setattr(encoder_list, "get_spec", specs.__getitem__)
    return specs


@pytest.fixture
def embedder() -> KnownEmbedder:
    return KnownEmbedder()


@pytest.fixture
def pretext() -> KnownPretext:
    return KnownPretext()


@pytest.fixture
def library() -> KnownLibrary:
    return KnownLibrary()


@pytest.fixture
def panel(
    qtbot: QtBot, embedder: KnownEmbedder, library: KnownLibrary, pretext: KnownPretext
) -> Iterator[SSLMapsWidget]:
    viewer = ViewerModel()
    viewer.add_image(np.random.default_rng(0).random((64, 80), np.float32), name="tissue")
    widget = SSLMapsWidget(viewer, known_services(embedder, library, pretext))
    qtbot.addWidget(widget)
    yield widget
    widget.close_controller()


@pytest.fixture
def window(
    make_napari_viewer: Callable[..., napari.Viewer],
    qtbot: QtBot,
    embedder: KnownEmbedder,
    pretext: KnownPretext,
) -> Iterator[Window]:
    viewer = make_napari_viewer(show=True)
    opened = Window(viewer, known_services(embedder, pretext=pretext), qtbot)
    yield opened
    opened.widget.close_controller()
