"""What a drag frame costs, and how long the GUI thread stands still while a job runs, in a real window."""

from statistics import median
from time import perf_counter

import napari
import numpy as np
from measure import Outcome, seconds
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_sslmaps._qt.dock import SSLMapsWidget
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.viewer.state.session import Embedded
from napari_sslmaps.viewer.state.workspace import Anchor

STRIDE = 8


def process_events() -> None:
    QApplication.processEvents()


def open_window(image: np.ndarray) -> tuple[napari.Viewer, SSLMapsWidget]:
    viewer = napari.Viewer()
    viewer.add_image(image, rgb=image.ndim == 3)
    widget = SSLMapsWidget(viewer)
    viewer.window.add_dock_widget(widget)
    process_events()
    return viewer, widget


def drag_frame(side: int, dim: int, count: int = 1) -> Outcome:
    """Map and layer update of one mouse move, median over a drag across the region."""
    viewer, widget = open_window(np.zeros((side * STRIDE, side * STRIDE), np.uint8))
    controller, workspace = widget.controller, widget.workspace
    session, rng = controller.session, np.random.default_rng(0)
    names = workspace.chosen[:count]
    for name in names:
        tokens = rng.standard_normal((side, side, dim), dtype=np.float32)
        session.embedded[name] = Embedded(Embedding.from_tokens(tokens, STRIDE, name=name))
    session.region = Region(0, 0, side * STRIDE, side * STRIDE)
    workspace.chosen, workspace.maps, workspace.shown = names, ("similarity",), "similarity"
    workspace.front = names[0]
    workspace.side_by_side = count > 1
    workspace.add_anchor(Anchor((side * STRIDE / 2, side * STRIDE / 2)), keep=False)
    process_events()
    workspace.dragging = True
    moves = []
    for step in np.linspace(0.1, 0.9, 33) * side * STRIDE:
        moves.append(seconds(lambda at=step: workspace.move_anchor(0, (at, at))))
        process_events()
    workspace.dragging = False
    widget.close_controller()
    viewer.close()
    detail = f"{count} map(s) of {side * side} × {dim} tokens, worst {1e3 * max(moves[3:]):.1f} ms"
    return Outcome("drag frame: maps and layers", 1e3 * median(moves), "ms", 16, detail)


def stalls() -> list[Outcome]:
    """Longest time the GUI thread did not answer while the embedded encoders ran.

    The first run of a session imports torch and timm and loads the encoders; later ones do not.
    """
    from skimage.data import immunohistochemistry

    viewer, widget = open_window(immunohistochemistry())
    first, later = (_run_and_beat(widget) for _ in range(2))
    widget.close_controller()
    viewer.close()
    return [
        Outcome("GUI thread stall, first run, importing torch", 1e3 * max(first), "ms", 50, _spread(first)),
        Outcome("GUI thread stall while a job runs", 1e3 * max(later), "ms", 50, _spread(later)),
    ]


def _run_and_beat(widget: SSLMapsWidget) -> list[float]:
    """Run all encoders; return the seconds between beats of a 2 ms timer."""
    gaps, last = [], perf_counter()

    def beat() -> None:
        nonlocal last
        now = perf_counter()
        gaps.append(now - last)
        last = now

    timer = QTimer()
    timer.timeout.connect(beat)
    timer.start(2)
    widget.controller.run()
    last = perf_counter()
    while widget.workspace.progress is not None:
        process_events()
    timer.stop()
    return gaps


def _spread(gaps: list[float]) -> str:
    return f"99th percentile {1e3 * np.percentile(gaps, 99):.0f} ms over {len(gaps)} beats"


def outcomes() -> list[Outcome]:
    drags = [drag_frame(64, 384), drag_frame(256, 384), drag_frame(512, 384), drag_frame(64, 128, count=4)]
    return [*stalls(), *drags]
