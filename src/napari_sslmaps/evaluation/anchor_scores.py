"""How well similarity to an anchor finds the anchor's class, beside what nearness alone finds.

Tokens near an anchor are mostly of its class, and any smooth map is high there. So areas under the ROC curve
are given by distance from the anchor too, and each beside that of the distance itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.estimate import Estimate
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.core.similarity import Anchors
from napari_sslmaps.errors import AnnotationError, InvalidAnchorError, InvalidOptionError
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.evaluation.intervals import bootstrap_mean, paired_difference
from napari_sslmaps.evaluation.ranking import Ranking, ranked_areas

Stratum = Literal["all", "near", "middle", "far"]
STRATA: tuple[Stratum, ...] = ("all", "near", "middle", "far")
_LATTICE = 64
_CHUNK = 2_000_000
MOST_TOKENS = 4096
"""Among so many tokens, spread evenly, an anchor's class is looked for; more cost time and tell little."""
_DECIMALS = 6
"""Cosines that agree to as many are ties: single precision tells no more."""

Float = NDArray[np.float64]
_Options = tuple[tuple[float, float], NDArray[np.intp]]
"""Distances at which middle and far begin, and the tokens that are ranked."""


@dataclass(frozen=True, slots=True, eq=False)
class AnchorScores:
    """Areas under the ROC curve of similarity to anchors, one for each anchor; 0.5 is chance.

    Parameters
    ----------
    anchors, kinds
        (n, 2) pixel positions and (n,) their classes: the same for every encoder of one region and seed.
    areas
        (n,) for each of `STRATA`: among all tokens, those near, at middle distance and far. NaN where a
        stratum lacks the class or others, or the anchor's token is not computed.
    nearness
        The same of the distance alone: what any smooth map gets for nothing.
    bounds
        Distances from the anchor at which middle and far begin.
    unit
        Of the bounds: ``px`` of level 0 or ``µm``.
    centred
        Whether the region's mean token was subtracted.
    across
        (n,) areas among the tokens of another image; NaN without one.
    grid, ranked
        Of the tokens, and the numbers of those that were ranked, in reading order.
    """

    anchors: Float
    kinds: NDArray[np.int64]
    areas: Mapping[Stratum, Float]
    nearness: Mapping[Stratum, Float]
    bounds: tuple[float, float]
    unit: Literal["px", "µm"]
    centred: bool
    across: Float
    grid: TokenGrid
    ranked: NDArray[np.intp]

    def mean(self, stratum: Stratum = "all") -> Estimate:
        """Mean area with its interval over anchors; to join regions, see `intervals.bootstrap_mean`."""
        return bootstrap_mean(self.areas[stratum])

    def above_nearness(self, stratum: Stratum = "all") -> Estimate:
        """Mean difference to the area of nearness, paired by anchor, with its interval."""
        return paired_difference(self.areas[stratum], self.nearness[stratum])


