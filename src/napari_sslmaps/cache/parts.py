"""Finished tiles of an unfinished embedding: one file each, with checksums."""

import struct
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from napari_sslmaps.cache.files import whole_file
from napari_sslmaps.core.results import Float32
from napari_sslmaps.core.tiling import Tile

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
        np.savez(file, **part)  # type: ignore[arg-type]  # no plane is called allow_pickle


def read_part(folder: Path, tile: Tile) -> dict[str, Float32]:
    """Read what `write_part` wrote, or raise one of `DAMAGE`: nothing is parsed before its checksum fits."""
    with ZipFile(part_path(folder, tile)) as archive:
        return {name.removesuffix(".npy"): _parse(archive.read(name)) for name in archive.namelist()}


def _parse(content: bytes) -> Float32:
    values: Float32 = np.load(BytesIO(content), allow_pickle=False)
    return values
