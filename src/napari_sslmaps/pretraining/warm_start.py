"""``--init``: begin from the weights of any checkpoint that `load_encoder` reads."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from napari_sslmaps.encoders.checkpoint import Checkpoint, read_checkpoint, read_companions
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.spec import Method, ViTArchitecture
from napari_sslmaps.errors import CheckpointError, InvalidOptionError
from napari_sslmaps.pretraining.objectives import Objective

_NAMED = 8


def load_initial(objective: Objective, path: Path) -> str:
    """Give an objective the weights of a file, as far as names and shapes agree.

    Parameters
    ----------
    objective
        Freshly built.
    path
        A checkpoint; a decoder, predictor or head in it is taken too where it fits.

    Returns
    -------
    str
        How many tensors were taken, and which were left out, as a sentence.

    Raises
    ------
    InvalidOptionError
        If not one block or stage of the encoder fits.
    CheckpointError, WeightsUnavailableError
        If the file cannot be read.
    """
    checkpoint, wanted = _read(path, objective)
    own, report = objective.exported(), checkpoint.report
    companions = {name: value for name, value in read_companions(path, wanted).state.items() if name in own}
    state = {**checkpoint.network.state_dict(), **companions}
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
        f"Left out of the file: {_listed([*left_out, *(set(report.left_out) - set(companions))])}. "
        f"Begun afresh: {_listed(fresh)}."
    )


def _read(path: Path, objective: Objective) -> tuple[Checkpoint, Overrides]:
    """Read a file; one that does not tell its method or heads serves any network that it fits."""
    try:
        return read_checkpoint(path), Overrides()
    except CheckpointError:
        shape = objective.architecture
        heads = shape.heads if isinstance(shape, ViTArchitecture) else None
        wanted = Overrides(cast("Method", objective.method), heads)
        return read_checkpoint(path, wanted), wanted


def _listed(names: list[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} ({', '.join(sorted(names)[:_NAMED])}{more})"
