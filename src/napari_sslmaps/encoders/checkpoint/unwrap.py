"""From a file to named tensors: containers opened, prefixes stripped, nothing unpickled but data."""

import argparse
import pathlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from napari_sslmaps.encoders.header import read_header
from napari_sslmaps.encoders.overrides import Branch
from napari_sslmaps.errors import CheckpointError, WeightsUnavailableError

_ALLOWED = [
    argparse.Namespace,
    pathlib.PosixPath,
    pathlib.WindowsPath,
    np.dtype,
    np.ndarray,
    *(getattr(import_module("numpy._core.multiarray"), name) for name in ("scalar", "_reconstruct")),
    *(type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "uint8", "bool")),
]
# What the unpickler raises on bytes that are no pickle, beside UnpicklingError.
_DAMAGE = (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError)
_CONTAINERS = ("model", "state_dict", "model_state_dict", "module")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "backbone.")


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """Named tensors of a file.

    Parameters
    ----------
    tensors
        By key, without containers and prefixes.
    container
        Outer key under which they lay; empty if there was none.
    header
        This package's own metadata, if the file was written by it.
    left_out
        Tensors that lay elsewhere in the file, with the reason.
    beside
        Those among them that a pretext task needs: ``predictor.…`` and ``context.…``, the other branch.
    """

    tensors: Mapping[str, Tensor]
    container: str = ""
    header: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, Tensor] = field(default_factory=dict)


def unwrap(path: Path, branch: Branch = "target") -> Unwrapped:
    """Open a weight file and find the encoder's tensors in it.

    Parameters
    ----------
    path
        A safetensors or PyTorch file.
    branch
        For I-JEPA files: the ``target`` encoder, which the paper evaluates, or the context ``encoder``.

    Raises
    ------
    WeightsUnavailableError
        If there is no such file.
    CheckpointError
        If it is damaged, wants to run code, or holds no tensors.
    """
    if not path.exists():
        raise WeightsUnavailableError(f"Expected a weight file; there is none at {path}.")
    if path.is_dir():
        raise CheckpointError(f"Expected a weight file; {path} is a folder. Name the file inside it.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _open_containers(_load_pickle(path), path, branch)


def _read_safetensors(path: Path) -> Unwrapped:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"Expected a whole safetensors file; {path.name} cannot be read ({error}). Fetch it again."
        ) from error
    return Unwrapped(_strip_prefixes(tensors), header=read_header(path))


def _load_pickle(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=_can_map(path))
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, str(error))) from error
    except _DAMAGE as error:
        raise CheckpointError(
            f"Expected a PyTorch weight file; {path.name} is damaged or something else "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__}). Fetch it again."
        ) from error


def _can_map(path: Path) -> bool:
    """Only the zip format of PyTorch ≥ 1.6 can be memory-mapped."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _refusal(path: Path, message: str) -> str:
    marker = "GLOBAL "
    _, found, after = message.partition(marker)
    if found:
        return (
            f"Expected a weight file with data only; {path.name} asks to run or build {after.split()[0]!r}, "
            "which is refused. Save the state_dict alone, best as safetensors, and load that."
        )
    return f"Expected a PyTorch weight file; {path.name} is damaged or something else. Fetch it again."


def _open_containers(content: Any, path: Path, branch: Branch) -> Unwrapped:
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"Expected a file of named tensors; {path.name} holds a {type(content).__name__}."
        )
    if "target_encoder" in content:
        return _open_ijepa(content, branch)
    if "teacher" in content and isinstance(content["teacher"], Mapping):
        return Unwrapped(_strip_prefixes(_tensors(content["teacher"])), "teacher")
    for container in _CONTAINERS:
        if isinstance(content.get(container), Mapping):
            return Unwrapped(_strip_prefixes(_tensors(content[container])), container)
    tensors = _tensors(content)
    if not tensors:
        keys = ", ".join(map(str, list(content)[:12])) or "none"
        raise CheckpointError(f"Expected named tensors in {path.name}; found none. Its keys: {keys}.")
    return Unwrapped(_strip_prefixes(tensors))


def _open_ijepa(content: Mapping[str, Any], branch: Branch) -> Unwrapped:
    chosen, other = ("target_encoder", "encoder") if branch == "target" else ("encoder", "target_encoder")
    tensors = _strip_prefixes(_tensors(content[chosen]))
    predictor = _strip_prefixes(_tensors(content.get("predictor", {})))
    left_out = dict.fromkeys((f"{other}.{key}" for key in content.get(other, {})), "the other branch")
    left_out |= dict.fromkeys((f"predictor.{key}" for key in predictor), "predictor")
    beside = {f"predictor.{key}": tensor for key, tensor in predictor.items()}
    others = _strip_prefixes(_tensors(content.get(other, {})))
    beside |= {f"context.{key}": tensor for key, tensor in others.items()}
    return Unwrapped(tensors, chosen, left_out=left_out, beside=beside)


def _tensors(content: Mapping[str, Any]) -> dict[str, Tensor]:
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _strip_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Strip what wrappers put before every key, as often as they did."""
    while prefix := next((p for p in _PREFIXES if tensors and all(k.startswith(p) for k in tensors)), None):
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors
