"""The image of an embedding, opened again through the embedding alone."""

from functools import cached_property
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, PixelReader
from napari_sslmaps.errors import MapUnavailableError
from napari_sslmaps.sources.protocol import Level


class ReopenedImage:
    """An `ImageSource` of what an embedding was made from, as large as its region reaches.

    Parameters
    ----------
    embedding
        Embedding that knows its region and reads its pixels.
    stride
        Pixels of the region's level per token.

    Raises
    ------
    MapUnavailableError
        If it does not know them.
    """

    def __init__(self, embedding: Embedding, stride: int) -> None:
        region, reader = embedding.provenance.region, embedding.pixels
        if region is None or reader is None:
            raise MapUnavailableError(
                "Expected an embedding that can read its image again; this one was made from tokens or read "
                "from a file. Give the image instead, with the region."
            )
        self._read: PixelReader = reader
        self.name = embedding.provenance.image
        down, across = (side / stride for side in embedding.grid.stride_yx)
        shape = region.y + region.height, region.x + region.width
        self.levels = tuple(Level(shape, (down, across)) for _ in range(region.level + 1))
        self.frames = region.frame + 1
        self.spacing_um_yx: tuple[float, float] | None = None
        self._region = region

    @cached_property
    def _pixel(self) -> NDArray[Any]:
        return self._read(self._region.part(0, 0, 1, 1))

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return 1 if self._pixel.ndim == 2 else 3

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels that `read` returns."""
        return self._pixel.dtype

    def read(self, region: Region) -> NDArray[Any]:
        """Read pixels as the embedding does."""
        return self._read(region)

    def close(self) -> None:
        """Leave the image as it is: it belongs to the embedding."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
