"""The whole of ``napari-sslmaps pretrain``, from a request to an encoder in a folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from lightning_fabric import Fabric

from napari_sslmaps.encoders.checkpoint.read import Checkpoint, read_checkpoint, read_pretext_heads
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.errors import CheckpointError, InvalidOptionError, SSLMapsError
from napari_sslmaps.files import alone_in, written_whole
from napari_sslmaps.lab.training.checkpoints import resume
from napari_sslmaps.lab.training.datasets import has_bank, open_fields
from napari_sslmaps.lab.training.datasets.protocol import FieldSource
from napari_sslmaps.lab.training.launching import Devices, open_fabric, settle_precision
from napari_sslmaps.lab.training.objectives import build_objective
from napari_sslmaps.lab.training.objectives.base import Objective
from napari_sslmaps.lab.training.recipes import AUTO, Recipe, load_recipe, recipe_to_toml
from napari_sslmaps.lab.training.run import Run, start
from napari_sslmaps.lab.training.trainer import Listener, LoggingSchedule, steps_for, train
from napari_sslmaps.records.claim import check_claim

_WRITTEN = ("recipe.toml", "log.jsonl", "encoder.safetensors", "panel.png")
_WRITTEN_BY = "# Written by napari-sslmaps pretrain, every value said.\n"
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class PretrainRequest:
    """Request for a training: recipe, data, devices and folder.

    Attributes
    ----------
    recipe
        Recipe to train.
    out
        Folder of the results.
    devices
        Devices to run on.
    schedule
        Intervals of logging, saving and drawing.
    minutes
        Minutes that the number of steps is chosen to fit; the recipe's number if None.
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
    schedule: LoggingSchedule = field(default_factory=LoggingSchedule)
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
        Recipe, data, devices and folder.
    listener
        Listener that is told how it goes.
    on_prepare
        Callback, called with the number of fields simulated or files looked at, and of all.

    Returns
    -------
    Run
        Finished run; the results are in the request's folder.

    Raises
    ------
    SSLMapsError
        If something does not fit or cannot be read, or another process writes to the folder; nothing was
        written then.
    """
    fabric = open_fabric(_precision(request), request.devices)
    with alone_in(request.out) if fabric.is_global_zero else nullcontext():
        return _trained(request, fabric, listener or Listener(), on_prepare)


def _trained(
    request: PretrainRequest, fabric: Fabric, listener: Listener, on_prepare: OnProgress | None
) -> Run:
    """Train, in a folder that nobody else writes to."""
    if request.checkpoint.exists() and not request.resume:
        raise InvalidOptionError(
            f"Expected a folder without a training; {request.out} holds one. Go on with --resume, or choose "
            "another --out."
        )
    if not request.continued:
        check_claim(request.out, _WRITTEN, record="recipe.toml")
    precision = settle_precision(_precision(request), fabric.device)
    fabric.launch()
    listener = listener if fabric.is_global_zero else Listener()
    recipe = replace(_dealt(request, fabric.world_size), precision=precision)
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
        with written_whole(request.out / "recipe.toml") as temporary:
            temporary.write_text(_WRITTEN_BY + recipe_to_toml(recipe), encoding="utf-8")
    return train(
        run, source, request.out, schedule=request.schedule, listener=listener, workers=request.workers
    )


def _begin(request: PretrainRequest, recipe: Recipe, fabric: Fabric, listener: Listener) -> Run:
    objective = build_objective(recipe)
    notes = []
    if request.init is not None:
        notes.append(load_initial(objective, request.init))
        listener.reported(notes[0])
    run = start(recipe, fabric, objective)
    run.notes += notes
    return run


def _precision(request: PretrainRequest) -> str:
    """Return the precision asked for; a training that continues keeps the one that it was started in."""
    requested = request.recipe.precision
    if requested == AUTO and request.continued:
        return load_recipe(request.out / "recipe.toml").precision
    return requested


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
        shared = fabric.broadcast(None if reopened else found)
        found = open_fields(recipe.data, bank) if shared is None else shared
    if found is None or isinstance(found, SSLMapsError):
        raise found or InvalidOptionError("Expected training data; the first process sent none.")
    return found


_NAMED = 8


def load_initial(objective: Objective, path: Path) -> str:
    """Give an objective the weights of a file, as far as names and shapes agree.

    Parameters
    ----------
    objective
        Objective whose networks are freshly built.
    path
        A checkpoint; a decoder, predictor or head in it is taken too where it fits.

    Returns
    -------
    str
        Sentence on how many tensors were taken, and which were left out.

    Raises
    ------
    InvalidOptionError
        If not one block or stage of the encoder fits.
    CheckpointError, WeightsUnavailableError
        If the file cannot be read.
    """
    checkpoint, wanted = _read(path, objective)
    own, report = objective.exported(), checkpoint.report
    pretext_heads = {
        name: value for name, value in read_pretext_heads(path, wanted).state.items() if name in own
    }
    state = {**checkpoint.network.state_dict(), **pretext_heads}
    fitting = {name for name in state if name in own and own[name].shape == state[name].shape}
    if not any(".mlp." in name or ".conv" in name for name in fitting):
        raise InvalidOptionError(
            f"Expected weights for a {objective.architecture.summary}; {path.name} holds a "
            f"{report.architecture.summary}, of which nothing fits. Choose the [architecture] of the file."
        )
    left_out = objective.load_exported(state)
    fresh = sorted(set(own) - fitting)
    return (
        f"Took {len(fitting)} tensors from {path.name} ({report.layout}, {report.method}). "
        f"Left out of the file: {_listed([*left_out, *(set(report.left_out) - set(pretext_heads))])}. "
        f"Begun afresh: {_listed(fresh)}."
    )


def _read(path: Path, objective: Objective) -> tuple[Checkpoint, Overrides]:
    """Read a file; one that does not tell its method or heads serves any network that it fits."""
    try:
        return read_checkpoint(path), Overrides()
    except CheckpointError:
        wanted = Overrides(objective.method, objective.architecture.attention_heads or None)
        return read_checkpoint(path, wanted), wanted


def _listed(names: list[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} ({', '.join(sorted(names)[:_NAMED])}{more})"
