"""Networks filled from tensors one by one, and tried with a forward pass."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from napari_sslmaps.encoders.families.registry import network_of
from napari_sslmaps.encoders.recognition import Translated
from napari_sslmaps.encoders.spec import Architecture
from napari_sslmaps.errors import CheckpointError

_COUNTER = "num_batches_tracked"
_BIASES = (
    *(".attn.proj.bias", ".mlp.fc1.bias", ".mlp.fc1_g.bias", ".mlp.fc1_x.bias", ".mlp.fc2.bias"),
    *(".q_bias", ".v_bias"),
)
"""Of layers that some transformers have without: where no block has one it is zero, which is the same."""
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
        Architecture of the network.
    translated
        Weights of the encoder, under our names.
    name
        Name of the file in sentences.
    mapped
        Whether the weights lie in a file and not in memory.

    Returns
    -------
    Module
        Network in evaluation mode, on the CPU, without gradients.

    Raises
    ------
    CheckpointError
        If a weight is missing, unknown, of another shape, or not finite.
    """
    with torch.device("meta"):
        network = network_of(architecture).build(architecture)
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
    absent = (_COUNTER, *(bias for bias in _BIASES if not any(key.endswith(bias) for key in found)))
    faults = [f"missing {key}" for key in expected.keys() - found.keys() if not key.endswith(absent)]
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
            f"Expected finite weights; {name} has values that are not numbers. "
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


_ALIKE = 1e-4


def check_forward(network: nn.Module, architecture: Architecture) -> tuple[str, ...]:
    """Look for what a forward pass can betray: no numbers, equal tokens, or no answer to the image.

    Another number of heads, epsilon or normalisation than the one of the training passes this check, since
    tokens stay finite and differ; `weigh_heads` can tell the first, nothing the others.

    Parameters
    ----------
    network
        Network as `read_checkpoint` gives it, on the CPU.
    architecture
        Architecture of the network.

    Returns
    -------
    tuple of str
        Sentences of doubt; empty if nothing was seen.
    """
    family = network_of(architecture)
    images = _test_images(family.test_side(architecture), architecture.channels)
    with torch.inference_mode():
        tokens = family.extractor(network).extract(images).tokens.flatten(1, 2)
    if not bool(torch.isfinite(tokens).all()):
        return ("A test image gives tokens that are no finite numbers: the weights do not work as read.",)
    doubts = []
    size = float(tokens.square().mean().sqrt())
    if _spread(tokens[0]) <= _ALIKE * size:
        doubts.append("A test image of noise gives the same token everywhere: the weights may be untrained.")
    if float((tokens[0] - tokens[1]).abs().max()) <= _ALIKE * size:
        doubts.append("Two different test images give the same tokens: the network does not see its input.")
    return tuple(doubts)


def _spread(tokens: Tensor) -> float:
    """Root mean square distance of (N, D) tokens to their mean."""
    return float((tokens - tokens.mean(dim=0, keepdim=True)).square().mean().sqrt())


def _test_images(side: int, channels: int) -> Tensor:
    """Noise and a ramp, (2, C, side, side), of about the first two moments that a normalisation gives."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(channels, side, side, generator=generator)
    ramp = torch.linspace(-1.7, 1.7, side).expand(channels, side, side)
    return torch.stack([noise, ramp])
