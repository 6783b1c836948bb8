"""What the window costs where regions are large, and whether it foretells what a run takes."""

from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time, sleep

import napari
import numpy as np
from gui import STRIDE, open_window, process_events
from measure import Outcome, seconds
from napari.layers import Image

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.tiling import ONE_PASS, TILED
from napari_sslmaps.encoders.registry import get_spec
from napari_sslmaps.pipeline.cost import cost_of
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.planning import plan
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.viewer.maps.map_controller import FRAME_MEGABYTES
from napari_sslmaps.viewer.maps.throughput import MeasuredPaces
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders
from napari_sslmaps.viewer.state.session import Embedded
from napari_sslmaps.viewer.state.workspace import Anchor

SIDE, DIM = 1024, 384
PATIENCE_S = 60.0
ZOOMS = np.geomspace(0.02, 2.0, 25)


def wait_until(met: Callable[[], bool]) -> float:
    """Let the window work; return the longest time that it did not answer."""
    longest, start = 0.0, perf_counter()
    while not met():
        longest = max(longest, seconds(process_events))
        sleep(0.001)  # as a window that waits: one that turns round and round keeps the GIL from others
        if perf_counter() - start > PATIENCE_S:
            raise TimeoutError("Expected an answer of the window within a minute.")
    return longest


class LargeRegion:
    """A window with an anchor on a region of a million tokens, ready to be dragged."""

    def __init__(self) -> None:
        self.extent = SIDE * STRIDE
        self.viewer, self.widget = open_window(np.zeros((self.extent, self.extent), np.uint8))
        self.controller, self.workspace = self.widget.controller, self.widget.workspace
        workspace, session = self.workspace, self.controller.session
        workspace.chosen, workspace.maps = workspace.chosen[:1], ("similarity",)
        workspace.front = name = workspace.chosen[0]
        part = np.random.default_rng(0).standard_normal((64, 64, DIM), np.float32)
        tokens = np.tile(part, (SIDE // 64, SIDE // 64, 1))
        self.item = Embedded(Embedding.from_tokens(tokens, STRIDE, name=name))
        session.embedded[name] = self.item
        session.region = Region(0, 0, self.extent, self.extent)
        start = process_time()
        workspace.add_anchor(Anchor((self.extent / 2, self.extent / 2)), keep=False)
        wait_until(lambda: self.find() is not None)
        self.first_map_s = process_time() - start
        self.prepare()
        self.ready_s = process_time() - start
        self.layer = self.find()

    def find(self) -> Image | None:
        return self.controller.layer_manager.find(self.workspace.image, "similarity", self.workspace.front)

    def prepare(self) -> None:
        """Wait for the coarse tokens, which another thread builds."""
        with self.item.lock:
            options = self.workspace.options
            pyramid = self.item.pyramid(centred=options.similarity.centred, scale=options.scale)
            pyramid.prepare(pyramid.level_for(int(FRAME_MEGABYTES * 1e6)))

    def close(self) -> None:
        self.widget.close_controller()
        self.viewer.close()


def first_map(large: LargeRegion) -> Outcome:
    """Processor seconds of the first click: lengths of averaged tokens are computed before the map."""
    detail = f"scale {large.workspace.options.scale}, coarse tokens for a drag after {large.ready_s:.1f} s"
    return Outcome("first map of 1M tokens, all threads", large.first_map_s, "s", 5, detail)


def drag(large: LargeRegion) -> Outcome:
    """Map and layer update of one mouse move."""
    large.workspace.dragging = True
    moves, shapes = [], set()
    for at in np.linspace(0.1, 0.9, 33) * large.extent:
        moves.append(seconds(lambda at=at: large.workspace.move_anchor(0, (at, at))))
        shapes.add(large.layer.data.shape)
        process_events()
    large.workspace.dragging = False
    (shape,) = shapes
    detail = f"{SIDE * SIDE} × {DIM} tokens at {shape}, worst {1e3 * max(moves[3:]):.1f} ms"
    return Outcome("drag frame at 1M tokens: map and layer", 1e3 * median(moves), "ms", 16, detail)


def release(large: LargeRegion) -> Outcome:
    """The end of a drag: another thread computes the map at full resolution."""
    stalls, answers = [], []
    for at in np.linspace(0.2, 0.8, 5) * large.extent:
        large.workspace.dragging = True
        large.workspace.move_anchor(0, (at, at))
        large.workspace.dragging = False
        coarse, start = large.layer.data.shape, perf_counter()
        stall = seconds(large.controller.pointer.released.emit)
        stalls.append(max(stall, wait_until(lambda coarse=coarse: large.layer.data.shape != coarse)))
        answers.append(perf_counter() - start)
    detail = f"at full resolution after {1e3 * median(answers):.0f} ms"
    return Outcome("GUI thread at the end of that drag", 1e3 * median(stalls), "ms", 50, detail)


def zoom(large: LargeRegion) -> Outcome:
    """Redraws of the view with the map of all tokens, over those without it."""

    def frames(viewer: napari.Viewer) -> float:
        taken = []
        for factor in ZOOMS:
            viewer.scene.camera.zoom = factor
            taken.append(seconds(process_events))
        return median(taken)

    frames(large.viewer)
    shown = frames(large.viewer)
    large.layer.visible = False
    process_events()
    bare = frames(large.viewer)
    detail = f"{1e3 * shown:.1f} over {1e3 * bare:.1f} ms"
    return Outcome("zoom over a map of 1M tokens / no map", shown / bare, "×", 1.5, detail)


def run_estimate(name: str) -> Outcome:
    """Embedding over the time that the line in the window foretells, or the other way, the worst of three."""
    encoders = LoadedEncoders()
    encoder = encoders.get(get_spec(name))
    pace = MeasuredPaces(encoders).measure(encoder.spec)
    errors, details = [], []
    for side, tiling in ((512, TILED), (1024, TILED), (640, ONE_PASS)):
        source = ArraySource(np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8))
        planned = plan(source, encoder.spec, None, tiling)
        foretold = cost_of([encoder.spec], [planned], [pace]).seconds
        taken = seconds(lambda source=source, tiling=tiling: embed(source, encoder, tiling=tiling))
        errors.append(max(taken / foretold, foretold / taken))
        details.append(f"{side}² px: {foretold:.2f}, took {taken:.2f} s")
    return Outcome(f"time foretold, {name}", max(errors), "×", 2, "; ".join(details))


def outcomes() -> list[Outcome]:
    large = LargeRegion()
    found = [work(large) for work in (first_map, drag, release, zoom)]
    large.close()
    return [*found, run_estimate("mae-histology"), run_estimate("dira-histology")]


if __name__ == "__main__":
    for outcome in outcomes():
        print(outcome, flush=True)
