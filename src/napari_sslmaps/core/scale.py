"""Scale that tokens are compared at: the size of the neighbourhood that they are averaged over."""

import re
from dataclasses import dataclass, replace
from math import hypot, isfinite, sqrt
from typing import Literal, Self

from napari_sslmaps.core.neighbourhood import averaged
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.core.whole import finite_number
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
    def of(cls, given: "TokenScale | float | str") -> "TokenScale":
        """Understand a number of pixels, ``20um``, ``12px``, ``5%`` or ``0``.

        Raises
        ------
        InvalidOptionError
            If it is none of these.
        """
        if isinstance(given, TokenScale):
            return given
        return cls._written(given) if isinstance(given, str) else cls._counted(given)

    @classmethod
    def _counted(cls, pixels: float) -> Self:
        number = finite_number(pixels)
        if number is None:
            raise InvalidOptionError(f"Expected a scale in pixels, or as 20um, 12px or 5%; got {pixels!r}.")
        return cls(number)

    @classmethod
    def _written(cls, text: str) -> Self:
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

    def describe(self) -> str:
        """Say it in a sentence's words: ``tokens averaged over σ = 3 % of the region's shorter side``."""
        if not self.value:
            return "single patches compared"
        units = {"px": " px", "um": " µm", "%": " % of the region's shorter side"}
        return f"tokens averaged over σ = {self.value:g}{units[self.unit]}"

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


def at_scale(embedding: Embedding, scale: TokenScale | float | str) -> Embedding:
    """Return an embedding with its tokens averaged over a neighbourhood, for any map, probe or score.

    Parameters
    ----------
    embedding
        Tokens of a region.
    scale
        Standard deviation σ of the Gaussian that tokens are averaged over: pixels of level 0 of the image,
        or as ``"20um"``, ``"12px"`` or ``"5%"`` of the shorter side of the region; 0 averages nothing.

    Returns
    -------
    Embedding
        Averages over known tokens; tokens that are not known stay NaN. Its provenance says the scale, in
        pixels.

    Raises
    ------
    InvalidOptionError
        If the scale is negative or not understood, or the image does not tell what it needs.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> noise = ssl.Embedding.from_tokens(np.random.default_rng(0).normal(size=(8, 8, 4)), stride=8)
    >>> smooth = ssl.at_scale(noise, "25%")
    >>> smooth.provenance.scale, bool(smooth.tokens.std() < noise.tokens.std())
    (16.0, True)
    """
    pixels = TokenScale.of(scale).pixels(embedding)
    if not pixels:
        return embedding
    return replace(averaged(embedding, pixels), provenance=averaged_over(embedding.provenance, pixels))


def averaged_over(provenance: Provenance, pixels: float) -> Provenance:
    """Return the provenance of tokens that were averaged once more; variances of Gaussians add up."""
    return replace(provenance, scale=hypot(provenance.scale, pixels))
