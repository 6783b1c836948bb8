"""A slide in a real window."""

from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
import pytest
from npe2 import PluginManager, PluginManifest
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QApplication
from slide_kit import write_slide

import napari_sslmaps

pytestmark = pytest.mark.viewer


def test_a_slide_is_drawn_at_full_resolution_where_it_is_looked_at(
    make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot, tmp_path: Path
) -> None:
    slide = write_slide(tmp_path / "big.svs", ((80_000, 100_000), (20_000, 25_000), (1250, 1563)))
    viewer = make_napari_viewer(show=True)
    with qtbot.waitExposed(viewer.window._qt_window):
        viewer.window._qt_window.resize(900, 700)
    plugins = PluginManager.instance()
    if "napari-sslmaps" not in plugins:
        plugins.register(PluginManifest.from_file(Path(napari_sslmaps.__file__).with_name("napari.yaml")))
    viewer.open(str(slide.path), plugin="napari-sslmaps")
    (layer,) = viewer.layers
    assert layer.data_level > 0  # the whole slide is shown
    centre_yx = (70_200, 90_300)
    viewer.scene.camera.center = (0, *(0.25 * at for at in centre_yx))
    viewer.scene.camera.zoom = 40  # canvas pixels per µm: ten per pixel of the slide
    QApplication.processEvents()
    assert layer.data_level == 0
    drawn = viewer.screenshot(canvas_only=True, flash=False)
    y, x = (side // 2 for side in drawn.shape[:2])
    expected = slide.pixels(0, centre_yx[0] - 20, centre_yx[1] - 20, 41, 41)
    np.testing.assert_array_equal(drawn[y - 200 : y + 201 : 10, x - 200 : x + 201 : 10, :3], expected)
