"""The four pretext tasks, written from their papers."""

from __future__ import annotations

from typing import TypeVar

import torch

from napari_sslmaps.encoders.families.unet import UNetArchitecture
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.spec import Architecture
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.training.objectives.base import Objective
from napari_sslmaps.lab.training.objectives.dinov3 import DINOv3
from napari_sslmaps.lab.training.objectives.dira import DiRA
from napari_sslmaps.lab.training.objectives.ijepa import IJEPA
from napari_sslmaps.lab.training.objectives.mae import MAE
from napari_sslmaps.lab.training.recipes import Recipe

_TRANSFORMERS: dict[str, type[MAE | IJEPA | DINOv3]] = {"mae": MAE, "ijepa": IJEPA, "dinov3": DINOv3}
_Shape = TypeVar("_Shape", bound=Architecture)


def build_objective(recipe: Recipe) -> Objective:
    """Build the networks of a recipe with fresh weights, drawn from the recipe's seed.

    Raises
    ------
    InvalidOptionError
        If the method and the architecture do not go together.
    """
    torch.manual_seed(recipe.seed)
    objective: Objective
    if recipe.method in _TRANSFORMERS:
        shape = _expect(recipe, ViTArchitecture)
        objective = _TRANSFORMERS[recipe.method](shape, recipe.crop, recipe.options)
    else:
        objective = DiRA(_expect(recipe, UNetArchitecture), recipe.crop, recipe.options)
    objective.normalisation = recipe.normalisation or objective.normalisation
    objective.augmentation = recipe.augment
    return objective


def _expect(recipe: Recipe, kind: type[_Shape]) -> _Shape:
    if not isinstance(recipe.architecture, kind):
        raise InvalidOptionError(
            f"Expected a {kind.__name__} for {recipe.method}; got a {type(recipe.architecture).__name__}."
        )
    return recipe.architecture
