"""A field out of an image: where it lies, at which resolution, with which intensities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from napari_sslmaps.core.preprocess import Window, pad_by_reflection, scale_to_unit
from napari_sslmaps.core.region import Region
from napari_sslmaps.lab.training.recipes import DataRecipe
from napari_sslmaps.sources.protocol import ImageSource


@dataclass(frozen=True, slots=True)
class Place:
    """Position of a field in its image.

    Attributes
    ----------
    origin_yx, size_yx
        Corner and size of its rectangle in pixels of level 0, inside the image.
    pixels_yx
        Height and width of that in pixels of the field; less than `side` where the image is smaller than a
        field.
    side
        Side of the field in pixels; what is missing is reflected.
    """

    origin_yx: tuple[float, float]
    size_yx: tuple[float, float]
    pixels_yx: tuple[int, int]
    side: int


def field_pixels(source: ImageSource, data: DataRecipe) -> tuple[float, float]:
    """Height and width of a field in pixels of level 0, at the resolution that the recipe asks for."""
    if data.fit:
        return (float(min(source.levels[0].shape_yx)),) * 2
    if data.um_per_px is None or source.spacing_um_yx is None:
        return float(data.field), float(data.field)
    y, x = (data.field * data.um_per_px / spacing for spacing in source.spacing_um_yx)
    return y, x


def choose_place(
    source: ImageSource, data: DataRecipe, tissue: NDArray[np.bool_] | None, random: np.random.Generator
) -> Place:
    """Choose at random where a field lies.

    Parameters
    ----------
    source
        Image to cut from.
    data
        Side and resolution of fields.
    tissue
        (h, w) bool over the whole image: the field's centre lies in a pixel that is True. None: anywhere.
    random
        Source of randomness; two numbers are drawn, after the factor of the scale, if that is a range, and
        the pixel of `tissue`.
    """
    shape = np.array(source.levels[0].shape_yx, float)
    wanted = np.array(field_pixels(source, data))
    wanted *= _draw_factor(data.scale, float((shape / wanted).min()), random)
    size = np.minimum(wanted, shape)
    if tissue is None:
        origin = random.random(2) * (shape - size)
    else:
        cells = np.flatnonzero(tissue)
        cell = np.array(divmod(int(cells[random.integers(len(cells))]), tissue.shape[1]))
        centre = (cell + random.random(2)) * shape / np.array(tissue.shape)
        origin = np.clip(centre - size / 2, 0, shape - size)
    pixels = np.clip(np.round(data.field * size / wanted), 1, data.field).astype(int)
    return Place(
        (float(origin[0]), float(origin[1])),
        (float(size[0]), float(size[1])),
        (int(pixels[0]), int(pixels[1])),
        data.field,
    )


def _draw_factor(scale: tuple[float, float], most: float, random: np.random.Generator) -> float:
    """Draw a factor, its logarithm uniform, no larger than `most`, or than 1 where the image is smaller."""
    low, high = scale
    if low == high:
        return low
    high = max(low, min(high, max(1.0, most)))
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def cut_field(source: ImageSource, place: Place, frame: int, window: Window) -> NDArray[np.uint8]:
    """Read a field from the level that is just fine enough, resample it and window its intensities.

    Returns
    -------
    ndarray
        Field (side, side, 3) uint8.
    """
    wanted = min(size / pixels for size, pixels in zip(place.size_yx, place.pixels_yx, strict=True))
    level = max(n for n, lv in enumerate(source.levels) if n == 0 or max(lv.downsample_yx) <= wanted * 1.001)
    shape, downsample = source.levels[level].shape_yx, source.levels[level].downsample_yx
    corner, extent = [], []
    for axis in range(2):
        length = min(shape[axis], max(1, round(place.size_yx[axis] / downsample[axis])))
        first = round(place.origin_yx[axis] / downsample[axis])
        corner.append(min(first, shape[axis] - length))
        extent.append(length)
    pixels = source.read(Region(corner[0], corner[1], extent[0], extent[1], level, frame))
    unit = scale_to_unit(pixels, window)
    if unit.shape[:2] != place.pixels_yx:
        unit = _resample(unit, place.pixels_yx)
    filled = pad_by_reflection(unit, place.side, place.side)
    field: NDArray[np.uint8] = np.rint(filled * 255).astype(np.uint8)
    return field


def _resample(unit: NDArray[np.float32], shape_yx: tuple[int, int]) -> NDArray[np.float32]:
    """Resample (h, w, 3) bilinearly, averaging where it is made smaller."""
    batch = torch.from_numpy(np.ascontiguousarray(unit)).permute(2, 0, 1)[None]
    smaller = functional.interpolate(batch, shape_yx, mode="bilinear", antialias=True, align_corners=False)
    resampled: NDArray[np.float32] = smaller[0].permute(1, 2, 0).clamp(0, 1).numpy()
    return resampled
