"""``python -m napari_sslmaps.pretraining``: train one of the four encoders on simulated histology."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.pretraining.data import build_bank
from napari_sslmaps.pretraining.recipes import demo_recipe
from napari_sslmaps.pretraining.trainer import Run, resume, start, steps_for, train

_FIELDS, _FIELD_SIDE, _FIELD_SEED = 6000, 192, 2025


def pretrain(
    method: Annotated[str, typer.Option(help="mae, ijepa, dinov3 or dira.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint and the log.")],
    bank: Annotated[Path | None, typer.Option(help="File of simulated fields, made if absent.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Choose the steps that fit.")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps.")] = None,
    continued: Annotated[bool, typer.Option("--resume", help="Continue from the checkpoint in OUT.")] = False,
) -> None:
    """Train one encoder; stop it at any time and continue with --resume."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = demo_recipe(method)
    images = build_bank(bank or out / "bank.npy", count=_FIELDS, size=_FIELD_SIDE, seed=_FIELD_SEED)
    checkpoint = out / "checkpoint.pt"
    run: Run
    if continued and checkpoint.exists():
        run = resume(recipe, checkpoint, steps=steps)
    elif steps is not None:
        run = start(recipe, steps)
    elif minutes is not None:
        run = start(recipe, steps_for(recipe, images, minutes))
    else:
        raise InvalidOptionError("Expected --steps or --minutes; got neither.")
    typer.echo(f"{method}: {run.steps} steps of {recipe.batch} images, from step {run.step}")
    train(run, images, out, report=_say)


def _say(line: dict[str, float]) -> None:
    typer.echo("  ".join(f"{name} {value:.4g}" for name, value in line.items()))


if __name__ == "__main__":
    typer.run(pretrain)
