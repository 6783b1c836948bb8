"""Request → maps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import cast

from napari_sslmaps.core.frames import chosen_frames
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.tiling import Stitching, Tiling
from napari_sslmaps.encoders.catalog import NAMES
from napari_sslmaps.encoders.controls import Control, ControlKind
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.registry import architecture_of, attention_size, load_encoder
from napari_sslmaps.errors import InvalidAnchorError, InvalidOptionError, RegionError
from napari_sslmaps.figures.picture import picture_of, without_text
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.inputs.images import mask_in, open_named, record_of
from napari_sslmaps.maps.attention import check_attention
from napari_sslmaps.maps.frames import frame_maps
from napari_sslmaps.maps.groups import check_on_grid
from napari_sslmaps.pipeline.attention import attention_stack
from napari_sslmaps.pipeline.controls import embed_control
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.masks import MaskLike
from napari_sslmaps.pipeline.progress import EmbeddingProgress
from napari_sslmaps.records.anonymous import numbered
from napari_sslmaps.records.run import ImageRecord, MaskRecord, RunOptions
from napari_sslmaps.run.outcome import (
    EncoderOutcome,
    RunOutcome,
    basis_of,
    differences_of,
    fit_outcomes,
    outcome_of,
)
from napari_sslmaps.run.request import RunRequest
from napari_sslmaps.sources.base import rename
from napari_sslmaps.sources.protocol import ImageSource

_FRAME_SIDE = 400
"""Pixels along the longer side of a frame in a strip."""
OnProgress = Callable[[str, EmbeddingProgress], None]


def compute_run(
    request: RunRequest, on_progress: OnProgress | None = None, *, cached: bool = False
) -> RunOutcome:
    """Compute all maps of all encoders.

    Parameters
    ----------
    request
        Image, encoders, anchors and options.
    on_progress
        Callback, called with the encoder's name after every batch of tiles; may raise `Cancelled` to stop.
    cached
        Whether embeddings are taken from the user's cache and kept there; as `embed` with ``cache=True``.

    Raises
    ------
    SSLMapsError
        If image, region, anchors, encoders or options cannot be used. Anchors and region are checked before
        any encoder is loaded.
    """
    if not request.encoders:
        raise InvalidOptionError(
            f"Expected at least one encoder ({', '.join(NAMES)} or a weight file); got none."
        )
    with _opened_images(request) as (opened, reference):
        _check_anchors(request, reference or opened)
        _check_attention(request)
        frames = _frames(request, opened)
        work = _RunState(request, opened, reference, on_progress, cached=cached)
        made = [work.do(choice) for choice in request.encoders]
        outcomes = fit_outcomes(made, request)
        window = outcomes[0].embedding.provenance.window or (0.0, 1.0)
        picture = picture_of(opened.source, opened.region, window)
        pictures = [picture] + [
            picture_of(opened.source, replace(opened.region, frame=frame), window, max_side=_FRAME_SIDE)
            for frame in frames
        ]
        if request.anonymous:
            pictures = [without_text(each) for each in pictures]
        return RunOutcome(
            replace(request, region=opened.region),
            opened.record,
            pictures[0],
            outcomes,
            differences_of(outcomes, request.options.difference),
            None if reference is None else reference.record,
            frames,
            tuple(pictures[1:]),
        )


def _frames(request: RunRequest, opened: "_OpenedImage") -> tuple[int, ...]:
    """Return the frames that are asked for; that of the figure has to be one of them."""
    options = request.options
    if not options.frames:
        return ()
    frames = chosen_frames(options.frames, opened.source.frames)
    if opened.region.frame not in frames:
        raise RegionError(
            f"Expected the frame of the anchors and of the figure among {options.frames}; it is "
            f"{opened.region.frame}. Name one of them, or more frames."
        )
    return frames


@dataclass(frozen=True, slots=True)
class _OpenedImage:
    """An opened image, the rectangle that is embedded, and what of it is wanted."""

    source: ImageSource
    record: ImageRecord
    region: Region
    mask: MaskLike | None


@contextmanager
def _opened_images(request: RunRequest) -> Iterator[tuple[_OpenedImage, _OpenedImage | None]]:
    """Open the image of a request, and the one that its anchors lie in, if that is another."""
    options = request.options
    numbers = (1, 2) if request.anonymous else (0, 0)
    with _opened_image(request.image, request.region, request.mask, options, numbers[0]) as opened:
        other = request.reference
        if other is None:
            yield opened, None
            return
        with _opened_image(other.image, other.region, other.mask, options, numbers[1]) as reference:
            yield opened, reference


@contextmanager
def _opened_image(
    image: str, region: Region | None, mask: MaskRecord | None, options: RunOptions, number: int
) -> Iterator[_OpenedImage]:
    with open_named(image, options.opening) as source:
        record = record_of(image, source)
        if number:
            record = replace(record, path=numbered("image", number, record.path))
            rename(source, f"image-{number}")
        chosen = region or Region(0, 0, *source.levels[0].shape_yx)
        wanted = cast("MaskLike", options.mask) if options.mask else None
        yield _OpenedImage(source, record, chosen, wanted if mask is None else mask_in(mask))


def _check_anchors(request: RunRequest, opened: _OpenedImage) -> None:
    if request.negative and not request.anchors:
        raise InvalidAnchorError("Expected an anchor beside the negative ones; got none. Add a positive one.")
    region, source = opened.region, opened.source
    asked = (*request.anchors, *request.negative)
    if region.level >= len(source.levels) or not (asked or request.groups):
        return
    level = source.levels[region.level]
    region.check_within(level.shape_yx)
    pixels = TokenGrid.covering(region, 1, level.downsample_yx)
    for anchor in asked:
        pixels.token_at(anchor)
    check_on_grid(request.groups, pixels)


def _check_attention(request: RunRequest) -> None:
    """Refuse what no encoder can give; files are opened only if a block or head is asked for."""
    options, elsewhere = request.options.maps.attention, request.reference is not None
    chosen = () if options.block is None and options.head is None else request.encoders
    depth, heads = attention_size(architecture_of(choice.name, choice.overrides) for choice in chosen)
    check_attention(options, depth=depth, heads=heads, anchors=request.anchors, elsewhere=elsewhere)


def _load(choice: EncoderChoice, options: RunOptions) -> Encoder:
    precision = choice.precision or options.precision
    encoder = load_encoder(choice.name, device=options.device, precision=precision, **choice.overrides)
    return encoder.at_block(options.token_block, norm=options.token_norm)


@dataclass(frozen=True, slots=True)
class _RunState:
    """State that every encoder is run on."""

    request: RunRequest
    opened: _OpenedImage
    opened_reference: _OpenedImage | None
    on_progress: OnProgress | None
    cached: bool

    def do(self, choice: EncoderChoice) -> EncoderOutcome:
        """Run an encoder, or a control of it; PCA comes when all are there."""
        request, options = self.request, self.request.options
        encoder = _load(choice, options)
        elsewhere = self.opened_reference
        reference = None if elsewhere is None else self._embed(choice, encoder, elsewhere)
        if options.frames and not choice.control:
            return self._do_frames(choice, encoder, reference)
        embedding = self._embed(choice, encoder, self.opened)
        stack = None
        if not choice.control:
            stack = attention_stack(embedding, encoder, options.maps.attention, request.anchors)
        return outcome_of(choice, encoder, embedding, request, stack=stack, reference=reference)

    def _do_frames(
        self, choice: EncoderChoice, encoder: Encoder, reference: Embedding | None
    ) -> EncoderOutcome:
        """Run an encoder on every frame; the figure's frame has its part of what is made of all."""
        request, options, opened = self.request, self.request.options, self.opened
        on_progress, at = self.on_progress, opened.region.frame
        embeddings = embed(
            opened.source,
            encoder,
            region=opened.region,
            tiling=Tiling(options.tile, options.overlap, cast("Stitching", options.stitching)),
            mask=opened.mask,
            on_progress=None
            if on_progress is None
            else lambda progress: on_progress(encoder.spec.name, progress),
            cache=self.cached,
            resolution=options.resolution,
            stride=options.stride,
            frames=options.frames,
        )
        stacks = [
            attention_stack(one, encoder, options.maps.attention, request.anchors) for one in embeddings
        ]
        own = embeddings.frames.index(at)
        found = frame_maps(
            embeddings,
            options.keys,
            anchors=request.anchors,
            negative=request.negative,
            anchor_frame=at,
            reference=reference,
            groups=request.groups,
            options=options.maps,
            basis=basis_of(choice, embeddings[own], request),
            stacks=stacks,
        )
        outcome = outcome_of(
            choice, encoder, embeddings[own], request, stack=stacks[own], reference=reference
        )
        maps = {**outcome.maps, **{key: frames.maps[own] for key, frames in found.items()}}
        return replace(outcome, maps=maps, frames=found)

    def _embed(self, choice: EncoderChoice, encoder: Encoder, opened: _OpenedImage) -> Embedding:
        options, spec = self.request.options, encoder.spec
        control = None
        if choice.control:
            control = Control.of_encoder(cast("ControlKind", choice.control), spec)
        name, on_progress = (control or spec).name, self.on_progress
        tiling = Tiling(options.tile, options.overlap, cast("Stitching", options.stitching))
        report = None if on_progress is None else lambda progress: on_progress(name, progress)
        if control is None:
            return embed(
                opened.source,
                encoder,
                region=opened.region,
                tiling=tiling,
                mask=opened.mask,
                on_progress=report,
                cache=self.cached,
                resolution=options.resolution,
                stride=options.stride,
            )
        return embed_control(
            control,
            opened.source,
            encoder,
            region=opened.region,
            tiling=tiling,
            mask=opened.mask,
            on_progress=report,
            cache=self.cached,
            resolution=options.resolution,
            stride=options.stride,
        )
