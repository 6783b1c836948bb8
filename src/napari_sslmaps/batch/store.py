"""One output of a batch: tokens and maps of one image by one encoder, as OME-Zarr 0.5, and back.

The folder is a collection of images (``bioformats2raw.layout`` 3), one per kind: ``tokens``, ``attention``,
``attention_heads`` or ``activation``, ``pca``, ``similarity``, ``foreground``. All have one pixel per token
and are placed by scale and translation, in micrometres where the image's spacing is known. What else belongs
to an embedding is in the folder's own attributes under ``napari_sslmaps``.
"""

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.batch.stored_tokens import StoredTokens, token_after_token
from napari_sslmaps.cache.ome import Placement, multiscale
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import AttentionKind, Embedding, Float32, Provenance, TokenMap
from napari_sslmaps.core.tokens import Tokens, token_chunks
from napari_sslmaps.errors import ExportError, UnsupportedImageError
from napari_sslmaps.files import read_regular
from napari_sslmaps.maps.registry import stored_values
from napari_sslmaps.pipeline.masks import mask_hash
from napari_sslmaps.records.json import check_format
from napari_sslmaps.serialise import dump, load, strict

FORMAT = "napari-sslmaps/batch"
SCHEMA = 1
_VERSION = "0.5"
_CHUNK = 64
_ATTEMPTS = 8
_MOST_BYTES = 100_000_000
_GOING_ON = "going-on"
"""File in the folder of a run's unfinished outputs, as long as it goes on: writing does not make it anew."""
_FLOAT16_MAX = 65504.0
_MISSING = "a chunk of its tokens is missing"
_READING = (OSError, KeyError, TypeError, ValueError, IndexError, ArithmeticError)


@dataclass(frozen=True, eq=False, slots=True)
class Output:
    """Results of one image and encoder that are stored.

    Parameters
    ----------
    embedding
        Tokens of the image.
    maps
        Maps by key of `MAP_TYPES`.
    spacing_um_yx
        Micrometres per pixel of level 0 of the image, if known.
    tokens
        ``float16``, ``float32`` or ``none``. Tokens too large for half precision are stored in single.
    key
        Key of the task.
    row
        JSON-ready; what its row in the table holds.
    """

    embedding: Embedding
    maps: Mapping[str, TokenMap]
    spacing_um_yx: tuple[float, float] | None
    tokens: str
    key: str = ""
    row: Mapping[str, Any] = field(default_factory=dict)


def write_output(folder: Path, output: Output, unfinished: Path) -> None:
    """Write an output so that it is either whole or not there.

    Parameters
    ----------
    folder
        Folder of the output; what is there already is replaced.
    output
        Results to write.
    unfinished
        Folder from `begin_outputs`, on the same file system, in which it grows.

    Raises
    ------
    ExportError
        If it cannot be written, or the run is over.
    """
    growing = unfinished / uuid4().hex
    try:
        growing.mkdir()
        _write(growing, output)
        if not is_going_on(unfinished):  # or the folder was removed, and half of it made anew by writing on
            raise FileNotFoundError(errno.ENOENT, "the run is over")
        folder.parent.mkdir(parents=True, exist_ok=True)
        _replace(folder, growing, unfinished)
    except ExportError:
        raise
    except OSError as error:
        raise ExportError(
            f"Expected to write {folder}; the system says: {error.strerror or error}. "
            "Choose another folder or free some space."
        ) from error
    finally:
        rmtree(growing, ignore_errors=True)
        if not is_going_on(unfinished):
            remove_if_empty(unfinished)


def begin_outputs(unfinished: Path) -> None:
    """Make the folder in which the outputs of a run grow; the run goes on until `end_outputs`."""
    unfinished.mkdir(parents=True, exist_ok=True)
    (unfinished / _GOING_ON).touch()


def end_outputs(unfinished: Path) -> None:
    """Say that a run is over; who is still writing to its folder keeps nothing of it."""
    (unfinished / _GOING_ON).unlink(missing_ok=True)


def is_going_on(unfinished: Path) -> bool:
    """Whether the run whose outputs grow in a folder has not ended."""
    return (unfinished / _GOING_ON).exists()


def remove_if_empty(unfinished: Path) -> None:
    """Remove the folder of a run that is over, and the one around it, unless there is something in them."""
    with suppress(OSError):
        unfinished.rmdir()
    with suppress(OSError):  # another run is at work here, or has removed it
        unfinished.parent.rmdir()


def _replace(folder: Path, growing: Path, unfinished: Path) -> None:
    """Move an output to its place; what another run puts there at the same moment is replaced too."""
    for _ in range(_ATTEMPTS):
        before = unfinished / uuid4().hex
        if os.path.lexists(folder):
            _check_ours(folder)
            with suppress(FileNotFoundError):
                folder.rename(before)
        try:
            growing.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                with suppress(OSError):
                    before.rename(folder)
                raise
        else:
            return
        finally:
            rmtree(before, ignore_errors=True)
    raise FileExistsError(errno.EEXIST, "another run keeps writing it")


@strict
@dataclass(frozen=True, slots=True)
class About:
    """Facts that are kept beside an output.

    Parameters
    ----------
    key
        Key of the task.
    row
        Values of its `Row`, by field.
    images
        Kinds of what is stored.
    grid, provenance, attention_kind, prefix_attention
        Fields of its `Embedding`.
    """

    images: tuple[str, ...]
    grid: TokenGrid
    provenance: Provenance
    attention_kind: AttentionKind | None = None
    prefix_attention: tuple[float, ...] | None = None
    key: str = ""
    row: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)


def read_about(folder: Path) -> About | None:
    """Return the facts that were kept beside an output; None if there is none, or it is not ours."""
    try:
        content = json.loads(read_regular(folder / "zarr.json", _MOST_BYTES))
        about = dict(content["attributes"]["napari_sslmaps"])
        check_format(about, FORMAT, "an output", SCHEMA)
        return load(About, about, "an output")
    except (*_READING, RecursionError):
        return None


def read_embedding(folder: str | Path) -> Embedding:
    """Read an output's tokens back, so that every map can be made of them.

    Parameters
    ----------
    folder
        An image's ``.zarr`` folder, as `napari-sslmaps batch` wrote it.

    Returns
    -------
    Embedding
        The embedding as it was made, its tokens rounded to half precision if they were stored so.

    Raises
    ------
    UnsupportedImageError
        If it is no such folder, is damaged, or has no tokens.
    """
    path = Path(folder)
    about = read_about(path)
    with _reading(path):
        if about is None:
            raise UnsupportedImageError(
                f"Expected an image's .zarr folder that napari-sslmaps batch wrote; {path} is none."
            )
        if "tokens" not in about.images:
            raise UnsupportedImageError(
                f"Expected tokens; {path.name} was written with --tokens none. Run it again with tokens."
            )
        tokens = read_tokens(path, about)
        arrays = {kind: _array(path, kind, about.grid) for kind in about.images if kind != "tokens"}
        activation, foreground = arrays.get("activation"), arrays.get("foreground")
        prefix = about.prefix_attention
        return Embedding(
            tokens=tokens,
            grid=about.grid,
            provenance=about.provenance,
            attention=arrays.get("attention_heads"),
            prefix_attention=None if prefix is None else np.asarray(prefix, np.float32),
            attention_kind=about.attention_kind,
            activation=activation,
            foreground=None if foreground is None else foreground.astype(bool),
        )


def read_tokens(folder: Path, about: About) -> Float32:
    """Read an output's tokens, and nothing beside them.

    Parameters
    ----------
    folder, about
        Folder of the output, and what `read_about` says of it.

    Returns
    -------
    numpy.ndarray
        (rows, cols, dim) tokens; NaN outside a mask.

    Raises
    ------
    UnsupportedImageError
        If they are damaged.
    """
    with _reading(folder):
        tokens = StoredTokens(folder / "tokens" / "0", about.grid).all()
        known = np.isfinite(tokens[..., 0])
        if mask_hash(known) != about.provenance.mask_sha256:  # NaN where a chunk is not there
            raise ValueError(_MISSING)
        return tokens


def tokens_at(folder: Path, grid: TokenGrid, tokens_yx: NDArray[np.integer]) -> Float32:
    """Read some of an output's tokens.

    Parameters
    ----------
    folder, grid
        Folder of the output, and its grid.
    tokens_yx
        (n, 2) rows and columns of those that are wanted.

    Returns
    -------
    numpy.ndarray
        (n, dim) tokens; NaN outside a mask.

    Raises
    ------
    UnsupportedImageError
        If they are damaged.
    """
    with _reading(folder):
        return StoredTokens(folder / "tokens" / "0", grid).at(tokens_yx)


def check_comparable(folder: Path, tokens: Float32, dim: int) -> None:
    """Refuse tokens of an output that cannot be compared with those of others.

    Parameters
    ----------
    folder
        Folder of the output.
    tokens
        (n, dim) tokens, all inside its mask.
    dim
        Numbers that each has to have.

    Raises
    ------
    UnsupportedImageError
        If they have another number of them, or one is NaN or infinite.
    """
    with _reading(folder):
        if tokens.shape[-1] != dim:
            raise ValueError(f"its tokens have {tokens.shape[-1]} numbers instead of {dim}")
        finite = np.isfinite(tokens)
        if not finite.any(axis=-1).all():
            raise ValueError(_MISSING)
        if not finite.all():
            raise ValueError("its tokens are not finite")


def key_of(folder: Path) -> str:
    """Return the key of an output's task, and look at nothing else; empty if it has none."""
    try:
        attributes = json.loads(read_regular(folder / "zarr.json", _MOST_BYTES))["attributes"]
        return str(attributes["napari_sslmaps"]["key"])
    except (*_READING, RecursionError):
        return ""


def _check_ours(folder: Path) -> None:
    """Refuse to replace what no batch wrote; an output that is damaged, but for its description, is one."""
    try:
        known = FORMAT.encode() in read_regular(folder / "zarr.json", _MOST_BYTES)
    except OSError:
        known = folder.is_dir() and not any(folder.iterdir())
    if not known or folder.is_symlink():
        raise ExportError(
            f"Expected to write {folder}; what is there was not written by a batch. Move it away, or choose "
            "another --out."
        )


