"""Gradients of a class score through a CNN, for Grad-CAM (Selvaraju et al., arXiv 1610.02391)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sslmaps.core.results import Float32
from napari_sslmaps.encoders.encoder import Encoder, exact_arithmetic, prepare
from napari_sslmaps.encoders.families.registry import FAMILIES
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import InvalidOptionError, MapUnavailableError


@dataclass(frozen=True, slots=True, eq=False)
class CamTap:
    """A stage of a CNN, and the tokens that are computed from it.

    Parameters
    ----------
    network
        Network in evaluation mode; its `stages` gives features of named stages.
    spec, device
        Entry of the encoder in the list, and its device.
    strides
        Strides of its stages, in pixels, from the first to the last.
    tokens
        The stage whose features are the tokens.
    stage
        Stage whose features a Grad-CAM is drawn on; at or before the token stage, and no coarser.
    """

    network: Any
    spec: EncoderSpec
    device: str
    strides: Mapping[str, int]
    tokens: str
    stage: str

    @classmethod
    def of(cls, encoder: Encoder, stage: str | None = None) -> Self:
        """Tap an encoder; `stage` is its token stage if omitted.

        Raises
        ------
        MapUnavailableError
            If it is a transformer.
        InvalidOptionError
            If the stage comes after the tokens or is coarser than they are.
        """
        architecture, extractor = encoder.spec.architecture, encoder.extractor
        strides, tokens = FAMILIES[architecture.kind].stages, architecture.token_stage
        if architecture.attention_blocks or tokens not in strides:
            raise MapUnavailableError(
                f"Expected a CNN such as DiRA's U-Net for Grad-CAM; {encoder.spec.name!r} is a transformer. "
                "Its token evidence shows where it sees the class."
            )
        names = list(strides)
        fitting = [name for name in names[: names.index(tokens) + 1] if strides[name] <= strides[tokens]]
        if stage is not None and stage not in fitting:
            raise InvalidOptionError(f"Expected a stage among {', '.join(fitting)}; got {stage!r}.")
        network: Any = extractor.network
        spec, device = encoder.spec, encoder.device
        return cls(network, spec, device, strides, tokens, stage or tokens)

    @property
    def finer(self) -> int:
        """Features of the stage per token, along one axis."""
        return self.strides[self.tokens] // self.strides[self.stage]

    def gradient_sum(self, tile: Float32, weights: Float32, share: Float32) -> NDArray[np.float64]:
        """Sum, over positions, of the gradient of Σ share · (weights · token) by the stage's features.

        Parameters
        ----------
        tile
            (H, W, 3) float32 in [0, 1], sides multiples of 32.
        weights
            (dim,) of the class.
        share
            (rows, cols) weight of each token in the region's mean.

        Returns
        -------
        ndarray
            (channels,) float64.
        """
        with torch.enable_grad(), exact_arithmetic():
            features, tokens = self._forward(tile, grad=True)
            score = torch.einsum("chw,c,hw->", tokens[0], self._put(weights), self._put(share))
            (gradient,) = torch.autograd.grad(score, features)
        found: NDArray[np.float64] = gradient[0].double().sum(dim=(1, 2)).cpu().numpy()
        return found

    def combine(self, tile: Float32, factors: Float32) -> Float32:
        """Return the rectified sum of the stage's features with factors (channels,), (rows, cols) float32."""
        with torch.inference_mode(), exact_arithmetic():
            features, _ = self._forward(tile, grad=False)
            found: Float32 = torch.einsum("chw,c->hw", features[0], self._put(factors)).relu().cpu().numpy()
        return found

    def _forward(self, tile: Float32, *, grad: bool) -> tuple[Tensor, Tensor]:
        """Features of the stage and of the token stage, (1, channels, rows, cols) each."""
        pixels = prepare(self._put(tile)[None], self.spec).requires_grad_(grad)
        features, tokens = self.network.stages(pixels, self.stage, self.tokens)
        return features, tokens

    def _put(self, array: Float32) -> Tensor:
        weight = next(self.network.parameters())
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, weight.dtype)
