"""All scores of one image that need no other image, perturbations included."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import cast

import numpy as np

from napari_sslmaps.compare.entrants import Entrant
from napari_sslmaps.compare.image_statistics import statistics_of
from napari_sslmaps.compare.images import OpenedImage
from napari_sslmaps.compare.progress import Tell
from napari_sslmaps.compare.request import ComparisonRequest
from napari_sslmaps.compare.results import AgreementRow, AnchorRow, MapRow, MeasuredRow, ScoredImage
from napari_sslmaps.compare.scores import SCORES
from napari_sslmaps.core.results import Embedding, Float32, TokenMap
from napari_sslmaps.core.scale import TokenScale, at_scale
from napari_sslmaps.core.tiling import Stitching, Tiling
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.errors import RegionError
from napari_sslmaps.evaluation.anchor_scores import AnchorScores, draw_anchors, score_anchors
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.evaluation.map_scores import score_maps
from napari_sslmaps.evaluation.robustness import Robustness, RobustnessOptions, Score, robustness
from napari_sslmaps.maps.agreement import agreement_table
from napari_sslmaps.maps.similarity import SimilarityMap
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.planning import at_working_resolution
from napari_sslmaps.records.run import RunOptions
from napari_sslmaps.sources.base import Contents
from napari_sslmaps.sources.colour import is_grey

AGREEMENT_TOKENS, RANKED_TOKENS = 2048, 4096
"""Tokens, spread evenly, over which agreement is measured, and that are ranked for each anchor: more would
cost as much as embedding them, and change a score by less than its interval."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageEmbeddings:
    """An image with what every method made of it.

    Parameters
    ----------
    image
        Opened image, with its annotation.
    embeddings, patches, maps
        Results by name of the method: tokens at the scale of the request, tokens of single patches, and maps.
    encoders
        Names of the methods that are no controls.
    unscorable
        Reason why nothing is scored against the annotation; empty where it is.
    options
        Options of the embeddings and maps.
    """

    image: OpenedImage
    embeddings: Mapping[str, Embedding]
    maps: Mapping[str, Mapping[str, TokenMap]]
    encoders: tuple[str, ...]
    unscorable: str = ""
    patches: Mapping[str, Embedding] = field(default_factory=dict)
    options: RunOptions = field(default_factory=RunOptions)


def score_image(embedded: ImageEmbeddings, request: ComparisonRequest, tell: Tell) -> ScoredImage:
    """Compute the scores of one image.

    Parameters
    ----------
    embedded
        Image and its embeddings.
    request
        Wanted scores and their options.
    tell
        Callback, called with the name of a method before its scores; may raise `Cancelled`.

    Raises
    ------
    AnnotationError
        If the annotation cannot be scored against.
    """
    image = embedded.image
    annotation = None if embedded.unscorable else image.annotation
    rows: list[MapRow] = []
    anchors: dict[str, AnchorScores] = {}
    measured: dict[str, list[MeasuredRow]] = {}
    for name, embedding in embedded.embeddings.items():
        tell(name)
        if annotation is not None and request.wants("maps"):
            rows += _map_rows(name, embedded.maps[name], annotation)
        if annotation is not None and request.wants("anchors"):
            some = next(iter(anchors.values()), None)
            anchors[name] = _score_anchors(embedding, annotation, request, some)
        for key, rows_of_score in _measured(name, embedding, annotation, request).items():
            measured.setdefault(key, []).extend(rows_of_score)
    some = next(iter(anchors.values()), None)
    read: Contents = getattr(image.source, "contents", Contents())
    return ScoredImage(
        name=image.name,
        record=image.record,
        maps=tuple(rows),
        anchors=tuple(AnchorRow(name, dict(found.areas)) for name, found in anchors.items()),
        nearness={} if some is None else dict(some.nearness),
        anchor_yx=None if some is None else some.anchors,
        anchor_labels=None if some is None else some.kinds,
        agreement=_agreement(embedded, request),
        evidence=statistics_of(image, (embedded.patches or embedded.embeddings)[embedded.encoders[0]]),
        notes=(embedded.unscorable,) if embedded.unscorable else (),
        grey=is_grey(image.source),
        provenance={name: found.provenance.to_dict() for name, found in embedded.embeddings.items()},
        measured={key: tuple(found) for key, found in measured.items()},
        series=read.series_read,
        channel=read.channels_read,
    )


def _measured(
    method: str, embedding: Embedding, annotation: Annotation | None, request: ComparisonRequest
) -> dict[str, list[MeasuredRow]]:
    """Call the `measure` of every score that is wanted and has one."""
    chosen = [
        score
        for score in SCORES.values()
        if score.measure and request.wants(score.key) and not (score.needs_annotation and annotation is None)
    ]
    return {
        score.key: [
            MeasuredRow(method, kind, values)
            for kind, values in resolve_name(score.measure)(
                embedding, annotation, request.options.run.maps
            ).items()
        ]
        for score in chosen
    }


