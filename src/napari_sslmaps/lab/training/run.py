"""One training under way: its networks, its optimiser, and one step of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Generator, Tensor, nn

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.training.datasets.loading import Shard
from napari_sslmaps.lab.training.launching import open_fabric
from napari_sslmaps.lab.training.numerics import TrainingPosition, learning_rate
from napari_sslmaps.lab.training.objectives import build_objective
from napari_sslmaps.lab.training.objectives.base import Objective
from napari_sslmaps.lab.training.recipes import Recipe


def step_generator(seed: int, step: int, shard: int = 0) -> Generator:
    """Randomness of one shard of one step: of these three alone, so that a resumed run repeats it."""
    mixed = np.random.SeedSequence([seed, step, shard]).generate_state(1, np.uint64)[0]
    return Generator().manual_seed(int(mixed >> np.uint64(1)))


class ShardLoss(nn.Module):
    """Module that Fabric wraps: fields as stored in, losses out, so that nothing is rounded on the way in.

    Parameters
    ----------
    objective
        Objective whose losses are computed.
    seed
        Seed of the training.
    """

    def __init__(self, objective: Objective, seed: int) -> None:
        super().__init__()
        self.objective = objective
        self._seed = seed

    def forward(self, pixels: Tensor, step: int, steps: int, shard: int) -> dict[str, Tensor]:
        """Losses of (n, S, S, 3) uint8 fields; ``total`` has a gradient, the others are to be looked at."""
        losses = self.objective.loss(
            as_fields(pixels), TrainingPosition(step, steps), step_generator(self._seed, step, shard)
        )
        return {name: value if name == "total" else value.detach() for name, value in losses.items()}


def as_fields(pixels: Tensor) -> Tensor:
    """Turn (n, S, S, 3) uint8 into (n, 3, S, S) float32 in [0, 1]."""
    return pixels.permute(0, 3, 1, 2).float().div_(255)


@dataclass(slots=True)
class Run:
    """A training under way.

    Attributes
    ----------
    recipe
        Recipe of the run; its batch is cut into `shards` parts here.
    fabric
        Devices and processes of the run.
    objective
        Objective with its networks.
    module, optimiser
        Module and optimiser, as Fabric wrapped them.
    steps, step
        Length and how many are done.
    shards
        Parts of a batch, over all processes.
    seconds
        Wall-clock time of the steps so far.
    last
        The latest line of the log.
    notes
        Sentences that a reader of the provenance should know.
    skipped
        A sentence for each file that could not be read.
    """

    recipe: Recipe
    fabric: Fabric
    objective: Objective
    module: Any
    optimiser: Any
    steps: int
    step: int = 0
    seconds: float = 0.0
    last: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    skipped: dict[str, None] = field(default_factory=dict)

    @property
    def progress(self) -> TrainingPosition:
        """Position of the run in its training."""
        return TrainingPosition(self.step, self.steps)

    @property
    def own(self) -> range:
        """Shards of this process."""
        count = self.recipe.shards // self.fabric.world_size
        return range(self.fabric.global_rank * count, (self.fabric.global_rank + 1) * count)

    def gather(self, tensor: Tensor) -> Tensor:
        """Concatenate a tensor along its first dimension over the processes, in their order."""
        if self.fabric.world_size == 1:
            return tensor
        gathered: Tensor = self.fabric.all_gather(tensor)  # type: ignore[assignment]  # a tensor in, a tensor out
        return gathered.flatten(0, 1)


def start(recipe: Recipe, fabric: Fabric | None = None, objective: Objective | None = None) -> Run:
    """Begin a run.

    Parameters
    ----------
    recipe
        Recipe to train, with its length.
    fabric
        Devices and processes, launched; one CPU process if omitted.
    objective
        Networks that have weights already; fresh ones of the recipe's seed if omitted.

    Raises
    ------
    InvalidOptionError
        If the recipe's shards cannot be dealt out evenly to the processes.
    """
    fabric = fabric or open_fabric(recipe.precision)
    if recipe.shards % fabric.world_size:
        raise InvalidOptionError(
            f"Expected shards that {fabric.world_size} processes can share evenly; it has {recipe.shards}. "
            "Give --accumulate, or another number of devices."
        )
    objective = objective or build_objective(recipe)
    objective.checkpointing = recipe.checkpointing
    optimiser = build_optimiser(objective, recipe)
    module, wrapped = fabric.setup(ShardLoss(objective, recipe.seed), optimiser)
    return Run(recipe, fabric, objective, module, wrapped, recipe.steps)


def build_optimiser(objective: Objective, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over what is trained; matrices decay, vectors do not."""
    trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # A gradient scaler cannot clip what a fused optimiser unscales.
    fused = recipe.precision not in {"16", "float16"}
    return torch.optim.AdamW(groups, lr=recipe.peak_rate, betas=(0.9, 0.95), fused=fused)


def advance(run: Run, feed: Iterator[Shard]) -> dict[str, Tensor]:
    """Take one step on the next shards of `feed` and return this process's mean losses, on its device."""
    fabric, recipe, progress, own = run.fabric, run.recipe, run.progress, run.own
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate(recipe.peak_rate, progress)
    if not run.module.training:
        run.module.train()
    losses: dict[str, Tensor] = {}
    for shard in own:
        batch = next(feed)
        run.skipped.update(dict.fromkeys(batch.skipped))
        pixels = batch.pixels.to(fabric.device, non_blocking=True)
        waiting = fabric.world_size > 1 and shard != own[-1]
        with fabric.no_backward_sync(run.module, enabled=waiting):
            parts = run.module(pixels, run.step, run.steps, shard)
            fabric.backward(parts["total"] / len(own))
        for name, value in parts.items():
            share = value.detach() / len(own)
            losses[name] = losses[name] + share if name in losses else share
    fabric.clip_gradients(run.module, run.optimiser, max_norm=recipe.clip, error_if_nonfinite=False)
    run.optimiser.step()
    run.optimiser.zero_grad(set_to_none=True)
    run.objective.after_step(progress, run.gather)
    run.step += 1
    return losses
