"""Stored numbers of a DICOM frame → the values and colours they stand for."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_color_lut

from napari_sslmaps.core.preprocess import Window

_BAND_PIXELS = 4_000_000
"""Pixels that are made into values at a time."""


def frame_group(header: pydicom.Dataset, frame: int, keyword: str) -> pydicom.Dataset | None:
    """Return the functional group `keyword` of a frame: its own, else the one that all frames share."""
    own = header.get("PerFrameFunctionalGroupsSequence") or ()
    shared = header.get("SharedFunctionalGroupsSequence") or ()
    for group in (*own[frame : frame + 1], *shared[:1]):
        items = group.get(keyword)
        if items:
            found: pydicom.Dataset = items[0]
            return found
    return None


@dataclass(frozen=True, slots=True)
class Colours:
    """Colour pixels: RGB as they are decoded, or indices of a palette, whose entries are reduced to bytes.

    Parameters
    ----------
    header
        Header of the file.
    stored
        Type of the pixels as they are stored.
    """

    header: pydicom.Dataset
    stored: np.dtype[Any]

    @property
    def has_palette(self) -> bool:
        """Whether pixels are indices."""
        return bool(self.header.PhotometricInterpretation == "PALETTE COLOR")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of what `of` returns."""
        return np.dtype(np.uint8) if self.has_palette else self.stored

    @property
    def window(self) -> Window | None:
        """Intensities of black and white, where fewer bits are used than stored."""
        return None if self.has_palette else _bits_window(self.header, self.stored)

    def of(self, pixels: NDArray[Any], _frame: int) -> NDArray[Any]:
        """Return (height, width, 3)."""
        if not self.has_palette:
            return pixels
        rgb = apply_color_lut(pixels, _little_endian_palette(self.header))[..., :3]
        return (rgb >> 8).astype(np.uint8) if rgb.dtype.itemsize == 2 else rgb.astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Values:
    """Grey pixels → what they measure: rescaled, looked up in the file's tables, bright for dense.

    A linear window of interest changes no pixel: it is kept as what becomes 0 and 1.

    Parameters
    ----------
    header
        Header of the file.
    stored
        Type of the pixels as they are stored.
    frames
        Number of frames; each may be rescaled by numbers of its own.
    """

    header: pydicom.Dataset
    stored: np.dtype[Any]
    frames: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of what `of` returns: whole numbers where all values are, else float32."""
        if table := self._table():
            return np.dtype(np.uint8 if table.LUTDescriptor[2] <= 8 else np.uint16)
        steps = set(self._rescales())
        if self.stored.kind == "f" or steps == {(1.0, 0.0)}:
            return self.stored
        if any(slope != 1 or shift != int(shift) for slope, shift in steps):
            return np.dtype(np.float32)
        low, high = _stored_range(self.header, self.stored)
        shifts = [int(shift) for _, shift in steps]
        return np.promote_types(
            np.min_scalar_type(min(low, *shifts, low + min(shifts))), np.min_scalar_type(high + max(shifts))
        )

    @property
    def window(self) -> Window | None:
        """Values that the file says are black and white; None where it does not say."""
        if table := self._interest_table:
            bits = int(table.LUTDescriptor[2])
            return (0.0, float(2**bits - 1)) if bits > 8 else None
        interest = frame_group(self.header, 0, "FrameVOILUTSequence") or self.header
        found = _linear_window(interest)
        if found is None:
            plain = self.dtype == self.stored and self._table() is None
            return _bits_window(self.header, self.stored) if plain else None
        if self._inverted:
            mirror = self._mirror(0)
            return mirror - found[1], mirror - found[0]
        return found

    def of(self, pixels: NDArray[Any], frame: int) -> NDArray[Any]:
        """Return (height, width) values of `dtype`, made a few rows at a time: numbers between are wide."""
        if self.dtype == pixels.dtype and not self._changes(frame):
            return pixels
        values = np.empty(pixels.shape, self.dtype)
        rows = max(1, _BAND_PIXELS // max(1, pixels.shape[1]))
        for start in range(0, len(pixels), rows):
            values[start : start + rows] = self._of_rows(pixels[start : start + rows], frame)
        return values

    def _changes(self, frame: int) -> bool:
        """Whether values are others than the pixels."""
        return self._inverted or bool(self._table()) or self._rescale(frame) != (1.0, 0.0)

    def _of_rows(self, pixels: NDArray[Any], frame: int) -> NDArray[Any]:
        wide = pixels
        if table := _table_in(self.header, "ModalityLUTSequence"):
            wide = _looked_up(pixels, table, self.header)
        elif (step := self._rescale(frame)) != (1.0, 0.0):
            exact = np.float64 if self.dtype.kind == "f" else np.int64
            wide = pixels.astype(exact) * exact(step[0]) + exact(step[1])
        if table := self._interest_table:
            wide = _looked_up(wide, table, self.header)
        if self._inverted:
            top = self._mirror(frame)
            wide = (top - wide) if wide.dtype.kind == "f" else (int(top) - wide.astype(np.int64))
        values: NDArray[Any] = wide.astype(self.dtype, copy=False)
        return values

    @property
    def _inverted(self) -> bool:
        return bool(self.header.PhotometricInterpretation == "MONOCHROME1")

    @property
    def _interest_table(self) -> pydicom.Dataset | None:
        return None if self.stored.kind == "f" else _table_in(self.header, "VOILUTSequence")

    def _table(self) -> pydicom.Dataset | None:
        """Return the table that values come out of last, if there is one."""
        return self._interest_table or _table_in(self.header, "ModalityLUTSequence")

    def _rescales(self) -> Iterator[tuple[float, float]]:
        own = len(self.header.get("PerFrameFunctionalGroupsSequence") or ())
        return (self._rescale(frame) for frame in range(self.frames if own else 1))

    def _rescale(self, frame: int) -> tuple[float, float]:
        """Slope and intercept."""
        said = frame_group(self.header, frame, "PixelValueTransformationSequence") or self.header
        slope, shift = said.get("RescaleSlope"), said.get("RescaleIntercept")
        return (1.0 if slope in (None, "", 0) else float(slope), float(shift or 0.0))

    def _mirror(self, frame: int) -> float:
        """Sum of the lowest and highest value, from which a value is subtracted to invert it."""
        if table := self._table():
            return float(2 ** int(table.LUTDescriptor[2]) - 1)
        if self.stored.kind == "f":
            return 0.0
        slope, shift = self._rescale(frame)
        return sum(_stored_range(self.header, self.stored)) * slope + 2 * shift


def _table_in(header: pydicom.Dataset, keyword: str) -> pydicom.Dataset | None:
    """Return the first table of a sequence; None where it is left out, or has no entries."""
    for item in header.get(keyword) or ():
        if len(item.get("LUTDescriptor") or ()) == 3 and item.get("LUTData"):
            table: pydicom.Dataset = item
            return table
    return None


def _bits_window(header: pydicom.Dataset, stored: np.dtype[Any]) -> Window | None:
    """Intensities of black and white of bytes of which fewer than 8 bits are used."""
    bits = int(header.get("BitsStored", 8))
    return (0.0, float(2**bits - 1)) if stored == np.uint8 and 0 < bits < 8 else None


def _linear_window(interest: pydicom.Dataset) -> Window | None:
    """Return the first window of interest, or None if there is none that has a width."""
    centre, width = (_first(interest.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None:
        return None
    if interest.get("VOILUTFunction", "LINEAR") == "LINEAR":  # DICOM PS3.3, C.11.2.1.2
        centre, width = centre - 0.5, width - 1
    return (centre - width / 2, centre + width / 2) if width > 0 else None


def _first(value: Any) -> float | None:
    several = isinstance(value, pydicom.multival.MultiValue)
    one = (value[0] if len(value) else None) if several else value
    return None if one in (None, "") else float(one)


def _stored_range(header: pydicom.Dataset, stored: np.dtype[Any]) -> tuple[int, int]:
    bits = int(header.get("BitsStored", 8 * stored.itemsize))
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if stored.kind == "i" else (0, (1 << bits) - 1)


def _looked_up(pixels: NDArray[Any], table: pydicom.Dataset, header: pydicom.Dataset) -> NDArray[Any]:
    """Look numbers up in a table; those beyond its ends get its first or last entry (PS3.3, C.11.1.1)."""
    count, first, bits = (int(number) for number in table.LUTDescriptor)
    count = count or 2**16
    entries = table.LUTData
    if isinstance(entries, bytes):
        order = ">" if header.original_encoding[1] is False else "<"
        width = 1 if len(entries) < 2 * count else 2
        entries = np.frombuffer(entries, f"{order}u{width}")
    found: NDArray[Any] = np.asarray(entries)[:count].astype(np.uint8 if bits <= 8 else np.uint16)
    return found[np.clip(pixels.astype(np.int64) - first, 0, len(found) - 1)]


def _little_endian_palette(header: pydicom.Dataset) -> pydicom.Dataset:
    """Return what `apply_color_lut` reads of a header, its words in the order that it expects."""
    if header.original_encoding[1] is not False or "RedPaletteColorLookupTableData" not in header:
        return header
    swapped = pydicom.Dataset()
    for name in ("Red", "Green", "Blue"):
        table = f"{name}PaletteColorLookupTable"
        words = np.frombuffer(header[f"{table}Data"].value, np.uint16)
        setattr(swapped, f"{table}Descriptor", header[f"{table}Descriptor"].value)
        setattr(swapped, f"{table}Data", words.byteswap().tobytes())
    return swapped
