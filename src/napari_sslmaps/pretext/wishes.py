"""What a caller of `pretext_view` may ask for, and what every view needs of an encoder."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from napari_sslmaps.core.preprocess import normalise
from napari_sslmaps.core.pretext import Crop, TokenBlock
from napari_sslmaps.core.results import Float32
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.spec import ViTArchitecture, get_normalisation

Distortion = Literal["trained", "cutout", "outer-cutout", "shuffle", "none"]


@dataclass(frozen=True, eq=False, slots=True)
class Wishes:
    """Options of the methods; each method takes what concerns it. See `pretext_view`."""

    mask: ArrayLike | None = None
    seed: int = 0
    ratio: float | None = None
    targets: Sequence[TokenBlock | Sequence[float]] | None = None
    crops: Sequence[Crop] | None = None
    distortion: str = "trained"
    norm_pix: bool | None = None


def transformer(encoder: Encoder) -> tuple[Any, ViTArchitecture]:
    """Return the network and the shape of an encoder whose method has transformers alone."""
    return cast("Any", encoder.extractor).network, cast("ViTArchitecture", encoder.spec.architecture)


def as_batch(picture: Float32, encoder: Encoder) -> Tensor:
    """Return (H, W, 3) in [0, 1] as (1, 3, H, W), normalised, on the encoder's device."""
    preset = get_normalisation(encoder.spec.normalisation)
    return normalise(torch.from_numpy(picture).to(encoder.device)[None], preset.mean, preset.std)


@contextmanager
def exact() -> Iterator[None]:
    """Compute in float32, repeatably, without gradients."""
    repeatable = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    with torch.inference_mode(), repeatable:
        yield
