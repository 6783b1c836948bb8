"""Samples of a TIFF page → the grey or RGB that they stand for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from tifffile import COMPRESSION, PHOTOMETRIC

from napari_sslmaps.errors import UnsupportedImageError

Pixels = NDArray[Any]
_JPEG2000_YCBCR = 33003
"""Aperio's: YCbCr in the codestream, whatever the page says; 33005 beside it is RGB."""
_ALREADY_RGB = (
    *(COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.JPEG_LOSSY, COMPRESSION.ALT_JPEG),
    *(COMPRESSION.WEBP, COMPRESSION.JPEGXL, COMPRESSION.JPEGXL_DNG, COMPRESSION.PNG),
    *(COMPRESSION.JPEGXR, COMPRESSION.JPEGXR_NDPI),
)
"""Their decoders return RGB whatever is stored."""
_BLACK = (0, 128, 128)
_PHOTOMETRIC, _FAX = 262, (COMPRESSION.CCITTRLE, COMPRESSION.CCITT_T4, COMPRESSION.CCITT_T6)
_MULTIPLIED = 1
"""Kind of an extra sample: opacity, by which the colours were multiplied."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """Rule by which the samples of a page become grey or RGB.

    Parameters
    ----------
    convert
        (H, W, samples) as stored → (H, W, 1 or 3).
    dtype
        Type of what `convert` returns.
    channels
        1 or 3, or None where the samples are shown as they are.
    plain
        Whether `convert` returns the samples as they are.
    fill
        Value per sample of a tile that the file leaves out; None for the file's "no data".
    """

    convert: Callable[[Pixels], Pixels]
    dtype: np.dtype[Any]
    channels: int | None = None
    plain: bool = False
    fill: tuple[int, ...] | None = None


def meaning_of(page: Any) -> Meaning:
    """Say how a page's samples become grey or RGB.

    Palettes, CMYK, CIE L*a*b* and YCbCr become RGB of 8 bits by Pillow; where white is 0, values are
    inverted; grey of 2 to 7 bits is stretched over 8, as Pillow and libpng do.

    Raises
    ------
    UnsupportedImageError
        If colours are stored as numbers that Pillow cannot convert.
    """
    if page.photometric == PHOTOMETRIC.PALETTE:
        return Meaning(_Palette(page.colormap), np.dtype(np.uint8), channels=3)
    conversion = _conversion(page)
    if conversion is None:
        return _grey_or_rgb(page)
    if np.dtype(page.dtype) not in (np.uint8, np.uint16) or page.samplesperpixel < 3:
        raise UnsupportedImageError(
            f"Expected colours of 8 or 16 bits; this TIFF stores {PHOTOMETRIC(page.photometric).name} as "
            f"{page.samplesperpixel} × {page.dtype}. Save it as RGB and open that."
        )
    fill = _BLACK if conversion is _ycbcr else None
    return Meaning(lambda stored: conversion(_eight_bits(stored)), np.dtype(np.uint8), channels=3, fill=fill)


def _conversion(page: Any) -> Callable[[Pixels], Pixels] | None:
    """Return what makes RGB of colours of 8 bits that are none."""
    if page.compression == _JPEG2000_YCBCR:
        return _ycbcr
    match page.photometric:
        case PHOTOMETRIC.SEPARATED:
            return _cmyk
        case PHOTOMETRIC.CIELAB | PHOTOMETRIC.ICCLAB:
            return _Lab(signed=page.photometric == PHOTOMETRIC.CIELAB)
        case PHOTOMETRIC.YCBCR if page.compression not in _ALREADY_RGB:
            return _ycbcr
    return None


def _grey_or_rgb(page: Any) -> Meaning:
    dtype, bits = np.dtype(page.dtype), page.bitspersample
    few = dtype == np.uint8 and isinstance(bits, int) and 1 < bits < 8
    stretch = _Stretch(bits) if few else _same
    if page.photometric == PHOTOMETRIC.RGB and page.samplesperpixel > 3 and _MULTIPLIED in page.extrasamples:
        return Meaning(lambda stored: _divided(stretch(stored)), dtype)
    if not _white_is_zero(page):
        return Meaning(stretch, dtype, plain=not few)
    top = (1 << bits) - 1 if dtype.kind == "u" and isinstance(bits, int) else None
    return Meaning(lambda stored: stretch(_inverted(stored, top)), dtype)


def _white_is_zero(page: Any) -> bool:
    """Whether 0 is white; where the file does not say, as libtiff has it: in fax codings alone."""
    said = _PHOTOMETRIC in page.tags
    return bool(page.photometric == PHOTOMETRIC.MINISWHITE and (said or page.compression in _FAX))


class _Palette:
    """Colours by their number."""

    def __init__(self, table: NDArray[np.uint16]) -> None:
        deep = int(table.max(initial=0)) > 255  # some writers give 8 bits where 16 are asked for
        self._colours = (table >> 8 if deep else table).astype(np.uint8).T

    def __call__(self, stored: Pixels) -> Pixels:
        numbers = stored[..., 0]
        coloured: Pixels = self._colours[numbers.astype(np.uint8) if numbers.dtype == np.bool_ else numbers]
        return coloured


class _Stretch:
    """Values of a few bits over the whole of eight."""

    def __init__(self, bits: int) -> None:
        top = (1 << bits) - 1
        self._table = np.clip(np.rint(np.arange(256) * (255 / top)), 0, 255).astype(np.uint8)

    def __call__(self, stored: Pixels) -> Pixels:
        stretched: Pixels = self._table[stored]
        return stretched


class _Lab:
    """CIE L*a*b* (D50) in 8 bits to sRGB; a and b signed, or shifted by 128."""

    def __init__(self, *, signed: bool) -> None:
        self._shift = np.array([0, 0, 0] if signed else [0, 128, 128], np.uint8)
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        self._transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")

    def __call__(self, stored: Pixels) -> Pixels:
        picture = _picture("LAB", stored[..., :3] ^ self._shift)
        return np.asarray(ImageCms.applyTransform(picture, self._transform))


def _divided(stored: Pixels) -> Pixels:
    """Colours that were multiplied by the opacity behind them, divided by it again."""
    top = np.iinfo(stored.dtype).max if stored.dtype.kind in "ui" else 1.0
    exact = np.float64 if stored.dtype.kind == "f" else np.uint64
    colours, opacity = stored[..., :3].astype(exact), stored[..., 3:4].astype(exact)
    partly = (opacity > 0) & (opacity < exact(top))
    share = np.where(partly, opacity, exact(1))
    whole = colours * exact(top) / share if exact is np.float64 else colours * exact(top) // share
    straight = np.where(partly, np.minimum(whole, exact(top)), colours).astype(stored.dtype)
    return np.concatenate([straight, stored[..., 3:]], axis=-1)


def _same(stored: Pixels) -> Pixels:
    return stored


def _inverted(stored: Pixels, top: int | None) -> Pixels:
    if top is not None:
        return np.asarray(stored.dtype.type(top) - stored)
    inverted: Pixels = -stored if stored.dtype.kind == "f" else ~stored
    return inverted


def _ycbcr(stored: Pixels) -> Pixels:
    return np.asarray(_picture("YCbCr", stored[..., :3]).convert("RGB"))


def _cmyk(stored: Pixels) -> Pixels:
    inks = stored[..., :4] if stored.shape[-1] > 3 else np.pad(stored, [(0, 0), (0, 0), (0, 1)])
    return np.asarray(_picture("CMYK", inks).convert("RGB"))


def _picture(mode: str, samples: Pixels) -> Image.Image:
    height, width = samples.shape[:2]
    return Image.frombytes(mode, (width, height), np.ascontiguousarray(samples).tobytes())


def _eight_bits(stored: Pixels) -> Pixels:
    return (stored >> 8).astype(np.uint8) if stored.dtype.itemsize == 2 else stored
