"""Scores of similarity to anchors against the size of what is compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.scale import SCALES, TokenScale, at_scale
from napari_sslmaps.evaluation.anchor_scores import AnchorScores, draw_anchors, score_anchors
from napari_sslmaps.evaluation.annotation import Annotation


@dataclass(frozen=True, slots=True, eq=False)
class ScaleProfile:
    """Scores of one embedding against scale.

    Parameters
    ----------
    areas
        Scale, in per cent of the region's shorter side → mean area under the ROC curve over anchors.
    nearness
        Mean area of the distance from the anchors alone, which no scale changes.
    """

    areas: Mapping[float, float]
    nearness: float


def scale_profile(
    embedding: Embedding,
    annotation: Annotation,
    *,
    scales: Sequence[float] = SCALES,
    count: int = 16,
    seed: int = 0,
    most_tokens: int | None = None,
) -> ScaleProfile:
    """Score centred similarity to the same anchors at several scales.

    Parameters
    ----------
    embedding
        Tokens of a region, not averaged.
    annotation
        Classes of the same image's pixels.
    scales
        Standard deviations in per cent of the region's shorter side.
    count, seed, most_tokens
        Options as `score_anchors` takes them.

    Returns
    -------
    ScaleProfile
        A mean over anchors for each scale; NaN where no anchor can be scored.

    Raises
    ------
    AnnotationError
        If there is nothing to tell apart.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> from napari_sslmaps.evaluation.scale_profile import scale_profile
    >>> tokens = np.random.default_rng(0).normal(size=(16, 16, 4))
    >>> tokens[:, 8:] += 0.8
    >>> annotation = ssl.Annotation.from_labels(np.repeat([[1] * 64 + [2] * 64], 128, axis=0), (128, 128))
    >>> found = scale_profile(ssl.Embedding.from_tokens(tokens, stride=8), annotation, scales=(0.0, 12.5))
    >>> found.areas[12.5] > found.areas[0.0] + 0.1
    True
    """
    places = draw_anchors(annotation, embedding.grid, count=count, seed=seed)
    areas: dict[float, float] = {}
    like: AnchorScores | None = None
    for scale in scales:
        like = score_anchors(
            at_scale(embedding, TokenScale(scale, "%")),
            annotation,
            anchors=places,
            like=like,
            most_tokens=most_tokens,
        )
        areas[scale] = _mean(like.areas["all"])
    return ScaleProfile(areas, float("nan") if like is None else _mean(like.nearness["all"]))


def _mean(areas: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> float:
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")
