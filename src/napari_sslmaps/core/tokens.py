"""Tokens of large regions: kept in half precision, read in single, a part at a time."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
LARGEST_HALF = float(np.finfo(np.float16).max)
"""Largest number that half precision holds."""
CHUNK, HALF_CHUNK = 16_384, 2_048
"""Tokens that are read at a time; of those in half precision as many as stay in a processor's cache then."""
Room: TypeAlias = Callable[[tuple[int, ...]], NDArray[np.float16]]


def _in_memory(shape: tuple[int, ...]) -> NDArray[np.float16]:
    return np.empty(shape, np.float16)


class HalfTokens:
    """An array of tokens that is kept in half precision, in memory or mapped from a file.

    Indexing gives single precision, as an array of its own; `numpy.asarray` gives the whole, which may be
    large. Numbers beyond ±65504 are kept as that.

    Parameters
    ----------
    values
        (…, dim) float16, filled in place by assignment.
    room
        Function that makes a (…, dim) float16 array of a shape for what is computed from these tokens: in
        memory, or in a file as they are.
    """

    dtype = np.dtype(np.float32)
    """Type of what indexing gives."""

    def __init__(self, values: NDArray[np.float16], room: Room = _in_memory) -> None:
        self._values, self._room = values, room

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, columns and channels, as of an array."""
        return self._values.shape

    @property
    def ndim(self) -> int:
        """Number of axes, as of an array."""
        return self._values.ndim

    @property
    def nbytes(self) -> int:
        """Bytes that are kept, in memory or in the file."""
        return self._values.nbytes

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        return _single(self._values[index])

    def __setitem__(self, index: Any, values: Any) -> None:
        self._values[index] = _half(np.asarray(values, np.float32))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("Tokens in half precision are copied to be read.")
        found = _single(self._values)
        return found if dtype is None else found.astype(dtype, copy=False)

    def view(self, index: tuple[slice, slice]) -> "HalfTokens":
        """Return some rows and columns of the same tokens, without copying them."""
        return HalfTokens(self._values[index], self._room)

    def reshape(self, *shape: int) -> "HalfTokens":
        """Return the same tokens in another shape, without copying them."""
        return HalfTokens(self._values.reshape(*shape), self._room)

    def empty_like(self) -> "HalfTokens":
        """Return room for as many tokens, kept where these are: in memory, or in a file of their own."""
        return HalfTokens(self._room(self.shape), self._room)


def _single(values: NDArray[np.float16]) -> Float32:
    """Return numbers in single precision, by torch: numpy takes twenty times as long."""
    if not values.ndim or not values.flags.writeable:  # torch warns of what it could write to, and must not
        return values.astype(np.float32)
    from torch import from_numpy

    found: Float32 = from_numpy(np.ascontiguousarray(values)).float().numpy()
    return found


def _half(values: Float32) -> NDArray[np.float16]:
    """Return numbers in half precision, by torch; ±65504 for what is beyond it. NaN stays NaN."""
    from torch import from_numpy

    given = from_numpy(np.array(values, order="C", copy=None if values.flags.writeable else True))
    found: NDArray[np.float16] = given.clamp(-LARGEST_HALF, LARGEST_HALF).half().numpy()
    return found


Tokens: TypeAlias = Float32 | HalfTokens


def token_chunks(flat: Tokens, size: int | None = None) -> Iterator[tuple[slice, Float32]]:
    """Yield (N, dim) tokens in single precision, a part at a time, each with its place."""
    size = size or (HALF_CHUNK if isinstance(flat, HalfTokens) else CHUNK)
    for start in range(0, len(flat), size):
        part = slice(start, min(start + size, len(flat)))
        yield part, flat[part]
