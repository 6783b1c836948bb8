"""The tag Orientation of TIFF and EXIF: rows and columns as stored, and as shown."""

from dataclasses import dataclass
from typing import Any, TypeVar

from numpy.typing import NDArray

from napari_sslmaps.core.region import Region

_T = TypeVar("_T")
Box = tuple[slice, slice]
"""Rows and columns."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Turn of rows and columns as stored into those that are shown.

    Parameters
    ----------
    orientation
        Value of TIFF's and EXIF's tag Orientation, 1 to 8.
    """

    orientation: int

    @classmethod
    def of(cls, value: Any) -> "Turn":
        """Understand the tag's value; where it is none that it can have, nothing is turned."""
        return cls(int(value) if value in range(1, 9) else 1)

    @property
    def _flips(self) -> tuple[bool, bool]:
        return self.orientation in (3, 4, 7, 8), self.orientation in (2, 3, 6, 7)

    def pair(self, stored_yx: tuple[_T, _T]) -> tuple[_T, _T]:
        """Exchange something of rows and something of columns where these change places."""
        return stored_yx[::-1] if self.orientation > 4 else stored_yx

    def stored(self, region: Region, shape_yx: tuple[int, int]) -> Box:
        """Rows and columns, as stored, of a region of a level that is shown with this shape."""
        starts, sizes = (region.y, region.x), region.shape_yx
        spans = []
        for start, size, length, flipped in zip(starts, sizes, shape_yx, self._flips, strict=True):
            first = length - start - size if flipped else start
            spans.append(slice(first, first + size))
        return self.pair((spans[0], spans[1]))

    def shown(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Turn (H, W) or (H, W, samples) pixels."""
        turned = stored.swapaxes(0, 1) if self.orientation > 4 else stored
        flip_rows, flip_cols = self._flips
        return turned[:: -1 if flip_rows else 1, :: -1 if flip_cols else 1]
