"""Planes of values on a token grid, as a group of OME-Zarr 0.5 images with checksums."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.placed_mask import Mask
from napari_sslmaps.core.results import Float32
from napari_sslmaps.core.tokens import HalfTokens
from napari_sslmaps.files import digest_of, read_regular

if TYPE_CHECKING:
    import zarr

DAMAGE = (
    OSError,
    ValueError,  # zarr's own errors, and a checksum that does not fit
    RuntimeError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    ArithmeticError,  # chunks of size 0
)
"""What reading a damaged group may raise."""
ABOUT = "napari_sslmaps"
"""Key of the group's attributes under which the description lies."""
_SEAL = "napari_sslmaps_seal"
_CHUNKS = "napari_sslmaps_chunks"
_CHUNK = 64
_CHECKSUM_BYTES = 4
_MOST_METADATA = 64_000_000
_AXES = ("c", "y", "x")
Allocate = Callable[[int, int, int], Float32]


@dataclass(frozen=True, slots=True)
class Placement:
    """Centre of token (0, 0) and distance between tokens, (y, x) in `unit`.

    Parameters
    ----------
    scale_yx, translate_yx
        Distance between tokens and centre of token (0, 0), (y, x) in `unit`; in pixels of level 0 where that
        is empty.
    unit
        Unit of both: ``micrometer``, or empty.
    """

    scale_yx: tuple[float, float]
    translate_yx: tuple[float, float]
    unit: str = ""


