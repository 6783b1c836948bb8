"""How far the borders of tiles show in an embedding."""

from collections.abc import Sequence

import numpy as np

from napari_sslmaps.core.results import Float32
from napari_sslmaps.core.tiling import Tile


def seam_score(tokens: Float32, tiles: Sequence[Tile]) -> float:
    """How much more neighbouring tokens differ across tile borders than inside tiles.

    Each tile sees its own surroundings alone, so that a token beside a border was computed in another context
    than its neighbour beyond. The difference of two tokens is their Euclidean distance.

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
    for axis in (0, 1):
        across = _borders([tile.rows.keep_start if axis == 0 else tile.cols.keep_start for tile in tiles])
        for index in range(1, tokens.shape[axis]):
            pair = np.take(tokens, index, axis) - np.take(tokens, index - 1, axis)
            lengths = np.linalg.norm(pair, axis=-1)
            there = np.isfinite(lengths)
            sums[int(index in across)] += lengths[there].sum(dtype=np.float64)
            counts[int(index in across)] += there.sum()
    if not counts.all() or sums[0] == 0:
        return float("nan")
    inside, borders = sums / counts
    return float(borders / inside)


def _borders(starts: Sequence[int]) -> set[int]:
    """Rows, or columns, whose tile does not keep the one before."""
    return set(starts) - {0}
