"""The long work: embed a region by several encoders and make their maps, without touching a layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan
from time import perf_counter
from typing import Protocol, TypeAlias

from napari_sslmaps.cache.store import cache_warnings
from napari_sslmaps.core.diagnostics import seam_score
from napari_sslmaps.core.placed_mask import PlacedMask
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.tiling import TILED, Tiling
from napari_sslmaps.encoders.controls import Control
from napari_sslmaps.encoders.registry import get_spec
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import Cancelled, SSLMapsError
from napari_sslmaps.maps.make import MapRequest, Maps, make_maps
from napari_sslmaps.pipeline.controls import embed_control
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.planning import plan_at, stride_of
from napari_sslmaps.pipeline.progress import EmbeddingProgress, OnProgress
from napari_sslmaps.pipeline.token_store import TokenBudget
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.viewer.canvas.map_layers import LayerSpec, draw_all
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders
from napari_sslmaps.viewer.state.tasks import TaskContext

_PAINT_SHARE = 9.0
"""Painting a partial result waits until computing took this many times as long as the last painting."""


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """Options of embedding a region.

    Parameters
    ----------
    tiling
        Tiles that the region is cut into.
    focus_yx
        Pixel of level 0 next to which computing begins; None for the first row.
    keep
        Whether finished tiles are kept on disk, and taken from there.
    mask
        Mask of the wanted tokens; None for all.
    resolution
        Resolution that the image is read at, as `embed` takes it.
    detail
        Tokens along each axis of a patch, as `stride_of` takes it.
    token_block, token_norm
        Depth whose features the tokens are, and whether they pass the final norm, as `embed` takes ``block``
        and ``norm``.
    window
        Intensities that become 0 and 1; chosen by the region's pixels if None.
    budget
        Budget for the tokens, as `embed` takes it.
    """

    tiling: Tiling = TILED
    focus_yx: tuple[float, float] | None = None
    keep: bool = False
    mask: PlacedMask | None = None
    resolution: str = "trained"
    detail: int = 1
    token_block: int | None = None
    token_norm: bool = True
    window: tuple[float, float] | None = None
    budget: TokenBudget | None = None


_PLAIN = EmbedOptions()
EncoderChoice: TypeAlias = EncoderSpec | Control
"""What is compared: an encoder, or what it has to be better than."""


class Embedder(Protocol):
    """Computes the tokens of a region."""

    def __call__(
        self,
        source: ImageSource,
        method: EncoderChoice,
        region: Region,
        on_progress: OnProgress,
        options: EmbedOptions = _PLAIN,
    ) -> Embedding:
        """Embed, calling `on_progress` after each batch of tiles."""
        ...


class PipelineEmbedder:
    """Embeds by the pipeline.

    Parameters
    ----------
    encoders
        Encoders, each loaded once.
    """

    def __init__(self, encoders: LoadedEncoders) -> None:
        self._encoders = encoders

    def __call__(
        self,
        source: ImageSource,
        method: EncoderChoice,
        region: Region,
        on_progress: OnProgress,
        options: EmbedOptions = _PLAIN,
    ) -> Embedding:
        """Load the encoder if need be, then embed."""
        if isinstance(method, Control):
            encoder = self._encoders.get(get_spec(method.of)) if method.needs_encoder else None
            return embed_control(
                method,
                source,
                encoder and encoder.at_block(options.token_block, norm=options.token_norm),
                region=region,
                tiling=options.tiling,
                cache=options.keep,
                on_progress=on_progress,
                mask=options.mask,
                resolution=options.resolution,
                window=options.window,
                stride=stride_of(options.detail, method.stride),
            )
        encoder = self._encoders.get(method)
        at_depth = method.at_block(options.token_block, norm=options.token_norm)
        return embed(
            source,
            encoder,
            region=region,
            tiling=options.tiling,
            focus_yx=options.focus_yx,
            cache=options.keep,
            on_progress=on_progress,
            mask=options.mask,
            resolution=options.resolution,
            window=options.window,
            budget=options.budget,
            stride=stride_of(options.detail, at_depth.constraint.token_stride),
            block=options.token_block,
            norm=options.token_norm,
        )


@dataclass(frozen=True, eq=False)
class PartialResult:
    """Part of one encoder's result that has become visible.

    Parameters
    ----------
    encoder
        Name of the encoder.
    fraction
        Share of the whole job that is done, in [0, 1].
    label
        Words for what is being done.
    seconds_left
        Seconds left of the whole job, or None while there is no estimate.
    embedding
        Embedding as far as it is computed; None while the encoder is loaded.
    request
        Request that the drawings answer.
    drawings
        Maps to show.
    complete
        Whether nothing more of this encoder will follow.
    seconds
        Seconds spent on its tiles so far.
    restored
        Share of its tiles that came from the cache, in [0, 1].
    seams
        Visibility of tile borders, as `seam_score` measures it; None while that is not known, or without
        borders.
    """

    encoder: str
    fraction: float
    label: str
    seconds_left: float | None = None
    embedding: Embedding | None = None
    request: MapRequest | None = None
    drawings: tuple[LayerSpec, ...] = ()
    complete: bool = False
    seconds: float = 0.0
    restored: float = 0.0
    seams: float | None = None


@dataclass(frozen=True, slots=True)
class EncoderFailed:
    """One encoder could not be used; the others go on."""

    encoder: str
    error: SSLMapsError


@dataclass(frozen=True, slots=True)
class CacheProblem:
    """Something about the cache that a user should know; the work goes on without it."""

    text: str


@dataclass(frozen=True, eq=False)
class EmbeddingJob:
    """All that a run needs, captured when it is submitted.

    Parameters
    ----------
    source, region
        Image, and the region of it to embed.
    methods
        Encoders and controls, in order.
    embedder
        Embedder that computes the tokens.
    request
        Function that returns the newest snapshot of what is wanted, so that anchors set meanwhile count.
    options
        Options of the embeddings.
    """

    source: ImageSource
    region: Region
    methods: Sequence[EncoderChoice]
    embedder: Embedder
    request: Callable[[], MapRequest]
    options: EmbedOptions = _PLAIN

    def __call__(self, context: TaskContext) -> int:
        """Run; return the number of encoders that were completed."""
        with cache_warnings(lambda text: context.report(CacheProblem(text))):
            return self._embed(context)

    def _embed(self, context: TaskContext) -> int:
        completed = 0
        for index, method in enumerate(self.methods):
            context.token.check()
            partial = _PartialResults(self, context, method, index)
            try:
                embedding = self.embedder(self.source, method, self.region, partial.progress, self.options)
                partial.finish(embedding)
            except Cancelled:
                partial.interrupted()
                raise
            except SSLMapsError as error:
                context.report(EncoderFailed(method.name, error))
            else:
                completed += 1
        return completed


class _PartialResults:
    """Reports what one encoder has computed, now and then."""

    def __init__(self, job: EmbeddingJob, context: TaskContext, method: EncoderChoice, index: int) -> None:
        self._job, self._context, self._method, self._index = job, context, method, index
        self._name = name = method.name
        self._resting_since = perf_counter()
        self._cost = 0.01
        self._latest: EmbeddingProgress | None = None
        self._maps: Maps = {}
        context.report(PartialResult(name, index / len(job.methods), f"{name}: loading"))

    def progress(self, progress: EmbeddingProgress) -> None:
        """Take the pipeline's progress; raise `Cancelled` if that was asked."""
        self._latest = progress
        self._context.token.check()
        now = perf_counter()
        if progress.done < progress.total and now - self._resting_since > _PAINT_SHARE * self._cost:
            self._report(progress.embedding, progress)
            self._resting_since = perf_counter()
            self._cost = max(0.01, self._resting_since - now)

    def finish(self, embedding: Embedding) -> None:
        """Report the whole embedding."""
        self._report(embedding, None)

    def interrupted(self) -> None:
        """Report what there was when it was stopped."""
        if self._latest is not None:
            self._report(self._latest.embedding, self._latest)

    def _report(self, embedding: Embedding, progress: EmbeddingProgress | None) -> None:
        request, latest = self._job.request(), self._latest
        count = len(self._job.methods)
        share = 1.0 if progress is None else progress.done / progress.total
        left = None
        if progress is not None:
            rest = count - self._index - 1
            left = progress.seconds_left + rest * (progress.seconds + progress.seconds_left)
        tiles = "" if progress is None else f" tile {progress.done} of {progress.total}"
        self._context.report(
            PartialResult(
                self._name,
                (self._index + share) / count,
                f"{self._name}:{tiles}" if tiles else f"{self._name}: done",
                left,
                embedding,
                request,
                tuple(self._drawings(embedding, request)),
                complete=progress is None,
                seconds=0.0 if latest is None else latest.seconds,
                restored=0.0 if latest is None else latest.restored / latest.total,
                seams=self._seams(embedding) if progress is None else None,
            )
        )

    def _drawings(self, embedding: Embedding, request: MapRequest) -> list[LayerSpec]:
        before = {self._name: self._maps}
        maps = make_maps({self._name: embedding}, request, previous=before, partial=True)[self._name]
        self._maps = maps
        return draw_all(list(maps.values()), request.options.similarity.display)

    def _seams(self, embedding: Embedding) -> float | None:
        job, method = self._job, self._method
        if not isinstance(method, EncoderSpec):
            return None
        options = job.options
        method = method.at_block(options.token_block, norm=options.token_norm)
        planned = plan_at(
            job.source,
            method,
            job.region,
            options.tiling,
            resolution=options.resolution,
            mask=options.mask,
            stride=stride_of(options.detail, method.constraint.token_stride),
        )
        found = seam_score(embedding.tokens, planned.tiles)
        return None if isnan(found) else found
