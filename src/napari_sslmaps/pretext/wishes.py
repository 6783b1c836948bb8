"""What a caller of `pretext_view` may ask for, and what every view needs of an encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from napari_sslmaps.core.preprocess import normalise
from napari_sslmaps.core.pretext import Crop, TokenBlock
from napari_sslmaps.core.results import Float32
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.spec import ViTArchitecture, get_normalisation
from napari_sslmaps.errors import InvalidOptionError

Distortion = Literal["trained", "cutout", "outer-cutout", "shuffle", "none"]


@dataclass(frozen=True, eq=False, slots=True)
class Wishes:
    """Options of the methods; each method takes what concerns it. See `pretext_view`.

    Raises
    ------
    InvalidOptionError
        If an option has a value that none of the methods could use.
    """

    mask: ArrayLike | None = None
    seed: int = 0
    ratio: float | None = None
    targets: Sequence[TokenBlock | Sequence[float]] | None = None
    crops: Sequence[Crop] | None = None
    distortion: str = "trained"
    norm_pix: bool | None = None

    def __post_init__(self) -> None:
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise InvalidOptionError(
                f"Expected a ratio of hidden patches between 0 and 1; got {self.ratio!r}."
            )
        if self.distortion not in get_args(Distortion):
            raise InvalidOptionError(
                f"Expected a distortion among {', '.join(get_args(Distortion))}; got {self.distortion!r}."
            )


def transformer(encoder: Encoder) -> tuple[Any, ViTArchitecture]:
    """Return the network and the shape of an encoder whose method has transformers alone."""
    return cast("Any", encoder.extractor).network, cast("ViTArchitecture", encoder.spec.architecture)


def as_batch(picture: Float32, encoder: Encoder) -> Tensor:
    """Return (H, W, 3) in [0, 1] as (1, 3, H, W), normalised, on the encoder's device."""
    preset = get_normalisation(encoder.spec.normalisation)
    return normalise(torch.from_numpy(picture).to(encoder.device)[None], preset.mean, preset.std)
