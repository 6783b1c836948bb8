"""One training of the study: a small network, an objective, scenes without labels."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sslmaps.encoders.families.unet import UNetArchitecture
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.errors import RecordError
from napari_sslmaps.files import written_whole
from napari_sslmaps.lab.gate.images import PATCH
from napari_sslmaps.lab.study.design import Design
from napari_sslmaps.lab.study.scenes import GRID, SIDE
from napari_sslmaps.lab.training.numerics import TrainingPosition, learning_rate
from napari_sslmaps.lab.training.objectives import build_objective
from napari_sslmaps.lab.training.objectives.base import Objective
from napari_sslmaps.lab.training.recipes import Recipe
from napari_sslmaps.lab.training.run import as_fields, build_optimiser, step_generator
from napari_sslmaps.lab.training.views import CropScheme

SAVE_EVERY = 20.0  # seconds between checkpoints
_TIMED, _UNTIMED = 6, 2
#: Views are upright, as the scenes are: turning a view would turn the arrangement that is asked about.
_WHOLE = CropScheme(size=SIDE, span=(48.0, 64.0), upright=True)
_VIEW = CropScheme(size=SIDE, span=(44.0, 64.0), upright=True)
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "mae": {"decoder_dim": 32, "decoder_depth": 1, "decoder_heads": 2},
    "ijepa": {"predictor_dim": 32, "predictor_depth": 1, "predictor_heads": 2},
    "dinov3": {
        "region": SIDE,
        "region_span": (64.0, 64.0),
        "locals": 2,
        "local_size": 32,
        "local_span": (20.0, 36.0),
        "prototypes": 64,
        "patch_prototypes": 64,
        "head_hidden": 128,
        "head_bottleneck": 32,
    },
    "dira": {"region": SIDE, "region_span": (64.0, 64.0), "queue": 1024, "shuffle_windows": 20},
}
_BATCH = {"mae": 32, "ijepa": 32, "dinov3": 32, "dira": 32}
_RATE = {"mae": 1.5e-3, "ijepa": 1e-3, "dinov3": 1.5e-3, "dira": 1e-3}


def study_recipe(design: Design, method: str, seed: int, steps: int = 1000) -> Recipe:
    """Return the recipe of one training: equal transformers, the method's own objective and positions."""
    vit = ViTArchitecture(
        patch=PATCH,
        dim=design.dim,
        depth=design.depth,
        heads=design.heads,
        grid=(GRID, GRID),
        mlp_hidden=4 * design.dim,
        class_token=method != "ijepa",
        registers=4 if method == "dinov3" else 0,
        rope=method == "dinov3",
        layer_scale=method == "dinov3",
    )
    unet = UNetArchitecture(
        block="basic",
        layers=(1, 1, 1, 1),
        stage_channels=(design.dim // 2, design.dim, design.dim, 2 * design.dim),
        decoder_channels=(48, 32, 24, 16, 8),
        token_stage="encoder.layer2",  # noqa: S106  # a stage, no password
    )
    return Recipe(
        method=method,
        architecture=unet if method == "dira" else vit,
        crop=_VIEW if method in {"dinov3", "dira"} else _WHOLE,
        steps=steps,
        batch=_BATCH[method],
        peak_rate=_RATE[method],
        precision="bf16" if method == "dira" else "32",
        seed=seed,
        options=_OPTIONS[method],
    )


@dataclass(slots=True)
class Training:
    """A training under way."""

    recipe: Recipe
    objective: Objective
    optimiser: torch.optim.Optimizer
    device: torch.device
    step: int = 0
    seconds: float = 0.0
    smooth_loss: float = 0.0

    @classmethod
    def begin(cls, recipe: Recipe, device: torch.device) -> Training:
        """Start with fresh weights of the recipe's seed."""
        objective = build_objective(recipe).to(device)
        optimiser = build_optimiser(objective, recipe)
        return cls(recipe, objective, optimiser, device)

    def advance(self, bank: NDArray[np.uint8]) -> None:
        """Take one step; the step's randomness depends on seed and step alone."""
        began = _clock(self.device)
        progress, recipe = TrainingPosition(self.step, self.recipe.steps), self.recipe
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(recipe.peak_rate, progress)
        generator = step_generator(recipe.seed, self.step)
        index = torch.randint(len(bank), (recipe.batch,), generator=generator).numpy()
        fields = as_images(bank[index], self.device)
        self.objective.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            total = self.objective.loss(fields, progress, generator)["total"]
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves Tensor.backward untyped
        torch.nn.utils.clip_grad_norm_(self.objective.parameters(), recipe.clip)
        self.optimiser.step()
        self.objective.after_step(progress, _alone)
        loss = float(total.detach())
        self.smooth_loss = loss if self.step == 0 else 0.95 * self.smooth_loss + 0.05 * loss
        self.step += 1
        self.seconds += _clock(self.device) - began

    def save(self, path: Path) -> None:
        """Write everything that is needed to go on."""
        state = {
            "objective": self.objective.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "smooth_loss": self.smooth_loss,
        }
        with written_whole(path) as partial:
            torch.save(state, partial)

    def restore(self, path: Path) -> None:
        """Go on from where `save` was called.

        Raises
        ------
        RecordError
            If the file is damaged.
        """
        with whole(path):
            state = torch.load(path, map_location=self.device, weights_only=True)
            self.objective.load_state_dict(state["objective"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
            self.smooth_loss = float(state["smooth_loss"])


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """Say of a file that a study keeps that it is damaged, if reading it fails.

    Raises
    ------
    RecordError
        If reading it fails; the sentence names the file, and what to do.
    """
    try:
        yield
    except _DAMAGE as error:
        raise RecordError(
            f"Expected what a study keeps; {path} is damaged ({' '.join(str(error).split())[:120]}). "
            "Delete it, and the same command makes it again."
        ) from error


_DAMAGE = (
    *(OSError, ValueError, LookupError, RuntimeError, TypeError, AttributeError, EOFError, RecursionError),
    *(BadZipFile, UnpicklingError, struct.error, zlib.error),
)


def train(
    training: Training,
    bank: NDArray[np.uint8],
    checkpoint: Path,
    on_step: Callable[[int], None] | None = None,
) -> None:
    """Train to the end, from the checkpoint if there is one.

    Parameters
    ----------
    training
        Training as `Training.begin` gives it.
    bank
        (n, 64, 64, 3) uint8 scenes.
    checkpoint
        Checkpoint to continue from; written every 20 seconds.
    on_step
        Callback, called after each step with the number of steps done.
    """
    if checkpoint.exists():
        training.restore(checkpoint)
    saved = time.monotonic()
    while training.step < training.recipe.steps:
        training.advance(bank)
        if time.monotonic() - saved > SAVE_EVERY:
            training.save(checkpoint)
            saved = time.monotonic()
        if on_step is not None:
            on_step(training.step)


def seconds_per_step(recipe: Recipe, bank: NDArray[np.uint8], device: torch.device) -> float:
    """Processor seconds of one step (wall-clock on a GPU), from a throw-away run."""
    trial = Training.begin(recipe, device)
    for _ in range(_UNTIMED):
        trial.advance(bank)
    before = trial.seconds
    for _ in range(_TIMED):
        trial.advance(bank)
    return (trial.seconds - before) / _TIMED


@torch.no_grad()
def compute_tokens(objective: Objective, images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Tokens of (n, 64, 64, 3) uint8 images, (n, 64, D) float32 on the CPU."""
    objective.eval()
    parts = [
        objective.tokens(as_images(images[start : start + 100], device)).float().cpu()
        for start in range(0, len(images), 100)
    ]
    return torch.cat(parts)


def as_images(pixels: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(n, S, S, 3) uint8 to (n, 3, S, S) float32 in [0, 1]."""
    return as_fields(torch.from_numpy(np.ascontiguousarray(pixels)).to(device))


def _clock(device: torch.device) -> float:
    return time.process_time() if device.type == "cpu" else time.perf_counter()


def _alone(tensor: Tensor) -> Tensor:
    return tensor
