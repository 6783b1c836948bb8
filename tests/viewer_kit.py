"""What tests of the viewer share: an embedder whose tokens are known, and mouse gestures on a model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from compare_page_kit import known_comparison
from napari.components import ViewerModel

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.pretext_views import (
    Crop,
    PredictionView,
    PretextView,
    ReconstructionView,
    TokenBlock,
    ViewsView,
    upsampled,
)
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.encoders.checkpoint.report import RecognitionReport
from napari_sslmaps.encoders.controls import Control
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.recognition import Inference
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import CheckpointError, EncoderNotFoundError, MapUnavailableError
from napari_sslmaps.maps.attention import AttentionStack
from napari_sslmaps.pipeline.cost import Throughput
from napari_sslmaps.pipeline.planning import plan
from napari_sslmaps.pipeline.progress import EmbeddingProgress, OnProgress
from napari_sslmaps.pretext.options import PretextOptions
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.viewer.compare.build import ComparisonServices
from napari_sslmaps.viewer.encoders.library import OnBytes
from napari_sslmaps.viewer.maps.embedding_job import EmbedOptions, EncoderChoice
from napari_sslmaps.viewer.pretext.job import PretextEdits
from napari_sslmaps.viewer.search.jobs import Searcher, StoreSearcher
from napari_sslmaps.viewer.services import Services
from napari_sslmaps.viewer.state.tasks import ImmediateRunner, TaskCallbacks, Work

PATCH, PLAIN = 8, EmbedOptions()
_ARCHITECTURE = ViTArchitecture(
    patch=PATCH, dim=4, depth=1, heads=2, grid=(4, 4), mlp_hidden=8, class_token=True
)


def make_spec(path: Path, name: str = "mae-demo", method: str = "mae") -> EncoderSpec:
    path.write_bytes(b"weights")
    path.with_suffix(".md").write_text(f"# {name}\n\n**It beat its controls** in a test.\n", encoding="utf-8")
    return EncoderSpec(name, method, _ARCHITECTURE, "imagenet", path, "", "test", "embedded")


def _spec_of(control: Control) -> EncoderSpec:
    return EncoderSpec(control.name, "mae", _ARCHITECTURE, "imagenet", Path("none"), "", "test", "control")


class KnownEmbedder:
    """Tokens that tell the left half of the region from the right half.

    `on_step` is called before each of the two steps of an embedding, of which `restored` come from a cache.
    An encoder called `turned` tells the upper half from the lower. The share `empty` of the columns is flat.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, Region]] = []
        self.options: list[EmbedOptions] = []
        self.on_step: Callable[[int], object] = str
        self.restored = 0
        self.turned = ""
        self.empty = 0.0

    def __call__(
        self,
        source: ImageSource,
        method: EncoderChoice,
        region: Region,
        on_progress: OnProgress,
        options: EmbedOptions = PLAIN,
    ) -> Embedding:
        self.calls.append((method.name, region))
        self.options.append(options)
        spec = method if isinstance(method, EncoderSpec) else _spec_of(method)
        planned = plan(source, spec, region, options.tiling)
        source.read(planned.region)
        rows, cols = planned.grid.shape
        tokens = np.full((rows, cols, 4), np.nan, np.float32)
        attention = np.full((2, rows, cols), np.nan, np.float32)
        provenance = Provenance(
            encoder=spec.name, method=spec.method, image=source.name, region=planned.region, device="cpu"
        )

        structured = np.broadcast_to(np.arange(cols) >= self.empty * cols, (rows, cols))

        def embedding() -> Embedding:
            return Embedding(
                tokens,
                planned.grid,
                provenance,
                attention,
                np.array([0.1, 0.2], np.float32),
                "cls",
                foreground=structured if self.empty else None,
            )

        half = max(1, rows // 2)
        for step, part in enumerate((slice(0, half), slice(half, rows))):
            self.on_step(step)
            known = _tokens(rows, cols)
            if method.name == self.turned:
                known = _tokens(cols, rows).transpose(1, 0, 2)
            tokens[part] = known[part]
            attention[:, part] = np.linspace(0.1, 0.4, rows * cols).reshape(rows, cols)[part]
            on_progress(EmbeddingProgress(step + 1, 2, 0.1 * (step + 1), embedding(), self.restored))
        return embedding()


class KnownLibrary:
    """Remembers files in a dictionary, and recognises each as a MAE with two heads.

    Its files are taken as they are, but for ``ambiguous``, whose method must be named.
    """

    def __init__(self) -> None:
        self.listed: dict[str, EncoderSpec] = {}
        self.hub: dict[str, EncoderSpec] = {}
        self.asked: list[Overrides] = []
        self.on_download: Callable[[OnBytes], object] = str
        self.warning = ""

    def remembered(self, warn: Callable[[str], None]) -> list[EncoderSpec]:
        if self.warning:
            warn(self.warning)
        return list(self.listed.values())

    def published(self) -> list[EncoderSpec]:
        return list(self.hub.values())

    def inspect(self, path: Path, overrides: Overrides) -> RecognitionReport:
        self.asked.append(overrides)
        if path.stem == "refused":
            raise CheckpointError("Expected a weight file; refused asks for os.system. Do not open it.")
        if path.stem == "ambiguous" and overrides.method is None:
            raise CheckpointError("Expected one method; it may be MAE or DINO. Say which: method=.")
        architecture = replace(_ARCHITECTURE, heads=overrides.num_heads or _ARCHITECTURE.heads)
        how = "given" if overrides.num_heads else "head width 2, as is usual"
        return RecognitionReport(
            path=str(path),
            layout="MAE",
            method=overrides.method or "mae",
            architecture=architecture,
            normalisation=overrides.normalisation or "imagenet",
            inferred=(Inference("heads", str(architecture.heads), how),),
            left_out={"optimizer.state": "optimiser", "optimizer.groups": "optimiser"},
            ambiguous=("The file does not tell the number of heads.",),
        )

    def remember(self, path: Path, overrides: Overrides, name: str) -> EncoderSpec:
        report = self.inspect(path, overrides)
        spec = replace(
            make_spec(path, name or path.stem, report.method),
            architecture=report.architecture,
            origin="file",
            overrides=overrides.keywords,
        )
        self.listed[spec.name] = spec
        return spec

    def forget(self, name: str) -> None:
        if name not in self.listed:
            raise EncoderNotFoundError(f"Expected a remembered encoder; got {name!r}.")
        del self.listed[name]

    def download(self, name: str, on_bytes: OnBytes) -> None:
        self.on_download(on_bytes)
        self.hub[name] = replace(self.hub[name], trouble="")


class KnownPaces:
    """A second for a million units of work, on ``cpu``, known once it was measured or learnt."""

    def __init__(self) -> None:
        self.throughputs: dict[str, Throughput] = {}
        self.measured: list[str] = []
        self.on_measure: Callable[[], object] = str

    def known(self, spec: EncoderSpec) -> Throughput | None:
        return self.throughputs.get(spec.name)

    def measure(self, spec: EncoderSpec) -> Throughput:
        self.on_measure()
        self.measured.append(spec.name)
        self.learn(spec, Throughput(1e-6, "cpu"))
        return self.throughputs[spec.name]

    def learn(self, spec: EncoderSpec, pace: Throughput) -> None:
        self.throughputs[spec.name] = pace


class KnownPretext:
    """Views of the middle 32 × 32 px of a region, 4 × 4 tokens, whose numbers say what was asked.

    A mask hides the first row unless one is painted; targets and crops are where `edits` have them, else two
    each. A target block agrees by a tenth of its first column.
    """

    side = 32

    def __init__(self) -> None:
        self.asked: list[tuple[str, PretextOptions, PretextEdits]] = []
        self.resolutions: list[str] = []
        self.trouble = ""
        self.on_call: Callable[[], object] = str

    def __call__(
        self,
        source: ImageSource,
        spec: EncoderSpec,
        region: Region,
        options: PretextOptions,
        edits: PretextEdits,
        resolution: str = "trained",
        check: Callable[[], None] = str,
    ) -> PretextView:
        check()
        self.asked.append((spec.name, options, edits))
        self.resolutions.append(resolution)
        self.on_call()
        if self.trouble:
            raise MapUnavailableError(self.trouble)
        side = self.side
        looked_at = region.part((region.height - side) // 2, (region.width - side) // 2, side, side)
        pixels = np.asarray(source.read(looked_at), np.float32)
        facts = {
            "method": spec.method,
            "region": looked_at,
            "grid": TokenGrid.covering(looked_at, PATCH),
            "picture": np.repeat(pixels[..., None], 3, axis=-1) if pixels.ndim == 2 else pixels,
            "notes": (f"drawn with {options.seed}",),
            "provenance": Provenance(encoder=spec.name, method=spec.method, region=looked_at),
        }
        made = {"mae": _reconstruction, "ijepa": _prediction, "dinov3": _views}[spec.method]
        return made(facts, options, edits)


def _mask(facts: dict[str, Any], options: PretextOptions, edits: PretextEdits) -> np.ndarray:
    if edits.mask is not None:
        return edits.mask
    mask = np.zeros(facts["grid"].shape, bool)
    mask[options.seed % len(mask)] = True
    return mask


def _reconstruction(
    facts: dict[str, Any], options: PretextOptions, edits: PretextEdits
) -> ReconstructionView:
    mask, picture = _mask(facts, options, edits), facts["picture"]
    hidden = upsampled(mask[..., None], picture.shape[:2])
    guess = np.where(hidden, np.float32(1), picture)
    masked = np.where(hidden, np.float32(0.5), picture)
    error = np.abs(guess - picture).mean(axis=-1)
    return ReconstructionView(**facts, mask=mask, masked=masked, reconstruction=guess, error=error)


def _prediction(facts: dict[str, Any], _options: PretextOptions, edits: PretextEdits) -> PredictionView:
    targets = edits.targets or (TokenBlock(0, 0, 2, 2), TokenBlock(2, 1, 2, 2))
    agreement = np.full(facts["grid"].shape, np.nan, np.float32)
    for block in targets:
        rows, cols = (
            slice(start, start + size)
            for start, size in ((block.row, block.height), (block.col, block.width))
        )
        agreement[rows, cols] = block.col / 10
    inside = np.isfinite(agreement)
    colours = np.where(inside[..., None], np.float32(0.5), np.float32(np.nan)).repeat(3, axis=-1)
    return PredictionView(
        **facts, targets=targets, context=~inside, agreement=agreement, predicted=colours, actual=colours
    )


def _views(facts: dict[str, Any], options: PretextOptions, edits: PretextEdits) -> ViewsView:
    whole: Region = facts["region"]
    drawn = (
        Crop(whole, "global"),
        Crop(whole.part(0, 0, 24, 24), "global"),
        Crop(whole.part(8, 8, 16, 16), "local"),
    )
    crops, mask = edits.crops or drawn, _mask(facts, options, edits)
    agreement = np.full((len(crops), len(crops)), 0.25, np.float32)
    hidden = upsampled(mask[..., None], facts["picture"].shape[:2])
    masked = np.where(hidden, np.float32(0.5), facts["picture"])
    patches = np.where(mask, np.float32(0.3), np.float32(np.nan))
    return ViewsView(
        **facts, crops=crops, agreement=agreement, mask=mask, masked=masked, patch_agreement=patches
    )


def known_services(
    embedder: KnownEmbedder | None = None,
    library: KnownLibrary | None = None,
    pretext: KnownPretext | None = None,
    throughputs: KnownPaces | None = None,
    attender: "KnownAttender | None" = None,
    comparison: ComparisonServices | None = None,
    searcher: Searcher | None = None,
) -> Services:
    return Services(
        embedder or KnownEmbedder(),
        pretext or KnownPretext(),
        library or KnownLibrary(),
        throughputs or KnownPaces(),
        attender or KnownAttender(),
        comparison or known_comparison(),
        searcher=searcher or StoreSearcher(),
    )


class KnownAttender:
    """Attention whose values tell what was asked: block and 0.5 for rollout, or nearness to the anchor."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, object]] = []

    def of_output(
        self, embedding: Embedding, block: int | None, *, rollout: bool, check: Callable[[], None]
    ) -> AttentionStack:
        check()
        self.asked.append((embedding.provenance.encoder, "rollout" if rollout else block))
        values = np.full((1 if rollout else 2, *embedding.grid.shape), (block or 1) / 4, np.float32)
        values[:, 0, 0] += 0.5 if rollout else 0.1
        kind = "rollout" if rollout else "cls"
        return _stack(embedding, values, kind, block or 1, None)

    def around(self, embedding: Embedding, anchor: tuple[float, float]) -> "KnownField":
        self.asked.append((embedding.provenance.encoder, anchor))
        return KnownField(embedding)


class KnownField:
    """Attends to the anchor's own token alone; keeps the anchors of the upper half."""

    def __init__(self, embedding: Embedding) -> None:
        self.embedding = embedding

    def keeps(self, anchor: tuple[float, float]) -> bool:
        return anchor[0] < 32

    def at(self, anchor: tuple[float, float], *, block: int | None = None) -> AttentionStack:
        values = np.zeros((2, *self.embedding.grid.shape), np.float32)
        values[:, *self.embedding.grid.token_at(anchor)] = 1
        return _stack(self.embedding, values, "anchor", block or 1, anchor)


def _stack(embedding: Embedding, values: np.ndarray, *asked: Any) -> AttentionStack:
    kind, block, anchor = asked
    mass = np.zeros(len(values), np.float32)
    return AttentionStack(values, kind, block, 1, mass, embedding.grid, embedding.provenance, anchor)


class LaterRunner(ImmediateRunner):
    """Runs work when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[Work, TaskCallbacks]] = []

    def submit(self, work: Work, callbacks: TaskCallbacks) -> None:
        self.waiting = [(work, callbacks)]

    def discard(self) -> None:
        self.waiting = []

    def deliver(self) -> None:
        for work, callbacks in self.waiting:
            super().submit(work, callbacks)
        self.waiting = []


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
