"""Generate every picture of the README and the docs: ``make docs-figures``."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import napari
import numpy as np
from encoders_figure import encoders
from methods_figure import method_pages
from PIL import Image
from probes_figure import probes
from qtpy.QtWidgets import QApplication
from robustness_figure import robustness_page
from simulator_figure import simulators
from skimage.data import immunohistochemistry
from stride_figure import finer_tokens

from napari_sslmaps._qt.demo import run_demo
from napari_sslmaps._qt.dock import WIDTH, SSLMapsWidget
from napari_sslmaps.sources.masks import read_mask
from napari_sslmaps.sources.samples import SAMPLES, UNSURE
from napari_sslmaps.viewer.state.workspace import Anchor, Group, add_group, change_group

_STROKES = {
    1: [((150, 100), (2, 1)), ((380, 300), (2, 0))],  # epithelium
    2: [((300, 200), (0, 1)), ((420, 400), (0, 1))],  # stroma
}
"""Class → first pixel of each stroke and its step, (row, column)."""
IMAGES = Path(__file__).parent / "images"


def window(path: Path) -> None:
    """Save the whole napari window with the demo side by side."""
    with demo() as (viewer, _):
        viewer.screenshot(str(path), canvas_only=False, flash=False)


def pretext_window(path: Path) -> None:
    """Save the window with the pretext view of MAE side by side, hidden patches at random."""
    with demo() as (viewer, widget):
        workspace = widget.workspace
        workspace.task = "pretext"
        workspace.pretext = replace(workspace.pretext, encoder="mae-histology", fit="resize", ratio=0.5)
        widget.controller.pretext.show()
        settle(lambda: not workspace.panels)
        workspace.panels_side_by_side = True
        settle()
        viewer.screenshot(str(path), canvas_only=False, flash=False)


def comparing_windows(groups: Path, difference: Path) -> None:
    """Save the window with groups of anchors side by side, and with the difference of two methods."""
    with demo() as (viewer, widget):
        workspace = widget.workspace
        change_group(workspace, Group(0, "epithelium"))
        for name, colour, anchors in (
            ("stroma", "#12c48b", ((300.0, 270.0), (250.0, 460.0))),
            ("glass", "#00b4ff", ((400.0, 16.0),)),
        ):
            add_group(workspace)
            change_group(workspace, Group(workspace.group, name, colour))
            for anchor in anchors:
                workspace.add_anchor(Anchor(anchor, group=workspace.group), keep=True)
        workspace.group, workspace.shown = 0, "groups"
        settle()
        viewer.screenshot(str(groups), canvas_only=False, flash=False)
        workspace.shown, workspace.difference, workspace.against = "similarity", True, "dira-histology"
        settle()
        viewer.screenshot(str(difference), canvas_only=False, flash=False)


def compare_windows(scores: Path, probe: Path) -> None:
    """Save the page Compare: scores against the sample's mask, and a probe that follows scribbles."""
    with demo() as (viewer, widget):
        workspace, comparing = widget.workspace, widget.controller.compare_page
        sample = SAMPLES["histology"]
        mask = read_mask(sample.mask_path).astype(np.int16)
        mask[mask == UNSURE] = -1  # left out
        labels = viewer.add_labels(mask, name="mask", opacity=0.3)
        labels.features = {"index": range(1, 1 + len(sample.classes)), "name": sample.classes}
        workspace.side_by_side = False
        workspace.task = "compare"
        widget.run.compare.click()
        settle(lambda: workspace.progress is not None)
        viewer.screenshot(str(scores), canvas_only=False, flash=False)
        labels.visible = False
        workspace.anchors = ()
        workspace.front = "dinov3-histology"
        comparing.model.scribbling = True
        scribbles = viewer.layers.selection.active
        for label, strokes in _STROKES.items():
            for (y, x), (down, along) in strokes:
                for step in range(40):
                    scribbles.paint((y + down * step, x + along * step), label)
        settle(lambda: "held-out" not in comparing.model.probe_text)
        viewer.screenshot(str(probe), canvas_only=False, flash=False)


@contextmanager
def demo() -> Iterator[tuple[Any, Any]]:
    """Open the demo's window, computed, and close it."""
    viewer = run_demo(block=False)
    viewer.window.resize(1560, 940)
    widget = next(iter(viewer.window.dock_widgets.values()))
    settle(lambda: widget.workspace.progress is not None)
    yield viewer, widget
    widget.close_controller()
    viewer.close()


