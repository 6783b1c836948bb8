"""Scores of a map against an annotation.

A token carries as many positive and negative pixels as it covers, so that every score is that of the map
spread over the image's pixels, ties included, without ever spreading it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import TokenMap
from napari_sslmaps.errors import AnnotationError, InvalidOptionError
from napari_sslmaps.evaluation.annotation import IGNORE, Annotation
from napari_sslmaps.evaluation.auroc import grouped_auroc
from napari_sslmaps.maps.pca import ComponentMap
from napari_sslmaps.serialise import Measured, strict

Float = NDArray[np.float64]


@strict
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
        Component of a PCA map that was scored, and its direction; empty for other maps.
    """

    auroc: Measured
    average_precision: Measured
    pointing: Measured
    dice_best: Measured
    best_threshold: Measured
    dice_otsu: Measured
    otsu_threshold: Measured
    prevalence: Measured
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
        Classes of the same image's pixels.
    kind
        The class to be found, against all other annotated pixels; None for all classes together against the
        background.
    component
        Component of a PCA map: 1, 2 or 3, or −1, −2, −3 for the component reversed, since its direction means
        nothing. None takes the one of the six with the largest AUROC, which favours PCA; the result says
        which.

    Returns
    -------
    MapScores
        AUROC, average precision, Dice at the best and at Otsu's threshold, prevalence: all in [0, 1].

    Raises
    ------
    AnnotationError
        If the tokens that are known hold only pixels of the class, or none of it.
    InvalidOptionError
        If the map holds labels, or there is no such component.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> tokens = np.zeros((4, 4, 2))
    >>> tokens[:, :2, 0] = tokens[:, 2:, 1] = 1
    >>> result = ssl.similarity_map(ssl.Embedding.from_tokens(tokens, stride=16), [(8, 8)], centred=False)
    >>> labels = np.repeat([[1] * 32 + [0] * 32], 64, axis=0)
    >>> scores = ssl.score_map(result, ssl.Annotation.from_labels(labels, (64, 64)))
    >>> float(scores.auroc), float(scores.prevalence)
    (1.0, 0.5)
    """
    annotation.check_scorable(result.grid)
    if kind is not None and kind not in annotation.kinds:
        raise AnnotationError(
            f"Expected one of the annotated classes {', '.join(map(str, annotation.classes))}; got {kind}."
        )
    return _score(Planes.of(result, component), Target.of(annotation, result.grid, kind))


def score_maps(result: TokenMap, annotation: Annotation, *, component: int | None = None) -> ClassScores:
    """Score a map against each class of the region; see `score_map`.

    Raises
    ------
    AnnotationError
        If no class can be told from other pixels.
    """
    annotation.check_scorable(result.grid)
    planes = Planes.of(result, component)
    totals = annotation.pixel_counts(result.grid)[planes.first.known].sum(axis=0)
    kinds = [
        kind
        for kind, total in zip(annotation.kinds, totals, strict=True)
        if kind > 0 and 0 < total < totals.sum()
    ]
    if not kinds:
        raise AnnotationError(_ONE_KIND)
    return ClassScores({kind: _score(planes, Target.of(annotation, result.grid, kind)) for kind in kinds})


_ONE_KIND = (
    "Expected pixels of the class and others where the map is known; there are only those of one kind. "
    "Choose a larger region, or run to the end."
)


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Pixels to be found in each token.

    Parameters
    ----------
    positive, negative
        Number of pixels of each token, (rows, cols), that are of the class, and that are not.
    hits
        (rows, cols), 1 where the pixel at the centre is of the class, 0 where it is not, NaN where it is
        left out.
    """

    positive: Float
    negative: Float
    hits: Float

    @classmethod
    def of(cls, annotation: Annotation, grid: TokenGrid, kind: int | None) -> Self:
        """Look for one class, or for all together if `kind` is None."""

        def is_positive(label: NDArray[np.int64]) -> NDArray[np.bool_]:
            return label > 0 if kind is None else label == kind

        counts = annotation.pixel_counts(grid)
        positive = counts[..., is_positive(np.array(annotation.kinds))].sum(axis=-1)
        rows, cols = ((edges[1:] + edges[:-1]) / 2 for edges in grid.edges_yx)
        places = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1).reshape(-1, 2)
        labels = annotation.labels_at(places).reshape(grid.shape)
        hits = np.where(labels == IGNORE, np.nan, is_positive(labels))
        return cls(positive, counts.sum(axis=-1) - positive, hits)


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A map's values, sorted once for all classes.

    Parameters
    ----------
    values
        Values of the map, (rows, cols).
    known
        Mask of the tokens that have a value.
    distinct
        The values that occur, ascending.
    place
        Index of each known token among those values.
    """

    values: Float
    known: NDArray[np.bool_]
    distinct: Float
    place: NDArray[np.intp]

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Self:
        """Sort values, NaN where unknown."""
        wide = values.astype(np.float64)
        known = np.isfinite(wide)
        distinct, place = np.unique(wide[known], return_inverse=True)
        return cls(wide, known, distinct, place)

    @property
    def reversed(self) -> Plane:
        """The same values, negated."""
        last = len(self.distinct) - 1
        return Plane(-self.values, self.known, -self.distinct[::-1], last - self.place)

    def groups(self, target: Target) -> tuple[Float, Float]:
        """Return the pixels of the class and of others at each distinct value."""
        positive, negative = (
            np.bincount(self.place, part[self.known], minlength=len(self.distinct)).astype(np.float64)
            for part in (target.positive, target.negative)
        )
        return positive, negative


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Values of a map that are scored.

    Parameters
    ----------
    by_name
        Planes by the variant that they are; of several the best is looked for, their reverses among them.
    """

    by_name: Mapping[str, Plane]

    @classmethod
    def of(cls, result: TokenMap, component: int | None) -> Self:
        """Take a map's values, or the component of a PCA map; see `score_map`."""
        if not np.issubdtype(result.values.dtype, np.floating):
            raise InvalidOptionError("Expected a map of real numbers; labels have no order to score.")
        if not isinstance(result, ComponentMap):
            if component is not None:
                raise InvalidOptionError("Expected no component, since the map is not one of PCA.")
            return cls({"": Plane.of(result.values)})
        # colours are clipped; the scores they were made of are not
        scores = result.values if result.scores is None else result.scores
        if component is None:
            return cls({f"component {index + 1}": Plane.of(scores[..., index]) for index in range(3)})
        if abs(component) not in {1, 2, 3}:
            raise InvalidOptionError(f"Expected a component 1, 2, 3, −1, −2 or −3; got {component}.")
        plane = Plane.of(scores[..., abs(component) - 1])
        name = f"component {abs(component)}"
        return cls({name: plane} if component > 0 else {f"{name}, reversed": plane.reversed})

    @property
    def first(self) -> Plane:
        """Any of them: all are known at the same tokens."""
        return next(iter(self.by_name.values()))


