"""Following a place from frame to frame: the best match of its token near where it was last."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.maps.similarity import anchor_directions

REACH = 4
"""Tokens in every direction from the last place that are searched for one frame."""
_NEARER = 0.002
"""What a match loses per token of distance, so that of equals the nearest is taken."""


@dataclass(frozen=True, slots=True)
class Match:
    """Position where a place was found again.

    Parameters
    ----------
    pixel_yx
        Position where it was found, (row, column) in pixels of level 0.
    similarity
        Cosine, less each frame's mean token, to what was looked for; NaN where nothing could be compared.
    """

    pixel_yx: tuple[float, float]
    similarity: float


def direction_of(embedding: Embedding, pixel_yx: tuple[float, float]) -> Float32:
    """Return the direction by which a place is found again in other frames, (dim,) float32.

    Raises
    ------
    InvalidAnchorError
        If the place is outside the region, or its token has not been computed.
    """
    direction: Float32 = anchor_directions(embedding, [pixel_yx], centred=True)[0]
    return direction


def find_again(
    embedding: Embedding, direction: Float32, pixel_yx: tuple[float, float], reach: int = REACH
) -> Match:
    """Find what looked so, near where it was last.

    The place moves by whole tokens, so that it stays where it is in its token and does not drift.

    Parameters
    ----------
    embedding
        Embedding of the frame to search.
    direction
        Feature from `direction_of`, of the frame in which the place was set.
    pixel_yx
        Position where it was last, as (row, column) in pixels of level 0.
    reach
        Tokens in every direction that are searched.
    """
    grid = embedding.grid
    if not grid.contains(pixel_yx):
        return Match(pixel_yx, float("nan"))
    row, col = grid.token_at(pixel_yx)
    top, left = max(0, row - reach), max(0, col - reach)
    near = np.asarray(embedding.tokens[top : row + reach + 1, left : col + reach + 1], np.float32)
    cosines = _cosines(near - embedding.mean_token, direction)
    if not np.isfinite(cosines).any():
        return Match(pixel_yx, float("nan"))
    away = np.hypot(*np.ogrid[top - row : top - row + len(near), left - col : left - col + near.shape[1]])
    best = np.unravel_index(int(np.nanargmax(cosines - _NEARER * away)), cosines.shape)
    step = np.array([best[0] + top - row, best[1] + left - col]) * grid.stride_yx
    last = np.add(grid.origin_yx, grid.extent_yx) - 1  # the last token may reach into padding
    moved = np.minimum(np.add(pixel_yx, step), np.maximum(last, pixel_yx))
    return Match((float(moved[0]), float(moved[1])), float(cosines[best]))


def follow(
    embeddings: Sequence[Embedding], start: int, pixel_yx: tuple[float, float], reach: int = REACH
) -> tuple[Match, ...]:
    """Follow a place through frames, forwards and backwards from the one in which it was set.

    Parameters
    ----------
    embeddings
        Embeddings of the frames, in their order.
    start
        Index of the one in which the place was set.
    pixel_yx
        Position of the place, (row, column) in pixels of level 0.
    reach
        Tokens in every direction that are searched from frame to frame; 0 to stay at the pixel.

    Returns
    -------
    tuple of Match
        Matches, one for each frame.

    Raises
    ------
    InvalidAnchorError
        If the place is outside the region.
    """
    direction = direction_of(embeddings[start], pixel_yx)
    found = {start: Match(pixel_yx, 1.0)}
    for way in (range(start + 1, len(embeddings)), range(start - 1, -1, -1)):
        here = pixel_yx
        for index in way:
            found[index] = find_again(embeddings[index], direction, here, reach)
            here = found[index].pixel_yx
    return tuple(found[index] for index in range(len(embeddings)))


def _cosines(tokens: Float32, direction: Float32) -> Float32:
    lengths = np.linalg.norm(tokens, axis=-1)
    cosines: Float32 = np.divide(tokens @ direction, lengths, out=np.zeros_like(lengths), where=lengths != 0)
    return cosines
