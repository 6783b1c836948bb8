"""TIFF in all its dialects: plain, multi-page, ImageJ, OME-TIFF, SVS and other pyramids."""

import re
import struct
import zlib
from contextlib import ExitStack, suppress
from dataclasses import replace
from math import prod
from pathlib import Path
from threading import RLock
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from tifffile import PHOTOMETRIC

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.axes import AxisPlan, plan_axes
from napari_sslmaps.sources.base import (
    ImageLayout,
    SourceBase,
    decoding,
    levels_from_shapes,
)
from napari_sslmaps.sources.channels import (
    COLOURS,
    ChannelChoice,
    ChannelFacts,
    filled,
    imagej_facts,
    ome_facts,
    pick_channels,
    qptiff_facts,
)
from napari_sslmaps.sources.claims import check_claim
from napari_sslmaps.sources.decoded_cache import DecodedCache
from napari_sslmaps.sources.icc import to_srgb
from napari_sslmaps.sources.orientation import Turn
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.tiff_pages import check_pages
from napari_sslmaps.sources.tiff_planes import JPEG, LARGEST_PIECE, TiffPlanes, pieces_of
from napari_sslmaps.sources.tiff_samples import Meaning, meaning_of
from napari_sslmaps.sources.tiff_series import (
    check_claimed_planes,
    choose_series,
    ome_images,
    open_with_metadata,
    spacing_of,
)

DAMAGE = (
    tifffile.TiffFileError,
    OSError,
    ValueError,
    RuntimeError,  # imagecodecs' errors derive from it
    KeyError,
    IndexError,
    TypeError,  # a tag that holds another kind of number than it should
    ArithmeticError,  # a size of 0
    struct.error,
    zlib.error,
    SyntaxError,  # of metadata that are no XML
)
"""What reading a damaged file may raise."""
_KEPT_BYTES = 96 * 2**20
_BOUNDED = tuple(
    tifffile.COMPRESSION[name]
    for name in ("NONE", "LZW", "PACKBITS", "ADOBE_DEFLATE", "DEFLATE", "JPEG", "CCITT_T4", "CCITT_T6")
)
_TIGHTER = 25
"""Codings that leave a two-thousandth of a blank tile or more, and how much less Zstandard leaves."""
_ORIENTATION, _YCBCR_COEFFICIENTS, _ICC = 274, 529, 34675
_USUAL_COEFFICIENTS = (0.299, 0.587, 0.114)
_LIBTIFF = tuple(
    tifffile.COMPRESSION[name]
    for name in ("NONE", "LZW", "PACKBITS", "ADOBE_DEFLATE", "DEFLATE", "OJPEG", "SGILOG", "SGILOG24")
)
"""What libtiff decodes also where tifffile does not know the colours in it."""


class UndecodableTiffError(UnsupportedImageError):
    """A TIFF that is whole, in a coding that tifffile does not decode."""

    def __init__(self, message: str, page: Any) -> None:
        super().__init__(message)
        self.index, self.shape_yx = page.index, (page.imagelength, page.imagewidth)
        fits = 4 * page.imagelength * page.imagewidth <= LARGEST_PIECE
        self.suits_libtiff = fits and page.compression in _LIBTIFF and not page.is_subifd


def open_tiff(
    path: Path, *, series: int | str | None = None, icc: bool = True, channel: ChannelChoice = None
) -> ImageSource:
    """Open a TIFF file; what tifffile does not decode, and libtiff does, is decoded whole by that.

    Parameters
    ----------
    path, series, icc, channel
        Arguments of `TiffSource`, passed on to it.

    Raises
    ------
    UnsupportedImageError
        If `TiffSource` refuses the file, or neither library decodes it.
    """
    try:
        return TiffSource(path, series=series, icc=icc, channel=channel)
    except UndecodableTiffError as error:
        if not error.suits_libtiff:
            raise
        whole = _by_libtiff(path, error.index)
        if whole is None or whole.shape[:2] != error.shape_yx:
            raise
        return ArraySource(whole, path.stem, channel=channel)


def _by_libtiff(path: Path, index: int) -> NDArray[np.uint8] | None:
    """Decode a page by the libtiff of imagecodecs, else by Pillow's or by tifffile; None if none of them can.

    Each fails on some JPEG in the style of TIFF before 1995 that another reads.
    """
    with suppress(RuntimeError, IndexError, ValueError):
        whole: NDArray[np.uint8] = imagecodecs.tiff_decode(path.read_bytes(), index=index, asrgb=True)[
            ..., :3
        ]
        if whole.any():  # else it has failed
            return np.ascontiguousarray(whole)
    with suppress(OSError, ValueError, SyntaxError), Image.open(path) as image:
        if index == 0:
            return np.array(image.convert("RGB"))
    with suppress(*DAMAGE):
        page = tifffile.imread(path, key=index)
        if page.dtype == np.uint8 and page.shape[2:] in ((), (3,)):
            return page
    return None


