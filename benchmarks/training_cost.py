"""Count the arithmetic of pretraining, and what a large run would take: figures of docs/pretraining.md.

Counted: floating-point operations of one forward and backward pass per image, by torch. Extrapolated: hours
on an accelerator, from its maker's peak rate and an assumed share of it.
"""

from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_sslmaps.encoders.families.unet import UNetArchitecture
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.spec import Architecture
from napari_sslmaps.lab.training.numerics import TrainingPosition
from napari_sslmaps.lab.training.objectives import build_objective
from napari_sslmaps.lab.training.recipes import METHODS, Recipe, load_recipe
from napari_sslmaps.lab.training.views import CropScheme

IMAGES, EPOCHS = 1_000_000, 300
PEAK, SHARE = 312e12, 0.3  # NVIDIA A100, dense bfloat16, of its data sheet; the share is an assumption
_VIT_B = ViTArchitecture(
    patch=16, dim=768, depth=12, heads=12, grid=(14, 14), mlp_hidden=3072, class_token=True
)
_LARGE: dict[str, tuple[Architecture, dict[str, object]]] = {
    "mae": (_VIT_B, {"decoder_dim": 512, "decoder_depth": 8, "decoder_heads": 16}),
    "ijepa": (
        replace(_VIT_B, class_token=False),
        {"predictor_dim": 384, "predictor_depth": 6, "predictor_heads": 12},
    ),
    "dinov3": (
        replace(_VIT_B, registers=4, rope=True, layer_scale=True),
        {"region": 320, "region_span": (224, 320), "locals": 8, "local_size": 96, "local_span": (64, 128)},
    ),
    "dira": (
        UNetArchitecture("bottleneck", (3, 4, 6, 3), (64, 128, 256, 512), (256, 128, 64, 32, 16)),
        {"region": 320, "region_span": (224, 320), "queue": 65536},
    ),
}


def large_recipe(method: str) -> Recipe:
    """A ViT-B/16, or DiRA's U-Net of a ResNet-50, at 224 px."""
    architecture, options = _LARGE[method]
    crop = CropScheme(224, (180.0, 300.0))
    return replace(load_recipe(f"{method}-histology"), architecture=architecture, crop=crop, options=options)


def operations(recipe: Recipe, images: int = 2) -> float:
    """Floating-point operations per image of a forward and a backward pass, before later phases."""
    objective = build_objective(recipe)
    fields = torch.rand(images, 3, 320, 320)
    with FlopCounterMode(display=False) as counter:
        total = objective.loss(fields, TrainingPosition(0, 100), torch.Generator().manual_seed(0))["total"]
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves Tensor.backward untyped
    return counter.get_total_flops() / images


def main() -> None:
    """Print one line of the docs' table per method."""
    for method in METHODS:
        small = operations(load_recipe(f"{method}-histology"))
        large = operations(large_recipe(method))
        hours = IMAGES * EPOCHS * large / (PEAK * SHARE) / 3600
        print(f"| {method} | {small / 1e9:.2f} | {large / 1e9:.0f} | {hours:.0f} |")


if __name__ == "__main__":
    main()
