"""A network without weights, and weights put into it one by one: never two copies of either."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from napari_sslmaps.encoders.checkpoint.translated import Translated
from napari_sslmaps.encoders.spec import Architecture, UNetArchitecture, ViTArchitecture
from napari_sslmaps.encoders.unet import build_unet
from napari_sslmaps.encoders.vit import build_vit
from napari_sslmaps.errors import CheckpointError

_COUNTER = "num_batches_tracked"
_LISTED = 12
_SMALLEST = 2  # bytes


def build_network(
    architecture: Architecture, translated: Translated, name: str, *, mapped: bool = True
) -> nn.Module:
    """Build a network around the weights of a file.

    The network is made without memory, and each weight is copied once, as float32, from the mapped file; one
    that is in memory and float32 already is taken as it is.

    Parameters
    ----------
    architecture
        Of the network.
    translated
        Its weights, under our names.
    name
        What sentences call the file.
    mapped
        Whether the weights lie in a file and not in memory.

    Returns
    -------
    Module
        In evaluation mode, on the CPU, asking for no gradients.

    Raises
    ------
    CheckpointError
        If a weight is missing, unknown, of another shape, or not finite.
    """
    with torch.device("meta"):
        network: nn.Module = (
            build_unet(architecture)
            if isinstance(architecture, UNetArchitecture)
            else build_vit(cast("ViTArchitecture", architecture))
        )
    empty = network.state_dict()
    _check_shapes(empty, translated.state, name)
    network.load_state_dict(
        {
            key: _take(translated.state.get(key), like, f"{key} in {name}", mapped=mapped)
            for key, like in empty.items()
        },
        assign=True,
    )
    _restore_buffers(network)
    for key, value in translated.buffers.items():
        buffer = network.get_buffer(key)
        if buffer.shape != value.shape:
            raise CheckpointError(
                f"{name} has {key} of shape {tuple(value.shape)}; the network needs {tuple(buffer.shape)}."
            )
        buffer.copy_(value)
    return network.eval().requires_grad_(requires_grad=False)


def _check_shapes(empty: Mapping[str, Tensor], state: Mapping[str, Tensor], name: str) -> None:
    expected = {key: tuple(value.shape) for key, value in empty.items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    # old files lack BatchNorm's step counters, which evaluation does not need
    faults = [f"missing {key}" for key in expected.keys() - found.keys() if not key.endswith(_COUNTER)]
    faults += [f"not known {key}" for key in found.keys() - expected.keys()]
    faults += [
        f"{key} of shape {found[key]} instead of {expected[key]}"
        for key in expected.keys() & found.keys()
        if expected[key] != found[key]
    ]
    if faults:
        listed = "; ".join(sorted(faults)[:_LISTED])
        raise CheckpointError(
            f"The weights in {name} do not fit the network they describe, in {len(faults)} "
            f"keys: {listed}{'; …' if len(faults) > _LISTED else ''}."
        )


def _take(weight: Tensor | None, like: Tensor, name: str, *, mapped: bool) -> Tensor:
    if weight is None:
        return torch.zeros(like.shape, dtype=like.dtype)
    if like.is_floating_point() and (not weight.is_floating_point() or weight.element_size() < _SMALLEST):
        raise CheckpointError(
            f"Expected weights of float16, bfloat16 or more; {name} is {weight.dtype}, so the file is "
            "quantised. Save it without quantisation."
        )
    taken = weight.detach().to(like.dtype, copy=mapped, memory_format=torch.contiguous_format)
    # lowest and highest are NaN if anything is, and take no memory, unlike isfinite of all
    if taken.numel() and not all(bool(extreme.isfinite()) for extreme in taken.aminmax()):
        raise CheckpointError(
            f"Expected finite weights; {name} has values that are no numbers. "
            "The training diverged, or the file is damaged: take an earlier one."
        )
    return taken


def _restore_buffers(network: nn.Module) -> None:
    """Compute what timm keeps in no file, such as rotary periods: it has no memory yet."""
    for module in network.modules():
        for key, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_meta:
                module.register_buffer(key, torch.zeros(buffer.shape, dtype=buffer.dtype), persistent=False)
        compute = getattr(module, "init_non_persistent_buffers", None)
        if compute is not None:
            compute()
