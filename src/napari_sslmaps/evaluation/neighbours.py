"""A vote of the nearest labelled features: DINO's k-NN classifier with classes weighing alike."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.results import Float32
from napari_sslmaps.errors import InvalidOptionError

if TYPE_CHECKING:
    from sklearn.neighbors import NearestNeighbors

NEIGHBOURS = 20
"""DINO's (arXiv 2104.14294, section 4.1)."""
_TEMPERATURE = 0.07


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourHead:
    """Labelled features and how they vote.

    Parameters
    ----------
    index
        scikit-learn's search over unit vectors from `mean`.
    mean
        (dim,) mean of the labelled features.
    votes
        (n, classes) float32: in the column of a feature's class, one over the number of its features.
    """

    index: "NearestNeighbors"
    mean: Float32
    votes: Float32

    def probabilities(self, features: Float32) -> Float32:
        """Return every class's share of the vote, (n, classes) float32 in [0, 1], of (n, dim) features."""
        found: tuple[Any, Any] = self.index.kneighbors(_directions(features, self.mean))
        distances, nearest = found
        # of unit vectors, cosine = 1 − d²/2; DINO weighs with exp(cosine / 0.07)
        weights = np.exp((distances[:, :1] ** 2 - distances**2) / (2 * _TEMPERATURE)).astype(np.float32)
        votes = np.einsum("nk,nkc->nc", weights, self.votes[nearest])
        shares: Float32 = votes / votes.sum(axis=1, keepdims=True)
        return shares


def fit_neighbours(
    features: Float32, labels: NDArray[np.integer], *, count: int = NEIGHBOURS
) -> NeighbourHead:
    """Keep labelled features for a vote.

    Parameters
    ----------
    features, labels
        (n, dim) and (n,).
    count
        How many vote; at most as many as the class with the fewest features has.

    Raises
    ------
    InvalidOptionError
        If fewer than one is to vote.
    """
    from sklearn.neighbors import NearestNeighbors

    if count < 1:
        raise InvalidOptionError(f"Expected at least one neighbour to vote; got {count}.")
    _, members, counts = np.unique(labels, return_inverse=True, return_counts=True)
    mean = features.mean(axis=0)
    index = NearestNeighbors(n_neighbors=min(count, int(counts.min())), algorithm="brute")
    votes = np.eye(len(counts), dtype=np.float32)[members] / counts.astype(np.float32)[members, None]
    return NeighbourHead(index.fit(_directions(features, mean)), mean, votes)


def _directions(features: Float32, mean: Float32) -> Float32:
    shifted = features - mean
    lengths = np.linalg.norm(shifted, axis=1, keepdims=True)
    unit: Float32 = np.divide(shifted, lengths, out=np.zeros_like(shifted), where=lengths > 0)
    return unit
