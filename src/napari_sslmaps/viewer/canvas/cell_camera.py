"""Layout of cells on the canvas, and their camera: one place and one zoom for all."""

from dataclasses import dataclass, replace
from math import ceil
from typing import Self

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.viewer.canvas.rendering import Box

Float = NDArray[np.float64]
_MARGIN = 0.95
"""Share of a cell that what is fitted takes."""


@dataclass(frozen=True, slots=True)
class Rect:
    """A cell, in canvas pixels."""

    x: float
    y: float
    width: float
    height: float

    def holds(self, x: float, y: float) -> bool:
        """Whether a canvas position lies in it."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


def cells_of(
    count: int, width: float, height: float, aspect: float = 1.0, gap: float = 4.0, strip: float = 0.0
) -> list[Rect]:
    """Lay cells of equal size in rows, as many a row as show pictures of that aspect largest.

    Parameters
    ----------
    count
        Number of cells.
    width, height
        Size of the canvas in pixels.
    aspect
        Width of a picture over its height.
    gap
        Canvas pixels between cells.
    strip
        Canvas pixels that are left free above and below each cell, for words and a colour bar, as far as the
        picture keeps half of the height.
    """
    best: list[Rect] = []
    largest = 0.0
    for cols in range(1, count + 1):
        rows = ceil(count / cols)
        wide, tall = (width - gap * (cols - 1)) / cols, (height - gap * (rows - 1)) / rows
        free = min(strip, tall / 4)
        high = tall - 2 * free
        side = min(wide / aspect, high)
        if side > largest * (1 + 1e-9) or not best:
            largest = max(side, largest)
            best = [
                Rect((n % cols) * (wide + gap), (n // cols) * (tall + gap) + free, wide, high)
                for n in range(count)
            ]
    return best


@dataclass(frozen=True, slots=True)
class CellCamera:
    """Camera of all cells.

    Parameters
    ----------
    centre_yx
        World position in the middle of each cell.
    zoom
        Canvas pixels per unit of the world.
    """

    centre_yx: tuple[float, float] = (0.0, 0.0)
    zoom: float = 1.0

    @classmethod
    def fitting(cls, low_yx: Float, high_yx: Float, width: float, height: float) -> Self:
        """Look at the whole of a rectangle of the world, in a cell of that size."""
        size = np.maximum(high_yx - low_yx, 1e-12)
        y, x = (float(value) for value in (low_yx + high_yx) / 2)
        return cls((y, x), _MARGIN * float(min(height / size[0], width / size[1])))

    def to_cell(self, rect: Rect) -> Float:
        """Return the (3, 3) matrix from (x, y, 1) in the world to canvas pixels of a cell."""
        y, x = self.centre_yx
        return np.array(
            [
                [self.zoom, 0, rect.x + rect.width / 2 - self.zoom * x],
                [0, self.zoom, rect.y + rect.height / 2 - self.zoom * y],
                [0, 0, 1],
            ]
        )

    def world_at(self, rect: Rect, x: float, y: float) -> tuple[float, float]:
        """Return the world's (y, x) under a canvas position in a cell."""
        return (
            self.centre_yx[0] + (y - rect.y - rect.height / 2) / self.zoom,
            self.centre_yx[1] + (x - rect.x - rect.width / 2) / self.zoom,
        )

    def moved(self, pixels_x: float, pixels_y: float) -> Self:
        """Follow the mouse: what is under it stays under it."""
        y, x = self.centre_yx
        return replace(self, centre_yx=(y - pixels_y / self.zoom, x - pixels_x / self.zoom))

    def zoomed(self, factor: float, at_yx: tuple[float, float]) -> Self:
        """Come nearer by a factor, with a world position staying where it is on the canvas."""
        y, x = self.centre_yx
        centre = (at_yx[0] + (y - at_yx[0]) / factor, at_yx[1] + (x - at_yx[1]) / factor)
        return replace(self, centre_yx=centre, zoom=self.zoom * factor)

    def box(self, rect: Rect) -> Box:
        """Return what a cell shows of the world."""
        half_y, half_x = rect.height / 2 / self.zoom, rect.width / 2 / self.zoom
        y, x = self.centre_yx
        return Box((y - half_y, x - half_x), (y + half_y, x + half_x), self.zoom)