class TiffSource(SourceBase):
    """A TIFF file, read tile by tile, by several threads at once.

    Samples become the grey or RGB that they stand for, rows and columns run as the file says that they are
    to be shown. Tiles that the file leaves out, as slide scanners do where there is no tissue, have the
    file's own "no data" value, else 0.

    Parameters
    ----------
    path
        The file. Pages or planes of equal shape are frames.
    series
        Number or name of the image to show; by default the largest that is no label, macro or thumbnail.
    icc
        Whether to convert a slide's colours to sRGB by the ICC profile, where it has one.
    channel
        Channels that are wanted, as stored or of the colours that the samples stand for.

    Raises
    ------
    UnsupportedImageError
        If the file is damaged, or is neither grey nor RGB.
    """

    def __init__(
        self,
        path: Path,
        *,
        series: int | str | None = None,
        icc: bool = True,
        channel: ChannelChoice = None,
    ) -> None:
        with ExitStack() as on_error, decoding(path.name, "a readable TIFF", *DAMAGE):
            file, of_file = open_with_metadata(path)
            on_error.enter_context(file)
            check_claimed_planes(file, path)
            choice = choose_series(file, series, path.name, _obstacle)
            shown: Any = file.series[choice.number]
            page = shown.keyframe
            _check_decodable(page, path.name)
            levels, without = _decodable_levels(shown, path.name)
            _check_complete(levels, path.stat().st_size)
            self._meaning, self._turn, self._lead = meaning_of(page), _turn_of(page), _leading(shown)
            stored = channel if self._meaning.channels is None else None
            facts = _channel_facts(file, choice.number)
            extra = _samples_beside(page)
            facts = replace(facts, colours_first=self._meaning.channels is not None or extra > 0)
            self._plan = plan_axes(
                shown.axes, shown.shape, path.name, np.dtype(page.dtype), facts=facts, channel=stored
            )
            self._apart = bool(self._plan.channel_axis) and self._plan.channel_axis in self._lead[0]
            self._picked = self._of_converted(channel, path.name)
            layout = _layout(levels, self._plan, self._meaning, self._turn, 3 if len(self._picked) > 1 else 1)
            in_rgb = channel is None and layout.channels == 3 and layout.dtype == np.uint8
            self._to_srgb, notes = to_srgb(_profile(file, shown) if icc and in_rgb else None)
            spacing = spacing_of(file, choice.number)
            layout = replace(
                layout,
                spacing_um_yx=None if spacing is None else self._turn.pair(spacing),
                notes=(
                    *(*of_file, *choice.notes, *without),
                    *(*self._plan.notes, *_said_of_extra(extra, path.name), *notes),
                ),
                contents=replace(self._plan.contents, series=choice.series, shown=choice.number),
            )
            self._file, self._files = file, tifffile.FileCache(lock=RLock())
            self._kept = DecodedCache(_KEPT_BYTES)
            self._planes = [
                TiffPlanes(level, self._files, self._kept, number, self._meaning.fill)
                for number, level in enumerate(levels)
            ]
            self._file_name = path.name
            super().__init__(re.sub(r"(\.ome)?\.[A-Za-z]+$", "", path.name), layout)
            plain = self._meaning.plain and self._turn == Turn(1) and self._to_srgb is None
            self.reading = "" if plain and choice.number == 0 else f"as meant, series {choice.number}"
            on_error.pop_all()

    def _of_converted(self, channel: ChannelChoice, name: str) -> tuple[int, ...]:
        """Numbers, among the samples that were read and converted, of those that are shown."""
        if self._apart:
            return tuple(range(len(self._plan.picked)))
        if self._meaning.channels is None:
            return self._plan.picked
        if channel is None:
            return tuple(range(self._meaning.channels))
        return pick_channels(channel, COLOURS, self._meaning.channels, name)

    def _decode(self, region: Region) -> NDArray[Any]:
        box = self._turn.stored(region, self.levels[region.level].shape_yx)
        with decoding(self._file_name, "a readable TIFF", *DAMAGE):
            planes = [self._planes[region.level].read(plane, box) for plane in self._wanted(region)]
        samples = np.concatenate(planes, -1) if len(planes) > 1 else planes[0]
        pixels = self._turn.shown(self._meaning.convert(samples))
        if self.channels == 1:
            return np.ascontiguousarray(pixels[..., self._picked[0]])
        colours = filled(pixels[..., slice(3) if self._picked == (0, 1, 2) else list(self._picked)])
        return colours if self._to_srgb is None else self._to_srgb(colours)

    def _wanted(self, region: Region) -> list[int]:
        """Numbers of the planes that hold the region: one, or one per channel."""
        axes, sizes = self._lead
        at = self._plan.at(region.frame)
        indices = [
            [channel if axis == self._plan.channel_axis else at.get(axis, 0) for axis in axes]
            for channel in (self._plan.picked if self._apart else (0,))
        ]
        return [int(np.ravel_multi_index(index, sizes)) if axes else 0 for index in indices]

    def _release(self) -> None:
        self._planes = []
        self._kept.clear()
        self._files.clear()
        self._file.close()


