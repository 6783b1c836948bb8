"""Tokens averaged over a neighbourhood: a Gaussian of a size in the image, over the tokens that are known.

With weights w (1 where a token is known, else 0) an averaged token is T = G∗(w t) / G∗w, which Knutsson and
Westin call normalised convolution (CVPR 1993). As it is linear in t, the dot product of every T with a vector
a is G∗(w (t·a)) / G∗w: a comparison with an anchor stays one pass over the tokens and a filter of one scalar
map. Only the lengths of the averaged tokens need them all, once per scale.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.moments import MomentAccumulator
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.core.tokens import HalfTokens, token_chunks
from napari_sslmaps.errors import InvalidOptionError

_REACH = 4.0
"""Standard deviations after which the Gaussian is cut off."""
_STRIP = 32
"""Token rows that are averaged at a time."""


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
        self._sigma_yx = tuple(scale / stride for stride in embedding.grid.stride_yx)
        self._there = known_tokens(embedding)
        self._weight = self._filtered(self._there.astype(np.float32))

    def average(self, plane: Float32) -> Float32:
        """Average (rows, cols) numbers as tokens are; NaN where the token itself is not known."""
        total = self._filtered(np.where(self._there, plane, np.float32(0)))
        averaged: Float32 = np.divide(
            total, self._weight, out=np.full_like(total, np.nan), where=self._there & (self._weight > 0)
        )
        return averaged

    def tokens_at(self, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> Float32:
        """Return averaged tokens (N, dim); NaN for those that are not known themselves."""
        reach_y, reach_x = (_reach_of(sigma) for sigma in self._sigma_yx)
        found = np.empty((len(rows), self._tokens.shape[-1]), np.float32)
        for index, (row, col) in enumerate(zip(rows, cols, strict=True)):
            if not self._there[row, col]:
                found[index] = np.nan
                continue
            ys, xs = (
                np.arange(max(at - reach, 0), min(at + reach + 1, size))
                for at, reach, size in zip((row, col), (reach_y, reach_x), self._there.shape, strict=True)
            )
            window = self._tokens[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
            weights = np.outer(_gaussian(ys - row, self._sigma_yx[0]), _gaussian(xs - col, self._sigma_yx[1]))
            weights *= self._there[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
            found[index] = weights.ravel() @ np.nan_to_num(window).reshape(weights.size, -1) / weights.sum()
        return found

    def strips(self, multiple: int = 1) -> Iterator[tuple[slice, Float32]]:
        """Yield averaged tokens (n, cols, dim), a few rows at a time; NaN where they are not known.

        All but the last have a multiple of so many rows.
        """
        rows, cols, dim = self._tokens.shape
        reach = _reach_of(self._sigma_yx[0])
        height = -(-_STRIP // multiple) * multiple
        for start in range(0, rows, height):
            part = slice(start, min(start + height, rows))
            around = slice(max(start - reach, 0), min(part.stop + reach, rows))
            window = np.where(self._there[around, :, None], self._tokens[around], np.float32(0))
            down = _band(part, around, self._sigma_yx[0]) @ window.reshape(len(window), cols * dim)
            strip = _along_columns(down.reshape(-1, cols, dim), self._sigma_yx[1])
            weight, there = self._weight[part, :, None], self._there[part, :, None]
            yield part, np.divide(strip, weight, out=np.full_like(strip, np.nan), where=there)

    @cached_property
    def mean_token(self) -> Float32:
        """(dim,) mean of the averaged tokens, taken from the tokens by the weight that each has in all."""
        share = np.divide(1.0, self._weight, out=np.zeros_like(self._weight), where=self._there)
        weights = (self._filtered(share) * self._there).ravel()
        total = np.zeros(self._tokens.shape[-1])
        for part, tokens in token_chunks(self._tokens.reshape(-1, self._tokens.shape[-1])):
            total += weights[part].astype(np.float64) @ np.nan_to_num(tokens)
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
            norms[part] = np.linalg.norm(tokens - shift, axis=2)
        inverse: Float32 = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms != 0)
        return inverse.ravel()

    def _filtered(self, plane: Float32) -> Float32:
        rows = slice(0, len(plane))
        down = np.empty_like(plane)
        reach = _reach_of(self._sigma_yx[0])
        for start in range(0, rows.stop, _STRIP):
            part = slice(start, min(start + _STRIP, rows.stop))
            around = slice(max(start - reach, 0), min(part.stop + reach, rows.stop))
            down[part] = _band(part, around, self._sigma_yx[0]) @ plane[around]
        return _along_columns(down[..., None], self._sigma_yx[1])[..., 0]


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
    tokens: Any = np.empty(shape, np.float32)
    if isinstance(embedding.tokens, HalfTokens):
        tokens = HalfTokens(np.empty(shape, np.float16))
    moments = MomentAccumulator(shape[-1])
    for part, strip in around.strips():
        tokens[part] = strip
        moments.update(strip.reshape(-1, strip.shape[-1]))
    return replace(embedding, tokens=tokens, moments=moments.moments() if moments.count else None)


def known_tokens(embedding: Embedding) -> NDArray[np.bool_]:
    """Return (rows, cols): whether a token is known, as those outside a mask or not computed yet are not."""
    known: NDArray[np.bool_] = np.isfinite(embedding.tokens[:, :, 0])
    return known


def _reach_of(sigma: float) -> int:
    return int(_REACH * sigma + 0.5)


def _gaussian(distance: NDArray[np.integer], sigma: float) -> Float32:
    weights = np.exp(-0.5 * np.square(distance / sigma), dtype=np.float64)
    cut: Float32 = np.where(np.abs(distance) <= _reach_of(sigma), weights, 0.0).astype(np.float32)
    return cut


def _band(part: slice, around: slice, sigma: float) -> Float32:
    """Return the rows of the filter's matrix that make `part` out of `around`."""
    return _gaussian(np.arange(part.start, part.stop)[:, None] - np.arange(around.start, around.stop), sigma)


def _along_columns(strip: Float32, sigma: float) -> Float32:
    """Filter (n, cols, dim) along its second axis, as matrix products of blocks of columns."""
    cols, reach = strip.shape[1], _reach_of(sigma)
    filtered = np.empty_like(strip)
    for start in range(0, cols, _STRIP):
        part = slice(start, min(start + _STRIP, cols))
        around = slice(max(start - reach, 0), min(part.stop + reach, cols))
        np.matmul(_band(part, around, sigma), strip[:, around], out=filtered[:, part])
    return filtered
