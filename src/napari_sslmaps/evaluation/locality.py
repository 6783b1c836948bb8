"""Locality of a signal: the distance over which it stays like itself, against tokens and region."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import e, prod, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.evaluation.annotation import IGNORE, Annotation
from napari_sslmaps.maps.similarity import Anchors, similarity_map

Float = NDArray[np.float64]
Locality = Literal["local", "between", "global", "unknown"]
LOCAL, GLOBAL = 0.05, 0.15
"""Shares of the region's side: a signal is called local below the first, global from the second on."""
_LEVEL = 1 / e
_SIDE, _SAMPLES = 512, 4


@dataclass(frozen=True, slots=True)
class SignalScale:
    """The scale of a signal.

    Parameters
    ----------
    length_px
        Autocorrelation length: the distance at which the autocorrelation falls to 1/e, in pixels of level 0;
        NaN where there is no signal.
    tokens
        The same in tokens.
    share
        The same over the side of the region, as √(height · width). A region of two halves has about 0.3: a
        region shows no larger scale than that.
    """

    length_px: float
    tokens: float
    share: float

    @property
    def reach(self) -> Locality:
        """``local``, ``global`` or ``between``, in words; ``unknown`` without a signal."""
        if not np.isfinite(self.share):
            return "unknown"
        return "local" if self.share < LOCAL else "global" if self.share >= GLOBAL else "between"


def annotation_scale(annotation: Annotation, grid: TokenGrid) -> SignalScale:
    """Measure the scale of a region's annotated classes.

    Parameters
    ----------
    annotation
        Classes of the whole image's pixels.
    grid
        Grid of the region; its stride is the tokens' pitch.

    Returns
    -------
    SignalScale
        Scale of the classes' indicator functions together, ignored pixels left out; regions of more than 512
        label pixels a side are averaged down to that before, from at least 4 × 4 pixels each.
    """
    labels, _ = annotation.crop(grid)
    step = max(1, max(labels.shape) // (_SIDE * _SAMPLES))
    labels = labels[::step, ::step]
    known = labels != IGNORE
    kinds = [labels == kind for kind in annotation.kinds]
    factor = max(1, -(-max(labels.shape) // _SIDE))
    weights = _blocks(known, factor)
    fields = np.stack([_blocks(kind, factor) for kind in kinds])
    shares = np.divide(fields, weights, out=np.zeros_like(fields), where=weights > 0)
    per_label = sqrt(prod(annotation.shape_yx) / prod(annotation.labels.shape))
    return _scale(autocorrelation_length(shares, weights > 0) * factor * step * per_label, grid)


def similarity_scale(embedding: Embedding, anchors: Anchors, *, centred: bool = True) -> SignalScale:
    """Measure the scale of what is similar to anchors, by an encoder's own tokens.

    Parameters
    ----------
    embedding
        Tokens of a region.
    anchors
        (row, column) pixel positions; their maps' autocorrelations are averaged.
    centred
        Whether the mean token is subtracted, as in `similarity_map`.

    Raises
    ------
    InvalidAnchorError
        If there is no anchor, or one lies outside the region.
    """
    maps = [similarity_map(embedding, [anchor], centred=centred).values for anchor in np.asarray(anchors)]
    known = np.isfinite(maps[0])
    fields = np.where(known, np.stack(maps), 0).astype(np.float64)
    pitch = float(np.sqrt(prod(embedding.grid.stride_yx)))
    return _scale(autocorrelation_length(fields, known) * pitch, embedding.grid)


def autocorrelation_length(fields: Float, known: NDArray[np.bool_] | None = None) -> float:
    """Distance at which the autocorrelation of fields, averaged over directions, first falls to 1/e.

    Parameters
    ----------
    fields
        (n, H, W); their autocovariances are added, so that the classes of a label image count as one signal.
    known
        (H, W); pairs with an unknown cell are left out. All are known if omitted.

    Returns
    -------
    float
        Length in cells, interpolated linearly between whole ones; half the shorter side where it falls no
        further; NaN where nothing varies.
    """
    curve = autocorrelation(fields, known)
    if not np.isfinite(curve).any():
        return float("nan")
    below = np.flatnonzero(curve <= _LEVEL)
    if not len(below):
        return float(len(curve) - 1)
    lag = int(below[0])
    before, after = curve[lag - 1], curve[lag]
    return float(lag - 1 + (before - _LEVEL) / (before - after))


def autocorrelation(fields: Float, known: NDArray[np.bool_] | None = None) -> Float:
    """Autocorrelation of fields at whole distances, averaged over directions; 1 at 0.

    The mean over all known cells is subtracted; each distance's covariance is the mean over the pairs of
    known cells at that distance, rounded, by way of the Fourier transform (Wiener and Khinchin).

    Parameters
    ----------
    fields, known
        Fields and where they are known, as for `autocorrelation_length`.

    Returns
    -------
    ndarray
        (1 + half the shorter side,) float64; NaN if nothing varies.
    """
    fields = np.asarray(fields, np.float64)
    mask = np.ones(fields.shape[1:], bool) if known is None else known
    lags = 1 + min(mask.shape) // 2
    if not mask.any():
        return np.full(lags, np.nan)
    means = fields[:, mask].mean(axis=1)
    centred = np.where(mask, fields - means[:, None, None], 0)
    if np.abs(centred).max() <= 1e-9 * max(1.0, float(np.abs(fields).max())):
        return np.full(lags, np.nan)
    size = [fft.next_fast_len(2 * side, real=True) for side in mask.shape]
    products = sum((_correlate(field, size) for field in centred), start=np.zeros(size))
    pairs = np.rint(_correlate(mask.astype(np.float64), size))
    distance = np.rint(np.hypot(*np.meshgrid(*(_offsets(side) for side in size), indexing="ij"))).astype(int)
    near = (distance < lags) & (pairs > 0)
    total = np.bincount(distance[near], products[near], lags)
    count = np.bincount(distance[near], pairs[near], lags)
    covariance = np.divide(total, count, out=np.zeros(lags), where=count > 0)
    return np.asarray(covariance / covariance[0])


def _correlate(field: Float, size: Sequence[int]) -> Float:
    spectrum = fft.rfft2(field, size)
    correlated: Float = fft.irfft2(np.abs(spectrum) ** 2, size)
    return correlated


def _offsets(size: int) -> Float:
    """Signed shifts of a cyclic axis."""
    shifts: Float = fft.fftfreq(size, 1 / size)
    return shifts


def _blocks(values: NDArray[np.bool_], factor: int) -> Float:
    """Means of factor × factor blocks, cells beyond the edge counted as False."""
    missing = [(0, -side % factor) for side in values.shape]
    padded = np.pad(values, missing).astype(np.float64)
    rows, cols = (side // factor for side in padded.shape)
    means: Float = padded.reshape(rows, factor, cols, factor).mean(axis=(1, 3))
    return means


def _scale(length_px: float, grid: TokenGrid) -> SignalScale:
    pitch, side = np.sqrt(prod(grid.stride_yx)), np.sqrt(prod(grid.extent_yx))
    return SignalScale(length_px, float(length_px / pitch), float(length_px / side))
