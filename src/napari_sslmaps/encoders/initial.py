"""The weights each method starts from: what pretraining begins with, and what its controls are."""

from typing import Any

import torch
from torch import Tensor, nn

from napari_sslmaps.encoders.spec import Architecture, Method, UNetArchitecture, ViTArchitecture
from napari_sslmaps.encoders.unet import build_unet
from napari_sslmaps.encoders.vit import build_vit
from napari_sslmaps.errors import InvalidOptionError

LAYER_SCALE = 0.1
_PATCH_GAIN = {"mae": 4.0, "ijepa": 4.0}


def untrained_network(
    method: Method, architecture: Architecture, *, patch_gain: float | None = None
) -> nn.Module:
    """Build a network with the weights its method starts from.

    MAE and I-JEPA: Xavier-uniform linear layers and fixed sine-cosine positions (arXiv 2111.06377). DINO,
    DINOv2, DINOv3: timm's truncated normal, and layer scales, where there are any, of 0.1, as CaiT has for
    shallow networks (arXiv 2103.17239). DiRA: timm's ResNet and PyTorch's convolutions.

    Parameters
    ----------
    method
        Which method's start; all but ``dira`` want a transformer.
    architecture
        Shape of the network.
    patch_gain
        Factor on the patch embedding's weights; without it 4 where positions are added, MAE and I-JEPA, so
        that content outweighs them from the start (I-JEPA's targets are told by their places alone
        otherwise, and MAE's neighbours come from the same place of other images); 1 for the others.

    Returns
    -------
    Module
        What `build_vit` or `build_unet` builds, in training mode, drawn from torch's global generator.

    Raises
    ------
    InvalidOptionError
        If method and architecture do not go together.
    """
    if method == "dira" and isinstance(architecture, UNetArchitecture):
        return build_unet(architecture)
    if method == "dira" or not isinstance(architecture, ViTArchitecture):
        wanted = "a U-Net" if method == "dira" else "a transformer"
        raise InvalidOptionError(f"Expected {wanted} for {method}; got {architecture.summary}.")
    network: Any = build_vit(architecture)
    if method in {"mae", "ijepa"}:
        _start_with_fixed_positions(network, architecture)
    else:
        _start_layer_scales(network)
    gain = _PATCH_GAIN.get(method, 1.0) if patch_gain is None else patch_gain
    with torch.no_grad():
        network.patch_embed.proj.weight.mul_(gain)
    built: nn.Module = network
    return built


def _start_with_fixed_positions(network: Any, architecture: ViTArchitecture) -> None:
    xavier(network)
    # timm leaves the class token without a position where there are registers
    placed = architecture.class_token and architecture.registers == 0
    network.pos_embed = fixed_positions(architecture.dim, *architecture.grid, class_token=placed)
    if architecture.class_token:
        nn.init.normal_(network.cls_token, std=0.02)


def _start_layer_scales(network: nn.Module) -> None:
    for name, scale in network.named_parameters():
        if name.endswith((".gamma_1", ".gamma_2", ".ls1.gamma", ".ls2.gamma")):
            nn.init.constant_(scale, LAYER_SCALE)


def sincos_positions(dim: int, rows: int, columns: int) -> Tensor:
    """Return fixed two-dimensional sine-cosine positions (arXiv 2104.02057), (1, rows * columns, dim).

    The first half of the channels encodes the column, the second the row, each as sines then cosines:
    MAE's order.
    """
    quarter = dim // 4
    omega = 1.0 / 10000 ** (torch.arange(quarter, dtype=torch.float64) / quarter)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    parts = [wave(axis.reshape(-1, 1) * omega) for axis in (x, y) for wave in (torch.sin, torch.cos)]
    return torch.cat(parts, dim=1).float()[None]


def fixed_positions(dim: int, rows: int, columns: int, *, class_token: bool) -> nn.Parameter:
    """Sine-cosine positions, behind a zero for a class token, as a parameter that is not trained.

    Returns
    -------
    (1, N, dim) float32; N is rows * columns, one more with a class token.
    """
    positions = sincos_positions(dim, rows, columns)
    if class_token:
        positions = torch.cat([torch.zeros(1, 1, dim), positions], dim=1)
    return nn.Parameter(positions, requires_grad=False)


def xavier(module: nn.Module) -> None:
    """Initialise every linear layer Xavier-uniform with zero bias, as MAE and I-JEPA describe."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
