"""PNG, JPEG, JPEG 2000, BMP, GIF, WebP, AVIF and PNM through imageio and Pillow; animations are frames."""

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import imagecodecs
import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import DecompressionBombError

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.base import ImageLayout, SourceBase, decoding
from napari_sslmaps.sources.claims import check_claim, check_packed, held_bytes
from napari_sslmaps.sources.decoded_cache import DecodedCache
from napari_sslmaps.sources.decoder_limits import LIBJPEG_SIDE, check_decodable
from napari_sslmaps.sources.orientation import Turn
from napari_sslmaps.sources.protocol import ImageSource, Level

_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, IndexError, RuntimeError)
_NOT_RGB = ("CMYK", "YCbCr")
_CODESTREAM = b"\xff\x4f\xff\x51"
_START_BYTES = 2**16
_ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")
"""Kinds whose pictures follow each other in time; those of a JPEG are views or parts of one."""
_FRAME_BYTES = 10
"""Bytes that a picture of an animation has at least."""
_COMMENT = re.compile(rb"#[^\r\n]*[\r\n]?")
_KEPT_BYTES = 128 * 2**20
_BMP_BYTES, _BIT_FIELDS = 66, (3, 6)
_OF_PILLOW = ((0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F), (0xFF0000, 0xFF00, 0xFF))


def open_picture(path: Path) -> ImageSource:
    """Open a picture; BMP whose colours have bits of their own choice, which Pillow refuses, as an array.

    Raises
    ------
    UnsupportedImageError
        If it is damaged, or larger than its decoder takes.
    """
    with path.open("rb") as file:
        start = file.read(_START_BYTES)
    check_decodable(start, path.name)
    fields = _bit_fields(start)
    if (
        start[:1] == b"P"
        and len(_COMMENT.sub(b"", start).split(maxsplit=4)) < 4
        and len(start) == _START_BYTES
    ):
        raise UnsupportedImageError(
            f"Expected a PNM with rows and columns at its beginning; {path.name} has none within "
            f"{_START_BYTES:,} bytes. Export it again."
        )
    if fields is None or fields.masks in _OF_PILLOW:
        return PictureSource(path)
    with decoding(path.name, "a readable picture", *_DAMAGE):
        return ArraySource(fields.decode(path.read_bytes()), path.stem)


