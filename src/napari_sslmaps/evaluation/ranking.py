"""Area under the ROC curve of many rankings at once, with weights and ties."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def areas_under_curves(
    scores: NDArray[np.floating], positive: NDArray[np.generic], negative: NDArray[np.generic]
) -> Float:
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
    (rows,), NaN where a row lacks positives or negatives.
    """
    return ranked_areas(Ranking(scores), positive, negative)


class Ranking:
    """Rows of scores in order, so that several weightings of them need one sort.

    Parameters
    ----------
    scores
        (rows, n); NaN comes last.
    """

    def __init__(self, scores: NDArray[np.floating]) -> None:
        self.order = np.argsort(scores, axis=1)
        ranked = np.take_along_axis(scores, self.order, axis=1)
        count = scores.shape[1]
        places = np.broadcast_to(np.arange(count), ranked.shape)
        first = np.ones(ranked.shape, bool)
        first[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
        last = np.ones(ranked.shape, bool)
        last[:, :-1] = first[:, 1:]
        self.starts = np.maximum.accumulate(np.where(first, places, 0), axis=1)
        ends = np.where(last, places, count)[:, ::-1]
        self.ends = np.minimum.accumulate(ends, axis=1)[:, ::-1] + 1


def ranked_areas(ranking: Ranking, positive: NDArray[np.generic], negative: NDArray[np.generic]) -> Float:
    """Areas as `areas_under_curves` gives them, of scores that are in order already."""
    shape = ranking.order.shape
    ahead, behind = (
        np.take_along_axis(np.broadcast_to(part, shape), ranking.order, axis=1).astype(np.float64)
        for part in (positive, negative)
    )
    below = np.zeros((shape[0], shape[1] + 1))
    np.cumsum(behind, axis=1, out=below[:, 1:])
    passed = np.take_along_axis(below, ranking.starts, axis=1)
    passed += np.take_along_axis(below, ranking.ends, axis=1)
    pairs = ahead.sum(axis=1) * below[:, -1]
    wins = (ahead * passed).sum(axis=1) / 2
    areas: Float = np.divide(wins, pairs, out=np.full(shape[0], np.nan), where=pairs > 0)
    return areas
