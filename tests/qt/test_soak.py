"""Requests without end leave nothing behind; `benchmarks/soak.py` makes five hundred.

Memory is measured without a canvas: napari's own grows by 1.5 MiB with each layer that comes and goes, drawn
by software.
"""

from collections.abc import Callable

import napari
import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from soak_kit import Soak
from viewer_kit import known_services

from napari_sslmaps._qt.dock import SSLMapsWidget
from napari_sslmaps._qt.task_runner import QtTaskRunner
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.state.workspace import WorkspaceModel


def furnish(viewer: ViewerModel) -> None:
    image = viewer.add_image(np.random.default_rng(0).random((192, 256), np.float32))
    viewer.add_shapes(name="regions")
    viewer.layers.selection.active = image


def test_nothing_grows_with_requests(qtbot: QtBot, embedded_specs: dict[str, EncoderSpec]) -> None:
    viewer, workspace = ViewerModel(), WorkspaceModel()
    furnish(viewer)
    controller = Controller(viewer, workspace, make_runner=QtTaskRunner, services=known_services())
    controller.encoder_list.list_known()
    soak = Soak(controller)
    for _ in range(15):
        soak.request()
    before = soak.rest()
    for _ in range(25):
        soak.request()
    after = soak.rest()
    controller.close()
    assert min(soak.done.values()) >= 5
    assert after.threads <= before.threads
    assert after.layers <= before.layers
    assert after.files <= before.files
    assert after.memory <= 1.05 * before.memory


@pytest.mark.viewer
def test_no_part_of_a_window_grows_with_requests(make_napari_viewer: Callable[..., napari.Viewer]) -> None:
    viewer = make_napari_viewer()
    furnish(viewer)
    widget = SSLMapsWidget(viewer, known_services())
    viewer.window.add_dock_widget(widget)
    widget.workspace.maps = ("similarity",)
    soak = Soak(widget.controller)
    for _ in range(4):
        soak.request()
    before = soak.rest()
    for _ in range(4):
        soak.request()
    after = soak.rest()
    widget.close_controller()
    assert after.threads <= before.threads
    assert after.layers <= before.layers
    assert after.files <= before.files
    assert after.widgets <= before.widgets
