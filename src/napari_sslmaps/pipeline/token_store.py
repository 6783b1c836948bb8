"""Store of a region's tokens, by how many there are: in single precision, in half, in a file."""

import errno
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.cache.store import default_folder
from napari_sslmaps.core.results import Float32
from napari_sslmaps.core.tokens import HalfTokens
from napari_sslmaps.errors import DeviceMemoryError, InvalidOptionError
from napari_sslmaps.files import HIDDEN
from napari_sslmaps.pipeline.free_memory import free_memory

_log = logging.getLogger(__name__)

FULL_VARIABLE, MEMORY_VARIABLE = "NAPARI_SSLMAPS_FULL_GB", "NAPARI_SSLMAPS_MEMORY_GB"
_FULL_GB, _MEMORY_GB = 1.0, 4.0
_STRIP_BYTES = 2**20
Storage = Literal["full", "half", "file"]


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """Bytes up to which tokens are kept in single precision, and in memory.

    Parameters
    ----------
    full_bytes
        Bytes of tokens in single precision up to which they are kept so; above, in half.
    memory_bytes
        Bytes of tokens in half precision up to which they are kept in memory; above, in a file that vanishes
        with them.
    folder
        Folder for that file.
    """

    full_bytes: int = int(_FULL_GB * 1e9)
    memory_bytes: int = int(_MEMORY_GB * 1e9)
    folder: Path = field(default_factory=default_folder)

    @classmethod
    def from_environment(cls) -> "TokenBudget":
        """Return the budget that NAPARI_SSLMAPS_FULL_GB and NAPARI_SSLMAPS_MEMORY_GB name; 1 GB and 4 GB.

        Tokens take at most half of the memory that is free, whatever is named.

        Raises
        ------
        InvalidOptionError
            If one of them is no number from zero.
        """
        return cls.named().within(free_memory() // 2)

    @classmethod
    def named(cls) -> "TokenBudget":
        """Return what the variables name, however little memory is free."""
        return cls(_gigabytes(FULL_VARIABLE, _FULL_GB), _gigabytes(MEMORY_VARIABLE, _MEMORY_GB))

    def within(self, most: int) -> "TokenBudget":
        """Return the same with at most so many bytes in memory."""
        return replace(self, full_bytes=min(self.full_bytes, most), memory_bytes=min(self.memory_bytes, most))

    def shared(self, count: int) -> "TokenBudget":
        """Return the part of one of several embeddings."""
        return replace(self, full_bytes=self.full_bytes // count, memory_bytes=self.memory_bytes // count)

    def say_if_short(self, rows: int, cols: int, dim: int) -> None:
        """Log how tokens of that shape are kept, where only a lack of memory is why."""
        kept = self.kept(rows, cols, dim)
        if kept not in ("full", self.named().kept(rows, cols, dim)):
            where = f"in a file in {self.folder}" if kept == "file" else "in memory"
            _log.warning(
                "Little memory is free (%.1f GB): the tokens are kept in half precision, %s.",
                free_memory() / 1e9,
                where,
            )

    def kept(self, rows: int, cols: int, dim: int) -> Storage:
        """Say how tokens of that shape are kept."""
        values = rows * cols * dim
        if 4 * values <= self.full_bytes:
            return "full"
        return "half" if 2 * values <= self.memory_bytes else "file"

    def check_room(self, rows: int, cols: int, dim: int) -> None:
        """Refuse tokens of that shape, before a pixel is read, where the disk is too small for their file.

        Raises
        ------
        DeviceMemoryError
            If it is.
        """
        size = 2 * rows * cols * dim
        if self.kept(rows, cols, dim) != "file":
            return
        folder = next(each for each in (self.folder, *self.folder.absolute().parents) if each.is_dir())
        free = shutil.disk_usage(folder).free
        if size > free:
            raise DeviceMemoryError(
                f"Expected {size / 1e9:.1f} GB of disk in {self.folder} for {rows} × {cols} tokens; "
                f"{free / 1e9:.1f} GB are free. Choose a smaller region, or a coarser level or resolution."
            )

    def allocate(self, rows: int, cols: int, dim: int) -> Float32:
        """Return (rows, cols, dim) tokens that are NaN: an array, or what is read like one.

        Raises
        ------
        DeviceMemoryError
            If the file cannot be written, or there is no memory for them.
        """
        kept = self.kept(rows, cols, dim)
        try:
            if kept == "full":
                return np.full((rows, cols, dim), np.nan, np.float32)
            if kept == "half":
                return cast("Float32", HalfTokens(np.full((rows, cols, dim), np.nan, np.float16)))
            return cast("Float32", HalfTokens(self._in_file((rows, cols, dim)), self._in_file))
        except MemoryError as error:
            raise DeviceMemoryError(
                f"Expected memory for {rows} × {cols} tokens; {free_memory() / 1e6:.0f} MB are free. Choose "
                "a smaller region, or a coarser level or resolution, or raise the limit of this shell or "
                "container."
            ) from error

    def _in_file(self, shape: tuple[int, ...]) -> NDArray[np.float16]:
        """Map a file without a name: it goes with the array, or with the process, however that ends.

        It is written once first, so that a full disk is an error here and no crash later.
        """
        row = np.full((1, *shape[1:]), np.nan, np.float16)
        strip = row.repeat(max(1, min(shape[0], _STRIP_BYTES // row.nbytes)), axis=0)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder, prefix=HIDDEN, suffix=".tmp") as file:
                for start in range(0, shape[0], len(strip)):
                    file.write(strip[: shape[0] - start].data)
                file.flush()
                return np.memmap(file, np.float16, "r+", shape=shape)
        except OSError as error:
            if error.errno == errno.ENOMEM:  # the address space has no place for the file
                raise MemoryError(str(error)) from error
            size = 2 * shape[0] * shape[1] * shape[2] / 1e9
            raise DeviceMemoryError(
                f"Expected {size:.1f} GB of disk in {self.folder} for the tokens; the system says: "
                f"{error.strerror or error}. Choose a smaller region, a coarser level, or more memory "
                f"({MEMORY_VARIABLE})."
            ) from error


def _gigabytes(variable: str, default: float) -> int:
    named = os.environ.get(variable, str(default))
    try:
        value = float(named)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise InvalidOptionError(f"Expected a number of GB from 0 in {variable}; got {named!r}.")
    return int(value * 1e9)
