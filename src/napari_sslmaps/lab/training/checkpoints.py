"""Checkpoints that hold everything a run needs to go on, and the one file that `load_encoder` opens."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors.torch import save as to_bytes
from torch import Tensor

from napari_sslmaps.encoders.families.registry import architecture_to_dict
from napari_sslmaps.encoders.header import HEADER_KEY
from napari_sslmaps.errors import CheckpointError, ExportError, SSLMapsError
from napari_sslmaps.files import special_kind, written_whole
from napari_sslmaps.lab.training.objectives.base import Objective
from napari_sslmaps.lab.training.recipes import Recipe, parse_recipe, recipe_tables
from napari_sslmaps.lab.training.run import Run, start

CHECKPOINT_FORMAT = 2
_DAMAGE = (RuntimeError, LookupError, ValueError, TypeError, AttributeError, AssertionError)
_FREE = ("steps", "checkpointing", "data.source")
"""What may change when a run goes on: its length, how its memory is spared, and where the same files lie."""


def save(run: Run, path: Path, fingerprint: str = "") -> None:
    """Write a checkpoint so that a kill at any instant leaves the old one or the new one whole.

    Parameters
    ----------
    run
        Run to save; call it on the first process alone.
    path
        File to write.
    fingerprint
        Hash of the training data.
    """
    state = {
        "format": CHECKPOINT_FORMAT,
        "recipe": recipe_tables(run.recipe),
        "objective": run.objective.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        "scaler": _scaler(run.fabric).state_dict() if _scaler(run.fabric) else {},
        "steps": run.steps,
        "step": run.step,
        "seconds": run.seconds,
        "last": run.last,
        "notes": run.notes,
        "skipped": list(run.skipped),
        "fingerprint": fingerprint,
    }
    with _replacing(path) as partial, partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a file to write that takes the place of `path` at the end, which stays whole until then."""
    try:
        with written_whole(path) as partial:
            yield partial
    except ExportError as error:
        raise ExportError(f"{error} What was saved before is whole, and --resume goes on from it.") from error


def resume(recipe: Recipe, path: Path, fabric: Fabric | None = None, *, fingerprint: str = "") -> Run:
    """Continue a run from its checkpoint.

    Parameters
    ----------
    recipe
        Recipe that the run was started with. Its length may differ: this is noted.
    path
        Checkpoint to read.
    fabric
        Devices and processes, launched; one CPU process if omitted.
    fingerprint
        Hash of the training data; a change is noted.

    Raises
    ------
    CheckpointError
        If the file is damaged, or belongs to another recipe; the text names what differs.
    """
    try:
        return _resumed(recipe, path, fabric, fingerprint)
    except SSLMapsError:
        raise
    except _DAMAGE as error:
        raise CheckpointError(
            f"Expected a checkpoint of this training; what {path} holds does not fit "
            f"({' '.join(str(error).split())[:120] or type(error).__name__}). Start again in another folder."
        ) from error


def _resumed(recipe: Recipe, path: Path, fabric: Fabric | None, fingerprint: str) -> Run:
    state = _read(path)
    # what an older version did not know, its recipes leave at the default
    trained = recipe_tables(parse_recipe(state["recipe"]))
    differing = [
        f"{name} ({then!r}, now {now!r})"
        for name, then, now in _differences(trained, recipe_tables(recipe))
        if name not in _FREE
    ]
    if differing:
        raise CheckpointError(
            f"Expected the recipe that {path} was trained with; these differ: {'; '.join(differing)}. "
            "Leave --recipe out to take the one beside the checkpoint, or start in another folder."
        )
    run = start(recipe, fabric)
    run.objective.load_state_dict(state["objective"])
    run.optimiser.load_state_dict(state["optimiser"])
    if state["scaler"] and _scaler(run.fabric):
        _scaler(run.fabric).load_state_dict(state["scaler"])
    run.step, run.seconds, run.last = state["step"], state["seconds"], state["last"]
    run.notes, run.skipped = list(state["notes"]), dict.fromkeys(state["skipped"])
    if recipe.steps != state["steps"]:
        run.notes.append(f"length changed from {state['steps']} to {recipe.steps} steps at step {run.step}")
    if fingerprint != state["fingerprint"]:
        run.notes.append(f"the training data had changed at step {run.step}")
    return run


def _scaler(fabric: Fabric) -> Any:  # torch.amp.GradScaler, where precision has one
    return getattr(fabric.strategy.precision, "scaler", None)


def _read(path: Path) -> dict[str, Any]:
    special = special_kind(path)
    if special:
        raise CheckpointError(f"Expected a checkpoint of a training; {path} is {special}. Give a file.")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (EOFError, OSError, pickle.UnpicklingError, MemoryError, struct.error, *_DAMAGE) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise CheckpointError(
            f"Expected a checkpoint of a training; {path} cannot be read ({reason}). Start again in another "
            "folder, or without --resume."
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(
            f"Expected a checkpoint of a training; {path} holds a {type(state).__name__}. Start again in "
            "another folder."
        )
    if state.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointError(
            f"Expected a checkpoint of format {CHECKPOINT_FORMAT}; {path} has {state.get('format')!r}. "
            "Start again in another folder; --init takes its encoder."
        )
    return state


def _differences(then: dict[str, Any], now: dict[str, Any], within: str = "") -> list[tuple[str, Any, Any]]:
    found = []
    for name in sorted(then.keys() | now.keys()):
        old, new = then.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{within}{name}.")
        elif old != new:
            found.append((within + name, old, new))
    return found


ENCODER_FORMAT = 1
_LICENCE = "BSD-3-Clause"
_NO_LOSS = {"step", "rate", "rank", "seconds", "images_per_second", "skipped"}


def describe(run: Run, *, data: str, date: str, device: str, package_version: str) -> dict[str, Any]:
    """Return the provenance of a run, ready for JSON."""
    recipe, last = run.recipe, run.last
    tables = recipe_tables(recipe)
    tables["data"] = {**tables["data"], "source": Path(recipe.data.source).name}  # and whose folder it is in
    losses = {name: round(value, 4) for name, value in last.items() if name not in _NO_LOSS}
    return {
        "objective": run.objective.summary(),
        "data": data,
        "recipe": {"name": recipe.name, **tables},
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
        Provenance as `describe` returns it.
    name
        Name of the encoder; the file's stem if omitted.
    """
    simulated = str(provenance.get("data", "")).startswith("simulated")
    header = {
        "format": ENCODER_FORMAT,
        "name": name or path.stem,
        "method": objective.method,
        "architecture": architecture_to_dict(objective.architecture),
        "normalisation": objective.normalisation,
        "companions": objective.pretext_settings,
        "provenance": dict(provenance),
        "licence": _LICENCE if simulated else "for the owner of the images to say",
    }
    tensors = {key: to_half(key, value) for key, value in sorted(objective.exported().items())}
    content = to_bytes(tensors, metadata={HEADER_KEY: json.dumps(header, sort_keys=True)})
    with _replacing(path) as partial:
        partial.write_bytes(content)
