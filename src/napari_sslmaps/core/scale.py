"""Scale that tokens are compared at: the size of the neighbourhood that they are averaged over."""

import re
from dataclasses import dataclass, replace
from math import isfinite, sqrt
from typing import Literal, Self

from napari_sslmaps.core.neighbourhood import averaged
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.serialise import strict

Unit = Literal["px", "um", "%"]
_WRITTEN = re.compile(r"\s*([0-9.]+(?:e[+-]?\d+)?)\s*(px|um|µm|μm|%)\s*", re.IGNORECASE)
SCALES: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.5)
"""Standard deviations of a profile, in per cent of the region's shorter side; 0 is a single patch."""


@strict
@dataclass(frozen=True, slots=True)
class TokenScale:
    """Standard deviation σ of the Gaussian that tokens are averaged over; 0 compares single patches.

    Parameters
    ----------
    value
        Size, at least 0.
    unit
        ``px`` of level 0 of the image; ``um`` for micrometres, of an image that tells the size of its pixels;
        ``%`` of the shorter side of the region.

    Raises
    ------
    InvalidOptionError
        If the value is negative or no finite number.

    Examples
    --------
    >>> from napari_sslmaps.core.scale import TokenScale
    >>> [str(TokenScale.of(text)) for text in ("20um", "12 px", "5%", "0")]
    ['20um', '12px', '5%', '0px']
    """

    value: float = 0.0
    unit: Unit = "px"

    def __post_init__(self) -> None:
        if not (isfinite(self.value) and self.value >= 0):
            raise InvalidOptionError(f"Expected a scale of at least 0; got {self.value:g}.")

    @classmethod
    def of(cls, text: str) -> Self:
        """Understand ``20um``, ``12px``, ``5%`` or ``0``.

        Raises
        ------
        InvalidOptionError
            If it is none of these.
        """
        found = _WRITTEN.fullmatch("0px" if text.strip() == "0" else text)
        try:
            value = float(found[1]) if found else None
        except ValueError:
            value = None
        if found is None or value is None:
            raise InvalidOptionError(
                f"Expected a scale such as 20um, 12px, 5% (of the region's shorter side) or 0; got {text!r}."
            )
        unit = found[2].lower().replace("µ", "u").replace("μ", "u")
        return cls(value, unit)  # type: ignore[arg-type]  # one of the pattern's

    def __str__(self) -> str:
        return f"{self.value:g}{self.unit}"

    def pixels(self, embedding: Embedding) -> float:
        """Return σ in pixels of level 0 of the image that an embedding is of.

        Raises
        ------
        InvalidOptionError
            If micrometres are asked for and the image does not tell how large its pixels are.
        """
        if self.value == 0 or self.unit == "px":
            return self.value
        if self.unit == "%":
            return self.value / 100 * min(embedding.grid.extent_yx)
        spacing = embedding.provenance.spacing_um_yx
        if spacing is None:
            raise InvalidOptionError(
                f"Expected an image that tells the size of its pixels, for a scale of {self.value:g} µm; "
                f"{embedding.provenance.image or 'this one'} does not. Say it in pixels or per cent."
            )
        return self.value / sqrt(spacing[0] * spacing[1])


def at_scale(embedding: Embedding, scale: TokenScale) -> Embedding:
    """Return an embedding with its tokens averaged at a scale, which its provenance then says.

    Raises
    ------
    InvalidOptionError
        If the image does not tell what the scale needs.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> from napari_sslmaps.core.scale import TokenScale, at_scale
    >>> noise = ssl.Embedding.from_tokens(np.random.default_rng(0).normal(size=(8, 8, 4)), stride=8)
    >>> smooth = at_scale(noise, TokenScale(25, "%"))
    >>> smooth.provenance.scale, bool(smooth.tokens.std() < noise.tokens.std())
    (16.0, True)
    """
    pixels = scale.pixels(embedding)
    if not pixels:
        return embedding
    found = averaged(embedding, pixels)
    return replace(found, provenance=replace(embedding.provenance, scale=pixels))
