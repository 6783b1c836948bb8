"""The places in a network where tokens can be read off; the shipped ones are what `embed` gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from napari_sslmaps.core.preprocess import normalise
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.families.unet import UNET_STRIDES
from napari_sslmaps.encoders.families.unet_network import UNet, UNetExtractor
from napari_sslmaps.encoders.families.vit_network import ViTExtractor
from napari_sslmaps.encoders.spec import get_normalisation
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.gate.probe import on_probe_grid

_BATCH = 16


@dataclass(frozen=True, slots=True, eq=False)
class TappedNetwork:
    """A network whose tokens can be read at several places.

    Parameters
    ----------
    network
        A transformer of `build_vit` or a U-Net of `build_unet`, in evaluation mode, on the CPU.
    normalisation
        Name of the preset its pixels want.
    """

    network: nn.Module
    normalisation: str

    @classmethod
    def of(cls, encoder: Encoder) -> TappedNetwork:
        """Tap an encoder; it must be on the CPU."""
        extractor = encoder.extractor
        if encoder.device != "cpu" or not isinstance(extractor, (ViTExtractor, UNetExtractor)):
            raise InvalidOptionError(
                f"Expected a transformer or a U-Net on the CPU; got {type(extractor).__name__} on "
                f"{encoder.device}. Load the encoder with device='cpu'."
            )
        return cls(extractor.network, encoder.spec.normalisation)

    @property
    def shipped(self) -> str:
        """The tap whose tokens users see: the last block, or the U-Net's token stage."""
        if isinstance(self.network, UNet):
            return self.network.token_stage
        return f"block {len(self._blocks)}"

    @torch.no_grad()
    def compute(self, images: Tensor) -> dict[str, Tensor]:
        """Tokens at every tap, on the probe's grid.

        Parameters
        ----------
        images
            (n, 3, 128, 128) float32 in [0, 1].

        Returns
        -------
        dict
            Name to (n, 256, D) float32. A transformer's blocks all pass its final norm.
        """
        parts = [self._compute_batch(batch) for batch in torch.split(images, _BATCH)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _compute_batch(self, images: Tensor) -> dict[str, Tensor]:
        preset = get_normalisation(self.normalisation)
        pixels = normalise(images.permute(0, 2, 3, 1), preset.mean, preset.std)
        found = self._stages(pixels) if isinstance(self.network, UNet) else self._block_tokens(pixels)
        return {name: on_probe_grid(tokens) for name, tokens in found.items()}

    def _stages(self, pixels: Tensor) -> dict[str, Tensor]:
        network: Any = self.network
        features = network.features(pixels)
        # `features` begins with the input, `decode` ends with the full resolution; neither is a token stage
        maps = [*features[1:], *network.decode(features)[:-1]]
        return {
            name: stage.flatten(2).transpose(1, 2) for name, stage in zip(UNET_STRIDES, maps, strict=True)
        }

    def _block_tokens(self, pixels: Tensor) -> dict[str, Tensor]:
        network: Any = self.network
        with _watched(self._blocks) as outputs:
            network.forward_features(pixels)
        prefix = int(network.num_prefix_tokens)
        return {
            f"block {index + 1}": network.norm(output)[:, prefix:] for index, output in enumerate(outputs)
        }

    @property
    def _blocks(self) -> nn.ModuleList:
        blocks: nn.ModuleList = self.network.blocks  # type: ignore[assignment]  # every transformer has them
        return blocks


@contextmanager
def _watched(blocks: nn.ModuleList) -> Iterator[list[Tensor]]:
    """Collect the blocks' outputs during the forward passes inside the ``with`` block."""
    outputs: list[Tensor] = []

    def keep(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
        outputs.append(output)

    handles = [block.register_forward_hook(keep) for block in blocks]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
