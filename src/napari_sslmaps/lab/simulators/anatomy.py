"""A field of simulated anatomy: labels, echogenicity and what the organs are painted with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.lab.simulators.fields import FloatArray, smooth_field

#: Label values of `simulate_ultrasound`, in order.
ORGAN_CLASSES = ("outside", "wall", "parenchyma", "fluid", "kidney", "lesion", "shadow")
OUTSIDE, WALL, PARENCHYMA, FLUID, KIDNEY, LESION, SHADOW = range(7)
Mask = NDArray[np.bool_]


@dataclass(slots=True)
class Anatomy:
    """A field under construction.

    Attributes
    ----------
    labels
        Labels of the pixels, (S, S) uint8.
    echo
        (S, S) float32, backscatter in decibels relative to the parenchyma.
    depth
        (S, S) float32, depth below the transducer in pixels.
    across
        (S, S) float32, position along the transducer's surface in pixels.
    visible
        (S, S) True where the transducer sees.
    zoom
        Size of the organs relative to their usual one.
    wall
        (S, S) float32, distance below the body wall in pixels, negative inside it.
    """

    labels: NDArray[np.uint8]
    echo: FloatArray
    depth: FloatArray
    across: FloatArray
    visible: Mask
    zoom: float
    wall: FloatArray

    @property
    def size(self) -> int:
        """Side in pixels."""
        return int(self.labels.shape[0])

    def paint(self, where: Mask, label: int, echo: FloatArray | float) -> None:
        """Fill a region with a tissue."""
        self.labels[where] = label
        self.echo[where] = echo[where] if isinstance(echo, np.ndarray) else echo


@dataclass(frozen=True, slots=True)
class Oval:
    """An ellipse: centre and radii in pixels, angle of the long axis to the columns in radians."""

    centre_yx: tuple[float, float]
    long: float
    short: float
    angle: float

    def frame(self, size: int) -> tuple[FloatArray, FloatArray]:
        """Position of each pixel along the long and the short axis, 1 at the border."""
        y = np.arange(size, dtype=np.float32)[:, None] - np.float32(self.centre_yx[0])
        x = np.arange(size, dtype=np.float32)[None, :] - np.float32(self.centre_yx[1])
        cos, sin = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        along = (cos * x + sin * y) / np.float32(self.long)
        across = (cos * y - sin * x) / np.float32(self.short)
        return along.astype(np.float32, copy=False), across.astype(np.float32, copy=False)

    def radius(self, size: int) -> FloatArray:
        """(S, S) distance from the centre, 1 at the border."""
        along, across = self.frame(size)
        distance: FloatArray = np.hypot(along, across)
        return distance


def place(rng: np.random.Generator, where: Mask) -> tuple[float, float]:
    """Draw a pixel (row, column) of a region, of two the more central; of an empty region the middle."""
    size = where.shape[0]
    flat = np.flatnonzero(where)
    if not flat.size:
        return 0.5 * size, 0.5 * size
    drawn = np.stack(np.unravel_index(flat[rng.integers(flat.size, size=2)], where.shape), axis=1)
    row, column = drawn[np.argmin(((drawn - 0.5 * size) ** 2).sum(axis=1))]
    return float(row), float(column)


def coarse(rng: np.random.Generator, size: int, wavelength: float, decibels: float) -> FloatArray:
    """Uneven scatterer density: a texture of its own beside the speckle, (S, S) in decibels."""
    return decibels * smooth_field(rng, size, wavelength)
