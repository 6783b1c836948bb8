"""Five hundred requests of a restless person, by the embedded encoders: what the process holds after them."""

import sys
from pathlib import Path

import numpy as np
from measure import Outcome
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication

from napari_sslmaps._qt.task_runner import QtTaskRunner
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.services import real_services
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

REQUESTS, WARM = 500, 100


def outcomes() -> list[Outcome]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from soak_kit import Soak

    application = QApplication.instance() or QApplication([])
    viewer, workspace = ViewerModel(), WorkspaceModel(keep=False)
    image = viewer.add_image((np.random.default_rng(0).random((192, 256)) * 255).astype(np.uint8))
    viewer.add_shapes(name="regions")
    viewer.layers.selection.active = image
    # In bfloat16 torch's oneDNN keeps about a megabyte of compiled code for each new size of a region, up to
    # some hundred sizes: that growth is not this package's, and would hide its own.
    services = real_services("float32")
    controller = Controller(viewer, workspace, make_runner=QtTaskRunner, services=services)
    controller.encoder_list.list_known()
    soak = Soak(controller)
    for _ in range(WARM):
        soak.request()
    before = soak.rest()
    for _ in range(REQUESTS):
        soak.request()
    after = soak.rest()
    controller.close()
    application.processEvents()
    counts = ("threads", "layers", "files")
    found = [
        Outcome(f"growth of {name}", getattr(after, name) - getattr(before, name), "", 0) for name in counts
    ]
    detail = f"{after.memory:.0f} over {before.memory:.0f} MiB, {soak.done}"
    growth = after.memory / before.memory
    return [*found, Outcome(f"memory after {REQUESTS} requests / before", growth, "×", 1.05, detail)]


if __name__ == "__main__":
    for outcome in outcomes():
        print(outcome, flush=True)
