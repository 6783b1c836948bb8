"""Parts shared by all sources: the region's check, reading from several threads, closing, physical units."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.preprocess import Window, check_finite
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import InvalidOptionError, RegionError, SSLMapsError, UnsupportedImageError
from napari_sslmaps.files import readable
from napari_sslmaps.sources.identity import FileIdentity
from napari_sslmaps.sources.protocol import ImageSource, Level

SpacingYX = tuple[float, float] | None
_WHOLE = re.compile(
    r"unsupported|not (yet )?supported|unrecogni[sz]ed|unknown|not implemented|cannot handle|can not read",
    re.IGNORECASE,
)
"""Words by which libraries say that a file is of a form that they do not know, rather than damaged."""


@dataclass(frozen=True, slots=True)
class Contents:
    """Images and channels that a file has to choose from; nothing where there is no choice.

    Parameters
    ----------
    series
        Number, name and size of each of its images.
    shown
        Index among them of the one that is read.
    channels
        Number and name of each channel.
    picked
        Numbers of those that are read: one, or two or three as red, green and blue.
    """

    series: tuple[str, ...] = ()
    shown: int = 0
    channels: tuple[str, ...] = ()
    picked: tuple[int, ...] = ()

    @property
    def series_read(self) -> str:
        """Number and name of the image that is read; empty where there is one."""
        return self.series[self.shown].rsplit(",", 1)[0] if self.series else ""

    @property
    def channels_read(self) -> str:
        """Number and name of the channels that are read; empty where there is no choice."""
        return " + ".join(self.channels[number] for number in self.picked)


@dataclass(frozen=True, slots=True)
class ImageLayout:
    """Facts about a source's pixels before any is read; the fields of `ImageSource`.

    `notes` are sentences on what else the file holds, and on what was made of it; `contents` is what can be
    chosen instead.
    """

    levels: tuple[Level, ...]
    channels: int
    dtype: np.dtype[Any]
    frames: int = 1
    spacing_um_yx: SpacingYX = None
    window: Window | None = None
    aspect_yx: tuple[float, float] = (1.0, 1.0)
    notes: tuple[str, ...] = ()
    contents: Contents = Contents()

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", self.dtype.newbyteorder("="))


def check_dtype(stored: Any, name: str) -> None:
    """Raise `UnsupportedImageError` unless pixels are bool, whole numbers or real ones of at most 64 bits."""
    try:
        dtype = np.dtype(stored)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise UnsupportedImageError(
            f"Expected bool, integer or real float pixels in {name}; got {stored}. "
            "Convert them, for example with numpy.abs(image) or image.astype('float32')."
        )


def levels_from_shapes(shapes_yx: Sequence[tuple[int, int]]) -> tuple[Level, ...]:
    """Return levels whose downsampling is the ratio of their size to the first one's.

    Raises
    ------
    UnsupportedImageError
        If a level is empty, or larger than the one before it.
    """
    height, width = shapes_yx[0]
    for finer, coarser in pairwise([(height, width), *shapes_yx]):
        if 0 in coarser or coarser[0] > finer[0] or coarser[1] > finer[1]:
            raise UnsupportedImageError(
                "Expected levels of at least one pixel, from the finest to the coarsest; got "
                f"{', '.join(f'{h} × {w}' for h, w in shapes_yx)} px. Export the image again."
            )
    return tuple(Level((h, w), (height / h, width / w)) for h, w in shapes_yx)


class SourceBase(ABC):
    """An `ImageSource` whose subclass only decodes.

    Reads from several threads run at once: what a subclass shares between them it guards itself. The file is
    let go of after `close` by the last reader.

    Parameters
    ----------
    name
        Short name for titles.
    layout
        Levels, channels, dtype, frames, spacing and notes.

    Raises
    ------
    UnsupportedImageError
        If the pixels are no real numbers.
    """

    reading = ""
    """What is done to stored pixels that version 0.1 did not do: scans of then are not recalled."""
    calibrated = False
    """Whether its spacing is the user's word."""
    file: FileIdentity | None = None
    """The file that it reads, as it was when it was opened; None where that is not known."""
    folder: Path | None = None
    """The folder that it reads; None where it is a file or not known."""

    def __init__(self, name: str, layout: ImageLayout) -> None:
        check_dtype(layout.dtype, name)
        self._name = readable(name)
        self._layout = layout
        self._lock = Lock()
        self._readers = 0
        self._closed = False

    @property
    def name(self) -> str:
        """Short name for titles."""
        return self._name

    @property
    def levels(self) -> tuple[Level, ...]:
        """Resolution levels, finest first."""
        return self._layout.levels

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return self._layout.channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels that `read` returns."""
        return self._layout.dtype

    @property
    def frames(self) -> int:
        """Length of the time or z axis."""
        return self._layout.frames

    @property
    def spacing_um_yx(self) -> SpacingYX:
        """Micrometres per pixel of level 0, or None."""
        return self._layout.spacing_um_yx

    @property
    def window(self) -> Window | None:
        """Intensities that the file says are black and white; None where it does not say."""
        return self._layout.window

    @property
    def aspect_yx(self) -> tuple[float, float]:
        """Height and width of a pixel, in any unit: for files that say no more than that."""
        return self._layout.aspect_yx

    def spacing_at(self, point_yx: tuple[float, float], frame: int) -> SpacingYX:  # noqa: ARG002
        """Micrometres per pixel at a point of level 0; as `spacing_um_yx` unless the file has several."""
        return self.spacing_um_yx

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what else the file holds, and on what was made of it."""
        return self._layout.notes

    @property
    def contents(self) -> Contents:
        """Images and channels of the file that can be chosen instead."""
        return self._layout.contents

    def call(self, name: str) -> None:
        """Call it otherwise, and let it say no more of its file, whose name is in its notes."""
        self._name = name
        self._layout = replace(self._layout, notes=(), contents=Contents())

    def offer(self, contents: Contents) -> None:
        """Say what its file has to choose from."""
        self._layout = replace(self._layout, contents=contents)

    def calibrate(self, um_per_px: float | tuple[float, float]) -> None:
        """Believe this spacing rather than the file's.

        Parameters
        ----------
        um_per_px
            Micrometres per pixel of level 0: one number, or those of rows and columns.

        Raises
        ------
        InvalidOptionError
            If one is not positive.
        """
        self._layout = replace(self._layout, spacing_um_yx=check_spacing(um_per_px))
        self.calibrated = True

    def read(self, region: Region) -> NDArray[Any]:
        """Read (height, width) or (height, width, 3) pixels; safe from several threads.

        Raises
        ------
        RegionError
            If the region, its level or its frame is not inside the image.
        UnsupportedImageError
            If the source is closed, or the pixels cannot be decoded or are not finite.
        """
        self._check(region)
        with self._reading():
            pixels = self._decode(region).astype(self.dtype, copy=False)
        check_finite(pixels)
        return pixels

    def close(self) -> None:
        """Release the file, or let the last of those that read now release it; twice is harmless."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._release_unless_read()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise UnsupportedImageError(
                    f"Expected an open image; {self.name} has been closed. Open it again to read."
                )
            self._readers += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                if self._closed:
                    self._release_unless_read()

    def _release_unless_read(self) -> None:
        if self._readers == 0:
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self, region: Region) -> None:
        if region.level >= len(self.levels):
            raise RegionError(
                f"Expected a level below {len(self.levels)} for {self.name}; got {region.level}."
            )
        if region.frame >= self.frames:
            raise RegionError(f"Expected a frame below {self.frames} for {self.name}; got {region.frame}.")
        region.check_within(self.levels[region.level].shape_yx)

    @abstractmethod
    def _decode(self, region: Region) -> NDArray[Any]:
        """Decode a region that was checked, into an array of its own; several threads do so at once."""

    def _release(self) -> None:
        """Let go of file handles and decoded pixels."""
        return


def rename(source: ImageSource, name: str) -> None:
    """Call an image otherwise, if it is of a file, whose name it would say."""
    if isinstance(source, SourceBase):
        source.call(name)


def spacing_in(source: ImageSource, region: Region) -> SpacingYX:
    """Return micrometres per pixel of level 0 in the middle of a region, where an image has several."""
    at = getattr(source, "spacing_at", None)
    if at is None or getattr(source, "calibrated", False):
        return source.spacing_um_yx
    down_y, down_x = source.levels[region.level].downsample_yx
    middle = (region.y + (region.height - 1) / 2) * down_y, (region.x + (region.width - 1) / 2) * down_x
    spacing: SpacingYX = at(middle, region.frame)
    return spacing


def check_spacing(um_per_px: float | tuple[float, float]) -> tuple[float, float]:
    """Return micrometres per pixel of rows and columns; raise `InvalidOptionError` unless positive."""
    y, x = um_per_px if isinstance(um_per_px, Sequence) else (um_per_px, um_per_px)
    is_truth = any(isinstance(step, (bool, np.bool_)) for step in (y, x))
    spacing = None if is_truth else spacing_um(y, x, 1.0)
    if spacing is None:
        raise InvalidOptionError(f"Expected positive micrometres per pixel; got {um_per_px!r}.")
    return spacing


def check_alone(series: int | str | None, name: str) -> None:
    """Raise `InvalidOptionError` where another image is asked for of a file that holds one."""
    if series not in (None, 0, "0"):
        raise InvalidOptionError(
            f"Expected no series for {name}, which holds one image; got {series!r}. Leave it out."
        )


_EVERYWHERE = (MemoryError, ArithmeticError, RecursionError, AttributeError, TypeError, LookupError)
"""What any library may raise on numbers and words that make no sense."""


@contextmanager
def decoding(name: str, expected: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn a library's `errors` into one sentence about the file `name`.

    Parameters
    ----------
    name
        File name as the user knows it.
    expected
        Description of what the file was taken for, for example ``a readable TIFF``.
    *errors
        The library's exceptions that mean the file is damaged, or of a form that the library does not know;
        which of the two is told by their words.
    """
    caught: tuple[type[Exception], ...] = (*errors, *_EVERYWHERE)
    try:
        yield
    except SSLMapsError:
        raise
    except caught as error:
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split()) or type(cause).__name__
        way_out = (
            "It may be whole, in a form that is not supported: convert it to OME-TIFF or PNG."
            if isinstance(cause, NotImplementedError) or _WHOLE.search(reason)
            else "It is damaged or truncated: copy or export it again."
        )
        raise UnsupportedImageError(
            f"Expected {expected}; {name} cannot be decoded ({reason[:160]}). {way_out}"
        ) from error


_MICROMETRES = {
    "m": 1e6,
    "cm": 1e4,
    "mm": 1e3,
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "nm": 1e-3,
    "pm": 1e-6,
    "å": 1e-4,
    "in": 25_400.0,
    "inch": 25_400.0,
    "meter": 1e6,
    "centimeter": 1e4,
    "millimeter": 1e3,
    "micrometer": 1.0,
    "nanometer": 1e-3,
    "picometer": 1e-6,
    "angstrom": 1e-4,
}


def unit_um(unit: str | None) -> float | None:
    """Micrometres in one `unit`, or None if it is no unit of length that is known."""
    text = (unit or "").strip().replace("\\u00B5", "µ").lower()
    return _MICROMETRES.get(text)


def spacing_um(step_y: Any, step_x: Any, factor: float | None) -> SpacingYX:
    """Return positive, finite micrometres per pixel, or None if a step is not; a decimal comma is read."""
    try:
        y, x = _number(step_y) * (factor or 0.0), _number(step_x) * (factor or 0.0)
    except (TypeError, ValueError):
        return None
    return (y, x) if 0 < y < float("inf") and 0 < x < float("inf") else None


def _number(value: Any) -> float:
    return float(value.replace(",", ".") if isinstance(value, str) else value)
