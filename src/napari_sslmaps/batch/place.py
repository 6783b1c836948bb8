"""Which level and rectangle of an image a batch embeds."""

from math import log
from pathlib import Path

from napari_sslmaps.batch.items import BatchItem
from napari_sslmaps.batch.orders import BatchOptions
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import RegionError, UnsupportedImageError
from napari_sslmaps.sources.protocol import ImageSource

_NEAR = 1.5


def choose_region(source: ImageSource, item: BatchItem, options: BatchOptions) -> Region:
    """Return the rectangle to embed.

    The item's level wins over the wanted spacing, and that over the batch's level.

    Raises
    ------
    RegionError
        If there is no such level.
    UnsupportedImageError
        If a spacing is wanted and the image does not say its own, or has no level within a factor of 1.5.
    """
    if item.level is None and options.spacing_um is not None:
        level = _level_near(source, options.spacing_um, Path(item.image).name)
    else:
        level = options.level if item.level is None else item.level
    if level >= len(source.levels):
        raise RegionError(
            f"Expected a level below {len(source.levels)} of {Path(item.image).name}; got {level}. "
            "Give another, or a spacing, which finds each image's own level."
        )
    rectangle = item.region or (0, 0, *source.levels[level].shape_yx)
    return Region(*rectangle, level, item.frame)


def _level_near(source: ImageSource, wanted: float, name: str) -> int:
    finest = source.spacing_um_yx
    if finest is None:
        raise UnsupportedImageError(
            f"Expected an image that says its spacing, as {wanted:g} µm/px is wanted; {name} does not. "
            "Give its level, for example in a CSV."
        )
    spacings = [
        (finest[0] * finest[1] * level.downsample_yx[0] * level.downsample_yx[1]) ** 0.5
        for level in source.levels
    ]
    distances = [abs(log(spacing / wanted)) for spacing in spacings]
    nearest = distances.index(min(distances))
    if distances[nearest] > log(_NEAR):
        there = ", ".join(f"{spacing:.3g}" for spacing in spacings)
        raise UnsupportedImageError(
            f"Expected a level within a factor of {_NEAR:g} of {wanted:g} µm/px; {name} has {there}. Another "
            "scale would make its scores incomparable: give the level, or leave the image out."
        )
    return nearest
