"""Checkpoints: everything a run needs to go on, whole at any instant."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from napari_sslmaps.errors import CheckpointError
from napari_sslmaps.pretraining.recipes import Recipe, recipe_tables
from napari_sslmaps.pretraining.run import Run, start

FORMAT = 2
_FREE = ("steps", "checkpointing", "data.source")
"""What may change when a run goes on: its length, how its memory is spared, and where the same files lie."""


def save(run: Run, path: Path, fingerprint: str = "") -> None:
    """Write a checkpoint so that a kill at any instant leaves the old one or the new one whole.

    Parameters
    ----------
    run
        What to save; call it on the first process alone.
    path
        The file.
    fingerprint
        Of the training data.
    """
    state = {
        "format": FORMAT,
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
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def resume(recipe: Recipe, path: Path, fabric: Fabric | None = None, *, fingerprint: str = "") -> Run:
    """Continue a run from its checkpoint.

    Parameters
    ----------
    recipe
        What the run was started with. Its length may differ: this is noted.
    path
        The checkpoint.
    fabric
        Devices and processes, launched; one CPU process if omitted.
    fingerprint
        Of the training data; a change is noted.

    Raises
    ------
    CheckpointError
        If the file is damaged, or belongs to another recipe; the text names what differs.
    """
    state = _read(path)
    differing = [
        f"{name} ({then!r}, now {now!r})"
        for name, then, now in _differences(state["recipe"], recipe_tables(recipe))
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
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"Expected a checkpoint of a training; {path} cannot be read ({error})."
        ) from error
    if state.get("format") != FORMAT:
        raise CheckpointError(
            f"Expected a checkpoint of format {FORMAT}; {path} has {state.get('format')!r}. "
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
