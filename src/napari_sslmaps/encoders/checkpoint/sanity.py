"""A forward pass of a network that was just read, to see whether it answers to its input."""

import torch
from torch import Tensor, nn

from napari_sslmaps.encoders.protocol import FeatureExtractor
from napari_sslmaps.encoders.spec import Architecture, ViTArchitecture
from napari_sslmaps.encoders.unet import UNet, UNetExtractor
from napari_sslmaps.encoders.vit import ViTExtractor

_TOKENS = 8
_ALIKE = 1e-4


def check_forward(network: nn.Module, architecture: Architecture) -> tuple[str, ...]:
    """Look for what a forward pass can betray: no numbers, equal tokens, or no answer to the image.

    Another number of heads, epsilon or normalisation than the one of the training passes this check, since
    tokens stay finite and differ; `weigh_heads` can tell the first, nothing the others.

    Parameters
    ----------
    network
        As `read_checkpoint` gives it, on the CPU.
    architecture
        Of the network.

    Returns
    -------
    tuple of str
        Sentences of doubt; empty if nothing was seen.
    """
    extractor: FeatureExtractor = (
        UNetExtractor(network) if isinstance(network, UNet) else ViTExtractor(network)
    )
    with torch.inference_mode():
        tokens = extractor.extract(_test_images(architecture)).tokens.flatten(1, 2)
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


def _test_images(architecture: Architecture) -> Tensor:
    """Noise and a ramp, (2, 3, side, side), of about the first two moments that a normalisation gives."""
    if isinstance(architecture, ViTArchitecture):
        side = min(_TOKENS, *architecture.grid) * architecture.patch
    else:
        side = 2 * architecture.constraint.size_multiple
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3, side, side, generator=generator)
    ramp = torch.linspace(-1.7, 1.7, side).expand(3, side, side)
    return torch.stack([noise, ramp])
