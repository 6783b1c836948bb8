"""Tokens averaged over a neighbourhood: a Gaussian of a size in the image, over the tokens that are known.

With weights w (1 where a token is known, else 0) an averaged token is T = G∗(w t) / G∗w, which Knutsson and
Westin call normalised convolution (CVPR 1993). As it is linear in t, the dot product of every T with a vector
a is G∗(w (t·a)) / G∗w: a comparison with an anchor stays one pass over the tokens and a filter of one scalar
map. Only the lengths of the averaged tokens need them all, once per scale.

A wide Gaussian is one of half the variance, twice. What the first leaves is so smooth that nodes a good half
σ apart hold all of it, so tokens are gathered into a few nodes once, and whatever is asked of averages, their
products and lengths, is spread from these by the second: its cost does not grow with σ.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from math import sqrt
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.moments import MomentAccumulator
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.core.tokens import HalfTokens, token_chunks
from napari_sslmaps.errors import InvalidOptionError

_REACH = 5.0
"""Standard deviations after which a Gaussian is cut off: at 4e-6 of its peak."""
_NODES_PER_SIGMA = 1.75
"""At a spacing s of nodes, what is not of the averages is left at exp(−π²σ² / 2s²) of it, here 3e-7."""
_NODE_BYTES = 512e6
"""Nodes that would take more are not made."""
_BLOCK = 32
"""Tokens along an axis that are filtered by one matrix product."""
_STRIP = 16
"""Token rows that are averaged at a time, if they need not be more: what a processor's memory holds best."""