def read_first(path: Path) -> tuple[NDArray[Any], str]:
    """Read the first image of a TIFF whole, its samples as they are stored, and its OME metadata.

    Raises
    ------
    tifffile.TiffFileError
        If its bytes cannot be there; like all of `DAMAGE`, for the caller to say.
    UnsupportedImageError
        If its coding is not known, or it says that it has far more pixels than its bytes hold.
    """
    check_pages(path)
    with tifffile.TiffFile(path) as file:
        check_claimed_planes(file, path)
        series: Any = file.series[0]
        page, size = series.keyframe, path.stat().st_size
        _check_decodable(page, path.name)
        _check_complete([series], size)
        check_claim(series.nbytes, size, path.name)
        planes = TiffPlanes(series, tifffile.FileCache(lock=RLock()), DecodedCache(0), 0)
        box = slice(0, page.imagelength), slice(0, page.imagewidth)
        count = series.size // max(1, page.size)
        values = [planes.read(number, box) for number in range(count)]
        if page.shaped[0] > 1:  # its samples lie apart, and were brought together
            values = [np.moveaxis(one, -1, 0) for one in values]
        return np.reshape(values[0] if count == 1 else values, series.shape), file.ome_metadata or ""


def _turn_of(page: Any) -> Turn:
    tag = page.tags.get(_ORIENTATION)
    return Turn.of(None if tag is None else tag.value)


def _samples_beside(page: Any) -> int:
    """How many samples of a pixel are neither its colours nor its opacity."""
    colours = {PHOTOMETRIC.RGB: 3, PHOTOMETRIC.SEPARATED: 4, PHOTOMETRIC.CIELAB: 3, PHOTOMETRIC.YCBCR: 3}
    known = colours.get(page.photometric)
    return 0 if known is None else max(0, page.samplesperpixel - known - 1)


def _said_of_extra(extra: int, name: str) -> tuple[str, ...]:
    if not extra:
        return ()
    more = "samples" if extra > 1 else "sample"
    return (f"{name} has {extra} more {more} per pixel beside colours and opacity, which are not shown.",)


def _channel_facts(file: tifffile.TiffFile, number: int) -> ChannelFacts:
    series: Any = file.series[number]
    if file.is_ome and (images := ome_images(file)):
        return ome_facts(images[min(number, len(images) - 1)]["Pixels"])
    if file.is_qpi:
        return qptiff_facts([page.aspage().description for page in series if page is not None])
    if file.is_imagej:
        return imagej_facts(
            file.imagej_metadata or {}, dict(zip(series.axes, series.shape, strict=True)).get("C", 1)
        )
    return ChannelFacts()


def _leading(series: Any) -> tuple[str, tuple[int, ...]]:
    """Axes that count planes, and their sizes; rows, columns and the samples of a page are not among them."""
    separate, depth, height, width, together = series.keyframe.shaped
    rows = series.axes.index("Y")
    count = rows - (separate > 1)
    in_page = prod(series.shape[count:])
    if (
        in_page != separate * depth * height * width * together
        or prod(series.shape[:count]) != max(1, len(series))
        or depth != 1
        or series.transform is not None
    ):
        raise UnsupportedImageError(
            f"Expected pages of rows and columns; got pages of shape {series.keyframe.shape} in a series of "
            f"shape {series.shape}. Save it as OME-TIFF and open that."
        )
    return series.axes[:count], series.shape[:count]


