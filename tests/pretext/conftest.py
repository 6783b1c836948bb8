"""Encoders with the networks of their pretext tasks, written as this package writes them."""

import numpy as np
import pytest
import torch
from lab.training.tiny import ARCHITECTURES, tiny

from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.lab.training.checkpoints import save_encoder

FIELD = 64  # the side of what the tiny encoders were trained on
METHODS = ("mae", "ijepa", "dinov3", "dira")


def made(folder, method, *, name="", **options):
    """Write a tiny encoder with random weights, no two positions of which do the same, and load it."""
    objective = tiny(method, **options)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for key, value in objective.state_dict().items():
            if value.is_floating_point() and "pos_embed" not in key and "running" not in key:
                value.add_(0.1 * torch.randn(value.shape, generator=generator))
    path = folder / f"{name or method}.safetensors"
    save_encoder(objective, path, provenance={"crop": FIELD, "recipe": {"options": {"local_size": 32}}})
    return load_encoder(path, device="cpu", precision="float32")


@pytest.fixture(scope="session")
def encoders(tmp_path_factory):
    """One encoder of each method."""
    folder = tmp_path_factory.mktemp("encoders")
    return {method: made(folder, method) for method in METHODS if method in ARCHITECTURES}


@pytest.fixture(scope="session")
def image():
    """Smooth colours with noise, (96, 112, 3) uint8."""
    random = np.random.default_rng(3)
    coarse = torch.from_numpy(random.random((1, 3, 8, 8), dtype=np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=(96, 112), mode="bicubic")[0].permute(1, 2, 0)
    noisy = smooth.numpy() + 0.05 * random.standard_normal((96, 112, 3))
    return (255 * np.clip(noisy, 0, 1)).astype(np.uint8)
