"""Tokens of an output as they lie on the disk, so that one can be read without the thousands beside it.

An array has the axes (c, y, x) that OME-Zarr wants. Its chunks hold token after token, uncompressed: floating
point of a network hardly gets smaller, and a token of a chunk is then a few hundred bytes at a known place.
Outputs of before, whose chunks are compressed, are read too, by Zarr.
"""

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Float32
from napari_sslmaps.files import read_regular

_SAID = [
    {"name": "transpose", "configuration": {"order": [1, 2, 0]}},
    {"name": "bytes", "configuration": {"endian": "little"}},
]
_KEYS, _TYPES = {"name": "default", "configuration": {"separator": "/"}}, ("float16", "float32")
"""How its metadata says so."""
_MOST_BYTES = 1_000_000
_ALWAYS_BYTES, _MOST_TIMES = 2**28, 2000
"""What tokens may always claim, and how many times what is stored: of a mask, little may be there."""


def token_after_token() -> dict[str, Any]:
    """Return how `zarr` is asked for such an array."""
    from zarr.codecs import TransposeCodec

    return {"filters": [TransposeCodec(order=(1, 2, 0))], "compressors": None}


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
        about = json.loads(read_regular(array / "zarr.json", _MOST_BYTES))  # Zarr takes longer for its own
        shape, chunk = about["shape"], about["chunk_grid"]["configuration"]["chunk_shape"]
        if len(shape) != 3 or tuple(shape[1:]) != grid.shape:  # before anything is made so large
            raise ValueError(f"tokens has the shape {tuple(shape)}, and the grid {grid.shape}")
        self._array, self._shape, self.dim = array, grid.shape, int(shape[0])
        self._chunk_yx = tuple(int(side) for side in chunk[1:])
        self._is_plain = (
            about["codecs"] == _SAID
            and about["chunk_key_encoding"] == _KEYS
            and about["data_type"] in _TYPES
            and chunk[0] == self.dim
            and min(chunk) > 0
        )
        self._dtype = np.dtype(about["data_type"] if self._is_plain else np.float32).newbyteorder("<")

    def all(self) -> Float32:
        """Read all: (rows, cols, dim); NaN where a chunk is not there."""
        self._check_claim(prod(self._shape))
        if not self._is_plain:
            import zarr  # takes a fifth of a second, and the window waits

            stored = np.asarray(zarr.open_array(str(self._array), mode="r", zarr_format=3)[...])
            return np.ascontiguousarray(np.moveaxis(stored, 0, -1), np.float32)
        tokens = np.full((*self._shape, self.dim), np.nan, np.float32)
        (rows, cols), (high, wide) = self._shape, self._chunk_yx
        for row in range(0, rows, high):
            for col in range(0, cols, wide):
                path = self._chunk(row // high, col // wide)
                if path is not None:
                    chunk = np.fromfile(path, self._dtype).reshape(high, wide, self.dim)
                    tokens[row : row + high, col : col + wide] = chunk[: rows - row, : cols - col]
        return tokens

    def at(self, tokens_yx: NDArray[np.integer]) -> Float32:
        """Read some: (n, dim), of (n, 2) rows and columns; NaN where a chunk is not there."""
        if not self._is_plain:
            tokens: Float32 = self.all()[tokens_yx[:, 0], tokens_yx[:, 1]]
            return tokens
        self._check_claim(len(tokens_yx))
        tokens = np.full((len(tokens_yx), self.dim), np.nan, np.float32)
        size, wide = self.dim * self._dtype.itemsize, self._chunk_yx[1]
        for (row, col), which in self._by_chunk(tokens_yx):
            path = self._chunk(row, col)
            if path is None:
                continue
            inside = tokens_yx[which] - np.multiply((row, col), self._chunk_yx)
            with path.open("rb", buffering=0) as file:  # of a file that is mapped, much around each is read
                for number, (y, x) in zip(which.tolist(), inside.tolist(), strict=True):
                    file.seek((y * wide + x) * size)
                    tokens[number] = np.frombuffer(file.read(size), self._dtype)
        return tokens

    def _check_claim(self, tokens: int) -> None:
        """Refuse tokens whose bytes the chunks cannot have, before anything is made for them."""
        claimed = tokens * self.dim * np.dtype(np.float32).itemsize
        if claimed <= _ALWAYS_BYTES:  # without a look at each chunk
            return
        sizes = [path.stat().st_size for path in self._array.rglob("*") if path.is_file()]
        chunk = prod(self._chunk_yx) * self.dim * self._dtype.itemsize
        if claimed > _MOST_TIMES * sum(sizes) or (self._is_plain and chunk not in sizes):
            raise ValueError(f"it claims {claimed / 1e9:.3g} GB of tokens, of {sum(sizes):,} bytes")

    def _by_chunk(
        self, tokens_yx: NDArray[np.integer]
    ) -> Iterator[tuple[tuple[int, int], NDArray[np.integer]]]:
        chunks, inverse = np.unique(tokens_yx // self._chunk_yx, axis=0, return_inverse=True)
        for number, (row, col) in enumerate(chunks.tolist()):
            yield (row, col), np.flatnonzero(inverse == number)

    def _chunk(self, row: int, col: int) -> Path | None:
        """Return the file of a chunk, (y, x, c); None where it is not there."""
        path = self._array / "c" / "0" / str(row) / str(col)
        if not path.exists():
            return None
        wanted = prod(self._chunk_yx) * self.dim * self._dtype.itemsize
        if path.stat().st_size != wanted:
            raise ValueError(f"{path} has {path.stat().st_size} bytes instead of {wanted}")
        return path