def write_planes(
    folder: Path, planes: Mapping[str, Float32], placement: Placement, about: Mapping[str, Any]
) -> None:
    """Write planes into an empty folder, one array each.

    Parameters
    ----------
    folder
        Folder to write into.
    planes
        Planes by name: (rows, cols, channels), stored as an image of axes (c, y, x), in half precision where
        it is kept so; or fewer axes, stored without being an image.
    placement
        Scale and offset of the grid.
    about
        JSON-ready description, written into the attributes.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    import zarr  # takes a third of a second

    images = [multiscale(name, _AXES, placement, name) for name, plane in planes.items() if plane.ndim == 3]
    group = zarr.create_group(folder, zarr_format=3)
    for name, plane in planes.items():
        _write(group, name, plane)
    attributes = {
        "ome": {"version": "0.5", "multiscales": images},
        ABOUT: dict(about),
        _CHUNKS: digest_of(_checksums(folder)),
    }
    group.update_attributes({**attributes, _SEAL: _seal(folder, attributes)})


def read_planes(folder: Path, wanted: Mask | None = None, allocate: Allocate | None = None) -> dict[str, Any]:
    """Read what `write_planes` wrote, or raise one of `DAMAGE`; nothing damaged or missing passes.

    Parameters
    ----------
    folder
        Folder to read.
    wanted
        (rows, cols), where values must be; everywhere if None.
    allocate
        Function that makes the array that tokens are read into, of (rows, cols, channels); an array in memory
        if None.
    """
    attributes = _attributes(folder)
    if attributes.pop(_SEAL) != _seal(folder, attributes):
        raise ValueError("its metadata has changed")
    if attributes.get(_CHUNKS) not in (None, digest_of(_checksums(folder))):  # None: of version 0.1.0
        raise ValueError("a chunk is another one, or in another place")
    import zarr

    from napari_sslmaps.sources.zarr_places import RegularFiles

    group = zarr.open_group(RegularFiles(folder, read_only=True), mode="r", zarr_format=3)
    names = [path.parent.name for path in _array_metadata(folder)]
    return {name: _read(group[name], wanted, allocate if name == "tokens" else None) for name in names}


def read_about(folder: Path) -> dict[str, Any]:
    """Read the description, or raise one of `DAMAGE`."""
    about: dict[str, Any] = _attributes(folder)[ABOUT]
    return about


def _attributes(folder: Path) -> dict[str, Any]:
    attributes: dict[str, Any] = json.loads(_metadata(folder / "zarr.json"))["attributes"]
    return attributes


def _metadata(path: Path) -> bytes:
    return read_regular(path, _MOST_METADATA)


def multiscale(name: str, axes: Sequence[str], placement: Placement, path: str) -> dict[str, Any]:
    """Return what OME-Zarr says of an image of one resolution.

    Parameters
    ----------
    name
        Name of the image.
    axes
        ``c``, if any, ``y`` and ``x``, in the order of the array.
    placement
        Scale and offset of its pixels.
    path
        Path of the array, relative to the group that says this.
    """
    unit = {"unit": placement.unit} if placement.unit else {}
    channels = len(axes) - 2
    return {
        "name": name,
        "axes": [
            {"name": axis, "type": "channel"} if axis == "c" else {"name": axis, "type": "space", **unit}
            for axis in axes
        ],
        "datasets": [
            {
                "path": path,
                "coordinateTransformations": [
                    {"type": "scale", "scale": [1.0] * channels + [*placement.scale_yx]},
                    {"type": "translation", "translation": [0.0] * channels + [*placement.translate_yx]},
                ],
            }
        ],
    }


def _write(group: "zarr.Group", name: str, plane: Float32) -> None:
    """Write one array. In a chunk, channels lie together, as they do in memory: writing copies no token."""
    from zarr.codecs import BytesCodec, Crc32cCodec, TransposeCodec

    image = plane.ndim == 3
    shape = (plane.shape[-1], *plane.shape[:-1]) if image else plane.shape
    array = group.create_array(
        name,
        shape=shape,
        chunks=(shape[0], *(min(_CHUNK, count) for count in shape[1:])),
        dtype=np.float16 if isinstance(plane, HalfTokens) else plane.dtype,
        filters=[TransposeCodec(order=(1, 2, 0))] if image else None,
        serializer=BytesCodec(),
        compressors=[Crc32cCodec()],
        fill_value=np.nan,
        dimension_names=_AXES[: plane.ndim],
    )
    if not image:
        array[...] = plane
        return
    for start in range(0, plane.shape[0], _CHUNK):
        rows = slice(start, start + _CHUNK)
        array[:, rows] = np.moveaxis(plane[rows], -1, 0)


def _read(array: Any, wanted: Mask | None, allocate: Allocate | None) -> Any:
    """Read one array; a missing chunk, which zarr reads as NaN in all channels, is an error."""
    if array.ndim != 3:
        plane = np.asarray(array[...])
        _check_present(plane, None)
        return plane
    channels, rows, cols = array.shape
    image = (
        np.empty((rows, cols, channels), np.float32) if allocate is None else allocate(rows, cols, channels)
    )
    for window in _windows(rows, cols):
        part = np.moveaxis(array[(slice(None), *window)], 0, -1)
        _check_present(part, None if wanted is None else wanted[window])
        image[window] = part
    return image


def _check_present(part: NDArray[Any], wanted: Mask | None) -> None:
    missing = np.isnan(part[..., 0])
    if (missing if wanted is None else missing & wanted).any():
        raise ValueError("a chunk is missing")


def _windows(rows: int, cols: int) -> Iterator[tuple[slice, slice]]:
    for row in range(0, rows, _CHUNK):
        for col in range(0, cols, _CHUNK):
            yield slice(row, min(row + _CHUNK, rows)), slice(col, min(col + _CHUNK, cols))


def _seal(folder: Path, attributes: Mapping[str, Any]) -> str:
    """Hash of all metadata; chunks have checksums of their own."""
    arrays = {path.parent.name: _metadata(path).decode() for path in _array_metadata(folder)}
    return digest_of({"attributes": attributes, "arrays": arrays})


def _checksums(folder: Path) -> dict[str, str]:
    """Return the checksum at the end of each chunk by its place, which the checksum itself does not know."""
    found = {}
    for path in sorted(folder.glob("*/c/**/*")):
        if path.is_file():
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _CHECKSUM_BYTES))
                found[path.relative_to(folder).as_posix()] = file.read().hex()
    return found


def _array_metadata(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/zarr.json"))
