"""A region of an image, small enough to print."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.masking import shown_mask
from napari_sslmaps.core.preprocess import scale_to_unit
from napari_sslmaps.core.region import Region
from napari_sslmaps.figures.panels import Extent
from napari_sslmaps.figures.run_figure import Picture
from napari_sslmaps.sources.protocol import ImageSource

MAX_SIDE = 1600
"""Pixels along the longer side of what is drawn; more would not be seen in print."""
_STRIP_PIXELS = 4_000_000


def picture_of(
    source: ImageSource, region: Region, window: tuple[float, float], *, max_side: int = MAX_SIDE
) -> Picture:
    """Read a region for drawing: from a coarser level where there is one, else by block means.

    Parameters
    ----------
    source
        Image to draw.
    region
        Region to show.
    window
        Intensities drawn as black and white.
    max_side
        Pixels, about, along the longer side of the picture.

    Returns
    -------
    Picture
        Picture of the region; its pixels may reach a little beyond the region where a coarse pixel does.
    """
    shown = _on_coarser_level(source, region, max_side)
    factor = max(1, min(-(-max(shown.shape_yx) // max_side), *shown.shape_yx))
    pixels = scale_to_unit(_reduced(source, shown, factor), window)
    return Picture(
        pixels,
        _extent(source, region),
        source.spacing_um_yx,
        pixels_extent=_extent(source, shown, factor),
    )


def without_text(picture: Picture) -> Picture:
    """Blacken what lies around the sector of an ultrasound frame."""
    inside = shown_mask(picture.pixels)
    shown = inside if picture.pixels.ndim == 2 else inside[..., None]
    return replace(picture, pixels=np.where(shown, picture.pixels, np.float32(0)))


def _on_coarser_level(source: ImageSource, region: Region, max_side: int) -> Region:
    fine = source.levels[region.level].downsample_yx
    chosen = region
    for index in range(region.level + 1, len(source.levels)):
        level = source.levels[index]
        ratio = (level.downsample_yx[0] / fine[0], level.downsample_yx[1] / fine[1])
        if max(region.height / ratio[0], region.width / ratio[1]) < max_side:
            break
        y, height = _scaled(region.y, region.height, ratio[0], level.shape_yx[0])
        x, width = _scaled(region.x, region.width, ratio[1], level.shape_yx[1])
        chosen = Region(y, x, height, width, index, region.frame)
    return chosen


def _scaled(start: int, length: int, ratio: float, limit: int) -> tuple[int, int]:
    first = min(int(start / ratio), limit - 1)
    last = min(int(np.ceil((start + length) / ratio - 1e-6)), limit)
    return first, max(1, last - first)


def _reduced(source: ImageSource, region: Region, factor: int) -> NDArray[np.float32]:
    if factor == 1:
        return source.read(region).astype(np.float32)
    width = region.width // factor * factor
    step = max(1, _STRIP_PIXELS // (region.width * factor)) * factor
    strips = []
    for y in range(0, region.height // factor * factor, step):
        height = min(step, region.height // factor * factor - y)
        strip = source.read(region.part(y, 0, height, width)).astype(np.float32)
        blocks = strip.reshape(height // factor, factor, width // factor, factor, -1)
        strips.append(blocks.mean(axis=(1, 3)))
    means: NDArray[np.float32] = np.concatenate(strips)
    return means[..., 0] if source.channels == 1 else means


def _extent(source: ImageSource, region: Region, factor: int = 1) -> Extent:
    fy, fx = source.levels[region.level].downsample_yx
    height, width = (side // factor * factor for side in region.shape_yx)
    return Extent(region.y * fy, region.x * fx, height * fy, width * fx)