def draw_anchors(annotation: Annotation, grid: TokenGrid, *, count: int = 64, seed: int = 0) -> Float:
    """Draw annotated pixels of a region, the same whatever the size of an encoder's tokens.

    Parameters
    ----------
    annotation
        The classes that the region has share the anchors alike. Background gets none: it is no one thing.
    grid
        Any grid over the region.
    count
        All in all; at least one for each class, and no more than it has pixels.
    seed
        Of the draw.

    Returns
    -------
    (n, 2) float64, (row, column) in pixels of level 0, class by class.

    Raises
    ------
    AnnotationError
        If the region has no annotated class.
    """
    labels, offset = annotation.crop(grid)
    scale = np.divide(annotation.shape_yx, annotation.labels.shape)
    rng = np.random.default_rng(seed)
    flat = labels.ravel()
    found = [(kind, np.flatnonzero(flat == kind)) for kind in annotation.classes]
    there = [places for _, places in found if len(places)]
    if not there:
        raise AnnotationError(
            "Expected an annotated class in the region to draw anchors from; there is none. Choose a region "
            "that has one."
        )
    share = max(1, count // len(there))
    drawn = np.concatenate([rng.choice(places, min(share, len(places)), replace=False) for places in there])
    corners = np.stack(np.unravel_index(drawn, labels.shape), axis=1) + offset
    pixels = np.floor((corners + 0.5) * scale)
    low = np.ceil(np.asarray(grid.origin_yx) - 0.5)
    high = np.ceil(np.add(grid.origin_yx, grid.extent_yx) - 0.5) - 1
    inside: Float = np.clip(pixels, low, high)
    return inside


def score_anchors(  # noqa: PLR0913  # the options of one score, as keywords
    embedding: Embedding,
    annotation: Annotation,
    *,
    anchors: Anchors | None = None,
    count: int = 64,
    seed: int = 0,
    centred: bool = True,
    bounds: tuple[float, float] | None = None,
    spacing_um_yx: tuple[float, float] | None = None,
    across: tuple[Embedding, Annotation] | None = None,
    like: AnchorScores | None = None,
) -> AnchorScores:
    """Score how well the similarity to anchors finds the pixels of their class.

    Each token counts as many pixels of the class and of others as it covers; the anchor's own token counts
    none. The class is told from all other annotated pixels. Of regions with more than 4096 annotated tokens,
    that many are ranked, spread evenly.

    Parameters
    ----------
    embedding
        Tokens of a region.
    annotation
        Of the same image.
    anchors
        (row, column) pixel positions on annotated pixels; drawn by `draw_anchors` if omitted.
    count, seed
        Of the drawing.
    centred
        Subtract the mean token first: the region's, or for `across` the mean of both regions' means.
    bounds
        Distances, in pixels of level 0, or in µm with `spacing_um_yx`, at which the middle and the far
        stratum begin. If omitted, the terciles of the distances between anchors and the whole region,
        which depend on no encoder.
    spacing_um_yx
        Micrometres per pixel of level 0: distances are then in µm.
    across
        Tokens and annotation of another image, by the same encoder, in which the same anchors look for their
        class.
    like
        Scores of another method by the same annotation. Where it ranked the same tokens for the same anchors,
        its areas of nearness are taken over, which halves the work.

    Raises
    ------
    AnnotationError
        If there is nothing to tell apart; see `Annotation.check_scorable`.
    InvalidAnchorError
        If an anchor lies outside the region or on a pixel that is left out.
    InvalidOptionError
        If the bounds do not rise, or `across` is of another encoder.
    """
    annotation.check_scorable(embedding.grid)
    if anchors is None:
        places = draw_anchors(annotation, embedding.grid, count=count, seed=seed)
    else:
        places = np.asarray(anchors, float).reshape(-1, 2)
    kinds = _kinds_under(places, annotation)
    tokens = np.array([embedding.grid.token_at(place) for place in places])
    spacing = np.asarray(spacing_um_yx or (1.0, 1.0))
    limits = _tercile_bounds(places, embedding.grid, spacing) if bounds is None else bounds
    if not 0 < limits[0] <= limits[1]:
        raise InvalidOptionError(f"Expected two rising distances above 0 as bounds; got {limits}.")
    own = embedding.mean_token if centred else None
    cosines = _cosines(embedding, _directions(embedding, tokens, own), own)
    weights = _weights(embedding, annotation)
    ranked, anchored = _ranked_tokens(weights), _Anchored(places, kinds, tokens, spacing)
    known = _nearness_known(like, embedding.grid, places, (limits, ranked))
    areas, nearness = _by_stratum(cosines, weights, anchored, (limits, ranked), nearness=known)
    return AnchorScores(
        anchors=places,
        kinds=kinds,
        areas=areas,
        nearness=nearness,
        bounds=limits,
        unit="px" if spacing_um_yx is None else "µm",
        centred=centred,
        across=_across(embedding, tokens, kinds, across, centred=centred),
        grid=embedding.grid,
        ranked=ranked,
    )


def _nearness_known(
    like: AnchorScores | None, grid: TokenGrid, places: Float, options: _Options
) -> Mapping[Stratum, Float] | None:
    limits, ranked = options
    alike = (
        like is not None
        and (like.grid, like.bounds) == (grid, limits)
        and np.array_equal(like.anchors, places)
        and np.array_equal(like.ranked, ranked)
    )
    return like.nearness if alike and like is not None else None


@dataclass(frozen=True, slots=True, eq=False)
class _Anchored:
    """Anchors: their pixels, classes and tokens, and the length of a pixel."""

    places: Float
    kinds: NDArray[np.int64]
    tokens: NDArray[np.intp]
    spacing: Float


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    """Pixels of each kind in each token, (kinds, n); none where a token is unknown."""

    grid: TokenGrid
    counts: Float
    kinds: tuple[int, ...]

    def of(self, kinds: NDArray[np.int64]) -> tuple[Float, Float]:
        """Pixels of the class and of others, (anchors, n) each."""
        rows = {kind: index for index, kind in enumerate(self.kinds)}
        whole = self.counts.sum(axis=0)
        empty = np.zeros_like(whole)
        positive = np.stack([self.counts[rows[kind]] if kind in rows else empty for kind in kinds.tolist()])
        return positive, whole - positive


def _weights(embedding: Embedding, annotation: Annotation) -> _Weights:
    grid = embedding.grid
    counts = np.moveaxis(annotation.pixel_counts(grid), -1, 0).reshape(len(annotation.kinds), -1)
    known = np.isfinite(embedding.tokens[:, :, 0]).ravel()
    return _Weights(grid, counts * known, annotation.kinds)


def _by_stratum(
    cosines: Float32,
    weights: _Weights,
    anchored: _Anchored,
    options: _Options,
    *,
    nearness: Mapping[Stratum, Float] | None,
) -> tuple[Mapping[Stratum, Float], Mapping[Stratum, Float]]:
    """Areas of the cosines, and those of nearness unless they are known, by stratum."""
    limits, columns = options
    count = len(cosines)
    areas: dict[Stratum, Float] = {stratum: np.full(count, np.nan) for stratum in STRATA}
    by_distance: dict[Stratum, Float] = {stratum: np.full(count, np.nan) for stratum in STRATA}
    cosines, weights = cosines[:, columns], replace(weights, counts=weights.counts[:, columns])
    centres = _centres(weights.grid)[columns]
    own = anchored.tokens[:, 0] * weights.grid.cols + anchored.tokens[:, 1]
    step = max(1, _CHUNK // len(columns))
    for start in range(0, count, step):
        part = slice(start, start + step)
        distances = np.linalg.norm((anchored.places[part, None] - centres) * anchored.spacing, axis=-1)
        positive, negative = weights.of(anchored.kinds[part])
        for counts in (positive, negative):
            counts[own[part, None] == columns] = 0.0
        which = np.digitize(distances, limits)
        by_cosine = Ranking(cosines[part])
        by_nearness = Ranking(-distances) if nearness is None else None
        known = np.isfinite(cosines[part]).any(axis=1)
        for index, stratum in enumerate(STRATA, start=-1):
            inside = which == index if index >= 0 else np.ones_like(which, bool)
            ahead, behind = positive * inside, negative * inside
            areas[stratum][part] = np.where(known, ranked_areas(by_cosine, ahead, behind), np.nan)
            if by_nearness is not None:
                by_distance[stratum][part] = ranked_areas(by_nearness, ahead, behind)
    return areas, by_distance if nearness is None else nearness


def _ranked_tokens(weights: _Weights) -> NDArray[np.intp]:
    """Tokens with annotated pixels; of more than `MOST_TOKENS` every n-th, with n as small as can be."""
    places = np.flatnonzero(weights.counts.any(axis=0))
    if len(places) <= MOST_TOKENS:
        return places
    return places[np.linspace(0, len(places) - 1, MOST_TOKENS).round().astype(np.intp)]


def _across(
    embedding: Embedding,
    tokens: NDArray[np.intp],
    kinds: NDArray[np.int64],
    other: tuple[Embedding, Annotation] | None,
    *,
    centred: bool,
) -> Float:
    if other is None:
        return np.full(len(kinds), np.nan)
    theirs, annotation = other
    ours, name = embedding.provenance.encoder, theirs.provenance.encoder
    if ours != name or embedding.tokens.shape[-1] != theirs.tokens.shape[-1]:
        raise InvalidOptionError(
            f"Expected another image by the same encoder, {ours!r}; got one by {name!r}. Tokens of two "
            "encoders cannot be compared."
        )
    mean = (embedding.mean_token + theirs.mean_token) / np.float32(2) if centred else None
    cosines = _cosines(theirs, _directions(embedding, tokens, mean), mean)
    positive, negative = _weights(theirs, annotation).of(kinds)
    known = np.isfinite(cosines).any(axis=1)
    return np.where(known, ranked_areas(Ranking(cosines), positive, negative), np.nan)


def _kinds_under(places: Float, annotation: Annotation) -> NDArray[np.int64]:
    kinds = annotation.labels_at(places)
    if not len(kinds) or (kinds < 0).any():
        wrong = tuple(places[kinds < 0][0].tolist()) if len(kinds) else "none"
        raise InvalidAnchorError(
            f"Expected anchors on annotated pixels; got {wrong}. Move it, or annotate what is there."
        )
    return kinds


def _centres(grid: TokenGrid) -> Float:
    return grid.token_to_pixel(np.argwhere(np.ones(grid.shape, bool)))


def _tercile_bounds(places: Float, grid: TokenGrid, spacing: Float) -> tuple[float, float]:
    shares = (np.arange(_LATTICE) + 0.5) / _LATTICE
    rows, cols = (
        origin - 0.5 + extent * shares for origin, extent in zip(grid.origin_yx, grid.extent_yx, strict=True)
    )
    lattice = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1).reshape(-1, 2)
    lengths = np.linalg.norm((places[:, None] - lattice) * spacing, axis=-1)
    near, far = np.quantile(lengths, [1 / 3, 2 / 3])
    return float(near), float(far)


def _directions(embedding: Embedding, tokens: NDArray[np.intp], mean: Float32 | None) -> Float32:
    """Return the unit vectors (anchors, dim) of tokens; NaN where one is not computed."""
    picked = np.stack([np.asarray(embedding.tokens[row : row + 1])[0, col] for row, col in tokens])
    return _unit(picked if mean is None else picked - mean)


def _cosines(embedding: Embedding, directions: Float32, mean: Float32 | None) -> Float32:
    """Cosine of every token to every direction, (anchors, n), band by band of rows."""
    rows, cols, dim = embedding.tokens.shape
    found = np.empty((len(directions), rows * cols), np.float32)
    step = max(1, _CHUNK // (cols * dim))
    for start in range(0, rows, step):
        band = np.asarray(embedding.tokens[start : start + step]).reshape(-1, dim)
        unit = _unit(band if mean is None else band - mean)
        found[:, start * cols : start * cols + len(band)] = directions @ unit.T
    return found.round(_DECIMALS, out=found)


def _unit(vectors: Float32) -> Float32:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Float32 = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths != 0)
    return unit
