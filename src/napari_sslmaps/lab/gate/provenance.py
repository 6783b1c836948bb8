"""What a weight file's header says of its training, as far as the scores depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_sslmaps.errors import InvalidOptionError, RecordError
from napari_sslmaps.lab.gate.images import SEEDS

NEEDED = ("objective", "data", "steps", "batch", "seed")
_SIMULATED = "simulated:"


def read_provenance(name: str, header: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how an encoder was trained.

    Raises
    ------
    RecordError
        If the header does not say so.
    """
    origin: Mapping[str, Any] = header.get("provenance", {})
    if missing := [field for field in NEEDED if field not in origin]:
        raise RecordError(
            f"Expected a weight file of a pretraining run; the header for {name} lacks {', '.join(missing)}. "
            "Take encoder.safetensors out of a run's folder."
        )
    return origin


def read_recipe(origin: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the recipe in a provenance; empty where there is none."""
    recipe = origin.get("recipe")
    return recipe if isinstance(recipe, Mapping) else {}


def check_images(name: str, domain: str, origin: Mapping[str, Any]) -> None:
    """Refuse an encoder that was trained on the scores' images, or on another domain's.

    Raises
    ------
    InvalidOptionError
        If its recipe says so.
    """
    data = read_recipe(origin).get("data", {})
    source = str(data.get("source", ""))
    if not source.startswith(_SIMULATED):
        return
    if source != _SIMULATED + domain:
        raise InvalidOptionError(
            f"Expected a training on {_SIMULATED}{domain} for {name}; its recipe says {source}. Give it a "
            "name that ends in its domain."
        )
    if data.get("seed") in SEEDS.values():
        raise InvalidOptionError(
            f"Expected a training on other fields than the scores'; that of {name} used their seed "
            f"{data['seed']}. Train it with another [data] seed."
        )
