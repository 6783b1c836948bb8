"""PNG, JPEG, BMP, GIF and WebP through imageio."""

from pathlib import Path
from typing import Any

import imagecodecs
import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL.Image import DecompressionBombError

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.base import ImageLayout, SourceBase, decoding
from napari_sslmaps.sources.decoded_cache import Kept
from napari_sslmaps.sources.protocol import Level

_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, IndexError, RuntimeError)
_TURNED = (5, 6, 7, 8)
"""EXIF orientations that exchange rows and columns."""


class PictureSource(SourceBase):
    """A picture, decoded whole when first read; EXIF orientation is honoured, alpha dropped.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    UnsupportedImageError
        If it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = Kept(limit_bytes=0)  # one piece, and the newest always stays
        with decoding(path.name, "a readable picture", *_DAMAGE):
            layout = self._header()
        super().__init__(path.stem, layout)

    def _header(self) -> ImageLayout:
        with self._open() as file:
            properties = file.properties(index=0)
            about = file.metadata(index=0, exclude_applied=False)
        shape, dtype = properties.shape, properties.dtype
        deep = self._deep_colour()
        if 0 in shape:
            raise UnsupportedImageError(f"Expected at least one pixel; {self._path.name} has none.")
        height, width = shape[:2]
        if about.get("Orientation") in _TURNED:
            height, width = width, height
        colour = len(shape) == 3 and shape[2] >= 3
        return ImageLayout(
            levels=(Level((int(height), int(width))),),
            channels=3 if colour else 1,
            dtype=np.dtype(np.uint16) if deep else np.dtype(dtype),
        )

    def _decode(self, region: Region) -> NDArray[Any]:
        with decoding(self._path.name, "a readable picture", *_DAMAGE):
            pixels = self._kept.get(0, self._all)
        rows = slice(region.y, region.y + region.height)
        return np.array(pixels[rows, region.x : region.x + region.width])

    def _all(self) -> NDArray[Any]:
        if self._deep_colour():
            pixels = imagecodecs.png_decode(self._path.read_bytes())
        else:
            with self._open() as file:
                four_inks = file.metadata(index=0).get("mode") == "CMYK"
                pixels = file.read(index=0, rotate=True, mode="RGB" if four_inks else None)
        if pixels.ndim == 2:
            return np.asarray(pixels)
        return np.asarray(pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0])

    def _deep_colour(self) -> bool:
        """Whether this is a PNG of 16 bits per colour, which Pillow would reduce to 8."""
        with self._path.open("rb") as file:
            start = file.read(26)
        return start.startswith(b"\x89PNG") and start[24] == 16 and start[25] in (2, 6)

    def _open(self) -> Any:
        try:
            return iio.imopen(self._path, "r", plugin="pillow")
        except OSError as error:  # imageio's; Pillow's own is its cause
            if not isinstance(error.__cause__, DecompressionBombError):
                raise
            raise UnsupportedImageError(
                f"Expected a picture that fits into memory; {self._path.name} is too large "
                f"({error.__cause__}). Convert it to a tiled, pyramidal TIFF and open that."
            ) from error

    def _release(self) -> None:
        self._kept.clear()
