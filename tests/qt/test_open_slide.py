"""A slide of any name, opened from napari's File menu by our reader."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from qt_kit import Window
from qtpy.QtWidgets import QFileDialog

from napari_sslmaps._qt.dock import open_slide

pytestmark = pytest.mark.viewer


def test_a_tif_opens_by_its_levels_or_says_why_not(
    window: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(
            pixels,
            photometric="rgb",
            tile=(64, 64),
            subifds=1,
            resolution=(40_000, 40_000),
            resolutionunit="CENTIMETER",
        )
        file.write(pixels[::2, ::2], photometric="rgb", tile=(64, 64), subfiletype=1)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    open_slide(window.viewer)
    layer = window.viewer.layers["slide"]
    assert [level.shape for level in layer.data] == [(256, 256, 3), (128, 128, 3)]
    np.testing.assert_allclose(layer.scale, (0.25, 0.25))
    assert window.widget.workspace.image is layer
    path.write_bytes(b"II*\0nothing")
    open_slide(window.viewer)
    assert window.widget.workspace.status.failed
