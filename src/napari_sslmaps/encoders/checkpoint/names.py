"""Dotted names of what lies in a file, without the parts that wrappers put in."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from napari_sslmaps.errors import CheckpointError

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
