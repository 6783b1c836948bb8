"""Tiny recipes: seconds, not minutes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_sslmaps.encoders.families.unet import UNetArchitecture
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.lab.training.recipes import Recipe, load_recipe
from napari_sslmaps.lab.training.views import CropScheme

_TINY_VIT = ViTArchitecture(patch=8, dim=16, depth=1, heads=2, grid=(8, 8), mlp_hidden=32, class_token=True)
_SHAPES = {
    "mae": _TINY_VIT,
    "ijepa": replace(_TINY_VIT, class_token=False),
    "dinov3": replace(_TINY_VIT, registers=4, rope=True, layer_scale=True),
    "dira": UNetArchitecture("basic", (1, 1, 1, 1), (8, 8, 8, 8), (8, 8, 8, 8, 8), "encoder.layer2"),
}
_OPTIONS = {
    "mae": {"decoder_dim": 8, "decoder_depth": 1, "decoder_heads": 2},
    "ijepa": {"predictor_dim": 8, "predictor_depth": 1, "predictor_heads": 2},
    "dinov3": {"prototypes": 8, "locals": 2, "gram_from": 0.5},
    "dira": {"queue": 8, "adversary_from": 0.5},
}


def tiny_recipe(method: str) -> Recipe:
    return replace(
        load_recipe(f"{method}-histology"),
        architecture=_SHAPES[method],
        crop=CropScheme(64, (48.0, 64.0)),
        batch=2,
        precision="32",
        options=_OPTIONS[method],
    )


@pytest.fixture
def two_images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(params=["mae", "ijepa", "dinov3", "dira"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def recipe(method: str) -> Recipe:
    return tiny_recipe(method)
