"""How well a map points at what was annotated.

A token carries as many positive and negative pixels as it covers, so that every score is that of the map
spread over the image's pixels, ties included, without ever spreading it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.results import ComponentMap, TokenMap
from napari_sslmaps.errors import AnnotationError, InvalidOptionError
from napari_sslmaps.evaluation.annotation import IGNORE, Annotation

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MapScores:
    """Scores of one map against one class; each from 0 to 1 except the thresholds.

    Parameters
    ----------
    auroc
        Area under the ROC curve over pixels; 0.5 is chance.
    average_precision
        Area under the precision–recall curve as a step function; `prevalence` is chance.
    pointing
        1 if the pixel at the centre of the map's largest token is of the class, else 0 (the pointing game of
        Zhang et al., arXiv 1608.00507, without its margin); the mean over several largest tokens.
    dice_best, best_threshold
        Largest Dice of {value ≥ threshold} over all thresholds, chosen with the annotation in sight: an upper
        bound. The threshold.
    dice_otsu, otsu_threshold
        Dice of {value > threshold} at Otsu's threshold of the map's own values, which needs no annotation.
    prevalence
        Share of the class among the pixels that count.
    unknown
        Tokens that were left out because the map is not computed there.
    variant
        Which component of a PCA map was scored, and in which direction; empty for other maps.
    """

    auroc: float
    average_precision: float
    pointing: float
    dice_best: float
    best_threshold: float
    dice_otsu: float
    otsu_threshold: float
    prevalence: float
    unknown: int = 0
    variant: str = ""


SCORES = ("auroc", "average_precision", "pointing", "dice_best", "dice_otsu")
"""The fields of `MapScores` that are better the higher they are."""


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Scores of one map against each class of a region.

    Parameters
    ----------
    by_class
        Scores by label; classes that are not in the region, or fill it, are left out.
    """

    by_class: Mapping[int, MapScores]

    def mean(self, score: str) -> float:
        """Mean of one of `SCORES` over the classes, each weighing alike."""
        if score not in SCORES:
            raise InvalidOptionError(f"Expected one of {', '.join(SCORES)}; got {score!r}.")
        return float(np.mean([getattr(scores, score) for scores in self.by_class.values()]))


def score_map(
    result: TokenMap, annotation: Annotation, *, kind: int | None = None, component: int | None = None
) -> MapScores:
    """Score a map against an annotation, pixel by pixel.

    Parameters
    ----------
    result
        Attention, activation, similarity, components or any other map of real numbers.
    annotation
        Of the same image.
    kind
        The class to be found, against all other annotated pixels; None for all classes together against the
        background.
    component
        Of a PCA map: 1, 2 or 3, or −1, −2, −3 for the component reversed, since its direction means nothing.
        None takes the one of the six with the largest AUROC, which favours PCA; the result says which.

    Raises
    ------
    AnnotationError
        If the tokens that are known hold only pixels of the class, or none of it.
    InvalidOptionError
        If the map holds labels, or there is no such component.
    """
    annotation.check_scorable(result.grid)
    return _score(result, annotation, annotation.pixel_counts(result.grid), kind, component)


def score_maps(result: TokenMap, annotation: Annotation, *, component: int | None = None) -> ClassScores:
    """Score a map against each class of the region; see `score_map`.

    Raises
    ------
    AnnotationError
        If no class can be told from other pixels.
    """
    annotation.check_scorable(result.grid)
    counts = annotation.pixel_counts(result.grid)
    known = np.isfinite(_plane(result, 1))
    totals = counts[known].sum(axis=0)
    kinds = [
        kind
        for kind, total in zip(annotation.kinds, totals, strict=True)
        if kind > 0 and 0 < total < totals.sum()
    ]
    if not kinds:
        raise AnnotationError(_ONE_KIND)
    return ClassScores({kind: _score(result, annotation, counts, kind, component) for kind in kinds})


_ONE_KIND = (
    "Expected pixels of the class and others where the map is known; there are only those of one kind. "
    "Choose a larger region, or run to the end."
)


