"""Loading torch in a process whose OpenGL driver has loaded LLVM before."""

import subprocess
import sys

import pytest

DRAW_THEN_LOAD = """
import sys
import numpy as np
import napari
from qtpy.QtWidgets import QApplication
from napari_sslmaps.encoders.registry import load_encoder

viewer = napari.Viewer()
viewer.add_image(np.zeros((8, 8)))
for _ in range(5):
    QApplication.processEvents()
assert "torch" not in sys.modules
load_encoder("mae-demo", device="cpu", precision="float32")
viewer.close()
print("loaded")
"""


@pytest.mark.viewer
def test_torch_can_be_loaded_once_a_window_has_drawn():
    done = subprocess.run([sys.executable, "-c", DRAW_THEN_LOAD], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "loaded", done.stderr[-2000:]
