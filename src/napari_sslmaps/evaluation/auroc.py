"""Areas under the ROC curves of many rankings, with weights, ties and strata."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]


def auroc(scores: NDArray[np.floating], positive: ArrayLike, negative: ArrayLike) -> Float:
    """Area under the ROC curve of each row (Mann-Whitney, ties count half).

    Parameters
    ----------
    scores
        (rows, n); entries without weight may be NaN.
    positive, negative
        (rows, n) or (n,) weights of at least 0, or booleans; an entry may have both, as a token does that
        covers pixels of both kinds.

    Returns
    -------
    ndarray
        Areas (rows,) in [0, 1]; NaN where a row lacks positives or negatives.
    """
    strata = np.zeros(scores.shape[1], np.int8)
    areas: Float = stratified_auroc(scores, positive, negative, strata, count=0)[0]
    return areas


def stratified_auroc(
    scores: NDArray[np.floating],
    positive: ArrayLike,
    negative: ArrayLike,
    strata: NDArray[np.integer],
    *,
    count: int,
) -> Float:
    """Areas as `auroc` gives them, and those among each row's entries of each stratum.

    Parameters
    ----------
    scores, positive, negative
        Scores and weights, as there.
    strata
        (rows, n) or (n,) numbers from 0 to `count` − 1.
    count
        Number of strata.

    Returns
    -------
    ndarray
        Areas (1 + count, rows) in [0, 1], those over all entries first.
    """
    shape = scores.shape
    ahead, behind = (np.broadcast_to(np.asarray(part, float), shape) for part in (positive, negative))
    strata = np.broadcast_to(strata, shape)
    areas = [_ranked(*row, count) for row in zip(scores, ahead, behind, strata, strict=True)]
    return np.array(areas, np.float64).reshape(shape[0], 1 + count).T


def _ranked(
    scores: NDArray[np.floating], positive: Float, negative: Float, strata: NDArray[np.integer], count: int
) -> list[float]:
    order = np.argsort(scores)  # one sort serves all strata
    values, ahead, behind = scores[order], positive[order], negative[order]
    everywhere = [slice(None), *(strata[order] == stratum for stratum in range(count))]
    return [grouped_auroc(*_grouped(values[part], ahead[part], behind[part])) for part in everywhere]


def _grouped(scores: NDArray[np.floating], positive: Float, negative: Float) -> tuple[Float, Float]:
    """Join the weights of equal scores, which are in ascending order."""
    starts = np.flatnonzero(np.diff(scores, prepend=np.nan) != 0)  # NaN differs from all
    if len(starts) == len(scores):
        return positive, negative
    return np.add.reduceat(positive, starts), np.add.reduceat(negative, starts)


def grouped_auroc(positive: Float, negative: Float) -> float:
    """Area under the ROC curve from the weights (n,) of distinct scores, ascending; NaN without either."""
    below = np.cumsum(negative)
    pairs = positive.sum() * below[-1] if len(below) else 0.0
    if pairs == 0:
        return float("nan")
    # a dot product of this length wakes BLAS's threads, which takes longer than the sum
    return float((positive * (below - negative / 2)).sum() / pairs)
