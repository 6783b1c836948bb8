"""Tokens of a turned image, brought back to where they came from."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.evaluation.perturbations import rotation_matrix

_MARGIN = 1.5


def turned_back(turned: Embedding, clean: Embedding, degrees: float) -> tuple[Embedding, Embedding]:
    """Bring the tokens of a region that was turned about its centre back onto the clean region's grid.

    Each value is interpolated linearly between the token centres around the place where the clean token went.

    Parameters
    ----------
    turned
        Of the pixels of `rotate_pixels(pixels, degrees)`.
    clean
        Of the pixels themselves.
    degrees
        Anticlockwise.

    Returns
    -------
    tuple of Embedding
        The turned one on the clean one's grid, and the clean one; in both, tokens nearer than 1.5 tokens to a
        border before or after are NaN.
    """
    grid = replace(clean.grid, origin_yx=(0.0, 0.0))
    centres = grid.token_to_pixel(np.moveaxis(np.indices(grid.shape), 0, -1))
    middle = (np.asarray(grid.extent_yx) - 1) / 2
    went = (centres - middle) @ rotation_matrix(degrees).T + middle
    kept = np.logical_and(_inside(centres, grid), _inside(went, grid))
    at = np.moveaxis(grid.pixel_to_token(went), -1, 0)
    return _resampled(turned, clean, at, kept), _masked(clean, kept)


def _inside(pixel_yx: NDArray[np.float64], grid: TokenGrid) -> NDArray[np.bool_]:
    margin = _MARGIN * np.asarray(grid.stride_yx) - 0.5
    far = np.asarray(grid.extent_yx) - 1 - margin
    return np.asarray(((pixel_yx >= margin) & (pixel_yx <= far)).all(axis=-1))


def _resampled(
    turned: Embedding, clean: Embedding, at: NDArray[np.float64], kept: NDArray[np.bool_]
) -> Embedding:
    def sample(plane: Float32) -> Float32:
        """Of (rows, cols, channels)."""
        from scipy.ndimage import map_coordinates

        channels = [
            map_coordinates(channel, at, order=1, mode="nearest", output=np.float32)
            for channel in np.moveaxis(plane, -1, 0)
        ]
        values = np.stack(channels, axis=-1)
        values[~kept] = np.nan
        return values

    attention, activation = turned.attention, turned.activation
    return replace(
        turned,
        tokens=sample(turned.tokens),
        grid=clean.grid,
        attention=None if attention is None else np.moveaxis(sample(np.moveaxis(attention, 0, -1)), -1, 0),
        activation=None if activation is None else sample(activation[..., None])[..., 0],
        foreground=clean.foreground,
    )


def _masked(clean: Embedding, kept: NDArray[np.bool_]) -> Embedding:
    def mask(values: Float32 | None) -> Float32 | None:
        return None if values is None else np.where(kept, values, np.float32(np.nan))

    return replace(
        clean,
        tokens=np.where(kept[..., None], clean.tokens, np.float32(np.nan)),
        attention=mask(clean.attention),
        activation=mask(clean.activation),
    )
