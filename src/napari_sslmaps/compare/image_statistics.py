"""Measurements of a region before any method is credited: scale of its signal, and noise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.compare.images import OpenedImage
from napari_sslmaps.core.baselines import unit_pixels
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.evaluation.anchor_scores import TokenWeights
from napari_sslmaps.evaluation.locality import (
    GLOBAL,
    LOCAL,
    Locality,
    SignalScale,
    annotation_scale,
    similarity_scale,
)
from napari_sslmaps.evaluation.noise import noise_level
from napari_sslmaps.pipeline.masks import find_mask
from napari_sslmaps.serialise import Measured, strict

Signal = Literal["annotation", "similarity", "none"]
_SIDE = 512
_NOTHING = SignalScale(math.nan, math.nan, math.nan)
_MUCH_OUTSIDE = 0.1
"""Mean share of what is scored outside tissue or field of view from which it is said."""


@strict
@dataclass(frozen=True, slots=True)
class ImageStatistics:
    """Measurements of one image's region; NaN where one is not defined.

    Parameters
    ----------
    image
        Name of the image.
    signal
        Signal that `scale` is of: the annotated classes, what is similar to the anchors, or nothing.
    length_px, tokens, share
        Length in pixels and tokens, and share, as in `SignalScale`.
    length_um
        The same in micrometres; NaN where the image does not say its spacing.
    sigma, contrast
        Noise and contrast, as in `NoiseLevel`.
    outside
        Share of the scored pixels that are background and lie where no tissue or field of view is found; NaN
        without annotation, in a mask that was handed over, and in files of before.
    """

    image: str
    signal: Signal
    length_px: Measured
    tokens: Measured
    share: Measured
    length_um: Measured
    sigma: Measured
    contrast: Measured
    outside: Measured = math.nan

    @property
    def scale(self) -> SignalScale:
        """The scale of its signal."""
        return SignalScale(self.length_px, self.tokens, self.share)


def statistics_of(image: OpenedImage, embedding: Embedding) -> ImageStatistics:
    """Measure an image's region.

    Parameters
    ----------
    image
        Image with its annotation, or else with anchors; without either there is no signal to measure.
    embedding
        Any encoder's, of this region: its grid tells the tokens' pitch and, where there is no annotation,
        its similarity maps what belongs to the anchors. Noise is measured with its window, on the middle
        512 × 512 pixels of a larger region.
    """
    signal, scale = _signal_of(image, embedding)
    noise = noise_level(_middle(image, embedding))
    spacing = image.source.spacing_um_yx
    um_per_px = math.nan if spacing is None else math.sqrt(math.prod(spacing))
    return ImageStatistics(
        image=image.name,
        signal=signal,
        length_px=scale.length_px,
        tokens=scale.tokens,
        share=scale.share,
        length_um=scale.length_px * um_per_px,
        sigma=noise.sigma,
        contrast=noise.contrast,
        outside=_outside(image, embedding),
    )


def locality_of(statistics: Sequence[ImageStatistics]) -> Locality:
    """Call the signal of several images local or global by the median of their shares."""
    shares = [item.share for item in statistics if np.isfinite(item.share)]
    if not shares:
        return "unknown"
    middle = float(np.median(shares))
    return "local" if middle < LOCAL else "global" if middle >= GLOBAL else "between"


def sentences_on_outside(statistics: Sequence[ImageStatistics]) -> tuple[str, ...]:
    """Say how much of what is scored lies around tissue or field of view, where that is much."""
    shares = [item.outside for item in statistics if np.isfinite(item.outside)]
    if not shares or np.mean(shares) < _MUCH_OUTSIDE:
        return ()
    most = f" (up to {100 * max(shares):.0f} % of an image)" if len(shares) > 1 else ""
    told = (
        f"{100 * np.mean(shares):.0f} % of what is scored{most} lies outside the tissue or field of view and "
        "counts as background, which can make scores look better or worse than they are inside. To leave it "
        "out, choose Region: Tissue or field of view in the window, or --region-mask auto on the command "
        "line."
    )
    return (told,)


def _signal_of(image: OpenedImage, embedding: Embedding) -> tuple[Signal, SignalScale]:
    if image.annotation is not None:
        return "annotation", annotation_scale(image.annotation, embedding.grid)
    if len(image.requested.anchors):
        return "similarity", similarity_scale(embedding, image.requested.anchors)
    return "none", _NOTHING


def _outside(image: OpenedImage, embedding: Embedding) -> float:
    if image.annotation is None or image.requested.mask is not None:
        return math.nan
    try:
        found = find_mask(image.source, "auto", image.region.frame)
    except UnsupportedImageError:  # too large to look at without coarse levels
        return math.nan
    scored = TokenWeights.of(embedding, image.annotation)
    outside = ~found.on(embedding.grid).ravel()[scored.ranked]
    total = float(scored.counts.sum())
    return float(scored.counts[0, outside].sum()) / total if total else math.nan


def _middle(image: OpenedImage, embedding: Embedding) -> Float32:
    region = image.region
    height, width = min(region.height, _SIDE), min(region.width, _SIDE)
    part: Region = region.part((region.height - height) // 2, (region.width - width) // 2, height, width)
    pixels: NDArray[np.generic] = image.source.read(part)
    window = embedding.provenance.window or (float(np.min(pixels)), float(np.max(pixels)))
    unit = unit_pixels(pixels, window)
    return unit[..., 0] if pixels.ndim == 2 else unit
