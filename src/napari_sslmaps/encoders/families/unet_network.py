"""DiRA's family: a U-Net with a ResNet encoder, in segmentation-models-pytorch's layout.

DiRA trains it as the united architecture of its three objectives (arXiv 2204.10437).
The decoder is segmentation-models-pytorch's U-Net decoder (nearest upsampling, skip
concatenation, two 3 × 3 convolutions with batch norm and ReLU), so its files load as they are.
"""

from collections.abc import Sequence
from typing import Any

import torch
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn
from torch.nn import functional

from napari_sslmaps.encoders.families.extractor import TileFeatures
from napari_sslmaps.encoders.families.family import Network
from napari_sslmaps.encoders.families.unet import UNET_STRIDES, UNetArchitecture

_BLOCKS: dict[str, Any] = {"basic": BasicBlock, "bottleneck": Bottleneck}
_STEM_CHANNELS = 64


def _conv_norm_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class _DecoderBlock(nn.Module):
    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = _conv_norm_relu(in_channels + skip_channels, out_channels)
        self.conv2 = _conv_norm_relu(out_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        features: Tensor = self.conv2(self.conv1(x))
        return features


class _UNetDecoder(nn.Module):
    def __init__(self, encoder_channels: list[int], decoder_channels: tuple[int, ...]) -> None:
        super().__init__()
        deepest, *skips = reversed(encoder_channels)
        inputs, skips = [deepest, *decoder_channels[:-1]], [*skips, 0]
        self.blocks = nn.ModuleList(
            _DecoderBlock(inputs[index], skips[index], channels)
            for index, channels in enumerate(decoder_channels)
        )


class UNet(nn.Module):
    """U-Net of `UNetArchitecture`; calling it gives (B, classes, H, W) logits."""

    def __init__(self, architecture: UNetArchitecture) -> None:
        super().__init__()
        self.token_stage = architecture.token_stage
        block = _BLOCKS[architecture.block]
        self.encoder = ResNet(
            block,
            architecture.layers,
            channels=architecture.stage_channels,
            in_chans=architecture.channels,
            num_classes=0,
            global_pool="",
        )
        stages = [planes * block.expansion for planes in architecture.stage_channels]
        self.decoder = _UNetDecoder([_STEM_CHANNELS, *stages], architecture.decoder_channels)
        self.segmentation_head = nn.Sequential()
        if architecture.decoder_channels:
            last = architecture.decoder_channels[-1]
            self.segmentation_head.append(nn.Conv2d(last, architecture.classes, 3, padding=1))

    def features(self, pixels: Tensor) -> list[Tensor]:
        """Return the encoder's features at strides 1 (the input), 2, 4, 8, 16 and 32."""
        encoder: Any = self.encoder
        stem = encoder.act1(encoder.bn1(encoder.conv1(pixels)))
        features = [pixels, stem]
        x = encoder.maxpool(stem)
        for layer in (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4):
            x = layer(x)
            features.append(x)
        return features

    def decode(self, features: list[Tensor]) -> list[Tensor]:
        """Return the decoder's features at strides 16, 8, 4, 2 and 1."""
        x, *skips = reversed(features[1:])
        decoded = []
        for index, block in enumerate(self.decoder.blocks):
            x = block(x, skips[index] if index < len(skips) else None)
            decoded.append(x)
        return decoded

    def stages(self, pixels: Tensor, *names: str) -> list[Tensor]:
        """Return the features of the named stages, keys of `UNET_STRIDES`."""
        features = self.features(pixels)
        # `features` begins with the input, `decode` ends with the full resolution; neither is a stage
        decoded = self.decode(features)[:-1] if any(name.startswith("decoder.") for name in names) else []
        found = [*features[1:], *decoded]
        known = dict(zip(list(UNET_STRIDES)[: len(found)], found, strict=True))
        return [known[name] for name in names]

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, classes, H, W) logits of (B, 3, H, W) pixels, sides multiples of 32; wants a decoder."""
        logits: Tensor = self.segmentation_head(self.decode(self.features(pixels))[-1])
        return logits


def build_unet(architecture: UNetArchitecture) -> UNet:
    """Build the U-Net with untrained weights."""
    return UNet(architecture)


class UNetExtractor:
    """Tokens and activation map of a U-Net's token stage.

    The activation map is the channel mean of rectified activations (LaFAM, arXiv 2407.06059).
    """

    attention_kind = None

    def __init__(self, network: UNet) -> None:
        self.network = network

    def extract(self, pixels: Tensor) -> TileFeatures:
        """Compute the features of (B, 3, H, W) pixels, sides multiples of 32."""
        return self._features(pixels, self.network.token_stage)[0]

    def extract_at(self, pixels: Tensor, depths: Sequence[UNetArchitecture]) -> list[TileFeatures]:
        """Compute the features of several stages in one pass."""
        return self._features(pixels, *(depth.token_stage for depth in depths))

    def _features(self, pixels: Tensor, *names: str) -> list[TileFeatures]:
        return [
            TileFeatures(tokens=stage.permute(0, 2, 3, 1), activation=stage.relu().mean(dim=1))
            for stage in self.network.stages(pixels, *names)
        ]


def _keep_start(*_: object) -> None:
    """Leave a fresh U-Net as it is built: with timm's start of a ResNet and PyTorch's of convolutions."""


def _test_side(architecture: UNetArchitecture) -> int:
    return 2 * architecture.constraint.size_multiple


NETWORK = Network(build_unet, UNetExtractor, _keep_start, _test_side)