def readers_window(path: Path) -> None:
    """Save the window with a screen of a reader study: a map of each of two encoders and of two controls."""
    with TemporaryDirectory() as folder, dock(1366, 768) as (viewer, widget):
        images, study = fields(Path(folder, "images"), 256), Path(folder, "study")
        command(
            *(
                "readers",
                "new",
                str(images),
                "-e",
                "mae-histology",
                "-e",
                "dinov3-histology",
                "--reader",
                "Anna",
            ),
            *("--anchor", "120,150", "--seed", "4", "--out", str(study)),
        )
        widget.workspace.task = "readers"
        reading = widget.controller.reading
        reading.open(study)
        reading.begin()
        for key in ("4", "2", "5", "3", "4"):
            reading.press(key)
        settle()
        shot(viewer, path)


def search_window(path: Path) -> None:
    """Save the window with the places that a gland was found at in other fields, and one of them opened."""
    with TemporaryDirectory() as folder, dock(1366, 768) as (viewer, widget):
        images, store = fields(Path(folder, "images"), 128), Path(folder, "store")
        command("batch", str(images), "-e", "dinov3-histology", "--resolution", "native", "--out", str(store))
        command("index", str(store))
        workspace, page = widget.workspace, widget.controller.search_page
        workspace.task = "search"
        viewer.open(str(images / "field-06.png"))
        workspace.chosen = ("dinov3-histology",)
        page.choose_store(store)
        settle(lambda: workspace.progress is not None)
        page.choose_images(images)
        page.model.per_image = 2
        workspace.add_anchor(Anchor((60.0, 60.0)), keep=False)
        page.search()
        settle(lambda: workspace.progress is not None)
        page.open(4)
        settle(lambda: "at (" not in workspace.status.text)
        shot(viewer, path)


@contextmanager
def dock(width: int, height: int) -> Iterator[tuple[Any, Any]]:
    """Open a window with the dock alone, and close it."""
    viewer = napari.Viewer(title="napari-sslmaps")
    viewer.window.resize(width, height)
    widget = SSLMapsWidget(viewer)
    viewer.window.add_dock_widget(widget, name="SSL Maps", area="right").setMinimumWidth(WIDTH)
    settle(lambda: widget.workspace.loading)
    yield viewer, widget
    widget.close_controller()
    viewer.close()


def fields(folder: Path, side: int) -> Path:
    """Cut the sample into fields, which stand for the images of a study or an archive."""
    folder.mkdir()
    pixels = immunohistochemistry()
    corners = [(y, x) for y in range(0, 512, side) for x in range(0, 512, side)]
    for number, (y, x) in enumerate(corners, start=1):
        Image.fromarray(pixels[y : y + side, x : x + side]).save(folder / f"field-{number:02d}.png")
    return folder


def shot(viewer: Any, path: Path) -> None:
    """Save a window in 256 colours, half of the bytes."""
    pixels = viewer.screenshot(canvas_only=False, flash=False)
    picture = Image.fromarray(pixels).convert("RGB")
    colours = picture.quantize(256, method=Image.Quantize.FASTOCTREE)
    picture.quantize(palette=colours, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


def command(*words: str) -> None:
    """Run a command as users type it."""
    subprocess.run([str(Path(sys.executable).with_name("napari-sslmaps")), *words], check=True)


def settle(busy: Callable[[], bool] = lambda: False) -> None:
    """Let the window work until it is not `busy` any more, and draw."""
    application = QApplication.instance()
    while busy():
        application.processEvents()
    for _ in range(20):
        application.processEvents()


def figure(path: Path) -> None:
    """Compose the methods × maps figure by the command that users type."""
    with TemporaryDirectory() as folder:
        command("demo", "--headless", "--out", str(Path(folder, "figure.png")))
        shutil.move(Path(folder, "figure.png"), path)


def pretext(path: Path) -> None:
    """Compose the figure of the pretext tasks by the command that users type."""
    with TemporaryDirectory() as folder:
        options = ("--region", "64,64,192,192", "--seed", "2", "--out", folder)
        command("pretext", "sample:histology", *options)
        shutil.move(Path(folder, "pretext.png"), path)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    figure(IMAGES / "figure.png")
    window(IMAGES / "window.png")
    pretext_window(IMAGES / "pretext-window.png")
    comparing_windows(IMAGES / "comparing-groups.png", IMAGES / "comparing-difference.png")
    compare_windows(IMAGES / "comparing-scores.png", IMAGES / "comparing-probe.png")
    readers_window(IMAGES / "readers-window.png")
    search_window(IMAGES / "search-window.png")
    simulators(IMAGES / "simulators.png")
    encoders(IMAGES / "encoders.png")
    method_pages(IMAGES)
    robustness_page(IMAGES / "robustness.png")
    pretext(IMAGES / "pretext.png")
    probes(IMAGES / "probes.png")
    finer_tokens(IMAGES / "stride.png")
