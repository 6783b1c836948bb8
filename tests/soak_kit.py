"""A restless person at one window, and what the process holds after."""

import gc
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import active_count

import numpy as np
from qtpy.QtCore import QElapsedTimer, QEvent
from qtpy.QtWidgets import QApplication

from napari_sslmaps.viewer.canvas.image_layer import is_own
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.state.workspace import Anchor

PATIENCE_MS = 60_000


@dataclass(frozen=True)
class Holding:
    """What a process holds: anonymous memory in MiB, and counts."""

    threads: int
    layers: int
    files: int
    widgets: int
    memory: float


class Soak:
    """Works at a window by chance.

    Parameters
    ----------
    controller
        Its viewer has one image, at least 128 px high and wide, and a Shapes layer ``regions``.
    seed
        Of chance.
    """

    def __init__(self, controller: Controller, seed: int = 0) -> None:
        self.controller, self.viewer, self.workspace = controller, controller.viewer, controller.workspace
        self.rng = np.random.default_rng(seed)
        self.image = self.workspace.image
        self.names = [spec.name for spec in self.workspace.specs]
        self.done = dict.fromkeys(("regions", "cancels", "removals", "switches"), 0)

    def request(self) -> None:
        """Choose encoders and a region, run, and perhaps cancel or remove what came."""
        self._switch_encoders()
        self._choose_region()
        self.controller.run()
        self.done["regions"] += 1
        if self.rng.random() < 0.3:
            self.settle(lambda: self.rng.random() < 0.3 or self.workspace.progress is None)
            self.controller.cancel()
            self.done["cancels"] += 1
        if self.rng.random() < 0.3:
            self._anchor()
        if self.rng.random() < 0.2:
            self.workspace.side_by_side = not self.workspace.side_by_side
        if self.rng.random() < 0.3:
            self._remove_layers()
        self.settle(lambda: self.workspace.progress is None)

    def rest(self) -> Holding:
        """Bring the window back to where it began, and say what the process holds."""
        self.settle(lambda: self.workspace.progress is None)
        self.workspace.side_by_side = False
        self.workspace.anchors = ()
        self.workspace.region = "whole"  # a mask that is still looked for would come with a layer
        self.settle(lambda: self.workspace.progress is None)
        for _ in range(3):
            self._remove_layers(share=1.0)
            QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
            QApplication.processEvents()
            gc.collect()
        status = Path("/proc/self/status").read_text()
        return Holding(
            active_count(),
            len(self.viewer.layers),
            len(list(Path("/proc/self/fd").iterdir())),
            len(QApplication.allWidgets()),
            int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) / 1024,
        )

    def settle(self, met: Callable[[], bool]) -> None:
        """Let the window work until something is so."""
        clock = QElapsedTimer()
        clock.start()
        while not met():
            QApplication.processEvents()
            if clock.elapsed() > PATIENCE_MS:
                raise TimeoutError(f"Expected an answer; the window shows {self.workspace.progress}.")

    def _switch_encoders(self) -> None:
        count = int(self.rng.integers(1, len(self.names) + 1))
        self.workspace.chosen = tuple(self.rng.choice(self.names, count, replace=False))
        self.done["switches"] += 1

    def _choose_region(self) -> None:
        height, width = self.image.data.shape[:2]
        self.workspace.region = self.rng.choice(["whole", "view", "rectangle", "mask"])
        if self.workspace.region == "view":
            self.viewer.scene.camera.center = (0.0, *(self.rng.random(2) * (height, width)))
            self.viewer.scene.camera.zoom = float(self.rng.uniform(2, 20))
        elif self.workspace.region == "rectangle":
            y, x = self.rng.random(2) * (height - 64, width - 64)
            corners = np.array([(y, x), (y, x + 64), (y + 64, x + 64), (y + 64, x)])
            shapes = self.viewer.layers["regions"]
            shapes.data = [corners]

    def _anchor(self) -> None:
        bounds = self.controller.coordinator.bounds()
        if bounds is not None:
            y, x = bounds.low + self.rng.random(2) * (bounds.high - bounds.low)
            self.workspace.add_anchor(Anchor((float(y), float(x))), keep=bool(self.rng.random() < 0.3))

    def _remove_layers(self, share: float = 0.5) -> None:
        for layer in [layer for layer in self.viewer.layers if is_own(layer)]:
            if self.rng.random() < share and layer in self.viewer.layers:
                self.viewer.layers.remove(layer)
                self.done["removals"] += 1
