"""Similarity at coarser levels, for maps that follow a drag.

A level holds the means of 2 × 2 *normalised* tokens of the level below. As the dot product is linear,
its similarity to an anchor is exactly the box mean of the fine similarity map.
"""

from collections.abc import Iterator

import numpy as np

from napari_sslmaps.core.neighbourhood import neighbourhood_of
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.maps.similarity import (
    Anchors,
    Combine,
    anchor_directions,
    combine_cosines,
    dot_products,
    similarity_map,
)


class SimilarityPyramid:
    """Similarity maps of one embedding at several resolutions.

    Parameters
    ----------
    embedding
        Tokens of a region; a level is built from it when first asked for, and kept.
    centred
        Whether the region's mean token is subtracted first.
    scale
        Standard deviation, in pixels, of the Gaussian that tokens are averaged over; 0 for none.
    """

    def __init__(self, embedding: Embedding, *, centred: bool = False, scale: float = 0.0) -> None:
        self.embedding = embedding
        self.centred = centred
        self.scale = scale
        self._levels: dict[int, Float32] = {}

    def level_for(self, max_bytes: int) -> int:
        """Return the finest level whose tokens take at most `max_bytes`."""
        rows, cols, dim = self.embedding.tokens.shape
        level = 0
        while rows * cols * dim * 4 > max_bytes and max(rows, cols) > 1:
            rows, cols, level = -(-rows // 2), -(-cols // 2), level + 1
        return level

    def prepare(self, level: int) -> None:
        """Build the tokens of a level, so that its first map is as quick as the next."""
        if level > 0:
            self._tokens(level)

    def values(
        self,
        anchors: Anchors,
        *,
        negative: Anchors = (),
        combine: Combine = "mean",
        level: int = 0,
    ) -> Float32:
        """Compute the similarity map, (rows / 2ᵏ, cols / 2ᵏ) rounded up, at level k.

        Anchor tokens are always those of the finest level.
        """
        if level == 0:
            return similarity_map(
                self.embedding,
                anchors,
                negative=negative,
                combine=combine,
                centred=self.centred,
                scale=self.scale,
            ).values
        tokens = self._tokens(level)
        flat = tokens.reshape(-1, tokens.shape[-1])
        positive_directions, negative_directions = (
            anchor_directions(self.embedding, positions, centred=self.centred, scale=self.scale)
            for positions in (anchors, negative)
        )
        return combine_cosines(
            lambda direction: dot_products(flat, direction), positive_directions, negative_directions, combine
        ).reshape(tokens.shape[:2])

    def _tokens(self, level: int) -> Float32:
        if level not in self._levels:
            self._levels[level] = self._build(level)
        return self._levels[level]

    def _build(self, level: int) -> Float32:
        """Normalise and average a few rows of tokens at a time, so that no finer level is ever held whole."""
        embedding = self.embedding
        rows, cols, dim = embedding.tokens.shape
        around = neighbourhood_of(embedding, self.scale) if self.scale else None
        of = embedding if around is None else around
        norms = of.centred_inverse_norms if self.centred else of.inverse_norms
        weights = norms.reshape(rows, cols) * _shares(rows, level)[:, None] * _shares(cols, level)
        factor = 2**level
        coarse = np.empty((-(-rows // factor), -(-cols // factor), dim), np.float32)
        for part, tokens in _strips(embedding, factor) if around is None else around.strips(factor):
            strip = tokens - of.mean_token if self.centred else tokens
            for start in range(0, len(strip), factor):
                box = slice(start, start + factor)
                coarse[(part.start + start) // factor] = _boxed(strip[box], weights[part][box], factor)
        return coarse


def _strips(embedding: Embedding, height: int) -> Iterator[tuple[slice, Float32]]:
    rows = len(embedding.tokens)
    for start in range(0, rows, height):
        part = slice(start, min(start + height, rows))
        yield part, embedding.tokens[part]


def _shares(size: int, level: int) -> Float32:
    """Return the share of each of `size` tokens in its mean: halved by halving, an odd last one undivided."""
    shares, parents = np.ones(size, np.float32), np.arange(size)
    for _ in range(level):
        parents //= 2
        shares /= np.where(2 * parents + 1 < size, 2, 1)
        size = -(-size // 2)
    return shares


def _boxed(tokens: Float32, weights: Float32, factor: int) -> Float32:
    """Sum (n, cols, dim) tokens by weights (n, cols) over all rows and each `factor` columns."""
    rows, cols, dim = tokens.shape
    whole = cols - cols % factor
    boxes = tokens[:, :whole].reshape(rows, -1, factor, dim)
    found: Float32 = np.matmul(weights[:, :whole].reshape(rows, -1, 1, factor), boxes).sum(axis=0)[:, 0]
    if whole == cols:
        return found
    rest = np.matmul(weights[:, None, whole:], tokens[:, whole:]).sum(axis=0)
    return np.concatenate([found, rest])
