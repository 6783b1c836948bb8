"""Options of pretext views, known without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from numpy.typing import ArrayLike

from napari_sslmaps.core.pretext_views import Crop, TokenBlock
from napari_sslmaps.errors import InvalidOptionError


@dataclass(frozen=True, eq=False, slots=True)
class MethodOptions:
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
    decoder_heads: int | None = None

    def __post_init__(self) -> None:
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise InvalidOptionError(
                f"Expected a ratio of hidden patches between 0 and 1; got {self.ratio!r}."
            )
        if self.decoder_heads is not None and self.decoder_heads < 1:
            raise InvalidOptionError(f"Expected at least one head of the decoder; got {self.decoder_heads}.")
        if self.distortion not in get_args(Distortion):
            raise InvalidOptionError(
                f"Expected a distortion among {', '.join(get_args(Distortion))}; got {self.distortion!r}."
            )


Distortion = Literal["trained", "cutout", "outer-cutout", "shuffle", "none"]
Fit = Literal["crop", "resize", "whole"]


@dataclass(frozen=True, slots=True)
class PretextOptions:
    """Options of a pretext view; see `pretext_view`.

    Parameters
    ----------
    encoder
        Name of the encoder; empty while none is chosen.
    fit
        Rule that fits the region to the size that the encoder was trained on.
    ratio
        Share of patches hidden at random; None as the method trains.
    seed
        Seed of what is drawn.
    distortion
        Distortion of DiRA's input.
    """

    encoder: str = ""
    fit: Fit = "crop"
    ratio: float | None = None
    seed: int = 0
    distortion: Distortion = "trained"
