"""Processor seconds of the GUI thread that clicks in a real window cost, with encoders loaded."""

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep, thread_time

import napari
from gui import open_window, process_events
from measure import Outcome

from napari_sslmaps._qt.dock import SSLMapsWidget
from napari_sslmaps.viewer.state.workspace import Anchor

BUDGET = 0.3
METHODS = ("mae", "ijepa", "dinov3", "dira")


def processor_seconds(widget: SSLMapsWidget, click: Callable[[], object]) -> float:
    """Time a click until nothing runs any more and everything is drawn, on this thread alone."""
    start = thread_time()
    click()
    settle(widget)
    return thread_time() - start


def settle(widget: SSLMapsWidget) -> None:
    """Process events until all runners are idle; three rounds more bring what was posted last."""
    idle = 0
    while idle < 3:
        process_events()
        idle = 0 if is_computing(widget) else idle + 1
        sleep(0.005)


def is_computing(widget: SSLMapsWidget) -> bool:
    """Whether a run is on, or a pretext view is asked for that is not there yet."""
    workspace, pretext = widget.workspace, widget.controller.pretext
    asked = workspace.status.text.endswith("computing its pretext view …")
    there = pretext.view is not None and pretext.view.provenance.encoder == workspace.pretext.encoder
    return workspace.loading or workspace.progress is not None or (asked and not there)


def embedded_window() -> tuple[napari.Viewer, SSLMapsWidget]:
    """Open a window on a sample whose maps of four encoders are there."""
    from skimage.data import immunohistochemistry

    viewer, widget = open_window(immunohistochemistry())
    viewer.window.resize(1400, 850)
    viewer.show()
    widget.workspace.chosen = tuple(f"{method}-histology" for method in METHODS)
    widget.controller.run()
    settle(widget)
    return viewer, widget


def open_session(widget: SSLMapsWidget) -> float:
    """Save what is looked at, remove its anchor, and open it again: its tokens are in the cache."""
    files = widget.controller.session_files
    with TemporaryDirectory() as folder:
        saved = Path(folder, "session.json")
        files.save(saved)
        widget.workspace.anchors = ()
        settle(widget)
        return processor_seconds(widget, lambda: files.open(saved))


def click(widget: SSLMapsWidget, place: float) -> None:
    widget.workspace.add_anchor(Anchor((place, place)), keep=False)


def show_pretext(widget: SSLMapsWidget, method: str) -> float:
    """Choose an encoder on the page Pretext, and show its view."""
    workspace = widget.workspace
    workspace.pretext = replace(workspace.pretext, encoder=f"{method}-histology")
    return processor_seconds(widget, widget.controller.pretext.show)


def outcomes() -> list[Outcome]:
    viewer, widget = embedded_window()
    workspace = widget.workspace
    found = []

    def add(name: str, cost: float) -> None:
        detail = f"{len(viewer.layers)} layers, {len(gc.get_objects())} objects under collection"
        found.append(Outcome(f"{name}, GUI thread", cost, "s", BUDGET, detail))

    def change(title: str, name: str, value: object) -> None:
        add(title, processor_seconds(widget, lambda: setattr(workspace, name, value)))

    add("first click after a run", processor_seconds(widget, lambda: click(widget, 250.0)))
    add("click after it", processor_seconds(widget, lambda: click(widget, 200.0)))
    add("open a session", open_session(widget))
    for times in ("first", "again"):
        change(f"side by side on, {times}", "side_by_side", True)
        change(f"side by side off, {times}", "side_by_side", False)
    workspace.side_by_side = True
    settle(widget)
    change("to Pretext", "task", "pretext")
    for method in METHODS[:3]:
        add(f"show {method}", show_pretext(widget, method))
    for method in METHODS[:3]:
        add(f"show {method} again", show_pretext(widget, method))
    change("back to Maps", "task", "maps")
    widget.close_controller()
    viewer.close()
    return found


if __name__ == "__main__":
    for outcome in outcomes():
        print(outcome, flush=True)
