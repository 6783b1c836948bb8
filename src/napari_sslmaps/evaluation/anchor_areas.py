"""Cosines of tokens to anchors, and the areas that they and mere nearness have around each anchor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.regrid import spread_tokens
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.evaluation.ranking import areas_by_stratum

Float = NDArray[np.float64]
_CHUNK = 2_000_000
_DECIMALS = 6
"""Cosines that agree to as many are ties: single precision tells no more."""
_BANDS = 3


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
        Of all tokens.
    ranked
        (n,) numbers of these tokens in reading order.
    counts
        (kinds, n) pixels of each kind.
    kinds
        Their labels.
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


def rank_cosines(cosines: Float32, weights: TokenWeights, anchored: Anchored) -> Float:
    """Areas under the curves of cosines, (all and the strata, anchors); NaN without the anchor's token."""
    areas = np.concatenate(
        [
            areas_by_stratum(cosines[part][:, weights.ranked], *counts, strata, count=_BANDS)
            for part, _, counts, strata in _parts(weights, anchored)
        ],
        axis=1,
    )
    return np.where(np.isfinite(cosines).any(axis=1), areas, np.nan)


def rank_nearness(weights: TokenWeights, anchored: Anchored) -> Float:
    """Areas under the curves of the distance from the anchor alone, (all and the strata, anchors)."""
    areas: Float = np.concatenate(
        [
            areas_by_stratum(-distances, *counts, strata, count=_BANDS)
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
