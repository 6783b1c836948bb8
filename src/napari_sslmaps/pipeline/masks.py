"""Masks of the wanted tokens of a region: those that are given, and those that are found."""

import hashlib
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.masking import field_of_view_mask, likely_mask, tissue_mask
from napari_sslmaps.core.placed_mask import Mask, PlacedMask
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import InvalidOptionError, RegionError
from napari_sslmaps.sources.coarser import CoarserLevels
from napari_sslmaps.sources.protocol import ImageSource

FoundMask = Literal["auto", "tissue", "field-of-view"]
MaskLike = FoundMask | PlacedMask | NDArray[Any]
_FINDERS = {"auto": likely_mask, "tissue": tissue_mask, "field-of-view": field_of_view_mask}
_FINE, _COARSE = 512, 2048
"""Pixels along the longer side of what a mask is found in."""


def find_mask(source: ImageSource, kind: FoundMask = "auto", frame: int = 0) -> PlacedMask:
    """Find tissue, or the sector of an ultrasound frame, on a coarse level of an image.

    Parameters
    ----------
    source
        Image, the whole of which is read, whatever region is embedded.
    kind
        ``tissue``, ``field-of-view``, or ``auto`` for the one that the image's background suggests.
    frame
        Index along a time or z axis.

    Raises
    ------
    InvalidOptionError
        If the kind is another one.
    UnsupportedImageError
        If the image has no coarse level and is too large to average one.
    """
    if kind not in _FINDERS:
        raise InvalidOptionError(
            f"Expected a mask {', '.join(map(repr, get_args(FoundMask)))}, or an array; got {kind!r}."
        )
    number = _coarse(source)
    looked_at: ImageSource = source
    if max(source.levels[number].shape_yx) > _COARSE:
        looked_at = CoarserLevels(source)  # not closed: that would close the source
        number = _coarse(looked_at)
    level = looked_at.levels[number]
    pixels = looked_at.read(Region(0, 0, *level.shape_yx, number, frame))
    return PlacedMask(_FINDERS[kind](pixels), level.downsample_yx)


def token_mask(source: ImageSource, region: Region, grid: TokenGrid, mask: MaskLike) -> Mask:
    """Bring a mask onto the tokens of a region.

    Parameters
    ----------
    source, region, grid
        Image, the region to embed, and the grid of its tokens.
    mask
        Mask to bring there: ``tissue``, ``field-of-view`` or ``auto``, to be found; a `PlacedMask`; or an
        array of bools or labels (0 is outside) on the token grid, on the pixels of any level of the image, or
        on those of the region.

    Returns
    -------
    numpy.ndarray
        Mask of the wanted tokens, (rows, cols) bool.

    Raises
    ------
    InvalidOptionError
        If an array has another shape or type, or a shape that means two things.
    RegionError
        If no token of the region is in the mask.
    """
    if isinstance(mask, str):
        placed = find_mask(source, mask, region.frame)
    elif isinstance(mask, PlacedMask):
        placed = mask
    else:
        placed = _placed(source, region, grid, np.asarray(mask))
    wanted = placed.on(grid)
    if not wanted.any():
        raise RegionError(
            "Expected a region with something in the mask; all of this one lies outside. Choose another "
            "region, or another mask."
        )
    return wanted


def mask_hash(wanted: Mask | None) -> str:
    """Return the SHA-256 of a token mask; empty without one, or where it leaves nothing out."""
    if wanted is None or wanted.all():
        return ""
    return hashlib.sha256(f"{wanted.shape}".encode() + np.packbits(wanted).tobytes()).hexdigest()


def _coarse(source: ImageSource) -> int:
    """Return the number of the coarsest level that still shows what a mask is found by."""
    fine = [number for number, level in enumerate(source.levels) if max(level.shape_yx) >= _FINE]
    return fine[-1] if fine else 0


def _placed(source: ImageSource, region: Region, grid: TokenGrid, array: NDArray[Any]) -> PlacedMask:
    if array.ndim != 2 or array.dtype.kind not in "biu":
        raise InvalidOptionError(
            f"Expected a mask as a (rows, columns) array of bools or labels; got {array.dtype} of shape "
            f"{array.shape}."
        )
    inside = array != 0
    here = source.levels[region.level].downsample_yx
    origin = (region.y * here[0], region.x * here[1])
    meanings = [
        (grid.shape, PlacedMask(inside, grid.stride_yx, grid.origin_yx)),
        (region.shape_yx, PlacedMask(inside, here, origin)),
        *((level.shape_yx, PlacedMask(inside, level.downsample_yx)) for level in source.levels),
    ]
    fitting = [placed for shape, placed in meanings if shape == array.shape]
    if not fitting:
        shapes = ", ".join(f"{height} × {width}" for height, width in dict(meanings))
        raise InvalidOptionError(
            f"Expected a mask of the tokens, of the region or of a level of the image ({shapes}); got "
            f"{array.shape[0]} × {array.shape[1]}."
        )
    if any(not np.array_equal(placed.on(grid), fitting[0].on(grid)) for placed in fitting[1:]):
        raise InvalidOptionError(
            f"A mask of {array.shape[0]} × {array.shape[1]} could be meant in two ways here. Say where it "
            "lies: PlacedMask(mask, cell_yx=(pixels per cell), origin_yx=(first pixel))."
        )
    return fitting[0]
