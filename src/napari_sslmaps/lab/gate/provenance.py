"""Facts on its training in a weight file's header, as far as the scores depend on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_sslmaps.encoders.header import HEADER_KEY, read_header
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


def saw_real_images(origin: Mapping[str, Any]) -> bool:
    """Whether a training's recipe names images of one's own, not a simulator."""
    source = str(read_recipe(origin).get("data", {}).get("source", ""))
    return bool(source) and not source.startswith(_SIMULATED)


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


def release(weights: Path, to: Path, *, licence: str) -> Path:
    """Copy a weight file that learned from images of a folder, to be given away under a licence.

    Of the folder, only its last two names are kept: where it lay is nobody's concern.

    Parameters
    ----------
    weights, to
        The file of a training, and where the copy goes.
    licence
        Licence that the owner of the images, or whoever may, has granted.

    Returns
    -------
    Path
        The copy; equal weights, header and licence give equal bytes.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    header = read_header(weights)
    header["licence"] = licence
    data = header["provenance"]["recipe"]["data"]
    if not str(data["source"]).startswith(_SIMULATED):
        data["source"] = "/".join(Path(data["source"]).parts[-2:])
    with safe_open(weights, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in sorted(opened.keys())}
    to.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, to, metadata={HEADER_KEY: json.dumps(header, sort_keys=True)})
    return to
