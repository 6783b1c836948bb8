"""NumPy's ``.npy`` files, read by rows and never mapped: one that shrinks is an error then, no crash."""

import tokenize
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.array import ArraySource, looks_channel_last
from napari_sslmaps.sources.channels import ChannelChoice
from napari_sslmaps.sources.claims import check_claim, held_bytes

DAMAGE = (
    *(OSError, EOFError, ValueError, TypeError, SyntaxError, tokenize.TokenError),
    *(RecursionError, MemoryError, OverflowError),
)
"""What NumPy raises for a damaged file of an array."""
_HEADERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}


@dataclass(frozen=True, slots=True)
class NpyArray:
    """The array in a file, of which only what is asked for is read.

    Parameters
    ----------
    path
        File of the array.
    offset
        Bytes before the first number.
    shape, dtype
        Shape and type of the array.
    column_major
        Whether the first index runs fastest.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    column_major: bool

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        """Read a part.

        Parameters
        ----------
        index
            Index per axis: a number, or a slice that has both ends and no step.

        Raises
        ------
        OSError
            If the file has become shorter.
        """
        if not self.column_major:
            return self._stored(self.shape, index)
        return self._stored(self.shape[::-1], index[::-1]).T

    def _stored(self, shape: tuple[int, ...], index: tuple[int | slice, ...]) -> NDArray[Any]:
        """Read a part in the order of the file: run by run, of the second axis that is left."""
        start = 0
        while isinstance(index[0], int):
            start += index[0] * prod(shape[1:])
            shape, index = shape[1:], index[1:]
        rows, columns = _span(index[0]), _span(index[1])
        step, inner = prod(shape[1:]), prod(shape[2:])
        part = np.empty((len(rows), len(columns), *shape[2:]), self.dtype)
        with self.path.open("rb") as file:
            for run, row in zip(part, rows, strict=True):
                file.seek(self.offset + (start + row * step + columns.start * inner) * self.dtype.itemsize)
                if file.readinto(run.view(np.uint8).data) < run.nbytes:
                    raise EOFError(f"{self.path.name} has become shorter since it was opened")
        second = 0 if isinstance(index[1], int) else slice(None)
        cut: NDArray[Any] = part[(slice(None), second, *index[2:])]
        return cut


def open_npy(path: Path, *, frames: bool = False, channel: ChannelChoice = None) -> ArraySource:
    """Open a ``.npy`` file, an image or a stack of them, without reading it whole; pickles are refused.

    Raises
    ------
    UnsupportedImageError
        If it is damaged, shorter than it says, or no array of numbers.
    """
    try:
        array = _header(path)
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise UnsupportedImageError(
            f"Expected a NumPy array of numbers; {path.name} cannot be read ({reason}). "
            "Save it again with numpy.save."
        ) from error
    check_claim(prod(array.shape) * array.dtype.itemsize, held_bytes(path), path.name)
    colours, planes = array.ndim == 4 and looks_channel_last(array.shape), array.ndim == 3
    stack = colours or (planes and array.shape[0] not in (1, 3, 4) and array.shape[-1] > 4)
    return ArraySource(array, path.stem, frames=frames or stack, channel=channel)


def read_npy(path: Path) -> NDArray[Any]:
    """Read a whole array of numbers, once its header is held against the file; raises what `DAMAGE` lists.

    Raises
    ------
    UnsupportedImageError
        If the file holds far less than it says, as one of holes does.
    """
    said = _header(path)
    check_claim(prod(said.shape) * said.dtype.itemsize, held_bytes(path), path.name)
    array: NDArray[Any] = np.load(path, allow_pickle=False)
    return array


def _header(path: Path) -> NpyArray:
    with path.open("rb") as file:
        version = npy_format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"it is of version {version[0]}.{version[1]}")
        shape, column_major, dtype = _HEADERS[version](file)
        offset = file.tell()
    if dtype.hasobject or dtype.names:
        raise ValueError(f"its values are {dtype}")
    missing = offset + prod(shape) * dtype.itemsize - path.stat().st_size
    if min(shape, default=0) < 0 or missing > 0:
        raise ValueError(f"of shape {shape}, it ends {missing} bytes early")
    return NpyArray(path, offset, shape, dtype, column_major)


def _span(index: int | slice) -> range:
    return range(index.start, index.stop) if isinstance(index, slice) else range(index, index + 1)