@dataclass(frozen=True, slots=True)
class _BitFields:
    """Layout of colours in words of 16 or 32 bits of a BMP.

    Parameters
    ----------
    offset, shape_yx, bits
        Start of the pixels in bytes, their rows and columns, and bits of each; rows below 0 run from the top.
    masks
        Masks of the bits that are red, green and blue.
    """

    offset: int
    shape_yx: tuple[int, int]
    bits: int
    masks: tuple[int, int, int]

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        """Return (height, width, 3), each colour stretched over 8 bits."""
        rows, cols = abs(self.shape_yx[0]), self.shape_yx[1]
        words = -(-cols * self.bits // 32) * 32 // self.bits  # rows end at multiples of 4 bytes
        dtype = f"<u{self.bits // 8}"
        stored = np.frombuffer(content, dtype, rows * words, self.offset).reshape(rows, words)[:, :cols]
        upright = stored if self.shape_yx[0] < 0 else stored[::-1]
        planes = []
        for mask in self.masks:
            low = mask & -mask
            top = mask // low if low else 1
            found = (upright & mask) // max(low, 1)
            planes.append(np.rint(found * (255 / top)).astype(np.uint8))
        return np.stack(planes, axis=-1)


def _bit_fields(start: bytes) -> _BitFields | None:
    """Understand the header of a BMP; None of any other, or where words have no masks."""
    if start[:2] != b"BM" or len(start) < _BMP_BYTES:
        return None
    offset, size, width, height, _, bits, compression = struct.unpack("<4xIIiiHHI", start[6:34])
    if compression not in _BIT_FIELDS or bits not in (16, 32) or size < 40:
        return None
    return _BitFields(offset, (height, width), bits, struct.unpack("<III", start[54:66]))


class PictureSource(SourceBase):
    """A picture, decoded whole when first read; EXIF orientation is honoured, alpha dropped.

    Of an animation each picture is a frame, in RGB; those used last are kept.

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
        self._player: Image.Image | None = None
        self._in_turn = Lock()
        with decoding(path.name, "a readable picture", *_DAMAGE):
            layout = self._header()
        self._kept = DecodedCache(_KEPT_BYTES if layout.frames > 1 else 0)  # the newest always stays
        super().__init__(path.stem, layout)

    def _header(self) -> ImageLayout:
        frames = self._count()
        with self._open() as file:
            properties = file.properties(index=0)
            about = file.metadata(index=0, exclude_applied=False)
        shape, dtype = properties.shape, properties.dtype
        deep = self._deep_channels()
        if 0 in shape:
            raise UnsupportedImageError(f"Expected at least one pixel; {self._path.name} has none.")
        self._turn = Turn.of(about.get("Orientation"))
        height, width = self._turn.pair((shape[0], shape[1]))
        colour = len(shape) == 3 and shape[2] >= 3
        if frames > 1:
            deep, colour, dtype = 0, True, np.uint8
        return ImageLayout(
            levels=(Level((int(height), int(width))),),
            channels=deep or (3 if colour else 1),
            dtype=np.dtype(np.uint16) if deep else np.dtype(dtype),
            frames=frames,
        )

    def _count(self) -> int:
        """How many pictures follow each other; of one that is too large to be true, nothing is decoded."""
        with _within_memory(self._path), Image.open(self._path) as picture:
            depth = (
                4
                if picture.mode in ("I", "F")
                else 2
                if self._deep_channels() or ";16" in picture.mode
                else 1
            )
            size, there = prod(picture.size) * len(picture.getbands()) * depth, held_bytes(self._path)
            check_claim(size, there, self._path.name)
            check_packed(size, there, self._path.name)
            frames = int(getattr(picture, "n_frames", 1)) if picture.format in _ANIMATED else 1
            if frames * _FRAME_BYTES > max(there, _FRAME_BYTES):
                raise ValueError(f"it says {frames:,} pictures, of which it cannot have the bytes")
            return frames

    def _decode(self, region: Region) -> NDArray[Any]:
        with decoding(self._path.name, "a readable picture", *_DAMAGE):
            pixels = self._kept.get(region.frame, lambda: self._picture(region.frame))
        rows = slice(region.y, region.y + region.height)
        return np.array(pixels[rows, region.x : region.x + region.width])

    def _picture(self, frame: int) -> NDArray[Any]:
        return self._of_animation(frame) if self.frames > 1 else self._all()

    def _of_animation(self, frame: int) -> NDArray[Any]:
        """Return a picture of an animation, each made of those before it."""
        with self._in_turn, _within_memory(self._path):
            if self._player is not None and frame < self._player.tell():  # Pillow does not rewind every APNG
                self._player.close()
                self._player = None
            if self._player is None:
                self._player = Image.open(self._path)
            for number in range(self._player.tell() + 1, frame + 1):  # nor does it skip any
                self._player.seek(number)
                self._player.load()
            return self._turn.shown(np.array(self._player.convert("RGB")))

    def _all(self) -> NDArray[Any]:
        if self._deep_channels():
            content = self._path.read_bytes()
            is_png = content.startswith(b"\x89PNG")
            stored = imagecodecs.png_decode(content) if is_png else imagecodecs.jpeg2k_decode(content)
            pixels = self._turn.shown(stored)
        elif self._is_long_jpeg():
            pixels = self._turn.shown(imagecodecs.jpeg_decode(self._path.read_bytes()))
        else:
            with self._open() as file:
                mode = "RGB" if file.metadata(index=0).get("mode") in _NOT_RGB else None
                pixels = file.read(index=0, rotate=True, mode=mode)
        if pixels.ndim == 2:
            return np.asarray(pixels)
        return np.asarray(pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0])

    def _is_long_jpeg(self) -> bool:
        """Whether this is a grey or RGB JPEG of a side that imagecodecs decodes, and Pillow does not."""
        with _within_memory(self._path), Image.open(self._path) as picture:
            long = max(picture.size) > LIBJPEG_SIDE
            return long and picture.format == "JPEG" and picture.mode in ("L", "RGB")

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
        with _within_memory(self._path):
            return iio.imopen(self._path, "r", plugin="pillow")

    def _release(self) -> None:
        self._kept.clear()
        if self._player is not None:
            self._player.close()


@contextmanager
def _within_memory(path: Path) -> Iterator[None]:
    """Turn Pillow's refusal of a picture that would fill the memory into a sentence."""
    try:
        yield
    except (OSError, DecompressionBombError) as error:  # imageio's error; Pillow's own is its cause
        bomb = error if isinstance(error, DecompressionBombError) else error.__cause__
        if not isinstance(bomb, DecompressionBombError):
            raise
        raise UnsupportedImageError(
            f"Expected a picture that fits into memory; {path.name} is too large ({bomb}). Convert it to a "
            "tiled, pyramidal TIFF and open that."
        ) from error
