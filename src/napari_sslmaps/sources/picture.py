"""PNG, JPEG, JPEG 2000, BMP, GIF, WebP, AVIF and PNM through imageio."""

import struct
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
from napari_sslmaps.sources.decoded_cache import DecodedCache
from napari_sslmaps.sources.protocol import Level

_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, IndexError, RuntimeError)
_TURNED = (5, 6, 7, 8)
"""EXIF orientations that exchange rows and columns."""
_NOT_RGB = ("CMYK", "YCbCr")
_CODESTREAM = b"\xff\x4f\xff\x51"
_START_BYTES = 2**16


class PictureSource(SourceBase):
    """A picture, decoded whole when first read; EXIF orientation is honoured, alpha dropped.

    Parameters
    ----------
    path
        File to read.

    Raises
    ------
    UnsupportedImageError
        If it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = DecodedCache(limit_bytes=0)  # one piece, and the newest always stays
        with decoding(path.name, "a readable picture", *_DAMAGE):
            layout = self._header()
        super().__init__(path.stem, layout)

    def _header(self) -> ImageLayout:
        with self._open() as file:
            properties = file.properties(index=0)
            about = file.metadata(index=0, exclude_applied=False)
        shape, dtype = properties.shape, properties.dtype
        deep = self._deep_channels()
        if 0 in shape:
            raise UnsupportedImageError(f"Expected at least one pixel; {self._path.name} has none.")
        height, width = shape[:2]
        if about.get("Orientation") in _TURNED:
            height, width = width, height
        colour = len(shape) == 3 and shape[2] >= 3
        return ImageLayout(
            levels=(Level((int(height), int(width))),),
            channels=deep or (3 if colour else 1),
            dtype=np.dtype(np.uint16) if deep else np.dtype(dtype),
        )

    def _decode(self, region: Region) -> NDArray[Any]:
        with decoding(self._path.name, "a readable picture", *_DAMAGE):
            pixels = self._kept.get(0, self._all)
        rows = slice(region.y, region.y + region.height)
        return np.array(pixels[rows, region.x : region.x + region.width])

    def _all(self) -> NDArray[Any]:
        if self._deep_channels():
            content = self._path.read_bytes()
            is_png = content.startswith(b"\x89PNG")
            pixels = imagecodecs.png_decode(content) if is_png else imagecodecs.jpeg2k_decode(content)
        else:
            with self._open() as file:
                mode = "RGB" if file.metadata(index=0).get("mode") in _NOT_RGB else None
                pixels = file.read(index=0, rotate=True, mode=mode)
        if pixels.ndim == 2:
            return np.asarray(pixels)
        return np.asarray(pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0])

    def _deep_channels(self) -> int:
        """Return 1 or 3 if this is a PNG or JPEG 2000 whose 16 bits Pillow would reduce to 8, else 0."""
        with self._path.open("rb") as file:
            start = file.read(_START_BYTES)
        if start.startswith(b"\x89PNG") and start[24] == 16:
            return {2: 3, 6: 3, 4: 1}.get(start[25], 0)  # by the kind of colour; grey alone stays deep
        if start.startswith((b"\0\0\0\x0cjP  ", _CODESTREAM)) and _CODESTREAM in start:
            # SIZ: the number of components stands 36 bytes after its length, then the bits of each, less one
            siz = start[start.index(_CODESTREAM) + 4 :]
            components, bits = struct.unpack(">HB", siz[36:39])
            return 3 if components >= 3 and (bits & 127) >= 8 else 0
        return 0

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
