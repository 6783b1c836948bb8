"""Baselines that a map has to beat before an encoder is credited with it: raw pixels, colour, position."""

import math

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.preprocess import auto_window, flat_tokens, pad_by_reflection, scale_to_unit
from napari_sslmaps.core.results import Embedding, Float32, Provenance
from napari_sslmaps.errors import InvalidOptionError

WAVES = 5
"""Half waves along an axis, the constant included, of the position basis."""


def position_embedding(grid: TokenGrid, provenance: Provenance | None = None) -> Embedding:
    """Tokens that know nothing of the image but where on the region they lie.

    Token (r, c) of a grid of R × C is the products cos(π i (r + ½) / R) · cos(π j (c + ½) / C) for i and j
    from 0 to 4, less the constant one: the first functions of the two-dimensional cosine transform (DCT-II).

    Parameters
    ----------
    grid
        Grid that the tokens lie on.
    provenance
        Provenance of the result; one with ``position`` as the encoder if omitted.

    Returns
    -------
    Embedding
        Tokens (rows, cols, 24) float32 in [−1, 1].
    """
    along = [
        np.cos(np.arange(WAVES)[:, None] * math.pi * (np.arange(count) + 0.5) / count) for count in grid.shape
    ]
    basis = np.einsum("ir,jc->rcij", *along).reshape(*grid.shape, WAVES**2)[..., 1:]
    tokens = np.ascontiguousarray(basis, np.float32)
    return Embedding(tokens, grid, provenance or Provenance(encoder="position"))


def pixel_embedding(
    pixels: NDArray[np.generic], grid: TokenGrid, *, window: tuple[float, float] | None = None
) -> Embedding:
    """Tokens that are the pixels they cover, as they are.

    Parameters
    ----------
    pixels
        (H, W) or (H, W, 3), of the region that `grid` covers, as stored.
    grid
        Grid that the tokens lie on; its region may be of a coarser level.
    window
        Intensities that become 0 and 1; chosen as `embed` chooses them if omitted.

    Returns
    -------
    Embedding
        Tokens (rows, cols, stride² · channels) float32 in [0, 1], the region mirrored at the bottom and right
        to whole tokens.

    Raises
    ------
    InvalidOptionError
        If the pixels are not those of the grid's region.
    """
    unit, stride = _unit_pixels(pixels, grid, window)
    return _wrap(pixel_tokens(unit, stride), structured_tokens(unit, stride), grid, "pixels")


def colour_embedding(
    pixels: NDArray[np.generic], grid: TokenGrid, *, window: tuple[float, float] | None = None
) -> Embedding:
    """Tokens that are mean and standard deviation of each channel of the pixels they cover.

    Parameters and errors are those of `pixel_embedding`.

    Returns
    -------
    Embedding
        Tokens (rows, cols, 2 · channels) float32: means, in [0, 1], then deviations, in [0, ½].
    """
    unit, stride = _unit_pixels(pixels, grid, window)
    return _wrap(colour_tokens(unit, stride), structured_tokens(unit, stride), grid, "colour")


def pixel_tokens(unit: Float32, stride: int) -> Float32:
    """Cut (H, W, C) pixels, mirrored to whole tokens, into (rows, cols, stride² · C)."""
    patches = _patches(unit, stride)
    return patches.reshape(*patches.shape[:2], -1)


def colour_tokens(unit: Float32, stride: int) -> Float32:
    """Mean and standard deviation of each channel in each token, (rows, cols, 2 · C)."""
    patches = _patches(unit, stride)
    return np.concatenate([patches.mean(axis=(2, 3)), patches.std(axis=(2, 3))], axis=-1)


def unit_pixels(pixels: NDArray[np.generic], window: tuple[float, float]) -> Float32:
    """Scale stored pixels as encoders get them, (H, W, C) in [0, 1]; grey stays one channel."""
    return scale_to_unit(pixels, window)[..., : 1 if pixels.ndim == 2 else 3]


def structured_tokens(unit: Float32, stride: int) -> NDArray[np.bool_]:
    """Find the tokens of (H, W, C) pixels that are not flat, as `embed` tells them."""
    rows, cols = (-(-side // stride) * stride for side in unit.shape[:2])
    padded = pad_by_reflection(unit, rows, cols)
    return ~flat_tokens(padded if padded.shape[-1] == 3 else np.repeat(padded, 3, axis=-1), stride)


def _patches(unit: Float32, stride: int) -> Float32:
    """Return (rows, cols, stride, stride, C), contiguous."""
    rows, cols = (-(-side // stride) for side in unit.shape[:2])
    padded = pad_by_reflection(unit, rows * stride, cols * stride)
    cut = padded.reshape(rows, stride, cols, stride, -1).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(cut, np.float32)


def _unit_pixels(
    pixels: NDArray[np.generic], grid: TokenGrid, window: tuple[float, float] | None
) -> tuple[Float32, int]:
    """Scaled pixels, and pixels of their level per token."""
    stride = round(grid.stride_yx[0] * pixels.shape[0] / grid.extent_yx[0])
    if stride < 1 or tuple(-(-side // stride) for side in pixels.shape[:2]) != grid.shape:
        raise InvalidOptionError(
            f"Expected the pixels of the region that the grid of {grid.rows} × {grid.cols} tokens covers; "
            f"got {pixels.shape[0]} × {pixels.shape[1]} px. Read them with embedding.pixels(region)."
        )
    chosen = auto_window(pixels, float(pixels.min()), float(pixels.max())) if window is None else window
    return unit_pixels(pixels, chosen), stride


def _wrap(tokens: Float32, foreground: NDArray[np.bool_], grid: TokenGrid, name: str) -> Embedding:
    return Embedding(tokens, grid, Provenance(encoder=name), foreground=foreground)
