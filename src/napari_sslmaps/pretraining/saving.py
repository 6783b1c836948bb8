"""From a run to the one file that `load_encoder` opens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor

from napari_sslmaps.encoders.header import HEADER_KEY
from napari_sslmaps.encoders.spec import architecture_to_dict
from napari_sslmaps.pretraining.objectives import Objective
from napari_sslmaps.pretraining.recipes import recipe_tables
from napari_sslmaps.pretraining.run import Run

FORMAT = 1
_LICENCE = "BSD-3-Clause"
_NO_LOSS = {"step", "rate", "rank", "seconds", "images_per_second", "skipped"}


def describe(run: Run, *, data: str, date: str, device: str, package_version: str) -> dict[str, Any]:
    """Return the provenance of a run, ready for JSON."""
    recipe, last = run.recipe, run.last
    losses = {name: round(value, 4) for name, value in last.items() if name not in _NO_LOSS}
    return {
        "objective": run.objective.summary(),
        "data": data,
        "recipe": {"name": recipe.name, **recipe_tables(recipe)},
        "crop": recipe.crop.size,
        "steps": run.step,
        "images": run.step * recipe.batch,
        "batch": recipe.batch,
        "shards": recipe.shards,
        "processes": run.fabric.world_size,
        "seed": recipe.seed,
        "minutes": round(run.seconds / 60, 1),
        "device": device,
        "precision": recipe.precision,
        "final_losses": losses,
        "feature_rank": round(last["rank"], 1),
        "package_version": package_version,
        "torch_version": str(torch.__version__),
        "date": date,
        "notes": "; ".join(run.notes),
    }


def to_half(key: str, tensor: Tensor) -> Tensor:
    """Half precision for weights; BatchNorm statistics and counters stay as they are."""
    tensor = tensor.cpu()
    if not tensor.is_floating_point():
        return tensor.contiguous()
    exact = key.endswith(("running_mean", "running_var"))
    return tensor.to(torch.float32 if exact else torch.float16).contiguous()


def save_encoder(objective: Objective, path: Path, *, provenance: Mapping[str, Any], name: str = "") -> None:
    """Write an encoder with what belongs to it; equal weights and header give equal bytes.

    Parameters
    ----------
    objective
        The trained objective.
    path
        ``<name>.safetensors``; written whole or not at all.
    provenance
        As `describe` returns it.
    name
        Of the encoder; the file's stem if omitted.
    """
    simulated = str(provenance.get("data", "")).startswith("simulated")
    header = {
        "format": FORMAT,
        "name": name or path.stem,
        "method": objective.method,
        "architecture": architecture_to_dict(objective.architecture),
        "normalisation": objective.normalisation,
        "companions": objective.companions,
        "provenance": dict(provenance),
        "licence": _LICENCE if simulated else "for the owner of the images to say",
    }
    tensors = {key: to_half(key, value) for key, value in sorted(objective.exported().items())}
    partial = path.with_suffix(".partial")
    partial.write_bytes(to_bytes(tensors, metadata={HEADER_KEY: json.dumps(header, sort_keys=True)}))
    partial.replace(path)