class Neighbourhood:
    """Gaussian averages of an embedding's tokens at one scale.

    Parameters
    ----------
    embedding
        Tokens of a region.
    scale
        Standard deviation σ of the Gaussian, in pixels of level 0 of the image; above 0.

    Raises
    ------
    InvalidOptionError
        If the scale is no finite number above 0.
    """

    def __init__(self, embedding: Embedding, scale: float) -> None:
        if not (np.isfinite(scale) and scale > 0):
            raise InvalidOptionError(f"Expected a scale above 0 pixels; got {scale:g}.")
        self.scale = float(scale)
        self._tokens = embedding.tokens
        self._there = known_tokens(embedding)
        self._y, self._x = _axes(embedding, scale)
        self._weight = self._spread_plane(self._gathered_plane(self._there.astype(np.float32)))

    def average(self, plane: Float32) -> Float32:
        """Average (rows, cols) numbers as tokens are; NaN where the token itself is not known."""
        return self._averages(self._gathered_plane(np.where(self._there, plane, np.float32(0))))

    def dot(self, direction: Float32) -> Float32:
        """Return (rows, cols) products of averaged tokens with a direction; NaN where they are not known."""
        if self._nodes is not None:
            return self._averages(np.vecdot(self._nodes, direction))
        products = np.empty(self._there.size, np.float32)
        for place, tokens in token_chunks(self._tokens.reshape(-1, self._tokens.shape[-1])):
            products[place] = np.vecdot(tokens, direction)
        return self.average(products.reshape(self._there.shape))

    def tokens_at(self, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> Float32:
        """Return averaged tokens (N, dim); NaN for those that are not known themselves."""
        found = np.full((len(rows), self._tokens.shape[-1]), np.nan, np.float32)
        for index, (row, col) in enumerate(zip(rows, cols, strict=True)):
            if self._there[row, col]:
                ys, down = self._y.band(slice(row, row + 1))
                xs, across = self._x.band(slice(col, col + 1))
                window = self._window(ys, xs)
                total = (down.T * across).ravel() @ window.reshape(-1, window.shape[-1])
                found[index] = total / self._weight[row, col]
        return found

    def strips(self, multiple: int = 1) -> Iterator[tuple[slice, Float32]]:
        """Yield averaged tokens (n, cols, dim), a few rows at a time; NaN where they are not known.

        All but the last have a multiple of so many rows.
        """
        rows, _, dim = self._tokens.shape
        height = -(-_STRIP // multiple) * multiple
        inverse = np.divide(1, self._weight, out=np.full_like(self._weight, np.nan), where=self._there)
        for start in range(0, rows, height):
            part = slice(start, min(start + height, rows))
            around, down = self._y.band(part)
            window = self._window(around, slice(None))
            strip = self._x.spread((down @ window.reshape(len(window), -1)).reshape(len(down), -1, dim))
            strip *= inverse[part, :, None]
            yield part, strip

    @cached_property
    def mean_token(self) -> Float32:
        """(dim,) mean of the averaged tokens, taken from the tokens by the weight that each has in all."""
        share = np.divide(1.0, self._weight, out=np.zeros_like(self._weight), where=self._there)
        values: Any = self._tokens if self._nodes is None else self._nodes
        weights = self._gathered_plane(share)
        if self._nodes is None:
            weights = self._spread_plane(weights) * self._there
        total = np.zeros(values.shape[-1])
        for part, tokens in token_chunks(values.reshape(-1, values.shape[-1])):
            total += weights.ravel()[part].astype(np.float64) @ np.nan_to_num(tokens)
        count = int(self._there.sum())
        return np.asarray(total / count if count else np.full_like(total, np.nan), np.float32)

    @cached_property
    def inverse_norms(self) -> Float32:
        """(rows · cols,) reciprocal lengths of the averaged tokens; 0 for a zero token."""
        return self._inverse_norms(np.float32(0))

    @cached_property
    def centred_inverse_norms(self) -> Float32:
        """(rows · cols,) reciprocal lengths of the averaged tokens less their mean."""
        return self._inverse_norms(self.mean_token)

    def _inverse_norms(self, shift: Float32 | np.float32) -> Float32:
        norms = np.empty(self._there.shape, np.float32)
        for part, tokens in self.strips():
            np.subtract(tokens, shift, out=tokens)
            norms[part] = np.sqrt(np.vecdot(tokens, tokens))
        inverse: Float32 = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms != 0)
        return inverse.ravel()

    @cached_property
    def _nodes(self) -> Float32 | None:
        """(node rows, node columns, dim) tokens gathered into nodes; None where the tokens are the nodes."""
        if self._y.step == 1:
            return None
        nodes = np.zeros((len(self._y.nodes), len(self._x.nodes), self._tokens.shape[-1]), np.float32)
        for part, around, down in self._y.blocks:
            across = self._x.gather(self._known(part, slice(None)))
            nodes[around] += (down.T @ across.reshape(len(down), -1)).reshape(-1, *nodes.shape[1:])
        return nodes

    def _window(self, rows: slice, cols: slice) -> Float32:
        return self._known(rows, cols) if self._nodes is None else self._nodes[rows, cols]

    def _known(self, rows: slice, cols: slice) -> Float32:
        tokens, there = self._tokens[rows, cols], self._there[rows, cols]
        return tokens if there.all() else np.where(there[..., None], tokens, np.float32(0))

    def _averages(self, gathered: Float32) -> Float32:
        total = self._spread_plane(gathered)
        averaged: Float32 = np.divide(
            total, self._weight, out=np.full_like(total, np.nan), where=self._there & (self._weight > 0)
        )
        return averaged

    def _gathered_plane(self, plane: Float32) -> Float32:
        return self._x.gather(self._y.gather(plane).T).T

    def _spread_plane(self, plane: Float32) -> Float32:
        return self._x.spread(self._y.spread(plane).T).T


class _Axis:
    """Gaussian along one axis of tokens: by way of nodes `step` tokens apart, or at once if that is 1.

    By way of nodes it is half of it, to be taken twice: from tokens to nodes and from these to tokens.
    """

    def __init__(self, size: int, sigma: float, step: int = 1) -> None:
        self.size, self.step = size, step
        self._sigma = sigma if step == 1 else sigma / sqrt(2)
        self._reach = int(_REACH * self._sigma + 0.5)
        beside = 0 if step == 1 else -(-self._reach // step) * step
        self.nodes = np.arange(-beside, size + beside, step)

    def band(self, part: slice) -> tuple[slice, Float32]:
        """Return the nodes within reach of some tokens, and the weight of each (tokens, nodes)."""
        first, last = np.searchsorted(self.nodes, (part.start - self._reach, part.stop + self._reach))
        distance = np.arange(part.start, part.stop)[:, None] - self.nodes[first:last]
        weights = np.exp(-0.5 * np.square(distance / self._sigma))
        return slice(first, last), np.where(np.abs(distance) <= self._reach, weights, 0).astype(np.float32)

    @cached_property
    def blocks(self) -> list[tuple[slice, slice, Float32]]:
        """All tokens, a block at a time, each with its band."""
        parts = [slice(at, min(at + _BLOCK, self.size)) for at in range(0, self.size, _BLOCK)]
        return [(part, *self.band(part)) for part in parts]

    def spread(self, values: Float32) -> Float32:
        """Filter (…, nodes, n) to (…, tokens, n)."""
        found = np.empty((*values.shape[:-2], self.size, values.shape[-1]), np.float32)
        for part, around, weights in self.blocks:
            np.matmul(weights, values[..., around, :], out=found[..., part, :])
        return found

    def gather(self, values: Float32) -> Float32:
        """Filter (…, tokens, n) to (…, nodes, n); tokens that are the nodes are left as they are."""
        if self.step == 1:
            return values
        found = np.zeros((*values.shape[:-2], len(self.nodes), values.shape[-1]), np.float32)
        for part, around, weights in self.blocks:
            found[..., around, :] += weights.T @ values[..., part, :]
        return found


def _axes(embedding: Embedding, scale: float) -> tuple[_Axis, _Axis]:
    """Return the filters along rows and along columns: by way of nodes where both are wide."""
    rows, cols, dim = embedding.tokens.shape
    sigma_y, sigma_x = (scale / stride for stride in embedding.grid.stride_yx)
    step_y, step_x = (int(sigma / _NODES_PER_SIGMA) for sigma in (sigma_y, sigma_x))
    if min(step_y, step_x) > 1:
        y, x = _Axis(rows, sigma_y, step_y), _Axis(cols, sigma_x, step_x)
        if 4 * len(y.nodes) * len(x.nodes) * dim <= _NODE_BYTES:
            return y, x
    return _Axis(rows, sigma_y), _Axis(cols, sigma_x)


_KEPT: "WeakKeyDictionary[Embedding, Neighbourhood]" = WeakKeyDictionary()


def neighbourhood_of(embedding: Embedding, scale: float) -> Neighbourhood:
    """Return the averages of an embedding at a scale; those of its latest scale are kept with it."""
    known = _KEPT.get(embedding)
    if known is None or known.scale != scale:
        known = _KEPT[embedding] = Neighbourhood(embedding, scale)
    return known


def averaged(embedding: Embedding, scale: float) -> Embedding:
    """Average the tokens of an embedding over a neighbourhood, for maps and probes of what lies around.

    Parameters
    ----------
    embedding
        Tokens of a region.
    scale
        Standard deviation σ of the Gaussian in pixels of level 0 of the image; 0 averages nothing.

    Returns
    -------
    Embedding
        The same but for tokens and moments; tokens that are not known stay NaN.

    Raises
    ------
    InvalidOptionError
        If the scale is negative or no finite number.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_sslmaps.core.results import Embedding
    >>> tokens = np.zeros((8, 8, 2)); tokens[:, 4:] = 1
    >>> smooth = averaged(Embedding.from_tokens(tokens, stride=8), scale=8.0)
    >>> [f"{value:.2f}" for value in smooth.tokens[4, :, 0]]
    ['0.00', '0.00', '0.06', '0.30', '0.70', '0.94', '1.00', '1.00']
    """
    if scale == 0:
        return embedding
    around = neighbourhood_of(embedding, scale)
    shape = embedding.tokens.shape
    given: Any = embedding.tokens
    tokens: Any = given.empty_like() if isinstance(given, HalfTokens) else np.empty(shape, np.float32)
    moments = MomentAccumulator(shape[-1])
    for part, strip in around.strips():
        tokens[part] = strip
        moments.update(strip.reshape(-1, strip.shape[-1]))
    return replace(embedding, tokens=tokens, moments=moments.moments() if moments.count else None)


def known_tokens(embedding: Embedding) -> NDArray[np.bool_]:
    """Return (rows, cols): whether a token is known, as those outside a mask or not computed yet are not."""
    known: NDArray[np.bool_] = np.isfinite(embedding.tokens[:, :, 0])
    return known
