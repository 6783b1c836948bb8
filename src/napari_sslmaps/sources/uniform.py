"""An image of one colour, laid out like another one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.sources.base import ImageLayout, SourceBase
from napari_sslmaps.sources.protocol import ImageSource


class UniformSource(SourceBase):
    """An image of one colour with the levels, channels, dtype and spacing of another.

    Parameters
    ----------
    like
        The other image; it is not read.
    colour
        A value per channel, rounded where the dtype holds whole numbers.
    """

    def __init__(self, like: ImageSource, colour: Sequence[float] | NDArray[np.floating]) -> None:
        layout = ImageLayout(like.levels, like.channels, like.dtype, like.frames, like.spacing_um_yx)
        super().__init__(like.name, layout)
        value = np.asarray(colour, np.float64).reshape(like.channels)
        self._colour = (value if self.dtype.kind == "f" else np.rint(value)).astype(self.dtype)

    def _decode(self, region: Region) -> NDArray[Any]:
        if self.channels == 1:
            return np.full(region.shape_yx, self._colour[0])
        return np.tile(self._colour, (*region.shape_yx, 1))
