"""Transducers and their geometry: which beam crosses which pixel, and back (scan conversion)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from napari_sslmaps.lab.simulators.fields import FloatArray

#: Distance between samples along a beam, in pixels.
_STEP = 1.0
#: Distance between beams at the deepest visible sample, in pixels.
_PITCH = 1.35


@dataclass(frozen=True, slots=True)
class Transducer:
    """A transducer over a square field; lengths in pixels, angles in radians.

    Attributes
    ----------
    apex_yx
        Point at which the beams meet. A linear array is a curved one of a very large radius.
    radius
        Distance of the transducer's surface from the apex.
    half_angle
        Half the opening angle.
    reach
        Greatest depth below the surface that is recorded.
    """

    apex_yx: tuple[float, float]
    radius: float
    half_angle: float
    reach: float


@dataclass(frozen=True, slots=True)
class BeamSpace:
    """The (n, lines) sampling of a field by a transducer, and the way there and back.

    Attributes
    ----------
    depth
        (n,) depth of the samples below the transducer's surface, in pixels.
    spacing
        (n,) distance between neighbouring lines at that depth, in pixels.
    nearest
        (n, lines) flat index of the field's pixel under each sample.
    sample_line
        (2, S, S) fractional sample and line of each pixel.
    inside
        (S, S) True where the transducer sees.
    """

    depth: FloatArray
    spacing: FloatArray
    nearest: NDArray[np.intp]
    sample_line: FloatArray
    inside: NDArray[np.bool_]

    def gather(self, field: NDArray[np.float32]) -> FloatArray:
        """Sample an (S, S) field along the beams, (n, lines)."""
        taken: FloatArray = field.reshape(-1)[self.nearest]
        return taken

    def convert(self, echoes: FloatArray) -> FloatArray:
        """Scan conversion: (n, lines) to (S, S), bilinear; outside of the sector the border is repeated."""
        picture: FloatArray = map_coordinates(echoes, self.sample_line, order=1, mode="nearest")
        return picture

    def convert_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Scan conversion of (n, lines) decisions, by the nearest sample."""
        row = np.clip(np.rint(self.sample_line[0]), 0, mask.shape[0] - 1).astype(np.intp)
        column = np.clip(np.rint(self.sample_line[1]), 0, mask.shape[1] - 1).astype(np.intp)
        converted: NDArray[np.bool_] = mask[row, column]
        return converted


def depth_and_angle(transducer: Transducer, size: int) -> tuple[FloatArray, FloatArray]:
    """Depth below the transducer in pixels and beam angle in radians of each pixel, both (S, S)."""
    y = np.arange(size, dtype=np.float32)[:, None] - np.float32(transducer.apex_yx[0])
    x = np.arange(size, dtype=np.float32)[None, :] - np.float32(transducer.apex_yx[1])
    return np.hypot(y, x) - np.float32(transducer.radius), np.arctan2(x, y)


def sample_beams(transducer: Transducer, depth: FloatArray, angle: FloatArray) -> BeamSpace:
    """Lay beams over the visible part of a field.

    Parameters
    ----------
    transducer
        Transducer that sends the beams.
    depth, angle
        Depth and angle, as `depth_and_angle` returns them.
    """
    size = depth.shape[0]
    inside = (depth >= 0) & (depth <= transducer.reach) & (np.abs(angle) <= transducer.half_angle)
    near, far = _range(depth[inside])
    left, right = _range(angle[inside])
    count = max(8, round((far - near) / _STEP) + 1)
    lines = max(8, round((right - left) * (far + transducer.radius) / _PITCH) + 1)
    depths = np.linspace(near, far, count, dtype=np.float32)
    angles = np.linspace(left, right, lines, dtype=np.float32)
    radius = (depths + np.float32(transducer.radius))[:, None]
    row = np.rint(transducer.apex_yx[0] + radius * np.cos(angles)).clip(0, size - 1).astype(np.intp)
    column = np.rint(transducer.apex_yx[1] + radius * np.sin(angles)).clip(0, size - 1).astype(np.intp)
    turn = (right - left) / (lines - 1)
    sample_line = np.stack([(depth - near) * ((count - 1) / (far - near)), (angle - left) / turn])
    return BeamSpace(depths, radius[:, 0] * np.float32(turn), row * size + column, sample_line, inside)


def _range(values: FloatArray) -> tuple[float, float]:
    """Smallest and largest value, at least a little apart."""
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return low, max(high, low + 1e-3)


def draw_transducer(rng: np.random.Generator, size: int) -> Transducer:
    """Draw a transducer and where the field lies below it.

    Half of the fields touch the skin, the others lie deeper; curved arrays, phased arrays of small radius and
    linear arrays are as common as in a clinic's archive.
    """
    low, high = (-0.08, 0.1) if rng.random() < 0.55 else (-0.9, -0.15)
    surface = rng.uniform(low, high) * size
    middle = size * rng.uniform(0.3, 0.7)
    kind = rng.choice(3, p=[0.5, 0.2, 0.3])
    if kind == 0:
        radius, half_angle = rng.uniform(0.35, 0.9) * size, rng.uniform(0.5, 0.68)
    elif kind == 1:
        radius, half_angle = rng.uniform(0.03, 0.2) * size, rng.uniform(0.62, 0.8)
        surface -= rng.uniform(0.0, 0.5) * size
    else:
        radius = 60.0 * size
        half_angle = float(np.arctan(rng.uniform(0.55, 1.2) * size / radius))
    bottom = rng.uniform(0.8, 0.97) if rng.random() < 0.25 else 1.6
    return Transducer((surface - radius, middle), radius, half_angle, bottom * size - surface)
