"""What tests of the viewer share: an embedder whose tokens are known, and mouse gestures on a model."""

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
from napari.components import ViewerModel

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.encoders.spec import EncoderSpec, Method, ViTArchitecture
from napari_sslmaps.pipeline import EmbeddingProgress, OnProgress, plan
from napari_sslmaps.sources.protocol import ImageSource

PATCH = 8
_ARCHITECTURE = ViTArchitecture(
    patch=PATCH, dim=4, depth=1, heads=2, grid=(4, 4), mlp_hidden=8, class_token=True
)


def make_spec(path: Path, name: str = "mae-demo", method: Method = "mae") -> EncoderSpec:
    path.write_bytes(b"weights")
    path.with_suffix(".md").write_text(f"# {name}\n\n**It beat its controls** in a test.\n", encoding="utf-8")
    return EncoderSpec(name, method, _ARCHITECTURE, "imagenet", path, "", "test", "embedded")


class KnownEmbedder:
    """Tokens that tell the left half of the region from the right half.

    `on_step` is called before each of the two steps of an embedding.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, Region]] = []
        self.tilings: list[Tiling | None] = []
        self.on_step: Callable[[int], object] = str

    def __call__(
        self,
        source: ImageSource,
        spec: EncoderSpec,
        region: Region,
        on_progress: OnProgress,
        tiling: Tiling | None = None,
    ) -> Embedding:
        self.calls.append((spec.name, region))
        self.tilings.append(tiling)
        planned = plan(source, spec, region, tiling)
        source.read(planned.region)
        rows, cols = planned.grid.shape
        tokens = np.full((rows, cols, 4), np.nan, np.float32)
        attention = np.full((2, rows, cols), np.nan, np.float32)
        provenance = Provenance(
            encoder=spec.name, method=spec.method, image=source.name, region=planned.region, device="cpu"
        )

        def embedding() -> Embedding:
            return Embedding(
                tokens, planned.grid, provenance, attention, np.array([0.1, 0.2], np.float32), "cls"
            )

        half = max(1, rows // 2)
        for step, part in enumerate((slice(0, half), slice(half, rows))):
            self.on_step(step)
            tokens[part] = _tokens(rows, cols)[part]
            attention[:, part] = np.linspace(0.1, 0.4, rows * cols).reshape(rows, cols)[part]
            on_progress(EmbeddingProgress(step + 1, 2, 0.1 * (step + 1), embedding()))
        return embedding()

    def open(self, path: Path, taken: Collection[str]) -> EncoderSpec:
        assert path.stem not in taken
        return replace(make_spec(path, path.stem), origin="file")


def _tokens(rows: int, cols: int) -> np.ndarray:
    y, x = np.mgrid[0:rows, 0:cols]
    right = x >= cols / 2
    return np.stack([~right + 0.1, right + 0.1, 0.05 * np.sin(y), 0.05 * np.cos(x)], -1).astype(np.float32)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


class Mouse:
    """A mouse event as napari hands it to callbacks."""

    def __init__(self, kind: str, position: tuple[float, ...], modifiers: tuple[str, ...] = ()) -> None:
        self.type = kind
        self.position = position
        self.pos = np.asarray(position[-2:][::-1], float)
        self.modifiers = modifiers
        self.button = 1
        self.handled = False


def gesture(viewer: ViewerModel, *events: Mouse) -> list[bool]:
    """Play press, moves and release through the viewer's callbacks; tell which were handled."""
    running = [callback(viewer, events[0]) for callback in viewer.mouse_drag_callbacks]
    for generator in running:
        next(generator, None)
    handled = [events[0].handled]
    for later in events[1:]:
        events[0].__dict__.update(later.__dict__)
        events[0].handled = False
        for generator in running:
            next(generator, None)
        handled.append(events[0].handled)
    return handled


def click(viewer: ViewerModel, position: tuple[float, ...], *modifiers: str) -> None:
    gesture(viewer, Mouse("mouse_press", position, modifiers), Mouse("mouse_release", position, modifiers))
