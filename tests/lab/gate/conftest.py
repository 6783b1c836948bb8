"""Tiny encoders on few images: the whole gate in a second or two."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from napari_sslmaps.encoders.families.registry import architecture_to_dict
from napari_sslmaps.encoders.families.unet import UNetArchitecture
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.untrained import untrained_network
from napari_sslmaps.lab.gate import gate

TINY_VIT = ViTArchitecture(patch=8, dim=16, depth=2, heads=2, grid=(16, 16), mlp_hidden=32, class_token=True)
TINY_UNET = UNetArchitecture("basic", (1, 1, 1, 1), (8, 8, 8, 8), (8, 8, 8, 8, 8), "encoder.layer2")
PROVENANCE: dict[str, Any] = {
    "objective": "pixels of masked patches",
    "data": "simulated:histology",
    "steps": 3,
    "batch": 2,
    "seed": 0,
}


def write_weights(path: Path, method: str = "mae", seed: int = 100, **provenance: Any) -> Path:
    """Write a weight file as a pretraining does."""
    architecture = TINY_UNET if method == "dira" else TINY_VIT
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = untrained_network(method, architecture)
    header = {
        "format": 1,
        "name": path.stem,
        "method": method,
        "architecture": architecture_to_dict(architecture),
        "normalisation": "unit",
        "provenance": {**PROVENANCE, **provenance},
        "licence": "BSD-3-Clause",
    }
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(state, path, metadata={"napari_sslmaps": json.dumps(header)})
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate with few images and control seeds."""
    monkeypatch.setattr(gate, "COUNTS", {"train": 4, "validation": 4, "test": 5})
    monkeypatch.setattr(gate, "CONTROL_SEEDS", (0, 1))
