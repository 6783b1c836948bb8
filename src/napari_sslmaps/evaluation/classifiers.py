"""Classifiers on frozen features: logistic regression as one matrix, and DINO's nearest neighbours."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.linear_heads import LinearHead
from napari_sslmaps.core.results import Float32
from napari_sslmaps.errors import InvalidOptionError

INVERSE_REGULARISATION = 0.1
"""Inverse of the L2 penalty on standardised features, scikit-learn's ``C``."""
TOLERANCE = 1e-3
"""A tighter fit takes two to four times as long and recognises no more (measured on simulated ultrasound)."""
_FLAT = 1e-5
_ITERATIONS = 1000


def fit_linear(
    features: Float32,
    labels: NDArray[np.integer],
    *,
    strength: float = INVERSE_REGULARISATION,
    tolerance: float = TOLERANCE,
) -> LinearHead:
    """Fit class-balanced multinomial logistic regression to standardised features.

    scikit-learn's L-BFGS: a few milliseconds for some hundred features of some hundred channels.

    Parameters
    ----------
    features
        Features, (n, dim).
    labels
        (n,) class numbers, at least two different ones.
    strength
        scikit-learn's ``C``; smaller pulls the weights to 0 harder.
    tolerance
        Largest gradient of the mean loss at which the fit ends.

    Raises
    ------
    InvalidOptionError
        If there are fewer than two classes, or the strength is not positive.
    """
    from sklearn.linear_model import LogisticRegression

    classes = np.unique(labels)
    if len(classes) < 2:
        raise InvalidOptionError(f"Expected at least two classes to tell apart; got {len(classes)}.")
    if not strength > 0:
        raise InvalidOptionError(f"Expected a strength above 0; got {strength}.")
    mean, inverse = _standardisation(features)
    model = LogisticRegression(C=strength, class_weight="balanced", tol=tolerance, max_iter=_ITERATIONS)
    model.fit((features - mean) * inverse, labels)
    weights, offset = np.asarray(model.coef_, np.float64), np.asarray(model.intercept_, np.float64)
    if len(classes) == 2:
        # softmax of ∓ half of it is the logistic function of the one score that two classes have
        weights, offset = (np.concatenate([-part, part]) / 2 for part in (weights, offset))
    weights = weights * inverse
    return LinearHead(
        weights.astype(np.float32), (offset - weights @ mean).astype(np.float32), classes.astype(np.int64)
    )


def _standardisation(features: Float32) -> tuple[Float32, Float32]:
    """Mean and reciprocal standard deviation of every channel; 0 for one that does not vary."""
    mean = features.mean(axis=0, dtype=np.float64)
    spread = features.std(axis=0, dtype=np.float64)
    varies = spread > _FLAT * np.sqrt(np.mean(np.square(features, dtype=np.float64)))
    inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)
    return mean.astype(np.float32), inverse.astype(np.float32)


NEIGHBOURS = 20
"""DINO's (arXiv 2104.14294, section 4.1)."""
_TEMPERATURE = 0.07
_CHUNK = 1024


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourHead:
    """Labelled features and how they vote.

    Parameters
    ----------
    directions
        (n, dim) float32 unit vectors of the labelled features from `mean`.
    mean
        (dim,) mean of the labelled features.
    votes
        (n, classes) float32: in the column of a feature's class, one over the number of its features.
    count
        Number of neighbours that vote.
    """

    directions: Float32
    mean: Float32
    votes: Float32
    count: int

    def probabilities(self, features: Float32) -> Float32:
        """Return every class's share of the vote, (n, classes) float32 in [0, 1], of (n, dim) features."""
        shares = np.empty((len(features), self.votes.shape[1]), np.float32)
        for start in range(0, len(features), _CHUNK):
            shares[start : start + _CHUNK] = self._vote(features[start : start + _CHUNK])
        return shares

    def _vote(self, features: Float32) -> Float32:
        # One core is done with this in three quarters of the time of scikit-learn's brute-force search
        cosines = _directions(features, self.mean) @ self.directions.T
        nearest = np.argpartition(cosines, -self.count, axis=1)[:, -self.count :]
        close = np.take_along_axis(cosines, nearest, axis=1)
        weights = np.exp((close - close.max(axis=1, keepdims=True)) / np.float32(_TEMPERATURE))
        votes: Float32 = np.einsum("nk,nkc->nc", weights, self.votes[nearest])
        votes /= votes.sum(axis=1, keepdims=True)
        return votes


def fit_neighbours(
    features: Float32, labels: NDArray[np.integer], *, count: int = NEIGHBOURS
) -> NeighbourHead:
    """Keep labelled features for a vote.

    Parameters
    ----------
    features, labels
        (n, dim) and (n,).
    count
        Number of neighbours that vote; at most as many as the class with the fewest features has.

    Raises
    ------
    InvalidOptionError
        If fewer than one is to vote.
    """
    if count < 1:
        raise InvalidOptionError(f"Expected at least one neighbour to vote; got {count}.")
    _, members, counts = np.unique(labels, return_inverse=True, return_counts=True)
    mean = features.mean(axis=0)
    votes = np.eye(len(counts), dtype=np.float32)[members] / counts.astype(np.float32)[members, None]
    return NeighbourHead(_directions(features, mean), mean, votes, min(count, int(counts.min())))


def _directions(features: Float32, mean: Float32) -> Float32:
    shifted = features - mean
    lengths = np.linalg.norm(shifted, axis=1, keepdims=True)
    unit: Float32 = np.divide(shifted, lengths, out=np.zeros_like(shifted), where=lengths > 0)
    return unit
