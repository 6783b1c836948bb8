"""Principal components of tokens as colours.

The fit is exact and its memory does not grow with the number of tokens: it accumulates the Gram matrix
X'X and takes the top eigenvectors of the covariance.
"""

from collections.abc import Sequence
from typing import Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import eigsh

from napari_sslmaps.core.results import (
    ComponentBasis,
    ComponentMap,
    Embedding,
    Float32,
    Rendering,
)
from napari_sslmaps.errors import InvalidOptionError, MapUnavailableError

Mask = NDArray[np.bool_]
Foreground = Literal["auto", "first-component"] | Mask | Sequence[Mask] | None
COMPONENTS = 3
_DENSE_LIMIT = 64
_CHUNK = 16_384


class GramAccumulator:
    """Running mean and covariance of tokens, for an exact PCA of any number of them.

    Parameters
    ----------
    dim
        Width of the tokens.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self._shift: Float32 | None = None
        self._sum = np.zeros(dim)
        self._gram = np.zeros((dim, dim))

    def update(self, tokens: Float32) -> None:
        """Add (M, dim) tokens; rows with NaN are left out."""
        for start in range(0, len(tokens), _CHUNK):
            chunk = tokens[start : start + _CHUNK]
            chunk = chunk[np.isfinite(chunk[:, 0])]
            if not len(chunk):
                continue
            if self._shift is None:
                self._shift = chunk.mean(axis=0)
            shifted = chunk - self._shift
            self.count += len(shifted)
            self._sum += shifted.sum(axis=0, dtype=np.float64)
            self._gram += shifted.T @ shifted

    def fit(
        self, components: int = COMPONENTS
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return mean (dim,), components (k, dim) and variances (k,), largest first.

        Signs are fixed: the loading of largest magnitude of each component is positive.
        """
        if self._shift is None:
            raise MapUnavailableError("Expected at least one foreground token for PCA; got none.")
        offset = self._sum / self.count
        covariance = self._gram / self.count - np.outer(offset, offset)
        values, vectors = _top_eigenvectors(covariance, components)
        peaks = vectors[np.arange(components), np.abs(vectors).argmax(axis=1)]
        signs = np.where(peaks < 0, -1.0, 1.0)
        return self._shift + offset, vectors * signs[:, None], np.maximum(values, 0.0)


