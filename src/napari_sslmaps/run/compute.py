"""Request → maps."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from napari_sslmaps.core.attention import activation_map, attention_map
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.pca import Foreground, pca_map
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Combine, Embedding, Rendering, SimilarityMap
from napari_sslmaps.core.similarity import similarity_map
from napari_sslmaps.core.tiling import Stitching, Tiling
from napari_sslmaps.encoders.catalog import NAMES
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import InvalidAnchorError, InvalidOptionError
from napari_sslmaps.pipeline import EmbeddingProgress, embed
from napari_sslmaps.run.picture import picture_of
from napari_sslmaps.run.request import (
    EncoderChoice,
    EncoderOutcome,
    RunOutcome,
    RunRequest,
    open_requested,
)
from napari_sslmaps.sources.protocol import ImageSource

OnProgress = Callable[[str, EmbeddingProgress], None]


def compute_run(
    request: RunRequest, on_progress: OnProgress | None = None, *, cached: bool = False
) -> RunOutcome:
    """Compute all maps of all encoders.

    Parameters
    ----------
    request
        What to compare.
    on_progress
        Called with the encoder's name after every batch of tiles; may raise `Cancelled` to stop.
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
    source, image = open_requested(request.image)
    with source:
        region = request.region or Region(0, 0, *source.levels[0].shape_yx)
        _check_anchors(request, source, region)
        outcomes = tuple(
            _compute(choice, request, source, region, on_progress, cached=cached)
            for choice in request.encoders
        )
        window = outcomes[0].embedding.provenance.window or (0.0, 1.0)
        picture = picture_of(source, region, window)
    return RunOutcome(replace(request, region=region), image, picture, outcomes)


def _check_anchors(request: RunRequest, source: ImageSource, region: Region) -> None:
    if request.negative and not request.anchors:
        raise InvalidAnchorError(
            "Expected an anchor beside the negative ones; got none. Add one that they are unlike."
        )
    if region.level >= len(source.levels) or not (request.anchors or request.negative):
        return
    level = source.levels[region.level]
    region.check_within(level.shape_yx)
    pixels = TokenGrid.covering(region, 1, level.downsample_yx)
    for anchor in (*request.anchors, *request.negative):
        pixels.token_at(anchor)


def _compute(
    choice: EncoderChoice,
    request: RunRequest,
    source: ImageSource,
    region: Region,
    on_progress: OnProgress | None,
    *,
    cached: bool,
) -> EncoderOutcome:
    options = request.options
    precision = choice.precision or options.precision
    encoder = load_encoder(choice.name, device=options.device, precision=precision, **choice.overrides)
    name = encoder.spec.name
    embedding = embed(
        source,
        encoder,
        region=region,
        tiling=Tiling(options.tile, options.overlap, cast("Stitching", options.stitching)),
        on_progress=None if on_progress is None else lambda progress: on_progress(name, progress),
        cache=cached,
    )
    return EncoderOutcome(
        choice=choice,
        spec=encoder.spec,
        precision=encoder.precision,
        embedding=embedding,
        attention=activation_map(embedding)
        if embedding.attention is None
        else attention_map(embedding, options.head),
        components=pca_map(
            embedding,
            rendering=cast("Rendering", options.rendering),
            foreground=cast("Foreground", options.foreground or None),
        ),
        similarity=_similarity(embedding, request) if request.anchors else None,
    )


def _similarity(embedding: Embedding, request: RunRequest) -> SimilarityMap:
    return similarity_map(
        embedding,
        request.anchors,
        negative=request.negative,
        combine=cast("Combine", request.options.combine),
        centred=request.options.centred,
    )
