"""Mean and covariance of tokens, taken up as they come: all that principal components and centring need."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.tokens import Tokens, token_chunks
from napari_sslmaps.errors import MapUnavailableError

Float = NDArray[np.float64]
_DENSE_LIMIT = 64


@dataclass(frozen=True, eq=False, slots=True)
class TokenMoments:
    """Number, mean and covariance of tokens.

    Parameters
    ----------
    count
        Number of tokens.
    mean
        Mean token, (dim,) float64.
    covariance
        (dim, dim) float64, over `count`.
    """

    count: int
    mean: Float
    covariance: Float

    def axes(self, components: int) -> tuple[Float, Float]:
        """Return components (k, dim) and variances (k,), largest first.

        Signs are fixed: the loading of largest magnitude of each component is positive.
        """
        values, vectors = _top_eigenvectors(self.covariance, components)
        peaks = vectors[np.arange(components), np.abs(vectors).argmax(axis=1)]
        signs = np.where(peaks < 0, -1.0, 1.0)
        return vectors * signs[:, None], np.maximum(values, 0.0)


class MomentAccumulator:
    """Running mean and covariance of any number of tokens, in memory that does not grow with them.

    Sums are taken about the first tokens' mean, so that a large common component costs no digits.

    Parameters
    ----------
    dim
        Width of the tokens.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self._shift = np.zeros(dim, np.float32)
        self._sum = np.zeros(dim)
        self._gram = np.zeros((dim, dim))

    def update(self, tokens: Tokens) -> None:
        """Add (M, dim) tokens; rows with NaN are left out."""
        for _, chunk in token_chunks(tokens):
            there = np.isfinite(chunk[:, 0])
            found = chunk if there.all() else chunk[there]
            if not len(found):
                continue
            if not self.count:
                self._shift = found.mean(axis=0)
            shifted = found - self._shift
            self.count += len(shifted)
            self._sum += shifted.sum(axis=0, dtype=np.float64)
            self._gram += shifted.T @ shifted

    def merge(self, moments: TokenMoments) -> None:
        """Add tokens of which the moments are known."""
        if not self.count:
            self._shift = moments.mean.astype(np.float32)
        offset = moments.mean - self._shift
        self.count += moments.count
        self._sum += moments.count * offset
        self._gram += moments.count * (moments.covariance + np.outer(offset, offset))

    def moments(self) -> TokenMoments:
        """Return what was taken up so far.

        Raises
        ------
        MapUnavailableError
            If nothing was.
        """
        if not self.count:
            raise MapUnavailableError("Expected at least one foreground token for PCA; got none.")
        offset = self._sum / self.count
        return TokenMoments(
            self.count, self._shift + offset, self._gram / self.count - np.outer(offset, offset)
        )


def _top_eigenvectors(matrix: Float, count: int) -> tuple[Float, Float]:
    dim = len(matrix)
    if dim <= _DENSE_LIMIT or count >= dim or not np.trace(matrix) > 0:
        values, vectors = np.linalg.eigh(matrix)
    else:
        from scipy.sparse.linalg import eigsh  # takes a tenth of a second

        values, vectors = eigsh(matrix, k=count, v0=np.full(dim, dim**-0.5), tol=1e-10)
    order = values.argsort()[::-1][:count]
    return values[order], vectors[:, order].T
