"""Diagnostics of an embedding: how far the borders of tiles show, and how many directions its tokens use."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from napari_sslmaps.core.results import Float32, as_numpy
from napari_sslmaps.core.tiling import Span, Tiles
from napari_sslmaps.core.tokens import Tokens

if TYPE_CHECKING:
    from torch import Tensor

_LINES, _ALONG = 32, 512
"""Borders along each axis, and tokens along each, that are looked at."""


def seam_score(tokens: Tokens, tiles: Tiles) -> float:
    """How much more neighbouring tokens differ across tile borders than inside tiles.

    Each tile sees its own surroundings alone, so that a token beside a border was computed in another context
    than its neighbour beyond. The difference of two tokens is their Euclidean distance. Of a large region up
    to 32 borders along each axis, evenly chosen, are compared with as many lines between them.

    Parameters
    ----------
    tokens
        (rows, cols, dim); NaN where not computed.
    tiles
        The plan they were computed by, `EmbeddingPlan.tiles`.

    Returns
    -------
    float
        Mean difference across borders over mean difference inside: 1 where borders do not show, 2 where they
        are as strong as what they divide. NaN without borders, or where all tokens inside are equal.
    """
    sums, counts = np.zeros(2), np.zeros(2)
    for axis, spans in enumerate((tiles.rows, tiles.cols)):
        across = {span.keep_start for span in spans} - {0}
        inside = set(range(1, tokens.shape[axis])) - across
        for kind, lines in enumerate((_near(inside, spans, tiles, axis), _near(across, spans, tiles, axis))):
            for line in lines:
                lengths = np.linalg.norm(_line(tokens, line, axis) - _line(tokens, line - 1, axis), axis=-1)
                there = np.isfinite(lengths)
                sums[kind] += lengths[there].sum(dtype=np.float64)
                counts[kind] += there.sum()
    if not counts.all() or sums[0] == 0:
        return float("nan")
    inside_mean, across_mean = sums / counts
    return float(across_mean / inside_mean)


def weave_score(tokens: Tokens, passes: int) -> float:
    """How much the passes of which a finer grid is woven show in it.

    Neighbours are of different passes, tokens that lie a patch apart of one pass. A token should differ less
    from its neighbour than from one a patch away.

    Parameters
    ----------
    tokens
        (rows, cols, dim); NaN where not computed.
    passes
        Passes along each axis: the patch over the stride.

    Returns
    -------
    float
        Mean difference of neighbours over that of tokens a patch apart: the smaller, the smoother; above 1
        the passes are a pattern in the grid. NaN with one pass, or where all tokens are equal.
    """
    if passes < 2:
        return float("nan")
    means = []
    for apart in (1, passes):
        lengths = [
            np.linalg.norm(_line(tokens, line + apart, axis) - _line(tokens, line, axis), axis=-1)
            for axis in (0, 1)
            for line in _evenly(range(tokens.shape[axis] - apart))
        ]
        known = np.concatenate([length[np.isfinite(length)] for length in lengths] or [np.zeros(0)])
        means.append(float(known.mean(dtype=np.float64)) if len(known) else float("nan"))
    return means[0] / means[1] if means[1] > 0 else float("nan")


def _near(lines: set[int], spans: Sequence[Span], tiles: Tiles, axis: int) -> list[int]:
    """Choose lines evenly, of those that tiles of the plan keep."""
    if tiles.chosen is not None:
        numbers = np.unravel_index(np.asarray(tiles.chosen), (len(tiles.rows), len(tiles.cols)))[axis]
        lines = lines & {line for number in set(numbers.tolist()) for line in _kept(spans[number])}
    return _evenly(sorted(lines))


def _evenly(lines: Sequence[int]) -> list[int]:
    count = min(len(lines), _LINES)
    return [lines[i * len(lines) // count] for i in range(count)]


def _kept(span: Span) -> range:
    return range(span.keep_start, span.keep_stop)


def _line(tokens: Tokens, index: int, axis: int) -> Float32:
    """Tokens of a row or a column, evenly chosen if they are many."""
    step = max(1, tokens.shape[1 - axis] // _ALONG)
    line: Float32 = tokens[index, ::step] if axis == 0 else tokens[::step, index]
    return line


def effective_rank(features: "ArrayLike | Tensor") -> float:
    """Return RankMe of features: how many directions they use, softly counted (arXiv 2210.02885).

    It is the exponential of the entropy of the centred features' singular values.

    Parameters
    ----------
    features
        (…, D) array or tensor, finite; preferably several times D of them.

    Returns
    -------
    float
        Effective rank, between 1 (collapsed) and D.
    """
    flat = np.asarray(as_numpy(features), np.float64)
    flat = flat.reshape(-1, flat.shape[-1])
    flat = flat - flat.mean(axis=0)
    singular = np.sqrt(np.linalg.eigvalsh(flat.T @ flat).clip(min=0))
    share = singular / max(float(singular.sum()), 1e-12)
    return float(np.exp(-(share * np.log(share + 1e-12)).sum()))