def _top_eigenvectors(
    matrix: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    dim = len(matrix)
    if dim <= _DENSE_LIMIT or count >= dim or not np.trace(matrix) > 0:
        values, vectors = np.linalg.eigh(matrix)
    else:
        values, vectors = eigsh(matrix, k=count, v0=np.full(dim, dim**-0.5), tol=1e-10)
    order = values.argsort()[::-1][:count]
    return values[order], vectors[:, order].T


@overload
def pca_map(
    embeddings: Embedding,
    *,
    rendering: Rendering = ...,
    foreground: Foreground = ...,
    basis: ComponentBasis | None = ...,
) -> ComponentMap: ...
@overload
def pca_map(
    embeddings: Sequence[Embedding],
    *,
    rendering: Rendering = ...,
    foreground: Foreground = ...,
    basis: ComponentBasis | None = ...,
) -> list[ComponentMap]: ...
def pca_map(
    embeddings: Embedding | Sequence[Embedding],
    *,
    rendering: Rendering = "stretch",
    foreground: Foreground = None,
    basis: ComponentBasis | None = None,
) -> ComponentMap | list[ComponentMap]:
    """Show the first three principal components of tokens as red, green and blue.

    Parameters
    ----------
    embeddings
        One embedding, or several of one encoder, which then share one basis: colours mean the same.
    rendering
        ``stretch`` maps the 2nd to 98th percentile of each component to [0, 1]; ``whitened`` is the
        sigmoid of twice the score over its standard deviation, as in DINOv3's PCA notebook.
    foreground
        Which tokens the fit sees; all are projected. None for all; ``auto`` for tokens whose pixels are
        not flat; ``first-component`` for those with a positive first score; or boolean mask(s) (rows, cols).
    basis
        An earlier map's basis, applied instead of a fit.

    Returns
    -------
    ComponentMap or list of ComponentMap
        One for one embedding, a list for a list; values (rows, cols, 3) float32 in [0, 1].

    Raises
    ------
    InvalidOptionError
        If the list is empty, mixes encoders, or an option or mask does not fit.
    MapUnavailableError
        If tokens have fewer than three channels or no token is foreground.
    """
    several = [embeddings] if isinstance(embeddings, Embedding) else list(embeddings)
    _check(several, rendering, basis)
    if basis is None:
        basis = _fit(several, foreground)
    maps = [_coloured(embedding, basis, rendering) for embedding in several]
    return maps[0] if isinstance(embeddings, Embedding) else maps


def _coloured(embedding: Embedding, basis: ComponentBasis, rendering: Rendering) -> ComponentMap:
    scores = _scores(embedding, basis)
    return ComponentMap(
        values=render_scores(scores, basis, rendering),
        grid=embedding.grid,
        provenance=embedding.provenance,
        basis=basis,
        rendering=rendering,
        scores=scores,
    )


def _check(embeddings: list[Embedding], rendering: str, basis: ComponentBasis | None) -> None:
    if rendering not in get_args(Rendering):
        raise InvalidOptionError(f"Expected the rendering 'stretch' or 'whitened'; got {rendering!r}.")
    if not embeddings:
        raise InvalidOptionError("Expected at least one embedding for PCA; got none.")
    encoders = {(item.provenance.encoder, item.provenance.weights_sha256) for item in embeddings}
    dims = {item.tokens.shape[-1] for item in embeddings}
    if len(encoders) > 1 or len(dims) > 1:
        names = ", ".join(sorted(name for name, _ in encoders))
        raise InvalidOptionError(
            f"Expected embeddings of one encoder for a joint PCA; got {names}. Components of different "
            "encoders cannot be compared: make one map each."
        )
    dim = dims.pop()
    if dim < COMPONENTS:
        raise MapUnavailableError(f"Expected tokens of at least three channels; got {dim}.")
    if basis is not None:
        _check_basis(basis, embeddings[0])


def _check_basis(basis: ComponentBasis, embedding: Embedding) -> None:
    dim, made = embedding.tokens.shape[-1], embedding.provenance
    if len(basis.mean) != dim:
        raise InvalidOptionError(
            f"Expected a basis for tokens of width {dim}; got one of width {len(basis.mean)}, of encoder "
            f"{basis.encoder!r}."
        )
    for what, of_basis, of_tokens in (
        ("weights", basis.weights_sha256, made.weights_sha256),
        ("normalisation", basis.normalisation, made.normalisation),
    ):
        if of_basis and of_tokens and of_basis != of_tokens:
            raise InvalidOptionError(
                f"Expected a basis fitted to tokens of {made.encoder!r}; got one of {basis.encoder!r} with "
                f"other {what}. Components belong to one encoder: fit a basis with this one."
            )


def _fit(embeddings: list[Embedding], foreground: Foreground) -> ComponentBasis:
    if isinstance(foreground, str) and foreground == "first-component":
        everything = _fit(embeddings, None)
        masks = [_scores(item, everything)[..., 0] > 0 for item in embeddings]
        return _fit(embeddings, masks)
    chosen = [
        item.tokens[mask] for item, mask in zip(embeddings, _masks(embeddings, foreground), strict=True)
    ]
    accumulator = GramAccumulator(embeddings[0].tokens.shape[-1])
    for tokens in chosen:
        accumulator.update(tokens)
    mean, components, variance = accumulator.fit()
    scores = np.concatenate([(tokens - mean) @ components.T for tokens in chosen])
    low, high = np.nanpercentile(scores, (2, 98), axis=0)
    made = embeddings[0].provenance
    return ComponentBasis(
        mean, components, variance, low, high, made.encoder, made.weights_sha256, made.normalisation
    )


def _masks(embeddings: list[Embedding], foreground: Foreground) -> list[Mask]:
    if foreground is None:
        return [np.ones(item.grid.shape, bool) for item in embeddings]
    if isinstance(foreground, str):
        if foreground != "auto":
            raise InvalidOptionError(
                "Expected the foreground None, 'auto', 'first-component' or boolean masks; got "
                f"{foreground!r}."
            )
        return [
            np.ones(item.grid.shape, bool) if item.foreground is None else item.foreground
            for item in embeddings
        ]
    masks = [foreground] if isinstance(foreground, np.ndarray) else list(foreground)
    shapes = [np.shape(mask) for mask in masks]
    if shapes != [item.grid.shape for item in embeddings]:
        raise InvalidOptionError(
            f"Expected one mask per embedding on its token grid, {[e.grid.shape for e in embeddings]}; "
            f"got shapes {shapes}."
        )
    return [np.asarray(mask, dtype=bool) for mask in masks]


def _scores(embedding: Embedding, basis: ComponentBasis) -> NDArray[np.float32]:
    """(rows, cols, k) scores, projected in single precision."""
    components = basis.components.T.astype(np.float32)
    offset = (basis.mean @ basis.components.T).astype(np.float32)
    scores: NDArray[np.float32] = embedding.tokens @ components - offset
    return scores


def whitened_scores(scores: Float32, basis: ComponentBasis) -> Float32:
    """Return (…, k) scores over the standard deviation of their component; of a constant one as they are."""
    spread = np.sqrt(basis.variance)
    return np.asarray(scores / np.where(spread > 0, spread, 1.0).astype(np.float32), np.float32)


def render_scores(scores: Float32, basis: ComponentBasis, rendering: Rendering) -> Float32:
    """Turn (…, k) scores into colours in [0, 1]; see `pca_map`."""
    if rendering == "whitened":
        return np.asarray(1.0 / (1.0 + np.exp(-2.0 * whitened_scores(scores, basis))), np.float32)
    span = basis.high - basis.low
    flat = span <= 0
    stretched = (scores - basis.low) / np.where(flat, 1.0, span)
    stretched[..., flat] = 0.5
    return np.clip(stretched, 0.0, 1.0).astype(np.float32)