def _score(
    result: TokenMap, annotation: Annotation, counts: Float, kind: int | None, component: int | None
) -> MapScores:
    if kind is not None and kind not in annotation.kinds:
        raise AnnotationError(
            f"Expected one of the annotated classes {', '.join(map(str, annotation.classes))}; got {kind}."
        )
    chosen = [index for index, label in enumerate(annotation.kinds) if _counts_as(label, kind)]
    positive = counts[..., chosen].sum(axis=-1)
    negative = counts.sum(axis=-1) - positive
    hits = _centre_hits(result, annotation, kind)
    if not isinstance(result, ComponentMap):
        if component is not None:
            raise InvalidOptionError("Expected no component, since the map is not one of PCA.")
        return _score_plane(_plane(result, 1), positive, negative, hits, "")
    if component is not None and abs(component) not in {1, 2, 3}:
        raise InvalidOptionError(f"Expected a component 1, 2, 3, −1, −2 or −3; got {component}.")
    found = [
        _score_plane(_plane(result, number), positive, negative, hits, _describe(number, component))
        for number in ((component,) if component is not None else (1, -1, 2, -2, 3, -3))
    ]
    return max(found, key=lambda scores: scores.auroc)


def _counts_as(label: int, kind: int | None) -> bool:
    return label > 0 if kind is None else label == kind


def _describe(number: int, asked: int | None) -> str:
    name = f"component {abs(number)}{', reversed' if number < 0 else ''}"
    return name if asked is not None else f"{name}; best of six"


def _plane(result: TokenMap, component: int) -> Float:
    """Return the values to score: of a PCA map a component's, or its colour where they were not kept."""
    values = result.values
    if not np.issubdtype(values.dtype, np.floating):
        raise InvalidOptionError("Expected a map of real numbers; labels have no order to score.")
    if isinstance(result, ComponentMap):
        values = result.values if result.scores is None else result.scores
        return values[..., abs(component) - 1].astype(np.float64) * (1 if component > 0 else -1)
    return values.astype(np.float64)


def _centre_hits(result: TokenMap, annotation: Annotation, kind: int | None) -> Float:
    """1 where the pixel at a token's centre is of the class, 0 where it is not, NaN where it is left out."""
    rows, cols = ((edges[1:] + edges[:-1]) / 2 for edges in result.grid.edges_yx)
    places = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1).reshape(-1, 2)
    labels = annotation.labels_at(places).reshape(result.grid.shape)
    hits = labels > 0 if kind is None else labels == kind
    return np.where(labels == IGNORE, np.nan, hits)


def _score_plane(values: Float, positive: Float, negative: Float, hits: Float, variant: str) -> MapScores:
    known = np.isfinite(values)
    thresholds, ahead, behind = _by_value(values[known], positive[known], negative[known])
    whole, others = ahead.sum(), behind.sum()
    if whole == 0 or others == 0:
        raise AnnotationError(_ONE_KIND)
    true, false = np.cumsum(ahead), np.cumsum(behind)
    dice = 2 * true / (true + false + whole)
    best = int(dice.argmax())
    otsu = _otsu(values[known])
    above = thresholds > otsu
    taken = true[above][-1] if above.any() else 0.0
    wrong = false[above][-1] if above.any() else 0.0
    return MapScores(
        auroc=float((ahead * (others - false + behind / 2)).sum() / (whole * others)),
        average_precision=float(
            (ahead * np.divide(true, true + false, out=np.zeros_like(true), where=true > 0)).sum() / whole
        ),
        pointing=_pointing(values, hits),
        dice_best=float(dice[best]),
        best_threshold=float(thresholds[best]),
        dice_otsu=float(2 * taken / (taken + wrong + whole)),
        otsu_threshold=otsu,
        prevalence=float(whole / (whole + others)),
        unknown=int((~known).sum()),
        variant=variant,
    )


def _by_value(values: Float, positive: Float, negative: Float) -> tuple[Float, Float, Float]:
    """Distinct values from the largest down, with the positive and negative pixels at each."""
    ascending, place = np.unique(values, return_inverse=True)
    ahead, behind = (
        np.bincount(place, part, minlength=len(ascending)).astype(np.float64) for part in (positive, negative)
    )
    return ascending[::-1], ahead[::-1], behind[::-1]


def _otsu(values: Float) -> float:
    """Otsu's threshold (1979, IEEE Trans. SMC 9:62–66) of 256 bins; of a constant map its value."""
    from skimage import filters

    otsu: Any = filters.threshold_otsu  # scikit-image leaves it untyped
    return float(otsu(values))


def _pointing(values: Float, hits: Float) -> float:
    candidates = np.isfinite(values) & np.isfinite(hits)
    if not candidates.any():
        return float("nan")
    return float(hits[candidates & (values == values[candidates].max())].mean())
