"""Tiny encoders with random weights, written to files as this package writes them."""

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from napari_sslmaps.encoders.families.convnext import ConvNeXtArchitecture
from napari_sslmaps.encoders.families.registry import architecture_to_dict, network_of
from napari_sslmaps.encoders.families.unet import UNetArchitecture
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.header import HEADER_KEY
from napari_sslmaps.encoders.spec import Architecture

TINY_VIT = ViTArchitecture(patch=8, dim=32, depth=2, heads=2, grid=(4, 4), mlp_hidden=64, class_token=True)
TINY_UNET = UNetArchitecture(
    block="basic",
    layers=(1, 1, 1, 1),
    stage_channels=(8, 8, 16, 16),
    decoder_channels=(16, 8, 8, 8, 8),
    token_stage="encoder.layer2",
)

TINY_CONVNEXT = ConvNeXtArchitecture(depths=(1, 1, 2, 1), widths=(8, 16, 24, 32))


def tiny_architecture(method: str) -> ViTArchitecture | UNetArchitecture:
    """Return the smallest architecture that has all that the method's own has."""
    return {
        "mae": TINY_VIT,
        "dino": TINY_VIT,
        "beit": replace(TINY_VIT, layer_scale=True, added=False, relative="geometric-cubic"),
        "ijepa": replace(TINY_VIT, class_token=False),
        "dinov2": replace(TINY_VIT, registers=4, layer_scale=True),
        "dinov3": replace(TINY_VIT, registers=4, layer_scale=True, rope=True, qkv_bias=False, eps=1e-5),
        "dira": TINY_UNET,
        "contrastive": TINY_VIT,
    }[method]


def write_encoder(
    path: Path,
    method: str = "mae",
    *,
    seed: int = 0,
    depth: int | None = None,
    architecture: Architecture | None = None,
) -> Path:
    """Write a tiny encoder of `method` with random weights to `path` and return it."""
    architecture = architecture or tiny_architecture(method)
    if depth is not None and isinstance(architecture, ViTArchitecture):
        architecture = replace(architecture, depth=depth)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = network_of(architecture).build(architecture)
    header = {
        "format": 1,
        "name": path.stem,
        "method": method,
        "architecture": architecture_to_dict(architecture),
        "normalisation": "unit" if method == "dira" else "imagenet",
        "licence": "BSD-3-Clause",
    }
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(state, path, metadata={HEADER_KEY: json.dumps(header)})
    return path


class Counting:
    """An encoder that counts the tiles it computes."""

    def __init__(self, encoder):
        self._encoder, self.tiles = encoder, 0

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def encode(self, tiles):
        self.tiles += len(tiles)
        return self._encoder.encode(tiles)