def _agreement(embedded: ImageEmbeddings, request: ComparisonRequest) -> tuple[AgreementRow, ...]:
    if not request.wants("agreement") or len(embedded.encoders) < 2:
        return ()
    found = {name: embedded.embeddings[name] for name in embedded.encoders}
    table = agreement_table(found, k=request.options.neighbours, limit=AGREEMENT_TOKENS)
    return tuple(AgreementRow(*row) for row in table.rows)  # type: ignore[arg-type]  # names and numbers


def _score_anchors(
    embedding: Embedding, annotation: Annotation, request: ComparisonRequest, like: AnchorScores | None
) -> AnchorScores:
    options = request.options
    return score_anchors(
        embedding,
        annotation,
        count=options.anchor_count,
        seed=options.seed,
        like=like,
        most_tokens=RANKED_TOKENS,
    )


def _map_rows(method: str, maps: Mapping[str, TokenMap], annotation: Annotation) -> list[MapRow]:
    return [
        MapRow(method, kind, annotation.name_of(label), scores)
        for kind, result in maps.items()
        for label, scores in score_maps(result, annotation).by_class.items()
        if not isinstance(result, SimilarityMap) or label in _sought(result, annotation)
    ]


def _sought(result: SimilarityMap, annotation: Annotation) -> set[int]:
    """Classes that a similarity map looks for: those that its anchors lie on, or all if they lie on none."""
    on = set(annotation.labels_at(result.anchors).tolist()) & set(annotation.classes)
    return on or set(annotation.classes)


ANCHORS = 16
"""Anchors whose AUROC is followed under perturbation; each embedding scores them all again."""
MOST_PIXELS = 4_194_304
OnShare = Callable[[str, float], None]
"""Called with a method's name and how much of it is done, in [0, 1]."""


def robustness_of(
    embedded: ImageEmbeddings, entrants: Sequence[Entrant], request: ComparisonRequest, on_share: OnShare
) -> tuple[Robustness, ...]:
    """Perturb an image's region, for every encoder; controls are left out.

    Raises
    ------
    RegionError
        If the region has more than 4 million pixels, since each is embedded dozens of times.
    """
    region = embedded.image.region
    if region.height * region.width > MOST_PIXELS:
        raise RegionError(
            f"Expected a region of at most {MOST_PIXELS} px for robustness, which embeds it dozens of times; "
            f"got {region.height} × {region.width} px. Choose a smaller one."
        )
    image, run = embedded.image, request.options.run
    options = RobustnessOptions(request.options.perturbations)
    found = []
    for entrant in entrants:
        if entrant.control is None:
            clean = embedded.embeddings[entrant.method.name]
            source, area = at_working_resolution(image.source, region, run.resolution, entrant.trained)
            found.append(
                robustness(
                    source.read(area),
                    _encode(entrant, request, clean),
                    options,
                    window=clean.provenance.window,
                    clean=clean,
                    scores=_scores(embedded, request, clean),
                    on_progress=_reporting(on_share, entrant.method.name),
                )
            )
    return tuple(found)


def _encode(entrant: Entrant, request: ComparisonRequest, clean: Embedding) -> Callable[[Float32], Embedding]:
    run = request.options.run
    tiling = Tiling(run.tile, run.overlap, cast("Stitching", run.stitching))
    encoder = cast("Encoder", entrant.encoder)
    stride = clean.provenance.stride or encoder.spec.constraint.token_stride
    scale = TokenScale(clean.provenance.scale * stride / clean.grid.stride_yx[0])  # of the pixels handed over

    def encode(pixels: Float32) -> Embedding:
        found = embed(
            pixels,
            encoder,
            tiling=tiling,
            window=(0.0, 1.0),
            allow_uniform=True,
            resolution="native",
            stride=run.stride,
        )
        return at_scale(found, scale)

    return encode


def _scores(embedded: ImageEmbeddings, request: ComparisonRequest, clean: Embedding) -> dict[str, Score]:
    annotation = embedded.image.annotation
    if annotation is None or not request.wants("anchors"):
        return {}
    anchors = draw_anchors(annotation, clean.grid, count=ANCHORS, seed=request.options.seed)

    def anchors_auroc(embedding: Embedding) -> float:
        areas = score_anchors(embedding, annotation, anchors=anchors).areas["all"]
        return float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")

    return {"AUROC of anchors": anchors_auroc}


def _reporting(on_share: OnShare, method: str) -> Callable[[int, int], None]:
    return lambda done, total: on_share(method, done / total)