def _decodable_levels(series: Any, name: str) -> tuple[list[Any], tuple[str, ...]]:
    """Levels of a series without coarser ones in a coding that is not decoded, and a sentence on these."""
    finest, *coarser = series.levels
    reasons = [_obstacle(level.keyframe) for level in coarser]
    left_out = [
        f"that of {level.keyframe.imagelength} × {level.keyframe.imagewidth} px ({reason})"
        for level, reason in zip(coarser, reasons, strict=True)
        if reason
    ]
    kept = [level for level, reason in zip(coarser, reasons, strict=True) if not reason]
    sentence = f"Of the levels of {name} are left out, as they are not decoded here: {', '.join(left_out)}."
    return [finest, *kept], (sentence,) if left_out else ()


def _check_complete(levels: list[Any], size: int) -> None:
    """Raise if the bytes of a level cannot be there: after a broken copy, or by a header that lies."""
    for level in levels:
        page = level.keyframe
        offsets, counts = np.asarray(page.dataoffsets), np.asarray(page.databytecounts)
        if page.compression == tifffile.COMPRESSION.NONE:  # some writers count too many bytes
            counts = np.minimum(counts, min(page.nbytes, np.iinfo(np.int64).max))
        ends = offsets[: len(counts)] + counts[: len(offsets)]
        if ends.size and int(ends.max()) > size:
            raise tifffile.TiffFileError(f"it ends {int(ends.max()) - size} bytes early")
        across, down, piece = pieces_of(page)
        separate = page.shaped[0]
        # Philips leaves out the last row of tiles
        if len(offsets) < separate * across * max(1, down - 1):
            raise tifffile.TiffFileError(
                f"it says {separate * across * down} tiles or strips, and lists {len(offsets)}"
            )
        apart = np.unique(offsets[: len(counts)][counts[: len(offsets)] > 0]).size  # blank ones share bytes
        stored = max(1, apart - separate * across)  # those at the end are shorter
        if page.compression == tifffile.COMPRESSION.NONE and stored * piece // 8 > size:
            raise tifffile.TiffFileError(f"it says {stored} tiles or strips of {piece} bytes, and has {size}")
        bounded = page.compression in _BOUNDED
        check_claim(stored * piece, size if bounded else _TIGHTER * size, "it")


def _layout(levels: list[Any], plan: AxisPlan, meaning: Meaning, turn: Turn, channels: int) -> ImageLayout:
    return ImageLayout(
        levels=levels_from_shapes([turn.pair(plan.shape_yx(level.shape)) for level in levels]),
        channels=channels,
        dtype=meaning.dtype,
        frames=plan.frames,
    )


def _profile(file: tifffile.TiffFile, series: Any) -> bytes | None:
    """ICC profile of a slide; a plain picture's colours are left as they are."""
    if len(series.levels) < 2 and not file.is_svs:
        return None
    tag = series.keyframe.tags.get(_ICC)
    return None if tag is None else bytes(tag.value)


def _check_decodable(page: Any, name: str) -> None:
    """Raise if the pixels are coded in a way that is not decoded here, before a tile seems damaged."""
    reason = _obstacle(page)
    if reason:
        raise UndecodableTiffError(
            f"Expected a TIFF whose coding is known; {name} has {reason}, which is not decoded here. "
            f"Convert it: bfconvert -compression LZW {name} new.ome.tif (Bio-Formats), or save it with LZW "
            "compression where it was made.",
            page,
        )


def _obstacle(page: Any) -> str:
    if page.dtype is None:
        return f"samples of {page.bitspersample} bits and format {page.sampleformat}"
    if page.compression == tifffile.COMPRESSION.OJPEG:
        return "JPEG in the style of TIFF before 1995"
    if page.compression != tifffile.COMPRESSION.NONE and page.compression not in tifffile.TIFF.DECOMPRESSORS:
        return f"compression {int(page.compression)}"
    if page.predictor != 1 and page.predictor not in tifffile.TIFF.UNPREDICTORS:
        return f"predictor {int(page.predictor)}"
    return _obstacle_of_colours(page)


def _obstacle_of_colours(page: Any) -> str:
    if page.photometric != tifffile.PHOTOMETRIC.YCBCR or page.compression in JPEG:
        return ""
    if page.is_subsampled:
        return "YCbCr with subsampled colours and without JPEG"
    tag = page.tags.get(_YCBCR_COEFFICIENTS)
    usual = tag is None or np.allclose(_fractions(tag.value), _USUAL_COEFFICIENTS, atol=1e-3)
    return "" if usual else "YCbCr of coefficients other than JPEG's"


def _fractions(value: tuple[int, ...]) -> list[float]:
    return [over / under if under else 0.0 for over, under in zip(value[::2], value[1::2], strict=True)]