def _score(planes: Planes, target: Target) -> MapScores:
    if len(planes.by_name) == 1:
        name, plane = next(iter(planes.by_name.items()))
        return _score_plane(plane, target, name)
    areas = {name: grouped_auroc(*plane.groups(target)) for name, plane in planes.by_name.items()}
    best = max(areas, key=lambda name: abs(areas[name] - 0.5))
    plane, ahead = planes.by_name[best], areas[best] >= 0.5
    name = f"{best}; best of six" if ahead else f"{best}, reversed; best of six"
    return _score_plane(plane if ahead else plane.reversed, target, name)


def _score_plane(plane: Plane, target: Target, variant: str) -> MapScores:
    positive, negative = plane.groups(target)
    whole, others = positive.sum(), negative.sum()
    if whole == 0 or others == 0:
        raise AnnotationError(_ONE_KIND)
    thresholds = plane.distinct[::-1]
    true, false = np.cumsum(positive[::-1]), np.cumsum(negative[::-1])
    dice = 2 * true / (true + false + whole)
    best = int(dice.argmax())
    otsu = _otsu(plane.values[plane.known])
    above = int((thresholds > otsu).sum())
    precision = np.divide(true, true + false, out=np.zeros_like(true), where=true > 0)
    return MapScores(
        auroc=grouped_auroc(positive, negative),
        average_precision=float((positive[::-1] * precision).sum() / whole),
        pointing=_pointing(plane.values, target.hits),
        dice_best=float(dice[best]),
        best_threshold=float(thresholds[best]),
        dice_otsu=float(dice[above - 1]) if above else 0.0,
        otsu_threshold=otsu,
        prevalence=float(whole / (whole + others)),
        unknown=int((~plane.known).sum()),
        variant=variant,
    )


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
