"""Scores of similarity to an anchor against the anchor's class, beside those of nearness alone.

Tokens near an anchor are mostly of its class, and any smooth map is high there. So areas under the ROC curve
are given by distance from the anchor too, and each beside that of the distance itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from napari_sslmaps.core.arguments import check_seed
from napari_sslmaps.core.findings import Estimate
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.regrid import spread_tokens
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.core.whole import whole_number
from napari_sslmaps.errors import AnnotationError, InvalidAnchorError, InvalidOptionError
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.evaluation.auroc import auroc, stratified_auroc
from napari_sslmaps.evaluation.uncertainty import bootstrap_mean, paired_difference
from napari_sslmaps.maps.similarity import Anchors

Stratum = Literal["all", "near", "middle", "far"]
STRATA: tuple[Stratum, ...] = ("all", "near", "middle", "far")
_LATTICE = 64
_MOST_MEASURED = 1_000_000
"""Pixels of an annotation whose depth is measured."""
Float = NDArray[np.float64]


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
        Unit of the bounds: ``px`` of level 0 or ``µm``.
    centred
        Whether the region's mean token was subtracted.
    across
        (n,) areas among the tokens of another image; NaN without one.
    grid, ranked
        Grid of the tokens, and the numbers, in reading order, of those with annotated pixels.
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
        Grid over the region, of any encoder.
    count
        All in all; at least one for each class, and no more than it has pixels.
    seed
        Seed of the draw.

    Returns
    -------
    ndarray
        Positions (n, 2) float64, (row, column) in pixels of level 0, class by class.

    Raises
    ------
    AnnotationError
        If the region has no annotated class.
    """
    if whole_number(count) is None or count < 1:
        raise InvalidOptionError(f"Expected a whole number of anchors above 0; got {count!r}.")
    labels, offset = annotation.crop(grid)
    check_seed(seed)
    rng = np.random.default_rng(seed)
    flat = labels.ravel()
    found = [(kind, np.flatnonzero(flat == kind)) for kind in annotation.classes]
    there = [places for _, places in found if len(places)]
    if not there:
        raise AnnotationError(
            "Expected an annotated class in the region to sample anchors from; there is none. Choose "
            "a region "
            "that has one."
        )
    share = max(1, count // len(there))
    drawn = np.concatenate([rng.choice(places, min(share, len(places)), replace=False) for places in there])
    return _on_level_0(annotation, grid, np.stack(np.unravel_index(drawn, labels.shape), axis=1) + offset)


def _on_level_0(annotation: Annotation, grid: TokenGrid, corners: NDArray[np.intp]) -> Float:
    """Return the (n, 2) pixels of level 0, on the grid's region, in which pixels of an annotation lie."""
    pixels = np.floor((corners + 0.5) * np.divide(annotation.shape_yx, annotation.labels.shape))
    low = np.ceil(np.asarray(grid.origin_yx) - 0.5)
    high = np.ceil(np.add(grid.origin_yx, grid.extent_yx) - 0.5) - 1
    inside: Float = np.clip(pixels, low, high)
    return inside


def middle_anchor(
    annotation: Annotation, grid: TokenGrid, computed: Sequence[Embedding] = ()
) -> tuple[float, float] | None:
    """Return the place that lies deepest inside the first class of a region, for a map that shows it.

    Parameters
    ----------
    annotation
        Classes of the image.
    grid
        Grid over the region, of any encoder.
    computed
        Embeddings of it, each of which has to have a token there.

    Returns
    -------
    tuple of float or None
        (row, column) in pixels of level 0; None if the region has no annotated class, or none with tokens.
    """
    labels, offset = annotation.crop(grid)
    every = max(1, round((labels.size / _MOST_MEASURED) ** 0.5))
    coarse = labels[::every, ::every]
    there = np.ones(coarse.shape, bool)
    for embedding in computed:
        known = np.isfinite(embedding.tokens[:, :, 0])
        along = np.arange(max(coarse.shape))[:, None] * every + offset
        tokens = np.array([embedding.grid.token_at(place) for place in _on_level_0(annotation, grid, along)])
        rows, columns = (tokens[:count, axis] for axis, count in enumerate(coarse.shape))
        there &= known[rows][:, columns]
    kind = next((kind for kind in annotation.classes if (there & (coarse == kind)).any()), None)
    if kind is None:
        return None
    depth = distance_transform_edt(np.pad(there & (coarse == kind), 1))[1:-1, 1:-1]
    place = np.multiply(np.unravel_index(depth.argmax(), depth.shape), every)
    row, column = _on_level_0(annotation, grid, (place + offset)[None])[0]
    return float(row), float(column)


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
    most_tokens: int | None = None,
) -> AnchorScores:
    """Score how well the similarity to anchors finds the pixels of their class.

    Each token counts as many pixels of the class and of others as it covers; the anchor's own token counts
    none. The class is told from all other annotated pixels.

    Parameters
    ----------
    embedding
        Tokens of a region.
    annotation
        Classes of the same image's pixels.
    anchors
        (row, column) pixel positions on annotated pixels; drawn by `draw_anchors` if omitted.
    count, seed
        Number of anchors to draw, and the seed of the draw.
    centred
        Whether to subtract the mean token first: the region's, or for `across` the mean of both regions'
        means.
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
    most_tokens
        Number of annotated tokens above which those of every n-th row and column are ranked, at most so many;
        all if omitted. A class of few tokens may then be missed.

    Returns
    -------
    AnchorScores
        The area under the ROC curve of each anchor, in [0, 1], among all tokens and by distance; the same
        of the distance alone; `mean` gives an estimate with its 95 % interval.

    Raises
    ------
    AnnotationError
        If there is nothing to tell apart; see `Annotation.check_scorable`.
    InvalidAnchorError
        If an anchor lies outside the region or on a pixel that is left out.
    InvalidOptionError
        If the bounds do not rise, or `across` is of another encoder.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> tokens = np.random.default_rng(0).normal(size=(8, 8, 4))
    >>> tokens[:, 4:] += 6
    >>> labels = np.repeat([[1] * 64 + [2] * 64], 128, axis=0)
    >>> annotation = ssl.Annotation.from_labels(labels, (128, 128))
    >>> scores = ssl.score_anchors(ssl.Embedding.from_tokens(tokens, stride=16), annotation, count=8)
    >>> len(scores.anchors), scores.mean().value > 0.9
    (8, True)
    """
    annotation.check_scorable(embedding.grid)
    if anchors is None:
        places = draw_anchors(annotation, embedding.grid, count=count, seed=seed)
    else:
        places = np.asarray(anchors, float)
        places = places.reshape(-1, 2) if not places.size else places
        if places.ndim != 2 or places.shape[1] != 2:
            raise InvalidAnchorError(
                f"Expected anchors as (row, column) pixels; got an array of shape {places.shape}."
            )
    kinds = _kinds_under(places, annotation)
    tokens = np.array([embedding.grid.token_at(place) for place in places])
    spacing = np.asarray(spacing_um_yx or (1.0, 1.0))
    limits = _tercile_bounds(places, embedding.grid, spacing) if bounds is None else bounds
    if not 0 < limits[0] <= limits[1]:
        raise InvalidOptionError(f"Expected two rising distances above 0 as bounds; got {limits}.")
    mean = embedding.mean_token if centred else None
    weights = TokenWeights.of(embedding, annotation, most_tokens)
    anchored = Anchored(places, kinds, tokens, spacing, limits)
    found = rank_cosines(
        cosines_to(embedding, directions_at(embedding, tokens, mean), mean), weights, anchored
    )
    if like is not None and _same_tokens(like, weights, anchored):
        nearness = like.nearness
    else:
        nearness = dict(zip(STRATA, rank_nearness(weights, anchored), strict=True))
    return AnchorScores(
        anchors=places,
        kinds=kinds,
        areas=dict(zip(STRATA, found, strict=True)),
        nearness=nearness,
        bounds=limits,
        unit="px" if spacing_um_yx is None else "µm",
        centred=centred,
        across=_across(embedding, tokens, kinds, across, centred=centred),
        grid=embedding.grid,
        ranked=weights.ranked,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Anchored:
    """Anchors of a region.

    Parameters
    ----------
    places, kinds
        (n, 2) pixel positions, and (n,) their classes.
    tokens
        (n, 2) rows and columns of the tokens that they lie on.
    spacing
        (2,) length of a pixel in the unit of the limits.
    limits
        Distances at which the middle and the far stratum begin.
    """

    places: Float
    kinds: NDArray[np.int64]
    tokens: NDArray[np.intp]
    spacing: Float
    limits: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class TokenWeights:
    """Annotated pixels of the tokens that are known and have some.

    Parameters
    ----------
    grid
        Grid of all tokens.
    ranked
        (n,) numbers of these tokens in reading order.
    counts
        (kinds, n) pixels of each kind.
    kinds
        Labels of the classes.
    """

    grid: TokenGrid
    ranked: NDArray[np.intp]
    counts: Float
    kinds: tuple[int, ...]

    @classmethod
    def of(cls, embedding: Embedding, annotation: Annotation, most: int | None = None) -> Self:
        """Count an annotation's pixels in tokens, at most in `most` of them; see `spread_tokens`."""
        counts = np.moveaxis(annotation.pixel_counts(embedding.grid), -1, 0)
        known = np.isfinite(embedding.tokens[:, :, 0])
        there = known & counts.any(axis=0)
        ranked = spread_tokens(there.ravel(), embedding.grid.cols, there.size if most is None else most)
        return cls(embedding.grid, ranked, counts.reshape(len(counts), -1)[:, ranked], annotation.kinds)

    def around(self, kinds: NDArray[np.int64]) -> tuple[Float, Float]:
        """Return the pixels of each anchor's class and those of others, (anchors, n) each."""
        rows = {kind: index for index, kind in enumerate(self.kinds)}
        whole = self.counts.sum(axis=0)
        empty = np.zeros_like(whole)
        positive = np.stack([self.counts[rows[kind]] if kind in rows else empty for kind in kinds.tolist()])
        return positive, whole - positive


def _same_tokens(like: AnchorScores, weights: TokenWeights, anchored: Anchored) -> bool:
    """Whether earlier scores ranked the same tokens around the same anchors."""
    return (
        (like.grid, like.bounds) == (weights.grid, anchored.limits)
        and np.array_equal(like.anchors, anchored.places)
        and np.array_equal(like.ranked, weights.ranked)
    )


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
    cosines = cosines_to(theirs, directions_at(embedding, tokens, mean), mean)
    weights = TokenWeights.of(theirs, annotation)
    areas = auroc(cosines[:, weights.ranked], *weights.around(kinds))
    return np.where(np.isfinite(cosines).any(axis=1), areas, np.nan)


def _kinds_under(places: Float, annotation: Annotation) -> NDArray[np.int64]:
    kinds = annotation.labels_at(places)
    if not len(kinds) or (kinds < 0).any():
        wrong = tuple(places[kinds < 0][0].tolist()) if len(kinds) else "none"
        raise InvalidAnchorError(
            f"Expected anchors on annotated pixels; got {wrong}. Move it, or annotate what is there."
        )
    return kinds


def _tercile_bounds(places: Float, grid: TokenGrid, spacing: Float) -> tuple[float, float]:
    shares = (np.arange(_LATTICE) + 0.5) / _LATTICE
    rows, cols = (
        origin - 0.5 + extent * shares for origin, extent in zip(grid.origin_yx, grid.extent_yx, strict=True)
    )
    lattice = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1).reshape(-1, 2)
    lengths = np.linalg.norm((places[:, None] - lattice) * spacing, axis=-1)
    near, far = np.quantile(lengths, [1 / 3, 2 / 3])
    return float(near), float(far)


