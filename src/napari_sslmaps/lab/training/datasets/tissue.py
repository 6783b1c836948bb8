"""Tissue of a slide, found on a small picture of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_opening
from skimage import filters

from napari_sslmaps.core.region import Region
from napari_sslmaps.sources.protocol import ImageSource

_LONGEST = 1024
_STRIP_PIXELS = 4_000_000
_SATURATION = (0.03, 0.10)
_BLACK = 0.08
_otsu: Any = filters.threshold_otsu  # scikit-image leaves it untyped


def thumbnail(source: ImageSource, frame: int = 0, longest: int = _LONGEST) -> NDArray[Any]:
    """Read a small picture: every k-th pixel of the coarsest level that has `longest` of them.

    Parameters
    ----------
    source
        Image to shrink.
    frame
        Time point or plane.
    longest
        The longer side is at least this where the image allows, and less than twice this.

    Returns
    -------
    ndarray
        Picture (h, w) or (h, w, 3), of the source's dtype.
    """
    enough = [n for n, level in enumerate(source.levels) if max(level.shape_yx) >= longest] or [0]
    level = enough[-1]
    height, width = source.levels[level].shape_yx
    step = max(1, max(height, width) // longest)
    rows = max(step, _STRIP_PIXELS // width // step * step)
    strips = [
        source.read(Region(y, 0, min(rows, height - y), width, level, frame))[::step, ::step]
        for y in range(0, height, rows)
    ]
    return np.concatenate(strips)


def find_tissue(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell tissue from glass by its saturation.

    The threshold is Otsu's (Otsu 1979), held between 0.03 and 0.10: stained tissue is above, glass below, and
    a picture full of tissue is not cut in two. Black pixels, which scanners put where they did not scan, are
    no tissue.

    Parameters
    ----------
    picture
        (h, w, 3) RGB.

    Returns
    -------
    ndarray
        Mask (h, w) bool; single pixels and thin lines are opened away.
    """
    unit = picture.astype(np.float32) / 255
    high, low = unit.max(axis=-1), unit.min(axis=-1)
    saturation = (high - low) / np.maximum(high, 1e-3)
    bright = high > _BLACK
    values = saturation[bright]
    if values.size == 0:
        return np.zeros(bright.shape, bool)
    threshold = float(_otsu(values)) if values.min() < values.max() else _SATURATION[1]
    found: NDArray[np.bool_] = bright & (saturation > np.clip(threshold, *_SATURATION))
    opened: NDArray[np.bool_] = binary_opening(found, np.ones((3, 3)))
    return opened
