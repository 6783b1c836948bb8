"""ConvNeXts (arXiv 2201.03545) as networks: forward pass, features of tiles, weights to start from."""

from collections.abc import Sequence
from typing import Any

from timm.models.convnext import ConvNeXt as TimmConvNeXt
from torch import Tensor, nn

from napari_sslmaps.encoders.families.convnext import CONVNEXT_STRIDES, DEFAULT_STAGE, ConvNeXtArchitecture
from napari_sslmaps.encoders.families.extractor import TileFeatures
from napari_sslmaps.encoders.families.family import Network


class ConvNeXt(nn.Module):
    """ConvNeXt of `ConvNeXtArchitecture`; `stages` gives features, `summarise` one token of an image."""

    def __init__(self, architecture: ConvNeXtArchitecture) -> None:
        super().__init__()
        self.token_stage = architecture.token_stage
        self.encoder = TimmConvNeXt(
            depths=architecture.depths,
            dims=architecture.widths,
            norm_eps=architecture.eps,
            num_classes=0,
            in_chans=architecture.channels,
            global_pool="",
        )

    def stages(self, pixels: Tensor, *names: str, norm: bool = True) -> list[Tensor]:
        """Return the features of the named stages, keys of `CONVNEXT_STRIDES`; the last normed or not."""
        encoder: Any = self.encoder
        features, known = encoder.stem(pixels), {}
        for name, stage in zip(CONVNEXT_STRIDES, encoder.stages, strict=True):
            known[name] = features = stage(features)
        if norm and DEFAULT_STAGE in names:
            known[DEFAULT_STAGE] = encoder.head.norm(features)
        return [known[name] for name in names]

    def summarise(self, pixels: Tensor) -> Tensor:
        """Return (B, D), the normed mean of the last stage, which DINOv3 takes for a CLS token."""
        encoder: Any = self.encoder
        mean = encoder.stages(encoder.stem(pixels)).mean(dim=(2, 3), keepdim=True)
        token: Tensor = encoder.head.norm(mean).flatten(1)
        return token


def build_convnext(architecture: ConvNeXtArchitecture) -> ConvNeXt:
    """Build the ConvNeXt with untrained weights."""
    return ConvNeXt(architecture)


class ConvNeXtExtractor:
    """Tokens and activation map of a ConvNeXt's token stage.

    The activation map is the channel mean of rectified activations (LaFAM, arXiv 2407.06059).
    """

    attention_kind = None

    def __init__(self, network: ConvNeXt) -> None:
        self.network = network

    def extract(self, pixels: Tensor) -> TileFeatures:
        """Compute the features of (B, 3, H, W) pixels, sides multiples of 32."""
        (stage,) = self.network.stages(pixels, self.network.token_stage)
        return _as_tokens(stage)

    def extract_at(self, pixels: Tensor, depths: Sequence[ConvNeXtArchitecture]) -> list[TileFeatures]:
        """Compute the features of several stages in one pass."""
        found = self.network.stages(pixels, *(depth.token_stage for depth in depths), norm=False)
        norm: Any = self.network.encoder.head.norm
        return [
            _as_tokens(norm(stage) if depth.token_norm and depth.token_stage == DEFAULT_STAGE else stage)
            for depth, stage in zip(depths, found, strict=True)
        ]


def _as_tokens(stage: Tensor) -> TileFeatures:
    return TileFeatures(tokens=stage.permute(0, 2, 3, 1), activation=stage.relu().mean(dim=1))


def _keep_start(*_: object) -> None:
    """Leave a fresh ConvNeXt as timm builds it: normal weights, layer scales of 1e-6."""


def _test_side(architecture: ConvNeXtArchitecture) -> int:
    return 2 * architecture.constraint.size_multiple


NETWORK = Network(build_convnext, ConvNeXtExtractor, _keep_start, _test_side)
