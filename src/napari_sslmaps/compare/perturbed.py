"""Each encoder's tokens and scores under perturbations of the region."""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from napari_sslmaps.compare.methods import Lane
from napari_sslmaps.compare.request import ComparisonRequest
from napari_sslmaps.compare.scoring import EmbeddedImage
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.core.tiling import Stitching, Tiling
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.errors import RegionError
from napari_sslmaps.evaluation.anchor_scores import draw_anchors, score_anchors
from napari_sslmaps.evaluation.robustness import Robustness, RobustnessOptions, Score, robustness
from napari_sslmaps.pipeline import embed

ANCHORS = 16
"""Anchors whose AUROC is followed under perturbation; each embedding scores them all again."""
MOST_PIXELS = 4_194_304
OnShare = Callable[[str, float], None]
"""Called with a method's name and how much of it is done, in [0, 1]."""


def robustness_of(
    embedded: EmbeddedImage, lanes: Sequence[Lane], request: ComparisonRequest, on_share: OnShare
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
    pixels = embedded.image.source.read(region)
    options = RobustnessOptions(request.options.perturbations)
    found = []
    for lane in lanes:
        if lane.control is None:
            clean = embedded.embeddings[lane.method.name]
            found.append(
                robustness(
                    pixels,
                    _encode(lane, request),
                    options,
                    window=clean.provenance.window,
                    clean=clean,
                    scores=_scores(embedded, request, clean),
                    on_progress=_share(on_share, lane.method.name),
                )
            )
    return tuple(found)


def _encode(lane: Lane, request: ComparisonRequest) -> Callable[[Float32], Embedding]:
    run = request.options.run
    tiling = Tiling(run.tile, run.overlap, cast("Stitching", run.stitching))
    encoder = cast("Encoder", lane.encoder)
    return lambda pixels: embed(pixels, encoder, tiling=tiling, window=(0.0, 1.0), allow_uniform=True)


def _scores(embedded: EmbeddedImage, request: ComparisonRequest, clean: Embedding) -> dict[str, Score]:
    annotation = embedded.image.annotation
    if annotation is None or not request.wants("anchors"):
        return {}
    anchors = draw_anchors(annotation, clean.grid, count=ANCHORS, seed=request.options.seed)

    def anchors_auroc(embedding: Embedding) -> float:
        areas = score_anchors(embedding, annotation, anchors=anchors).areas["all"]
        return float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")

    return {"AUROC of anchors": anchors_auroc}


def _share(on_share: OnShare, method: str) -> Callable[[int, int], None]:
    return lambda done, total: on_share(method, done / total)
