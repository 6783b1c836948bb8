"""Tokens of an output as they lie on the disk, so that one can be read without the thousands beside it.

An array has the axes (c, y, x) that OME-Zarr wants. Its chunks hold token after token, uncompressed: floating
point of a network hardly gets smaller, and a token of a chunk is then a few hundred bytes at a known place.
Outputs of before, whose chunks are compressed, are read too, by Zarr.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, TransposeCodec

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Float32

TOKEN_AFTER_TOKEN: dict[str, Any] = {"filters": [TransposeCodec(order=(1, 2, 0))], "compressors": None}
"""How `zarr` is asked for such an array."""
_CODECS = (*TOKEN_AFTER_TOKEN["filters"], BytesCodec(endian="little"))


class StoredTokens:
    """Tokens of an output, opened to be read.

    Parameters
    ----------
    array
        Folder of their Zarr array.
    grid
        Grid that they lie on.

    Raises
    ------
    ValueError
        If the array has not the shape of the grid.
    OSError, KeyError, TypeError
        If it is none.
    """

    def __init__(self, array: Path, grid: TokenGrid) -> None:
        self._array = zarr.open_array(str(array), mode="r", zarr_format=3)
        if self._array.shape[-2:] != grid.shape or self._array.ndim != 3:  # before anything is made so large
            raise ValueError(f"tokens has the shape {self._array.shape}, and the grid {grid.shape}")
        self._folder, self._shape = array / "c" / "0", grid.shape
        _, *chunk = self._array.chunks
        self._chunk_yx = tuple(chunk)
        plain = tuple(self._array.metadata.codecs) == _CODECS  # type: ignore[union-attr]  # of format 3
        self._is_plain = plain and self._array.chunks[0] == self.dim and min(chunk) > 0

    @property
    def dim(self) -> int:
        """Numbers of a token."""
        return int(self._array.shape[0])

    def all(self) -> Float32:
        """Read all: (rows, cols, dim); NaN where a chunk is not there."""
        if not self._is_plain:
            return np.ascontiguousarray(np.moveaxis(np.asarray(self._array[...]), 0, -1), np.float32)
        tokens = np.full((*self._shape, self.dim), np.nan, np.float32)
        (rows, cols), (high, wide) = self._shape, self._chunk_yx
        for row in range(0, rows, high):
            for col in range(0, cols, wide):
                chunk = self._chunk(row // high, col // wide)
                if chunk is not None:
                    tokens[row : row + high, col : col + wide] = chunk[: rows - row, : cols - col]
        return tokens

    def at(self, tokens_yx: NDArray[np.integer]) -> Float32:
        """Read some: (n, dim), of (n, 2) rows and columns; NaN where a chunk is not there."""
        if not self._is_plain:
            tokens: Float32 = self.all()[tokens_yx[:, 0], tokens_yx[:, 1]]
            return tokens
        tokens = np.full((len(tokens_yx), self.dim), np.nan, np.float32)
        for (row, col), which in self._by_chunk(tokens_yx):
            chunk = self._chunk(row, col)
            if chunk is not None:
                inside = tokens_yx[which] - np.multiply((row, col), self._chunk_yx)
                tokens[which] = chunk[inside[:, 0], inside[:, 1]]
        return tokens

    def _by_chunk(
        self, tokens_yx: NDArray[np.integer]
    ) -> Iterator[tuple[tuple[int, int], NDArray[np.integer]]]:
        chunks, inverse = np.unique(tokens_yx // self._chunk_yx, axis=0, return_inverse=True)
        for number, (row, col) in enumerate(chunks.tolist()):
            yield (row, col), np.flatnonzero(inverse == number)

    def _chunk(self, row: int, col: int) -> NDArray[np.floating] | None:
        """Map a chunk, (y, x, c), of which what is looked at is read; None where it is not there."""
        path = self._folder / str(row) / str(col)
        if not path.exists():
            return None
        dtype = np.dtype(self._array.dtype).newbyteorder("<")
        shape = (*self._chunk_yx, self.dim)
        wanted = int(np.prod(shape)) * dtype.itemsize
        if path.stat().st_size != wanted:
            raise ValueError(f"{path} has {path.stat().st_size} bytes instead of {wanted}")
        chunk: NDArray[np.floating] = np.memmap(path, dtype, "r", shape=shape)
        return chunk
