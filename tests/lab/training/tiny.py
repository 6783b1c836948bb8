"""Objectives small enough for a test: seconds, not minutes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from napari_sslmaps.encoders.families.unet import UNetArchitecture
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.spec import Architecture
from napari_sslmaps.lab.training.objectives.base import Objective
from napari_sslmaps.lab.training.objectives.dinov3 import DINOv3
from napari_sslmaps.lab.training.objectives.dira import DiRA
from napari_sslmaps.lab.training.objectives.ijepa import IJEPA
from napari_sslmaps.lab.training.objectives.mae import MAE
from napari_sslmaps.lab.training.views import CropScheme

CLASSES: Mapping[str, type[Objective]] = {"mae": MAE, "ijepa": IJEPA, "dinov3": DINOv3, "dira": DiRA}
_VIT = ViTArchitecture(patch=8, dim=16, depth=2, heads=2, grid=(8, 8), mlp_hidden=32, class_token=True)
ARCHITECTURES: Mapping[str, Architecture] = {
    "mae": _VIT,
    "ijepa": replace(_VIT, class_token=False),
    "dinov3": replace(_VIT, registers=4, rope=True, layer_scale=True),
    "dira": UNetArchitecture("basic", (1, 1, 1, 1), (8, 8, 8, 8), (8, 8, 8, 8, 8), "encoder.layer2"),
}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "mae": {"decoder_dim": 8, "decoder_depth": 1, "decoder_heads": 2},
    "ijepa": {"predictor_dim": 8, "predictor_depth": 1, "predictor_heads": 2},
    "dinov3": {
        "prototypes": 8,
        "patch_prototypes": 12,
        "head_hidden": 16,
        "head_bottleneck": 8,
        "locals": 2,
        "gram_from": 0.5,
    },
    "dira": {"queue": 8, "adversary_from": 0.5, "embedding": 4, "discriminator_width": 4},
}


def tiny(method: str, *, seed: int = 0, **options: Any) -> Objective:
    torch.manual_seed(seed)
    build: Any = CLASSES[method]
    objective: Objective = build(
        ARCHITECTURES[method], CropScheme(64, (48.0, 64.0)), {**OPTIONS[method], **options}
    )
    return objective


def some_fields(count: int = 2, side: int = 96, seed: int = 0) -> torch.Tensor:
    """Smooth random fields, (count, 3, side, side): neighbours are alike, so there is something to learn."""
    coarse = torch.rand(count, 3, side // 8, side // 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=side, mode="bicubic").clamp(0, 1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
