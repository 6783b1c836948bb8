"""Features of tiles, and the protocol of what extracts them from a network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from napari_sslmaps.core.results import AttentionKind
from napari_sslmaps.encoders.families.taps import AttentionTap


@dataclass(frozen=True, slots=True)
class TileFeatures:
    """Features of a batch of B tiles of rows × cols tokens, on the encoder's device.

    Parameters
    ----------
    tokens
        (B, rows, cols, dim) patch tokens of a block, after the final norm or not, prefix tokens removed;
        for a U-Net the features of a stage.
    attention
        (B, heads, rows, cols) attention in [0, 1], not renormalised; None for a CNN.
    prefix_attention
        (B, heads) attention mass that fell on CLS and registers; None for a CNN.
    activation
        (B, rows, cols) channel mean of rectified activations; None for a transformer.
    """

    tokens: Tensor
    attention: Tensor | None = None
    prefix_attention: Tensor | None = None
    activation: Tensor | None = None


class FeatureExtractor(Protocol):
    """A network of one family, wrapped so that a batch of pixels gives `TileFeatures`."""

    @property
    def network(self) -> Any:
        """The network that is wrapped, a `torch.nn.Module`."""
        ...

    @property
    def attention_kind(self) -> AttentionKind | None:
        """Query whose attention `TileFeatures.attention` is; None for a CNN."""
        ...

    def extract(self, pixels: Tensor) -> TileFeatures:
        """Compute the features of (B, 3, H, W) normalised pixels, tokens where it was built to."""
        ...

    def extract_at(self, pixels: Tensor, depths: Sequence[Any]) -> list[TileFeatures]:
        """Compute the features of several depths in one pass.

        Parameters
        ----------
        pixels
            (B, 3, H, W), normalised.
        depths
            Architectures of this network, which differ in where its tokens are taken.

        Returns
        -------
        list of TileFeatures
            Features, one for each depth; what is no token of the depth, as attention, they share.
        """
        ...


@runtime_checkable
class AttentionExtractor(FeatureExtractor, Protocol):
    """A transformer, wrapped so that the attention of any of its blocks can be read."""

    @property
    def depth(self) -> int:
        """Number of blocks."""
        ...

    def tap(self, pixels: Tensor, blocks: Sequence[int]) -> list[AttentionTap]:
        """Run (B, 3, H, W) normalised pixels, and return what some blocks, counted from 0, attended with."""
        ...
