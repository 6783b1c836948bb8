"""An image whose surroundings of an ultrasound sector, with the text burned into them, are black."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.masking import shown_mask
from napari_sslmaps.core.placed_mask import Mask
from napari_sslmaps.core.region import Region
from napari_sslmaps.sources.base import ImageLayout, SourceBase
from napari_sslmaps.sources.protocol import ImageSource

_MOST_PIXELS = 64_000_000
"""Most pixels of a level that can be a frame: sectors are in frames, which are smaller."""


class WithoutText(SourceBase):
    """A source in which what `shown_mask` leaves out is 0, frame by frame.

    Parameters
    ----------
    source
        Source to hide text in; closed together with this one. One whose coarsest level is too large for a
        frame is left as it is.
    """

    def __init__(self, source: ImageSource) -> None:
        layout = ImageLayout(
            source.levels,
            source.channels,
            source.dtype,
            source.frames,
            source.spacing_um_yx,
            getattr(source, "window", None),
            getattr(source, "aspect_yx", (1.0, 1.0)),
        )
        super().__init__(source.name, layout)
        self._source, self._masks = source, dict[int, Mask]()
        self.calibrated = bool(getattr(source, "calibrated", False))
        self.file = getattr(source, "file", None)

    def _decode(self, region: Region) -> NDArray[Any]:
        pixels = self._source.read(region)
        coarsest = self.levels[-1].shape_yx
        if coarsest[0] * coarsest[1] > _MOST_PIXELS:
            return pixels
        if region.frame not in self._masks:
            whole = Region(0, 0, *coarsest, len(self.levels) - 1, region.frame)
            self._masks[region.frame] = shown_mask(self._source.read(whole))
        rows, cols = (
            ((start + np.arange(length)) * small // size).astype(int)
            for start, length, small, size in zip(
                (region.y, region.x),
                region.shape_yx,
                coarsest,
                self.levels[region.level].shape_yx,
                strict=True,
            )
        )
        shown = self._masks[region.frame][np.ix_(rows, cols)]
        return np.where(shown if pixels.ndim == 2 else shown[..., None], pixels, pixels.dtype.type(0))

    def _release(self) -> None:
        self._source.close()
