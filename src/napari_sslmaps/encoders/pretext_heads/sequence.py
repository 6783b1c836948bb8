"""A transformer's forward pass with some patches left out or replaced, by its own positions."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from napari_sslmaps.encoders.pretext_heads.blocks import take
from napari_sslmaps.encoders.pretext_heads.dinov3 import begin_rotary


def begin(
    network: Any, images: Tensor, *, masked: Tensor | None = None, mask_token: Tensor | None = None
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Return what enters a transformer's blocks.

    Parameters
    ----------
    network
        Network as `build_vit` builds it.
    images
        (B, 3, H, W) normalised; sides multiples of the patch.
    masked, mask_token
        (B, N) bool and (1, D): where the token stands for the patch, before positions are added.

    Returns
    -------
    tuple
        The sequence (B, P + N, D), prefix tokens first, positions added where they are; and what each block
        is called with beside it.
    """
    if getattr(network, "rope", None) is not None:
        sequence, rope = begin_rotary(network, images, masked=masked, mask_token=mask_token)
        return sequence, {"rope": rope}
    grid: Tensor = network.patch_embed(images)
    if masked is not None and mask_token is not None:
        grid = torch.where(masked.view(*grid.shape[:3], 1), mask_token.to(grid.dtype), grid)
    return network._pos_embed(grid), {}  # noqa: SLF001  # timm has no other door to resampled positions


def finish(network: Any, sequence: Tensor, settings: Mapping[str, Tensor]) -> Tensor:
    """Pass a sequence through the blocks and the final norm."""
    normed: Tensor = network.norm(_through(network, sequence, settings))
    return normed


def _through(network: Any, sequence: Tensor, settings: Mapping[str, Tensor]) -> Tensor:
    for block in network.blocks:
        sequence = block(sequence, **settings)
    return sequence


def summarise(network: Any, images: Tensor, beside: Mapping[str, Tensor]) -> Tensor:
    """Return the CLS tokens (B, D) of images, normed as their method's own code does.

    Parameters
    ----------
    network, images
        Network and prepared images (B, C, H, W), as `begin` takes them.
    beside
        Tensors of the file beside the encoder: DINOv3 can keep a norm for CLS apart, ``cls_norm``.
    """
    sequence, settings = begin(network, images)
    cls = _through(network, sequence, settings)[:, 0]
    weight, bias = (beside.get(f"cls_norm.{part}") for part in ("weight", "bias"))
    if weight is None or bias is None:
        normed: Tensor = network.norm(cls)
        return normed
    weight, bias = weight.to(cls), bias.to(cls)
    return functional.layer_norm(cls, cls.shape[-1:], weight, bias, network.norm.eps)


def encode(
    network: Any, images: Tensor, *, masked: Tensor | None = None, mask_token: Tensor | None = None
) -> Tensor:
    """Tokens (B, P + N, D) after the final norm, prefix first; arguments as `begin` takes them."""
    sequence, settings = begin(network, images, masked=masked, mask_token=mask_token)
    return finish(network, sequence, settings)


def begin_seen(network: Any, images: Tensor, seen: Tensor) -> Tensor:
    """Return what enters the blocks of a network that sees (B, K) patches alone, each at its own place.

    This is MAE's encoder on the visible patches (arXiv 2111.06377) and I-JEPA's on the context (arXiv
    2301.08243), both of which add their positions.

    Returns
    -------
    Tensor
        (B, P + K, D), prefix tokens first.
    """
    sequence, _ = begin(network, images)
    prefix = network.num_prefix_tokens
    return torch.cat([sequence[:, :prefix], take(sequence[:, prefix:], seen)], dim=1)


def encode_seen(network: Any, images: Tensor, seen: Tensor) -> Tensor:
    """Tokens (B, P + K, D) after the final norm, prefix first, of what `begin_seen` returns."""
    return finish(network, begin_seen(network, images, seen), {})
