"""Recipes: everything that decides how an encoder comes about, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from napari_sslmaps.encoders.spec import Architecture, UNetArchitecture, ViTArchitecture
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.pretraining.views import CropScheme


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training.

    Attributes
    ----------
    method
        mae, ijepa, dinov3 or dira.
    architecture
        Shape of the encoder.
    crop
        How the (global) crop is cut.
    batch
        Images per step.
    peak_rate
        Peak learning rate of AdamW.
    weight_decay
        Decay of matrices; vectors are not decayed.
    clip
        Largest gradient norm.
    precision
        float32, or bfloat16 for autocast.
    seed
        Seed of weights and data.
    options
        Settings of the objective.
    """

    method: str
    architecture: Architecture
    crop: CropScheme
    batch: int = 32
    peak_rate: float = 1e-3
    weight_decay: float = 0.05
    clip: float = 3.0
    precision: str = "float32"
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


_VIT = ViTArchitecture(patch=8, dim=128, depth=4, heads=4, grid=(16, 16), mlp_hidden=512, class_token=True)
# Crops cover 80 to 128 pixels of a field: native magnification up to 1.6 times as much.
_CROP = CropScheme(size=128, span=(80.0, 128.0))

_DEMO: Mapping[str, Recipe] = {
    "mae": Recipe(
        method="mae",
        architecture=_VIT,
        crop=_CROP,
        peak_rate=1.5e-3,
        options={"mask_ratio": 0.75, "decoder_dim": 64, "decoder_depth": 2, "decoder_heads": 2},
    ),
    "ijepa": Recipe(
        method="ijepa",
        architecture=replace(_VIT, class_token=False),
        crop=_CROP,
        batch=16,
        options={"predictor_dim": 64, "predictor_depth": 2, "predictor_heads": 4, "momentum": 0.99},
    ),
    "dinov3": Recipe(
        method="dinov3",
        architecture=replace(_VIT, registers=4, rope=True, layer_scale=True),
        crop=CropScheme(size=64, span=(52.0, 80.0)),
        batch=24,
        peak_rate=1.5e-3,
        options={
            "region": 96,
            "region_span": (64.0, 104.0),
            "locals": 4,
            "local_size": 32,
            "local_span": (24.0, 44.0),
            "prototypes": 128,
            "gram_from": 0.75,
        },
    ),
    "dira": Recipe(
        method="dira",
        architecture=UNetArchitecture(
            block="basic",
            layers=(2, 2, 2, 2),
            stage_channels=(32, 64, 128, 256),
            decoder_channels=(128, 64, 32, 16, 16),
            token_stage="encoder.layer2",  # noqa: S106  # a stage, no password
        ),
        crop=CropScheme(size=96, span=(64.0, 96.0)),
        batch=24,
        precision="bfloat16",
        options={
            "region": 128,
            "region_span": (96.0, 136.0),
            "queue": 2048,
            "temperature": 0.2,
            "momentum": 0.99,
            "adversary_from": 0.7,
        },
    ),
}
METHODS = tuple(_DEMO)


def demo_recipe(method: str) -> Recipe:
    """Return the recipe of an embedded demo encoder, or raise `InvalidOptionError` naming the methods."""
    if method not in _DEMO:
        raise InvalidOptionError(f"Expected a method among {', '.join(METHODS)}; got {method!r}.")
    return _DEMO[method]