_CHUNK = 2_000_000
_DECIMALS = 6
"""Cosines that agree to as many are ties: single precision tells no more."""
_BANDS = 3


def rank_cosines(cosines: Float32, weights: TokenWeights, anchored: Anchored) -> Float:
    """Areas under the curves of cosines, (all and the strata, anchors); NaN without the anchor's token."""
    areas = np.concatenate(
        [
            stratified_auroc(cosines[part][:, weights.ranked], *counts, strata, count=_BANDS)
            for part, _, counts, strata in _parts(weights, anchored)
        ],
        axis=1,
    )
    return np.where(np.isfinite(cosines).any(axis=1), areas, np.nan)


def rank_nearness(weights: TokenWeights, anchored: Anchored) -> Float:
    """Areas under the curves of the distance from the anchor alone, (all and the strata, anchors)."""
    areas: Float = np.concatenate(
        [
            stratified_auroc(-distances, *counts, strata, count=_BANDS)
            for _, distances, counts, strata in _parts(weights, anchored)
        ],
        axis=1,
    )
    return areas


_Part = tuple[slice, Float, tuple[Float, Float], NDArray[np.intp]]


def _parts(weights: TokenWeights, anchored: Anchored) -> Iterator[_Part]:
    """Anchors a few at a time: distances to tokens, pixels of the class and others, and strata."""
    tokens = np.stack(np.divmod(weights.ranked, weights.grid.cols), axis=1)
    centres = weights.grid.token_to_pixel(tokens)
    axes = list(zip(anchored.places.T, centres.T, anchored.spacing, strict=True))
    own = anchored.tokens[:, 0] * weights.grid.cols + anchored.tokens[:, 1]
    step = max(1, _CHUNK // max(1, len(centres)))
    for start in range(0, len(own), step):
        part = slice(start, start + step)
        y, x = ((places[part, None] - along) * size for places, along, size in axes)
        distances = np.sqrt(y * y + x * x)
        counts = weights.around(anchored.kinds[part])
        for pixels in counts:
            pixels[own[part, None] == weights.ranked] = 0.0
        yield part, distances, counts, np.digitize(distances, anchored.limits)


def directions_at(embedding: Embedding, tokens: NDArray[np.intp], mean: Float32 | None) -> Float32:
    """Return the unit vectors (anchors, dim) of tokens; NaN where one is not computed."""
    picked = np.stack([np.asarray(embedding.tokens[row : row + 1])[0, col] for row, col in tokens])
    return _unit(picked if mean is None else picked - mean)


def cosines_to(embedding: Embedding, directions: Float32, mean: Float32 | None) -> Float32:
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
