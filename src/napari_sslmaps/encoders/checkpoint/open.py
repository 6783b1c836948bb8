"""Weight files and folders opened: the container by its content, and dotted names of tensors."""

import argparse
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from napari_sslmaps.encoders.checkpoint.distcp import METADATA, ShardedTensors
from napari_sslmaps.encoders.checkpoint.kinds import refuse_other_kinds
from napari_sslmaps.encoders.checkpoint.pickled import is_mappable, is_zip, load_pickle
from napari_sslmaps.encoders.header import permitted, read_header
from napari_sslmaps.errors import CheckpointError, WeightsUnavailableError
from napari_sslmaps.files import read_regular, special_kind

INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
WEIGHTS = (
    *("model.safetensors", "pytorch_model.bin"),
    *("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
)
_CONFIGS = ("config.json", "open_clip_config.json")
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")
_OWN_TRAINING = {"format", "recipe", "objective"}


@dataclass(frozen=True, slots=True)
class Opened:
    """Everything in a weight file or folder that is data.

    Parameters
    ----------
    tensors
        Tensors by dotted name from the outermost key inwards, without the names that wrappers put in between.
    training
        Outer keys that hold the state of a training and no weights.
    args
        Options of the training, if the file keeps them.
    header
        Metadata of this package, if the file was written by it.
    config, preprocessor
        ``config.json``, or ``open_clip_config.json``, and ``preprocessor_config.json`` beside the weights.
    mapped
        Whether tensors lie in the file and not in memory, and have to be copied from it.
    spelling
        Library whose names the transformers in it had before `respell`; empty for none.
    """

    tensors: Mapping[str, Tensor]
    training: tuple[str, ...] = ()
    args: Mapping[str, Any] = field(default_factory=dict)
    header: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None
    preprocessor: Mapping[str, Any] | None = None
    mapped: bool = True
    spelling: str = ""


def open_weights(path: Path) -> Opened:
    """Open a weight file, or a folder of one.

    Parameters
    ----------
    path
        A safetensors or PyTorch file, whatever its suffix; a folder with such a file, with shards and their
        index, with ``config.json`` beside them, or with a sharded ``.distcp`` checkpoint. A file of such a
        folder stands for the folder.

    Raises
    ------
    WeightsUnavailableError
        If there is nothing, or it may not be read.
    CheckpointError
        If it is damaged, wants to run code, or holds no weights.
    """
    check_weights_there(path)
    with permitted(path):
        return _open_folder(path) if path.is_dir() else _open_file(path)


def check_weights_there(path: Path) -> None:
    """Refuse a path at which there are no weights, without reading any.

    Raises
    ------
    WeightsUnavailableError
        If there is nothing, or something that is neither file nor folder.
    CheckpointError
        If it is a folder without a weight file, or with several.
    """
    with permitted(path):
        there = path.exists()
        empty = there and path.is_dir() and not any((path / name).is_file() for name in (METADATA, *INDICES))
    if not there:
        raise WeightsUnavailableError(f"Expected a weight file or folder; there is none at {path}.")
    special = special_kind(path)
    if special:
        raise WeightsUnavailableError(
            f"Expected a weight file or folder; {path} is {special}. Copy what comes out of it into a file."
        )
    if empty:
        _only_weights(path)


def _open_file(path: Path) -> Opened:
    folder = path.parent
    if path.suffix in {".distcp", ".json"} or path.name == METADATA:
        return _open_folder(folder)
    if path.suffix in SUFFIXES and _is_shard(path):
        return _open_folder(folder)
    return _with_configs(_read(path), folder)


def _read(path: Path) -> Opened:
    refuse_other_kinds(path)
    if _looks_like_safetensors(path):
        return Opened(without_wrappers(_read_safetensors(path)), header=read_header(path))
    content = load_pickle(path)
    if set(content) >= _OWN_TRAINING:
        raise CheckpointError(
            f"Expected an encoder; {path.name} holds a training of this package, to go on from. "
            "Load the encoder.safetensors beside it."
        )
    args = _options(content)
    training = tuple(
        str(key)
        for key, value in content.items()
        if not isinstance(value, Tensor) and (is_training(key, value) or "param_groups" in content)
    )
    kept = {str(key): value for key, value in content.items() if str(key) not in training}
    tensors = flatten(kept)
    _check_tensors(tensors, path)
    if tensors and not any(tensor.numel() for tensor in tensors.values()):
        raise CheckpointError(
            f"Expected weights; those of {path.name} are empty, as DeepSpeed leaves them where it keeps each "
            "in parts (ZeRO 3). Gather them first, with the zero_to_fp32.py beside it."
        )
    return Opened(without_wrappers(tensors), training, args, mapped=is_mappable(path))


_ALWAYS_BYTES, _MOST_TIMES = 2**28, 8
"""Tensors of a file may share their numbers: not more of them than this, or times the size of the file."""


def _check_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors whose numbers are not in the file, as one number that is spread over a large tensor."""
    odd = next((name for name, tensor in tensors.items() if not _is_plain(tensor)), None)
    if odd is not None:
        raise CheckpointError(
            f"Expected tensors of plain numbers; {odd} in {path.name} is {_form_of(tensors[odd])}. "
            "Save the state_dict of dense tensors on the CPU, best as safetensors."
        )
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    there = path.stat().st_size
    if claimed > max(_ALWAYS_BYTES, _MOST_TIMES * there):
        raise CheckpointError(
            f"Expected tensors whose numbers are in the file; those of {path.name} claim "
            f"{claimed / 1e9:.3g} GB, and it has {there / 1e9:.3g} GB. Save them again, whole."
        )


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not (tensor.is_meta or tensor.is_nested or tensor.is_quantized)


def _form_of(tensor: Tensor) -> str:
    if tensor.is_nested:
        return "nested"
    return "without numbers (on the device meta)" if tensor.is_meta else f"stored as {tensor.layout}"


def _looks_like_safetensors(path: Path) -> bool:
    """Whether a file begins with the length of a JSON header, or calls itself safetensors."""
    with path.open("rb") as file:
        start = file.read(9)
    if len(start) == 9 and start[8:] == b"{" and struct.unpack("<Q", start[:8])[0] < path.stat().st_size:
        return True
    return path.suffix == ".safetensors" and not is_zip(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"Expected a whole safetensors file; {path.name} cannot be read ({error}). Fetch it again."
        ) from error


def _options(content: Mapping[Any, Any]) -> dict[str, Any]:
    for key in ("args", "hyper_parameters"):
        found = content.get(key)
        if isinstance(found, argparse.Namespace):
            return vars(found)
        if isinstance(found, Mapping):
            return {str(name): value for name, value in found.items()}
    return {}


def _is_shard(path: Path) -> bool:
    return any(
        path.name in _shards_of(path.parent / index).values()
        for index in INDICES
        if (path.parent / index).is_file()
    )


def _open_folder(folder: Path) -> Opened:
    if (folder / METADATA).is_file():
        sharded = ShardedTensors(folder, lambda name: not is_training_word(name))
        return Opened(sharded, sharded.left_out, mapped=False)
    index = next((folder / name for name in INDICES if (folder / name).is_file()), None)
    return _with_configs(_read(_only_weights(folder)) if index is None else _read_shards(index), folder)


def _with_configs(opened: Opened, folder: Path) -> Opened:
    config = next((_read_json(folder / name) for name in _CONFIGS if (folder / name).is_file()), None)
    described = folder / "preprocessor_config.json"
    preprocessor = _read_json(described) if described.is_file() else None
    return replace(opened, config=config, preprocessor=preprocessor)


def _only_weights(folder: Path) -> Path:
    named = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if named is not None:
        return named
    files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES and file.is_file())
    if len(files) == 1:
        return files[0]
    listed = ", ".join(file.name for file in files[:8])
    raise CheckpointError(
        f"Expected one weight file in the folder {folder}; "
        + (
            f"it has {len(files)}: {listed}. Name the one."
            if files
            else "it has none. Name a file or another folder."
        )
    )


def _read_shards(index: Path) -> Opened:
    """Read the shards that an index names; each must be there, and hold what the index says."""
    places = _shards_of(index)
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        shard = index.parent / Path(name).name
        if not shard.is_file():
            raise WeightsUnavailableError(
                f"Expected the shard {name}, which {index.name} names; it is not in {index.parent}. "
                "Copy it there."
            )
        tensors |= _read(shard).tensors
    lost = [name for name in places if plain_name(name) not in tensors]
    if lost:
        raise CheckpointError(
            f"Expected {len(places)} tensors in the shards of {index.name}; {len(lost)} are missing, "
            f"the first {lost[0]}. Fetch them again."
        )
    return Opened(tensors)


def _shards_of(index: Path) -> dict[str, str]:
    """Return the shard of each tensor, as an index says it."""
    places = _read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(n, str) for n in places.values()):
        raise CheckpointError(
            f"Expected an index that names the shard of each tensor; {index.name} does not. Fetch it again."
        )
    return places


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_regular(path, _MOST_JSON))
    except (ValueError, RecursionError, OSError) as error:
        raise CheckpointError(
            f"Expected JSON in {path}; it is damaged or something else ({error}). Fetch it again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"Expected a JSON object in {path}; it holds something else.")
    return content


_MOST_JSON = 100_000_000
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_TRAINING = ("optim", "opt", "scaler", "scheduler", "lr_scheduler", "amp", "loops", "callbacks", "rng")


def is_training(key: object, value: object) -> bool:
    """Whether an outer key holds no weights: what an optimiser keeps, or nothing with a tensor in it."""
    return is_training_word(str(key)) or not (isinstance(value, Mapping) and flatten(value))


def is_training_word(name: str) -> bool:
    """Whether a name is what trainings call the state of an optimiser, a scaler or a schedule."""
    return any(
        name == word or name.startswith((f"{word}_", f"{word}izer", f"{word}iser")) for word in _TRAINING
    )


def flatten(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Name each tensor by all keys that lead to it; of a dictionary in several places, by the fewest."""
    tensors: dict[str, Tensor] = {}
    waiting, seen = [("", content)], {id(content)}
    while waiting:
        prefix, found = waiting.pop(0)
        for key, value in found.items():
            if isinstance(value, Tensor):
                tensors[f"{prefix}{key}"] = value
            elif isinstance(value, Mapping) and id(value) not in seen:
                seen.add(id(value))
                waiting.append((f"{prefix}{key}.", value))
    return tensors


def without_wrappers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by `plain_name`; raises `CheckpointError` if two have the same."""
    plain = {plain_name(name): tensor for name, tensor in tensors.items()}
    if len(plain) < len(tensors):
        raise CheckpointError(
            f"Expected each weight once; {len(tensors) - len(plain)} come with and without the name of a "
            "wrapper, such as 'module.'. Save one of the two."
        )
    return plain


def plain_name(name: str) -> str:
    """Return a dotted name without the parts that wrappers put in."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)
