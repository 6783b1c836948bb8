"""Resolution at which an image is read: by the size of its pixels, or by how many there are across it."""

import re
from dataclasses import dataclass
from math import ceil, floor
from typing import Self

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.whole import finite_number
from napari_sslmaps.errors import InvalidOptionError

Spacing = tuple[float, float] | None
_ROUNDING = 1e-6
_FAR = 2.0
_WRITTEN = re.compile(r"(\d+(?=px)|\d*\.?\d+)(px|um|µm|μm)")


@dataclass(frozen=True, slots=True)
class Resolution:
    """A resolution, said in exactly one of two ways.

    Parameters
    ----------
    um_per_px
        Micrometres per pixel; needs an image that tells its own.
    short_side
        Pixels along the shorter side of the whole image, whatever its size.

    Raises
    ------
    InvalidOptionError
        If both or neither are given, or one is not above 0.
    """

    um_per_px: float | None = None
    short_side: int | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.um_per_px, self.short_side) if value is not None]
        number = finite_number(given[0]) if len(given) == 1 else None
        if number is None or number <= 0:
            raise InvalidOptionError(
                "Expected a resolution as micrometres per pixel or as pixels of the shorter side, one "
                f"of them and above 0; got {self.um_per_px!r} and {self.short_side!r}."
            )

    def downsample_yx(self, shape_yx: tuple[int, int], spacing_um_yx: Spacing) -> tuple[float, float]:
        """Return how many pixels of the image, along each axis, one pixel of this resolution covers.

        Parameters
        ----------
        shape_yx
            Height and width of the whole image in pixels.
        spacing_um_yx
            Micrometres per pixel of the image, or None where that is not known.

        Raises
        ------
        InvalidOptionError
            If micrometres are asked for and the image does not tell how large its pixels are.
        """
        if self.short_side is not None:
            factor = min(shape_yx) / self.short_side
            return factor, factor
        if spacing_um_yx is None or self.um_per_px is None:
            raise InvalidOptionError(
                f"Expected an image that tells the size of its pixels, to read it at {self.um_per_px:g} "
                "µm/px; this one does not. Say resolution='native', or give a short_side in pixels."
            )
        return self.um_per_px / spacing_um_yx[0], self.um_per_px / spacing_um_yx[1]

    @classmethod
    def of(cls, text: str) -> Self:
        """Understand ``0.5um``, per pixel, or ``192px``, along the shorter side.

        Raises
        ------
        InvalidOptionError
            If it is neither.
        """
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise InvalidOptionError(
                "Expected a resolution: native, trained, micrometres per pixel such as 0.5um, or pixels of "
                f"the shorter side such as 192px; got {text!r}."
            )
        number = float(found[1])
        return cls(short_side=int(number)) if found[2] == "px" else cls(um_per_px=number)

    def __str__(self) -> str:
        return f"{self.um_per_px:g} µm/px" if self.um_per_px is not None else f"{self.short_side} px across"


def in_words(resolution: Resolution | str) -> str:
    """Say in a sentence what `str` of a resolution, which records keep, calls pixels *across*.

    Examples
    --------
    >>> in_words(Resolution(short_side=192))
    '192 px on the whole image's shorter side'
    """
    return str(resolution).replace(" px across", " px on the whole image's shorter side")


def resolution_of(
    requested: "Resolution | float | str",
    trained: Resolution | None,
    spacing_um_yx: Spacing,
) -> Resolution | None:
    """Return the resolution that is meant, or None for that of the image.

    Parameters
    ----------
    requested
        A resolution, or a text that `Resolution.of` understands; micrometres per pixel; ``native``; or
        ``trained``: the one that the encoder learned at, where that is known and the image tells enough, else
        the image's own.
    trained
        The resolution that the encoder learned at, if there is one.
    spacing_um_yx
        Micrometres per pixel of the image, or None where that is not known.

    Raises
    ------
    InvalidOptionError
        If it is none of these.
    """
    if isinstance(requested, Resolution):
        return requested
    if requested == "native":
        return None
    if requested == "trained":
        known = trained is not None and (trained.short_side is not None or spacing_um_yx is not None)
        return trained if known else None
    if isinstance(requested, str):
        return Resolution.of(requested)
    number = finite_number(requested)
    if number is None:
        raise InvalidOptionError(
            "Expected a resolution: native, trained, 0.5um, 192px, or a number of micrometres per pixel; got "
            f"{requested!r}."
        )
    return Resolution(um_per_px=number)


def far_from_trained(
    pixel: float, trained: Resolution | None, shape_yx: tuple[int, int], spacing_um_yx: Spacing
) -> str:
    """Return a sentence where an image is read at twice or half what an encoder learned at, else nothing.

    Parameters
    ----------
    pixel
        Pixels of level 0, counted downwards, that one pixel that is read covers.
    trained
        The resolution that the encoder learned at, if there is one.
    shape_yx, spacing_um_yx
        Size of the whole image in pixels, and micrometres per pixel where they are known.

    Examples
    --------
    >>> far_from_trained(1.0, Resolution(um_per_px=0.5), (4000, 4000), (0.125, 0.125))
    'It learned at 0.5 µm/px; this is read 4 times finer.'
    """
    if trained is None or (trained.short_side is None and spacing_um_yx is None):
        return ""
    times = pixel / trained.downsample_yx(shape_yx, spacing_um_yx)[0]
    how = "coarser" if times > 1 else "finer"
    times = max(times, 1 / times)
    learned = f"It learned at {in_words(trained)}"
    return f"{learned}; this is read {times:.2g} times {how}." if times >= _FAR else ""


def region_at(
    region: Region, level: int, downsample_yx: tuple[float, float], shape_yx: tuple[int, int]
) -> Region:
    """Return the smallest region of a level that covers one of level 0.

    Parameters
    ----------
    region
        Region in pixels of level 0.
    level, downsample_yx, shape_yx
        Number, pixels of level 0 per pixel, and size of the level.
    """
    starts, sizes = [], []
    for start, length, factor, size in zip(
        (region.y, region.x), region.shape_yx, downsample_yx, shape_yx, strict=True
    ):
        first = min(floor(start / factor + _ROUNDING), size - 1)
        last = min(ceil((start + length) / factor - _ROUNDING), size)
        starts.append(first)
        sizes.append(max(last - first, 1))
    return Region(starts[0], starts[1], sizes[0], sizes[1], level, region.frame)
