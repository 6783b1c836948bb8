"""One trainer for the four objectives: resumable at any step to the same loss curve."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from napari_sslmaps.errors import CheckpointError
from napari_sslmaps.pretraining.data import draw_fields
from napari_sslmaps.pretraining.losses import rank_me
from napari_sslmaps.pretraining.objectives import Objective, build_objective
from napari_sslmaps.pretraining.recipes import Recipe
from napari_sslmaps.pretraining.schedules import Progress, learning_rate
from napari_sslmaps.pretraining.views import CropScheme, draw_crops

_LOG = logging.getLogger(__name__)
_WATCHED_IMAGES = 16
_COLLAPSE_RANK = 4.0


def step_generator(seed: int, step: int) -> Generator:
    """Randomness of one step: it depends on seed and step alone, so a resumed run repeats it."""
    mixed = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]
    return Generator().manual_seed(int(mixed >> np.uint64(1)))


@dataclass(slots=True)
class Run:
    """A training under way: its networks, its optimiser and how far it is."""

    recipe: Recipe
    objective: Objective
    optimiser: torch.optim.Optimizer
    steps: int
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def progress(self) -> Progress:
        """Where the run stands."""
        return Progress(self.step, self.steps)


def start(recipe: Recipe, steps: int) -> Run:
    """Begin a run with fresh weights."""
    objective = build_objective(recipe)
    trained = [p for p in objective.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=recipe.peak_rate, betas=(0.9, 0.95))
    return Run(recipe, objective, optimiser, steps)


def save(run: Run, path: Path) -> None:
    """Write a checkpoint so that a kill at any instant leaves the old one or the new one whole."""
    partial = path.with_suffix(".partial")
    state = {
        "objective": run.objective.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        "method": run.recipe.method,
        "steps": run.steps,
        "step": run.step,
        "seconds": run.seconds,
        "history": run.history,
        "notes": run.notes,
    }
    torch.save(state, partial)
    partial.replace(path)


def resume(recipe: Recipe, path: Path, *, steps: int | None = None) -> Run:
    """Continue a run from its checkpoint.

    Parameters
    ----------
    recipe
        What the run was started with.
    path
        The checkpoint.
    steps
        A new length for the run, if it is to change; this is noted and ends up in the model card.

    Raises
    ------
    CheckpointError
        If the checkpoint belongs to another method.
    """
    state = torch.load(path, weights_only=True)
    if state["method"] != recipe.method:
        raise CheckpointError(
            f"Expected a checkpoint of {recipe.method}; {path} holds one of {state['method']}."
        )
    run = start(recipe, state["steps"])
    run.objective.load_state_dict(state["objective"])
    run.optimiser.load_state_dict(state["optimiser"])
    run.step, run.seconds, run.history = state["step"], state["seconds"], state["history"]
    run.notes = list(state.get("notes", []))
    if steps is not None and steps != run.steps:
        run.notes.append(f"length changed from {run.steps} to {steps} steps at step {run.step}")
        run.steps = steps
    return run


def advance(run: Run, bank: NDArray[np.uint8]) -> dict[str, float]:
    """Take one step and return its losses."""
    started = time.perf_counter()
    recipe, progress = run.recipe, run.progress
    generator = step_generator(recipe.seed, run.step)
    rate = learning_rate(recipe.peak_rate, progress)
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    run.objective.train()
    fields = draw_fields(bank, recipe.batch, generator)
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        losses = run.objective.loss(fields, progress, generator)
    run.optimiser.zero_grad(set_to_none=True)
    losses["total"].backward()  # type: ignore[no-untyped-call]  # torch leaves Tensor.backward untyped
    torch.nn.utils.clip_grad_norm_(run.objective.parameters(), recipe.clip)
    run.optimiser.step()
    run.objective.after_step(progress, lambda tensor: tensor)
    run.step += 1
    run.seconds += time.perf_counter() - started
    return {name: float(value.detach()) for name, value in losses.items()} | {"rate": rate}


@torch.no_grad()
def feature_rank(objective: Objective, images: Tensor) -> float:
    """RankMe of the encoder's tokens over (B, 3, H, W) images in [0, 1]."""
    objective.eval()
    return rank_me(objective.tokens(images).flatten(0, 1))


def train(
    run: Run,
    bank: NDArray[np.uint8],
    out: Path,
    *,
    every: int = 50,
    report: Callable[[dict[str, float]], None] | None = None,
) -> Run:
    """Train to the end, logging and saving every so often.

    Parameters
    ----------
    run
        A fresh or resumed run.
    bank
        (n, S, S, 3) uint8 fields.
    out
        Folder of ``checkpoint.pt`` and ``log.jsonl``.
    every
        Steps between log lines; a checkpoint is written at each.
    report
        Called with each log line.
    """
    out.mkdir(parents=True, exist_ok=True)
    watched = draw_crops(
        draw_fields(bank, _WATCHED_IMAGES, step_generator(0, 0)),
        CropScheme(128, (128.0, 128.0)),
        step_generator(0, 1),
    )
    while run.step < run.steps:
        losses = advance(run, bank)
        if run.step % every and run.step != run.steps:
            continue
        rank = feature_rank(run.objective, watched)
        line = {"step": float(run.step), **losses, "rank": rank, "seconds": run.seconds}
        run.history.append(line)
        _check(line)
        save(run, out / "checkpoint.pt")
        with (out / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        if report is not None:
            report(line)
    return run


def _check(line: dict[str, float]) -> None:
    """Say so when a run has diverged or collapsed."""
    if not np.isfinite(line["total"]):
        raise CheckpointError(
            f"The loss is {line['total']} at step {line['step']:.0f}: the training diverged. "
            "Lower the learning rate and resume from the last checkpoint."
        )
    if line["rank"] < _COLLAPSE_RANK:
        _LOG.warning(
            "feature rank %.1f at step %.0f: the tokens have nearly collapsed", line["rank"], line["step"]
        )


def steps_for(recipe: Recipe, bank: NDArray[np.uint8], minutes: float) -> int:
    """How many steps fit into `minutes`, from a few timed steps of a throw-away run."""
    trial = start(recipe, 1000)
    for _ in range(2):
        advance(trial, bank)
    before = trial.seconds
    for _ in range(4):
        advance(trial, bank)
    return max(1, int(minutes * 60 / ((trial.seconds - before) / 4)))