def _write(folder: Path, output: Output) -> None:
    embedding = output.embedding
    kinds = _images(output)
    import zarr  # takes a fifth of a second

    root = zarr.create_group(str(folder), zarr_format=3, attributes={})
    for kind, values in kinds.items():
        _write_image(root, kind, values, output)
    root.create_group("OME", attributes={"ome": {"version": _VERSION, "series": list(kinds)}})
    prefix = embedding.prefix_attention
    about = About(
        images=tuple(kinds),
        grid=embedding.grid,
        provenance=embedding.provenance,
        attention_kind=embedding.attention_kind,
        prefix_attention=None if prefix is None else tuple(float(mass) for mass in prefix),
        key=output.key,
        row=output.row,
    )
    attributes = {**dump(about), "format": FORMAT, "schema": SCHEMA}
    root.update_attributes(
        {"ome": {"version": _VERSION, "bioformats2raw.layout": 3}, "napari_sslmaps": attributes}
    )


def _images(output: Output) -> dict[str, NDArray[Any]]:
    """Kind → (y, x) or (y, x, c) view of what is stored, in single precision where it is of numbers."""
    embedding, heads = output.embedding, output.embedding.attention
    images: dict[str, NDArray[Any] | None] = {
        "tokens": None if output.tokens == "none" else embedding.tokens,
        "attention_heads": None if heads is None else np.moveaxis(heads, 0, -1),
        **{kind: stored_values(result) for kind, result in output.maps.items()},
        "foreground": None if embedding.foreground is None else embedding.foreground.astype(np.uint8),
    }
    return {kind: values for kind, values in images.items() if values is not None}


def _write_image(root: Any, kind: str, values: NDArray[Any], output: Output) -> None:
    axes = ("c", "y", "x")[-values.ndim :]
    ome: dict[str, Any] = {
        "version": _VERSION,
        "multiscales": [multiscale(kind, axes, _placement(output), "0")],
    }
    if kind == "pca":
        ome["omero"] = {"channels": [_colour(*channel) for channel in _COLOURS]}
    image = root.create_group(kind, attributes={"ome": ome})
    dtype = _stored_type(values, output.tokens) if kind == "tokens" else values.dtype
    array = image.create_array(
        "0",
        shape=(*values.shape[2:], *values.shape[:2]),
        dtype=dtype,
        chunks=(*values.shape[2:], *(min(_CHUNK, side) for side in values.shape[:2])),
        dimension_names=axes,
        fill_value=np.nan if np.issubdtype(dtype, np.floating) else 0,
        **(token_after_token() if kind == "tokens" else {}),
    )
    for start in range(0, values.shape[0], _CHUNK):  # strip by strip: no second copy of all tokens
        strip = values[start : start + _CHUNK]
        first = np.moveaxis(strip, -1, 0) if strip.ndim == 3 else strip
        array[..., start : start + _CHUNK, :] = np.ascontiguousarray(first, dtype)


def _stored_type(tokens: Tokens, wanted: str) -> np.dtype[Any]:
    flat = tokens.reshape(-1, tokens.shape[-1])
    largest = max(float(np.nanmax(np.abs(chunk), initial=0.0)) for _, chunk in token_chunks(flat))
    return np.dtype(wanted) if largest <= _FLOAT16_MAX else np.dtype(np.float32)


_COLOURS = (("first", "FF0000"), ("second", "00FF00"), ("third", "0000FF"))


def _colour(label: str, colour: str) -> dict[str, Any]:
    window = {"min": 0.0, "max": 1.0, "start": 0.0, "end": 1.0}
    return {"label": f"{label} component", "color": colour, "active": True, "window": window}


def _placement(output: Output) -> Placement:
    grid, spacing = output.embedding.grid, output.spacing_um_yx
    per_pixel = np.asarray((1.0, 1.0) if spacing is None else spacing)
    scale_y, scale_x = (np.asarray(grid.stride_yx) * per_pixel).tolist()
    first_y, first_x = (grid.token_to_pixel((0, 0)) * per_pixel).tolist()
    return Placement((scale_y, scale_x), (first_y, first_x), "" if spacing is None else "micrometer")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except UnsupportedImageError:
        raise
    except (*_READING, RuntimeError, MemoryError) as error:  # a codec's errors derive from RuntimeError
        raise UnsupportedImageError(
            f"Expected a whole output of napari-sslmaps batch; {path.name} cannot be read ({error}). "
            "Delete it and run the batch again."
        ) from error


def _array(path: Path, kind: str, grid: TokenGrid) -> NDArray[Any]:
    import zarr

    array = zarr.open_array(str(path / kind / "0"), mode="r", zarr_format=3)
    if array.shape[-2:] != grid.shape:  # before anything is made as large as that
        raise ValueError(f"{kind} has the shape {array.shape}, and the grid {grid.shape}")
    return np.asarray(array[...])
