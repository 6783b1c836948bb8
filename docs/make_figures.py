"""Generate every picture of the README and the docs: ``make docs-figures``."""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from encoders_figure import encoders
from qtpy.QtWidgets import QApplication
from simulator_figure import simulators

from napari_sslmaps._qt.demo import run_demo

IMAGES = Path(__file__).parent / "images"


def window(path: Path) -> None:
    """Save the whole napari window with the demo side by side."""
    viewer = run_demo(block=False)
    viewer.window.resize(1560, 940)
    widget = next(iter(viewer.window.dock_widgets.values()))
    application = QApplication.instance()
    while widget.workspace.progress is not None:
        application.processEvents()
    for _ in range(20):
        application.processEvents()
    viewer.screenshot(str(path), canvas_only=False, flash=False)
    widget.close_controller()
    viewer.close()


def figure(path: Path) -> None:
    """Compose the methods × maps figure by the command that users type."""
    command = [
        str(Path(sys.executable).with_name("napari-sslmaps")),
        "demo",
        "--headless",
        "--out",
        str(path),
    ]
    subprocess.run(command, check=True)


def pretext(path: Path) -> None:
    """Compose the figure of the pretext tasks by the command that users type."""
    with TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).with_name("napari-sslmaps")), "pretext", "sample:histology"]
        subprocess.run([*command, "--region", "64,64,192,192", "--seed", "2", "--out", folder], check=True)
        shutil.move(Path(folder, "pretext.png"), path)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    figure(IMAGES / "figure.png")
    window(IMAGES / "window.png")
    simulators(IMAGES / "simulators.png")
    encoders(IMAGES / "encoders.png")
    pretext(IMAGES / "pretext.png")
