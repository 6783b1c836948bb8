"""Gradients of a class score through DiRA's U-Net, for Grad-CAM (Selvaraju et al., arXiv 1610.02391)."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sslmaps.core.preprocess import normalise
from napari_sslmaps.core.results import Float32
from napari_sslmaps.encoders.encoder import Encoder, exact_arithmetic
from napari_sslmaps.encoders.families.unet import UNET_STRIDES
from napari_sslmaps.encoders.families.unet_network import UNet, UNetExtractor
from napari_sslmaps.encoders.spec import get_normalisation
from napari_sslmaps.errors import InvalidOptionError, MapUnavailableError


@dataclass(frozen=True, slots=True, eq=False)
class CamTap:
    """A stage of a U-Net, and the tokens that are computed from it.

    Parameters
    ----------
    network
        In evaluation mode.
    normalisation, device
        As of the encoder.
    stage
        Whose features a Grad-CAM is drawn on; at or before the token stage, and no coarser.
    """

    network: UNet
    normalisation: str
    device: str
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
        extractor = encoder.extractor
        if not isinstance(extractor, UNetExtractor):
            raise MapUnavailableError(
                f"Expected a CNN such as DiRA's U-Net for Grad-CAM; {encoder.spec.name!r} is a transformer. "
                "Its token evidence shows where it sees the class."
            )
        tokens = extractor.network.token_stage
        names = list(UNET_STRIDES)
        fitting = [
            name for name in names[: names.index(tokens) + 1] if UNET_STRIDES[name] <= UNET_STRIDES[tokens]
        ]
        if stage is not None and stage not in fitting:
            raise InvalidOptionError(f"Expected a stage among {', '.join(fitting)}; got {stage!r}.")
        return cls(extractor.network, encoder.spec.normalisation, encoder.device, stage or tokens)

    @property
    def finer(self) -> int:
        """Features of the stage per token, along one axis."""
        return UNET_STRIDES[self.network.token_stage] // UNET_STRIDES[self.stage]

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
        preset = get_normalisation(self.normalisation)
        pixels = normalise(self._put(tile)[None], preset.mean, preset.std).requires_grad_(grad)
        features, tokens = self.network.stages(pixels, self.stage, self.network.token_stage)
        return features, tokens

    def _put(self, array: Float32) -> Tensor:
        weight = next(self.network.parameters())
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, weight.dtype)
