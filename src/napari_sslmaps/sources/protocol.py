"""Protocol of every source of pixels."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution level.

    Parameters
    ----------
    shape_yx
        Height and width in pixels of this level.
    downsample_yx
        Pixels of level 0 per pixel of this level.
    """

    shape_yx: tuple[int, int]
    downsample_yx: tuple[float, float] = (1.0, 1.0)


class ImageSource(Protocol):
    """An image that is read region by region.

    Attributes
    ----------
    name
        Short name for titles, for example the file's stem.
    levels
        Levels from the finest to the coarsest.
    channels
        1 (grey) or 3 (RGB).
    dtype
        Type of the pixels that `read` returns.
    frames
        Length of a time or z axis; 1 for a plain image.
    spacing_um_yx
        Micrometres per pixel of level 0, or None where the file does not say.
    """

    @property
    def name(self) -> str:
        """Short name for titles."""
        ...

    @property
    def levels(self) -> tuple[Level, ...]:
        """Resolution levels, finest first."""
        ...

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels that `read` returns."""
        ...

    @property
    def frames(self) -> int:
        """Length of the time or z axis."""
        ...

    @property
    def spacing_um_yx(self) -> tuple[float, float] | None:
        """Micrometres per pixel of level 0, or None."""
        ...

    def read(self, region: Region) -> NDArray[Any]:
        """Read pixels: (height, width) if grey, (height, width, 3) if RGB.

        Raises
        ------
        RegionError
            If the region is not inside its level.
        UnsupportedImageError
            If the pixels cannot be decoded.
        """
        ...

    def close(self) -> None:
        """Release the file; reading afterwards raises `UnsupportedImageError`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
