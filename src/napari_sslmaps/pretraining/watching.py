"""Looking at a run: feature rank, a panel of maps, collapse and divergence."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from napari_sslmaps.core.spectrum import effective_rank
from napari_sslmaps.errors import TrainingDivergedError
from napari_sslmaps.pretraining.objectives import Objective

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


def say_collapse(line: dict[str, float]) -> str | None:
    """Return a sentence if the tokens have nearly collapsed, else None."""
    if line["rank"] >= COLLAPSED_RANK:
        return None
    return (
        f"Feature rank {line['rank']:.1f} at step {line['step']:.0f}: the tokens have nearly collapsed "
        f"(fewer than {COLLAPSED_RANK:.0f} directions are in use)."
    )
