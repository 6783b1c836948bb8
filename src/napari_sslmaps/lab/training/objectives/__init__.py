"""The four pretext tasks, written from their papers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from napari_sslmaps.encoders.families.registry import FAMILIES
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.training.objectives.base import Objective
from napari_sslmaps.lab.training.objectives.dinov3 import DINOv3
from napari_sslmaps.lab.training.objectives.dira import DiRA
from napari_sslmaps.lab.training.objectives.ijepa import IJEPA
from napari_sslmaps.lab.training.objectives.mae import MAE
from napari_sslmaps.lab.training.recipes import Recipe
from napari_sslmaps.lab.training.views import CropScheme

_OBJECTIVES: Mapping[str, Callable[[Any, CropScheme, Mapping[str, Any]], Objective]] = {
    "mae": MAE,
    "ijepa": IJEPA,
    "dinov3": DINOv3,
    "dira": DiRA,
}


def build_objective(recipe: Recipe) -> Objective:
    """Build the networks of a recipe with fresh weights, drawn from the recipe's seed.

    Raises
    ------
    InvalidOptionError
        If the method and the architecture do not go together.
    """
    torch.manual_seed(recipe.seed)
    families = METHODS[recipe.method].families[:1]  # tasks are written for the usual kind alone
    if recipe.architecture.kind not in families:
        wanted = " or ".join(FAMILIES[kind].title for kind in families)
        raise InvalidOptionError(f"Expected {wanted} for {recipe.method}; got {recipe.architecture.summary}.")
    objective = _OBJECTIVES[recipe.method](recipe.architecture, recipe.crop, recipe.options)
    objective.normalisation = recipe.normalisation or objective.normalisation
    objective.augmentation = recipe.augment
    return objective
