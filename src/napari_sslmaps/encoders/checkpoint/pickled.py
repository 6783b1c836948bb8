"""PyTorch's pickles, read as data: nothing in them is run, and what would be is named."""

import argparse
import io
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_sslmaps.errors import CheckpointError

_ALLOWED: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    argparse.Namespace,
    np.dtype,
    np.ndarray,
    # paths become names that any system can hold; Python 3.13 keeps their classes elsewhere
    *((pathlib.PurePosixPath, f"{module}.PosixPath") for module in ("pathlib", "pathlib._local")),
    *((pathlib.PureWindowsPath, f"{module}.WindowsPath") for module in ("pathlib", "pathlib._local")),
    # numpy moved its builders with version 2
    *(
        (getattr(import_module("numpy._core.multiarray"), name), f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name in ("scalar", "_reconstruct")
    ),
    *(type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "uint8", "bool")),
]
# What the unpickler raises on bytes that are no pickle, beside UnpicklingError.
_DAMAGE = (
    *(RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError),
    *(struct.error, ArithmeticError, zipfile.BadZipFile, NotImplementedError),
    AssertionError,  # torch, of storages that a damaged old file does not list
    MemoryError,  # of a size that is only claimed
)


def load_pickle(path: Path) -> Mapping[Any, Any]:
    """Read a file that `torch.save` wrote; tensors of the zip format stay memory-mapped.

    Raises
    ------
    CheckpointError
        If it is damaged, asks for anything but data, or holds no named things.
    """
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            if is_mappable(path):
                _check_packed(path)
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            else:
                with path.open("rb") as file:
                    content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, str(error))) from error
    except _DAMAGE as error:
        raise CheckpointError(
            f"Expected a PyTorch weight file; {path.name} is damaged or something else ({_first(error)}). "
            "Fetch it again."
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"Expected a file of named tensors; {path.name} holds a {type(content).__name__}."
        )
    return content


_MOST_TIMES = 4


def _check_packed(path: Path) -> None:
    """Refuse a zip file that unpacks to far more than it is; torch stores without compression."""
    with zipfile.ZipFile(path) as file:
        claimed = sum(entry.file_size for entry in file.infolist())
    there = path.stat().st_size
    if claimed > _MOST_TIMES * there + 2**20:
        raise CheckpointError(
            f"Expected a weight file without compression; {path.name} has {there / 1e6:.3g} MB and unpacks "
            f"to {claimed / 1e9:.3g} GB. Save it again with torch.save, or as safetensors."
        )


def load_part(data: bytes, name: str) -> torch.Tensor:
    """Read one tensor that `torch.save` wrote among the bytes of a larger file.

    Raises
    ------
    CheckpointError
        If the bytes are damaged, or no tensor.
    """
    try:
        tensor = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, *_DAMAGE) as error:
        raise CheckpointError(
            f"Expected the bytes of a tensor; those of {name} are damaged or something else. Fetch it again."
        ) from error
    if not isinstance(tensor, torch.Tensor):
        raise CheckpointError(f"Expected the bytes of a tensor; those of {name} are something else.")
    return tensor


def is_zip(path: Path) -> bool:
    """Whether a file has the zip format of PyTorch ≥ 1.6."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def is_mappable(path: Path) -> bool:
    """Whether a pickle can be memory-mapped: zips, but torch takes their suffix at its word."""
    return is_zip(path) and path.suffix != ".safetensors"


def _first(error: Exception) -> str:
    """Return the first sentence of an error, or its kind if it says nothing."""
    return str(error).partition("\n")[0].partition(". ")[0].rstrip(".") or type(error).__name__


def _refusal(path: Path, message: str) -> str:
    marker = "GLOBAL "
    _, found, after = message.partition(marker)
    if found:
        return (
            f"Expected a weight file with data only; {path.name} asks to run or build {after.split()[0]!r}, "
            "which is refused. Save the state_dict alone, best as safetensors, and load that."
        )
    return f"Expected a PyTorch weight file; {path.name} is damaged or something else. Fetch it again."
