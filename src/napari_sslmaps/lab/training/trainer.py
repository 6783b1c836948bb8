"""The loop of a training: steps, lines of log, checkpoints, panels; resumable to the same curve."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from napari_sslmaps.lab.training.checkpoints import describe, save, save_encoder
from napari_sslmaps.lab.training.datasets.loading import Keys, Shard, Shards, read_ahead
from napari_sslmaps.lab.training.datasets.protocol import FieldSource
from napari_sslmaps.lab.training.monitoring import (
    MetricLogger,
    centre_crops,
    check_finite,
    collapse_warning,
    draw_panel,
    feature_rank,
    watched_tokens,
)
from napari_sslmaps.lab.training.recipes import Recipe
from napari_sslmaps.lab.training.run import Run, advance, as_fields, start

_SHOWN = 4
_UNTIMED, _TIMED = 2, 4


@dataclass(frozen=True, slots=True)
class LoggingSchedule:
    """Steps between lines of log, checkpoints, and panels; the latter two wait for the next line of log."""

    log: int = 50
    save: int = 200
    panel: int = 1000


class Listener:
    """Hears how a training goes; does nothing of its own."""

    def stepped(self, run: Run) -> None:
        """After every step."""

    def logged(self, run: Run) -> None:
        """After every line of log, which is ``run.last``."""

    def reported(self, sentence: str) -> None:
        """When there is something that a user should know."""


def train(
    run: Run,
    source: FieldSource,
    out: Path,
    *,
    schedule: LoggingSchedule | None = None,
    listener: Listener | None = None,
    workers: int = 0,
) -> Run:
    """Train to the end.

    Parameters
    ----------
    run
        A fresh or resumed run.
    source
        Fields to train on.
    out
        Folder of ``checkpoint.pt``, ``encoder.safetensors``, ``log.jsonl`` and ``panel.png``; the first
        process alone writes.
    schedule
        Intervals of logging, saving and drawing.
    listener
        Listener that is told how it goes, on the first process.
    workers
        Processes that read ahead; 0 reads in this one.

    Raises
    ------
    TrainingDivergedError
        If the loss is no number any more; the last checkpoint is from before.
    """
    schedule, listener = schedule or LoggingSchedule(), listener or Listener()
    main = run.fabric.is_global_zero
    shards = Shards(source, run.recipe)
    if main:
        out.mkdir(parents=True, exist_ok=True)
    writer = RunWriter(run, shards, out, schedule, listener) if main else None
    feed = read_ahead(
        shards,
        Keys(run.step, run.steps, run.own),
        workers=workers,
        pin=run.fabric.device.type == "cuda",
    )
    for line in _intervals(run, feed, schedule, listener if main else Listener()):
        check_finite(line)
        if writer is not None:
            writer.take(line)
    run.fabric.barrier()
    return run


def _intervals(
    run: Run, feed: Iterator[Shard], schedule: LoggingSchedule, listener: Listener
) -> Iterator[dict[str, float]]:
    """Take steps and yield the mean losses of each interval, over all processes."""
    sums: dict[str, tuple[Tensor, int]] = {}
    began, first = time.perf_counter(), run.step
    while run.step < run.steps:
        for name, value in advance(run, feed).items():
            total, count = sums.get(name, (torch.zeros_like(value), 0))
            sums[name] = total + value, count + 1
        listener.stepped(run)
        if run.step % schedule.log and run.step != run.steps:
            continue
        means = torch.stack([total / count for total, count in sums.values()])
        reduced = run.fabric.all_reduce(means, reduce_op="mean")
        losses = dict(zip(sums, reduced.tolist(), strict=True))  # type: ignore[union-attr]  # a tensor in and out
        seconds = time.perf_counter() - began
        run.seconds += seconds
        yield {
            "step": float(run.step),
            **losses,
            "rate": run.optimiser.param_groups[0]["lr"],
            "seconds": run.seconds,
            "images_per_second": (run.step - first) * run.recipe.batch / max(seconds, 1e-9),
        }
        sums.clear()
        began, first = time.perf_counter(), run.step


class RunWriter:
    """Work of the first process beside the steps: watching, logging, saving.

    Parameters
    ----------
    run, shards
        The training and its data.
    out
        Folder to write to.
    schedule
        Intervals of saving and drawing.
    listener
        Listener that is told of progress.
    """

    def __init__(
        self, run: Run, shards: Shards, out: Path, schedule: LoggingSchedule, listener: Listener | None = None
    ) -> None:
        listener = listener or Listener()
        self._run, self._source, self._out = run, shards.source, out
        self._schedule, self._listener = schedule, listener
        self._metrics = MetricLogger(out / "log.jsonl", run.step)
        crop, fields = run.recipe.crop, as_fields(shards.watched())
        self._watched = centre_crops(fields, crop.size, sum(crop.span) / 2).to(run.fabric.device)
        self._reported: set[str] = set()
        self._before = run.step

    def take(self, line: dict[str, float]) -> None:
        """Complete a line of log, write it, and save and draw when it is time."""
        run = self._run
        tokens = watched_tokens(run.objective, self._watched)
        line["rank"] = feature_rank(tokens)
        check_finite(line)
        line["skipped"] = float(len(run.skipped))
        run.last = line
        self._report(line)
        self._metrics.write(line)
        if self._due(self._schedule.save):
            self.save()
        if self._due(self._schedule.panel):
            title = f"{run.recipe.method}, step {run.step} of {run.steps}, feature rank {line['rank']:.1f}"
            draw_panel(self._out / "panel.png", self._watched[:_SHOWN], tokens[:_SHOWN], title)
        self._before = run.step
        self._listener.logged(run)

    def _due(self, every: int) -> bool:
        return self._run.step // every > self._before // every or self._run.step == self._run.steps

    def _report(self, line: dict[str, float]) -> None:
        collapse = collapse_warning(line)
        if collapse is None:
            self._reported.discard("collapse")
        elif "collapse" not in self._reported:
            self._reported.add("collapse")
            self._run.notes.append(collapse)
            self._listener.reported(collapse)
        for sentence in self._run.skipped:
            if sentence not in self._reported:
                self._reported.add(sentence)
                self._listener.reported(f"Left out: {sentence}")

    def save(self) -> None:
        """Write the checkpoint and the encoder."""
        run = self._run
        save(run, self._out / "checkpoint.pt", self._source.fingerprint)
        provenance = describe(
            run,
            data=self._source.name,
            date=datetime.now(UTC).date().isoformat(),
            device=str(run.fabric.device),
            package_version=version("napari-sslmaps"),
        )
        save_encoder(
            run.objective, self._out / "encoder.safetensors", provenance=provenance, name=run.recipe.name
        )


def steps_for(recipe: Recipe, source: FieldSource, minutes: float, trial: Run | None = None) -> int:
    """Tell how many steps fit into `minutes`, from a few timed steps of a throw-away run."""
    trial = trial or start(recipe)
    keys = Keys(0, _UNTIMED + _TIMED, trial.own)
    feed = read_ahead(Shards(source, recipe), keys, workers=0, pin=False)
    began = time.perf_counter()
    for step in range(_UNTIMED + _TIMED):
        if step == _UNTIMED:
            began = time.perf_counter()
        total = float(advance(trial, feed)["total"])  # waits for a GPU
    del total
    took = torch.tensor((time.perf_counter() - began) / _TIMED, device=trial.fabric.device)
    slowest = float(trial.fabric.all_reduce(took, reduce_op="max"))  # type: ignore[arg-type]  # a tensor in and out
    return max(1, int(minutes * 60 / slowest))
