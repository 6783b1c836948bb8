"""Monitoring of a training: ``log.jsonl``, ``panel.png``, feature rank, collapse and divergence."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from napari_sslmaps.core.diagnostics import effective_rank
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import ExportError, TrainingDivergedError
from napari_sslmaps.files import written_whole
from napari_sslmaps.lab.training.objectives.base import Objective
from napari_sslmaps.maps.pca import pca_map
from napari_sslmaps.maps.similarity import similarity_map


class MetricLogger:
    """The log of a run.

    Parameters
    ----------
    path
        The file. Lines beyond `step` and a line that a kill tore are dropped: the run will write them again.
    step
        Step at which the run starts or continues.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        kept = [line for line in read_log(path) if line["step"] <= step]
        with written_whole(path) as partial:
            partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def write(self, line: dict[str, float]) -> None:
        """Append a line and wait until it is on disk."""
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ExportError(
                f"Expected to write {self._path}; the system says: {error.strerror or error}. Free some "
                "space; what was saved before is whole, and --resume goes on from it."
            ) from error


def read_log(path: Path) -> list[dict[str, float]]:
    """Read the whole lines of a log; none if there is no such file."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    found = [_line(line) for line in lines if line.endswith("}\n")]
    return [line for line in found if isinstance(line.get("step"), int | float)]


def _line(text: str) -> dict[str, float]:
    """Parse a line; nothing of one that is no log's."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return line if isinstance(line, dict) else {}


COLLAPSED_RANK = 4.0


@torch.no_grad()
def watched_tokens(objective: Objective, images: Tensor) -> Tensor:
    """Tokens (B, N, D), float32, of (B, 3, H, W) images in [0, 1], with the networks in evaluation mode."""
    training = objective.training
    objective.eval()
    tokens = objective.tokens(images).float()
    objective.train(training)
    return tokens


def feature_rank(tokens: Tensor) -> float:
    """RankMe (arXiv 2210.02885) of (B, N, D) tokens: 1 where all lie on a line, D where they fill space.

    NaN if a token is not finite.
    """
    return effective_rank(tokens.flatten(0, 1)) if bool(torch.isfinite(tokens).all()) else math.nan


def centre_crops(fields: Tensor, size: int, span: float) -> Tensor:
    """Cut the middle square of `span` pixels out of (B, 3, S, S) fields and resize it to `size`."""
    side = fields.shape[-1]
    length = min(side, round(span))
    first = (side - length) // 2
    middle = fields[:, :, first : first + length, first : first + length]
    return torch.nn.functional.interpolate(
        middle, (size, size), mode="bilinear", antialias=True, align_corners=False
    )


def check_finite(line: dict[str, float]) -> None:
    """Raise `TrainingDivergedError` if the loss, or the tokens whose rank is in the line, are no numbers."""
    if not math.isfinite(line["total"]) or not math.isfinite(line.get("rank", 0.0)):
        raise TrainingDivergedError(
            f"Expected finite numbers; at step {line['step']:.0f} the loss is {line['total']}, the feature "
            f"rank {line.get('rank', math.nan):.1f}: the run diverged. "
            "The last checkpoint is from before. Lower peak_rate or clip in the recipe and start again."
        )


def collapse_warning(line: dict[str, float]) -> str | None:
    """Return a sentence if the tokens have nearly collapsed, else None."""
    if line["rank"] >= COLLAPSED_RANK:
        return None
    return (
        f"Feature rank {line['rank']:.1f} at step {line['step']:.0f}: the tokens have nearly collapsed "
        f"(fewer than {COLLAPSED_RANK:.0f} directions are in use)."
    )


_INCHES, _DPI = 1.7, 110
_TITLES = ("image", "components", "similarity to ×")


def draw_panel(path: Path, images: Tensor, tokens: Tensor, title: str) -> None:
    """Draw each image with its PCA map (one basis for all) and its similarity to the centre.

    Parameters
    ----------
    path
        PNG to write; a kill leaves the old one or the new one whole.
    images
        (B, 3, H, H) in [0, 1].
    tokens
        (B, N, D) of a square grid.
    title
        Title above the panel.
    """
    side, grid = images.shape[-1], round(tokens.shape[1] ** 0.5)
    embeddings = [
        Embedding.from_tokens(one.reshape(grid, grid, -1).cpu(), stride=side // grid) for one in tokens
    ]
    components = pca_map(embeddings, foreground=None)
    figure = Figure(figsize=(3 * _INCHES, len(images) * _INCHES + 0.5), layout="constrained")
    axes = figure.subplots(len(images), 3, squeeze=False)
    centre = (side / 2, side / 2)
    for row, image, embedding, component in zip(axes, images, embeddings, components, strict=True):
        row[0].imshow(np.clip(image.permute(1, 2, 0).cpu().numpy(), 0, 1))
        row[1].imshow(component.values, interpolation="nearest")
        similar = similarity_map(embedding, [centre], centred=False).values
        row[2].imshow(similar, cmap="magma", vmin=-1, vmax=1, interpolation="nearest")
        row[0].plot(side / 2, side / 2, "x", color="#e3001b", markersize=6)
        row[2].plot(grid / 2, grid / 2, "x", color="#e3001b", markersize=6)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, name in zip(axes[0], _TITLES, strict=True):
        axis.set_title(name, fontsize=8)
    figure.suptitle(title, fontsize=8)
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=_DPI, metadata={"Software": None})
