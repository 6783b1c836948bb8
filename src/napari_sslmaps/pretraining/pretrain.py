"""The whole of ``napari-sslmaps pretrain``: from a request to an encoder in a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from lightning_fabric import Fabric

from napari_sslmaps.errors import InvalidOptionError, SSLMapsError
from napari_sslmaps.pretraining.checkpoints import resume
from napari_sslmaps.pretraining.datasets import FieldSource, open_fields
from napari_sslmaps.pretraining.datasets.opening import has_bank
from napari_sslmaps.pretraining.launching import Devices, open_fabric
from napari_sslmaps.pretraining.objectives import build_objective
from napari_sslmaps.pretraining.recipes import Recipe, load_recipe, recipe_to_toml
from napari_sslmaps.pretraining.run import Run, start
from napari_sslmaps.pretraining.trainer import Cadence, Listener, steps_for, train
from napari_sslmaps.pretraining.warm_start import load_initial

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class PretrainRequest:
    """What to train, on what, where.

    Attributes
    ----------
    recipe
        What to train.
    out
        Folder of the results.
    devices
        Where to run.
    cadence
        How often to log, save and draw.
    minutes
        Choose the number of steps that fits; the recipe's if None.
    accumulate
        Shards that each process computes one after the other in a step; by the recipe's if None.
    resume
        Whether to go on from the checkpoint in `out`, if there is one.
    init
        Checkpoint whose weights a fresh run begins with.
    bank
        File of fields that are simulated or cut once; ``bank.npy`` in `out` if None.
    workers
        Processes that read ahead.
    """

    recipe: Recipe
    out: Path
    devices: Devices = field(default_factory=Devices)
    cadence: Cadence = field(default_factory=Cadence)
    minutes: float | None = None
    accumulate: int | None = None
    resume: bool = False
    init: Path | None = None
    bank: Path | None = None
    workers: int = 0

    @property
    def checkpoint(self) -> Path:
        """The resumable file."""
        return self.out / "checkpoint.pt"

    @property
    def continued(self) -> bool:
        """Whether there is something to go on from, and that is wanted."""
        return self.resume and self.checkpoint.exists()


def pretrain(
    request: PretrainRequest, listener: Listener | None = None, on_prepare: OnProgress | None = None
) -> Run:
    """Train as asked.

    Parameters
    ----------
    request
        What, on what, where.
    listener
        Is told how it goes.
    on_prepare
        Called with the number of fields simulated or files looked at, and of all.

    Returns
    -------
    Run
        At its end; the results are in the request's folder.

    Raises
    ------
    SSLMapsError
        If something does not fit or cannot be read; nothing was written then.
    """
    if request.checkpoint.exists() and not request.resume:
        raise InvalidOptionError(
            f"Expected a folder without a training; {request.out} holds one. Go on with --resume, or choose "
            "another --out."
        )
    fabric = open_fabric(request.recipe.precision, request.devices)
    fabric.launch()
    listener = (listener or Listener()) if fabric.is_global_zero else Listener()
    recipe = _dealt(request, fabric.world_size)
    source = _open(request, recipe, fabric, on_prepare if fabric.is_global_zero else None)
    if request.continued:
        recorded = load_recipe(request.out / "recipe.toml")
        recipe = replace(recipe, steps=recorded.steps) if request.minutes is not None else recipe
        run = resume(recipe, request.checkpoint, fabric, fingerprint=source.fingerprint)
    else:
        if request.minutes is not None:
            trial = start(recipe, fabric)
            recipe = replace(recipe, steps=steps_for(recipe, source, request.minutes, trial))
        run = _begin(request, recipe, fabric, listener)
    run.skipped.update(dict.fromkeys(source.skipped))
    if fabric.is_global_zero:
        request.out.mkdir(parents=True, exist_ok=True)
        (request.out / "recipe.toml").write_text(recipe_to_toml(recipe), encoding="utf-8")
    return train(
        run, source, request.out, cadence=request.cadence, listener=listener, workers=request.workers
    )


def _begin(request: PretrainRequest, recipe: Recipe, fabric: Fabric, listener: Listener) -> Run:
    objective = build_objective(recipe)
    notes = []
    if request.init is not None:
        notes.append(load_initial(objective, request.init))
        listener.said(notes[0])
    run = start(recipe, fabric, objective)
    run.notes += notes
    return run


def _dealt(request: PretrainRequest, processes: int) -> Recipe:
    """Cut the batch into parts for all processes: as many as the recipe says, or a few more."""
    recipe = request.recipe
    if request.accumulate is not None:
        return replace(recipe, shards=processes * request.accumulate)
    if request.continued:
        return recipe
    return replace(recipe, shards=-(-recipe.shards // processes) * processes)


def _open(
    request: PretrainRequest, recipe: Recipe, fabric: Fabric, on_prepare: OnProgress | None
) -> FieldSource:
    """Open the training data: the first process makes or scans it, the others are told."""
    bank = request.bank or request.out / "bank.npy"
    found: FieldSource | SSLMapsError | None = None
    if fabric.is_global_zero:
        try:
            found = open_fields(recipe.data, bank, on_prepare)
        except SSLMapsError as error:
            found = error
    if fabric.world_size > 1:
        reopened = has_bank(recipe.data) and not isinstance(found, SSLMapsError)
        told = fabric.broadcast(None if reopened else found)
        found = open_fields(recipe.data, bank) if told is None else told
    if found is None or isinstance(found, SSLMapsError):
        raise found or InvalidOptionError("Expected training data; the first process sent none.")
    return found
