"""Smooth random fields and stamped ellipses: the strokes every simulator paints with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import map_coordinates

FloatArray = NDArray[np.float32]
#: Multiplications up to which OpenBLAS works in one thread, with a margin (it begins to share at 262 144).
_ONE_THREAD = 200_000


def field_seed(seed: int, index: int) -> np.random.Generator:
    """Return the random state of one field, the same whatever else was simulated before."""
    return np.random.default_rng([seed, index])


@lru_cache(maxsize=64)
def _spline_matrix(knots: int, size: int) -> FloatArray:
    """(size, knots) cubic spline interpolation as one matrix, so that a field costs two small products."""
    spline = CubicSpline(np.arange(knots), np.eye(knots), axis=0, bc_type="natural")
    matrix: FloatArray = spline(np.linspace(0, knots - 1, size)).astype(np.float32)
    return matrix


def small_product(left: FloatArray, right: FloatArray) -> FloatArray:
    """Matrix product in slices that BLAS leaves to one thread.

    For products this small threads cost more than they give, and on a busy machine they wait for each
    other: a field would take several times as long.
    """
    rows = max(8, _ONE_THREAD // (right.shape[0] * right.shape[1]) // 8 * 8)
    product = np.empty((left.shape[0], right.shape[1]), dtype=np.float32)
    for start in range(0, len(left), rows):
        np.matmul(left[start : start + rows], right, out=product[start : start + rows])
    return product


def smooth_field(rng: np.random.Generator, size: int, wavelength: float) -> FloatArray:
    """Draw a smooth random field of mean 0 and standard deviation 1.

    Parameters
    ----------
    rng
        Source of randomness.
    size
        Side in pixels.
    wavelength
        Distance between independent values, in pixels.

    Returns
    -------
    ndarray
        Field (size, size) float32.
    """
    knots = max(4, round(size / wavelength) + 1)
    matrix = _spline_matrix(knots, size)
    noise = rng.standard_normal((knots, knots), dtype=np.float32)
    field = small_product(small_product(matrix, noise), matrix.T)
    field -= field.mean()
    scaled: FloatArray = (field / max(float(field.std()), 1e-6)).astype(np.float32)
    return scaled


def banded_field(
    rng: np.random.Generator, shape: tuple[int, int], wavelengths: tuple[float, float]
) -> FloatArray:
    """Draw a smooth random field of standard deviation 1 whose wavelength in pixels differs between axes.

    Parameters
    ----------
    rng
        Source of randomness.
    shape
        Rows and columns of the field.
    wavelengths
        Distance between independent values along rows and columns, in pixels.

    Returns
    -------
    ndarray
        Field (rows, columns) float32.
    """
    knots = [max(4, round(side / wave) + 1) for side, wave in zip(shape, wavelengths, strict=True)]
    down, along = (_spline_matrix(count, side) for count, side in zip(knots, shape, strict=True))
    noise = rng.standard_normal((knots[0], knots[1]), dtype=np.float32)
    field = small_product(small_product(down, noise), along.T)
    scaled: FloatArray = (field / max(float(field.std()), 1e-6)).astype(np.float32)
    return scaled


def fibre_field(rng: np.random.Generator, angle: FloatArray, wavelength: float) -> FloatArray:
    """Streaks along an orientation field: white noise sampled in stretched, rotated coordinates.

    Parameters
    ----------
    rng
        Source of randomness.
    angle
        (S, S) orientation of the streaks in radians, slowly varying.
    wavelength
        Width of a streak in pixels; streaks are about eight times as long.

    Returns
    -------
    ndarray
        Field (S, S) float32 of standard deviation about 1.
    """
    size = angle.shape[0]
    y, x = np.mgrid[:size, :size].astype(np.float32)
    mean = float(angle.mean())
    bend = (angle - mean) * (0.25 * size / np.pi)
    along = (np.cos(mean) * x + np.sin(mean) * y) / (8 * wavelength)
    across = (-np.sin(mean) * x + np.cos(mean) * y + bend) / wavelength
    noise = rng.standard_normal((64, 64), dtype=np.float32)
    streaks: FloatArray = map_coordinates(noise, [across % 64, along % 64], order=1, mode="grid-wrap")
    return streaks / max(float(streaks.std()), 1e-6)


def jittered_points(rng: np.random.Generator, size: int, spacing: float) -> FloatArray:
    """Draw (n, 2) float32 points in yx pixels, one per cell of a jittered grid."""
    count = max(1, round(size / spacing))
    step = size / count
    y, x = np.mgrid[:count, :count].reshape(2, -1)
    # Odd rows are shifted by half a cell: a hexagonal packing shows no columns.
    points = np.stack([y + 0.5, x + 0.5 * (y % 2) + 0.25], axis=1) * step
    jittered: FloatArray = (points + rng.uniform(-0.38, 0.38, points.shape) * step).astype(np.float32)
    return jittered


@dataclass(frozen=True, slots=True)
class Ellipses:
    """Many ellipses: (n, 2) centres yx and (n,) radii in pixels, (n,) angles of the long axis in radians."""

    centre: FloatArray
    long: FloatArray
    short: FloatArray
    angle: FloatArray

    def __len__(self) -> int:
        return len(self.centre)


def stamp(
    canvas: FloatArray,
    ellipses: Ellipses,
    amount: FloatArray,
    *,
    rim: float = 0.0,
    softness: float = 1.0,
) -> None:
    """Paint ellipses into a canvas, in place, keeping the larger value where they meet.

    Parameters
    ----------
    canvas
        Canvas that is painted on, (S, S) float32.
    ellipses
        Ellipses to paint.
    amount
        (n,) value of each ellipse.
    rim
        0 paints evenly; 1 leaves the middle at half the value: a vesicular nucleus.
    softness
        Width of the edge in pixels.
    """
    if not len(ellipses):
        return
    size = canvas.shape[0]
    radius = int(np.ceil(float(ellipses.long.max()) + softness)) + 1
    offset = np.arange(-radius, radius + 1)
    base = np.round(ellipses.centre).astype(np.intp)
    y = (offset[None, :] + (base - ellipses.centre)[:, :1])[:, :, None].astype(np.float32)
    x = (offset[None, :] + (base - ellipses.centre)[:, 1:])[:, None, :].astype(np.float32)
    cos, sin = np.cos(ellipses.angle)[:, None, None], np.sin(ellipses.angle)[:, None, None]
    along = (cos * x + sin * y) / ellipses.long[:, None, None]
    across = (cos * y - sin * x) / ellipses.short[:, None, None]
    distance = np.sqrt(along**2 + across**2)
    inside = np.clip((1 - distance) * ellipses.short[:, None, None] / softness + 0.5, 0, 1)
    value = amount[:, None, None] * inside * (1 - 0.5 * rim * np.clip(1 - distance**4, 0, 1))
    rows = np.broadcast_to((base[:, :1] + offset)[:, :, None], value.shape)
    columns = np.broadcast_to((base[:, 1:] + offset)[:, None, :], value.shape)
    keep = (inside > 0) & (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
    flat = rows[keep] * size + columns[keep]
    np.maximum.at(canvas.reshape(-1), flat, value[keep].astype(np.float32))
