"""One embedding in the cache: finished, begun as tiles with checksums, or not there yet."""

import json
import logging
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.cache import ome
from napari_sslmaps.cache.ome import Allocate, Placement
from napari_sslmaps.core.placed_mask import Mask
from napari_sslmaps.core.results import Float32
from napari_sslmaps.core.tiling import Tile
from napari_sslmaps.files import read_regular, remove_folder, whole_file, whole_folder
from napari_sslmaps.sources.identity import FileIdentity

logger = logging.getLogger(__name__)
Planes = Mapping[str, Float32]
FINISHED, BEGUN = ".zarr", ".parts"
ABOUT_FILE = "about.json"


class CacheEntry:
    """The place of one embedding. What fails here is logged, and the work goes on without the cache.

    Parameters
    ----------
    folder
        Folder of the cache.
    key
        Key of the embedding.
    about
        JSON-ready description, for whoever lists or opens the cache.
    file
        File of the image, None if it has none: tiles read after a change of it are not kept.
    make_room
        Callback, called once with the bytes that will be written, before the first are; returns whether there
        is room.
    """

    tiles_only = False
    """Whether the whole embedding is not written when it is finished."""

    def __init__(
        self,
        folder: Path,
        key: str,
        about: Mapping[str, Any],
        file: FileIdentity | None,
        make_room: Callable[[int], bool],
    ) -> None:
        self._finished = folder / f"{key}{FINISHED}"
        self._begun = folder / f"{key}{BEGUN}"
        self._about = dict(about)
        self._file = file
        self._make_room = make_room
        self._writes: bool | None = None

    def load(
        self,
        shape: tuple[int, int],
        wanted: Mask | None = None,
        allocate: Allocate | None = None,
    ) -> dict[str, Any] | None:
        """Return the planes of the finished embedding on a grid of that shape, or None if there is none.

        A damaged one is said, deleted and not returned.

        Parameters
        ----------
        shape
            Rows and columns of the grid.
        wanted
            The tokens that must be there; all if None.
        allocate
            Function that makes the array that tokens are read into; an array in memory if None.
        """
        if not self._finished.is_dir():
            return None
        try:
            planes = ome.read_planes(self._finished, wanted, allocate)
            if any(plane.shape[:2] != shape for plane in planes.values() if plane.ndim == 3):
                raise ValueError("its arrays have another shape")
        except ome.DAMAGE as error:
            if self._finished.is_dir():
                self._discard(self._finished, error)
            return None
        _touch(self._finished)
        return planes

    def restore(self, tiles: Sequence[Tile]) -> list[dict[str, Float32]] | None:
        """Return what an earlier run kept of these tiles, or None if one is missing.

        A damaged tile is said and deleted.
        """
        if not all(part_path(self._begun, tile).exists() for tile in tiles):
            return None
        found = [part for tile in tiles if (part := self._part(tile)) is not None]
        return found if len(found) == len(tiles) else None

    def keep(self, tiles: Sequence[Tile], computed: Sequence[Planes], total_bytes: int) -> None:
        """Write finished tiles, each whole or not at all.

        Parameters
        ----------
        tiles, computed
            Tiles that were computed, and their values by name.
        total_bytes
            Size of the whole embedding.
        """

        def write() -> None:
            about = self._begun / ABOUT_FILE
            if not about.exists():
                with whole_file(about) as file:
                    file.write(json.dumps(self._about).encode())
            for tile, part in zip(tiles, computed, strict=True):
                write_part(self._begun, tile, part)

        self._try(write, total_bytes)

    def finish(self, planes: Planes, placement: Placement) -> None:
        """Write the whole embedding, whole or not at all, and forget its tiles."""
        if self.tiles_only:
            return

        def write() -> None:
            with whole_folder(self._finished) as folder:
                ome.write_planes(folder, planes, placement, self._about)
            remove_folder(self._begun)

        self._try(write, sum(plane.nbytes for plane in planes.values()))

    def _forget(self, why: str) -> None:
        """Delete what was written, because it cannot be trusted, and write no more."""
        logger.warning("%s Its embedding is not kept.", why)
        self._writes = False
        with suppress(OSError):
            remove_folder(self._begun)

    def _part(self, tile: Tile) -> dict[str, Float32] | None:
        path = part_path(self._begun, tile)
        try:
            return read_part(self._begun, tile)
        except DAMAGE as error:
            _say_damaged(path, error)
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None

    def _try(self, write: Callable[[], None], total_bytes: int) -> None:
        """Write, unless there was no room or writing has failed before; failing is said once."""
        try:
            if self._file is not None and FileIdentity.of(self._file.path) != self._file:
                self._forget(f"{self._file.path} was changed while it was read.")
            if self._writes is None:
                self._writes = self._make_room(total_bytes)
            if self._writes:
                write()
        except OSError as error:
            self._writes = False
            logger.warning(
                "Expected to keep an embedding in %s; the system says: %s. "
                "The work goes on without the cache.",
                self._finished.parent,
                error.strerror or error,
            )

    def _discard(self, path: Path, error: Exception) -> None:
        _say_damaged(path, error)
        with suppress(OSError):
            remove_folder(path)


def _say_damaged(path: Path, error: Exception) -> None:
    logger.warning("The cache holds a damaged %s (%s); it is computed again.", path.name, error)


def _touch(path: Path) -> None:
    """Mark as used now; a folder that cannot be written to is read all the same."""
    with suppress(OSError):
        os.utime(path)


DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    BadZipFile,
    NotImplementedError,
    RuntimeError,
    struct.error,
)
"""What reading a damaged part may raise."""


def part_path(folder: Path, tile: Tile) -> Path:
    """Return the file of a tile."""
    row, col = tile.place
    return folder / f"{row}-{col}.npz"


def write_part(folder: Path, tile: Tile, part: Mapping[str, Float32]) -> None:
    """Write the values of a tile, by name.

    Raises
    ------
    OSError
        If they cannot be written.
    """
    with whole_file(part_path(folder, tile)) as file:
        np.savez(file, **part, **{_PLACE: _place_of(folder, tile)})  # type: ignore[arg-type]  # no plane is called allow_pickle


def read_part(folder: Path, tile: Tile) -> dict[str, Float32]:
    """Read what `write_part` wrote, or raise one of `DAMAGE`: nothing is parsed before its checksum fits."""
    content = BytesIO(read_regular(part_path(folder, tile), _MOST_BYTES))
    with ZipFile(content) as archive:
        part = {name.removesuffix(".npy"): _parse(archive.read(name)) for name in archive.namelist()}
    place = part.pop(_PLACE, None)
    if place is not None and not np.array_equal(place, _place_of(folder, tile)):
        raise ValueError("it is another tile")
    return part


_PLACE = "place"
_MOST_BYTES = 2**32


def _place_of(folder: Path, tile: Tile) -> NDArray[np.uint8]:
    """Return what tells a tile from those elsewhere and of other embeddings, as bytes."""
    return np.frombuffer(f"{folder.name} {tile.place}".encode(), np.uint8)


def _parse(content: bytes) -> Float32:
    values: Float32 = np.load(BytesIO(content), allow_pickle=False)
    return values
