"""Masks of what is worth embedding: tissue on a slide, the sector of an ultrasound frame."""

import numpy as np
import scipy  # its subpackages are loaded when they are first used
from numpy.typing import NDArray

from napari_sslmaps.core.placed_mask import Mask
from napari_sslmaps.errors import UnsupportedImageError

_BINS = 256
_STAINED, _NO_DATA = 0.05, 0.02
"""Optical density of the faintest stain, and brightness that only missing tiles have."""
_NEARLY_BLACK, _GREY = 0.04, 0.1
"""Brightness that is no echo yet, and by how much the channels of a grey pixel differ."""
_GLASS, _BACKGROUND = 0.75, 0.02
"""Brightness of empty glass, and the smallest share of an image that is a background."""
_SPECK, _SMOOTH = 1e-3, 0.01
"""Smallest part that counts, as a share of the image, and by how much its outline is smoothed."""


def tissue_mask(thumbnail: NDArray[np.generic]) -> Mask:
    """Find tissue on a slide whose background is bright.

    The background is the brightest colour that is common. Tissue is where the optical density against it is
    above 0.05 in any channel, which the faintest stain has and glass has not. Black areas are no data. Holes
    and specks below a thousandth of the image are filled and removed.

    Parameters
    ----------
    thumbnail
        (H, W) or (H, W, 3), the whole image at a coarse level; integers, or floats in any range.

    Returns
    -------
    numpy.ndarray
        Mask (H, W) of bool; True where there is tissue.

    Raises
    ------
    UnsupportedImageError
        If it is no image.
    """
    pixels = _unit_range(thumbnail)
    density = _optical_density(scipy.ndimage.gaussian_filter(pixels, (1, 1, 0)))
    return _tidy((density > _STAINED) & (pixels.max(axis=-1) > _NO_DATA))


def field_of_view_mask(thumbnail: NDArray[np.generic]) -> Mask:
    """Find the sector of an ultrasound frame, without the text, scales and bars around it.

    Speckle is grey, and it fills its surroundings: a pixel belongs to it if most pixels around it, in a
    square of a twentieth of the image, are grey and not nearly black. That leaves out lettering, which is
    thin, and coloured bars. Of such areas the largest counts, with its convex hull, because fluid inside the
    sector is as black as the outside, and because colour Doppler is no grey.

    Parameters
    ----------
    thumbnail
        (H, W) or (H, W, 3), one frame, or the largest value over several, which knows the sector better.

    Returns
    -------
    numpy.ndarray
        (H, W) bool; all True where nothing stands out.

    Raises
    ------
    UnsupportedImageError
        If it is no image.
    """
    pixels = _unit_range(thumbnail)
    bright, spread = pixels.max(axis=-1), np.ptp(pixels, axis=-1)
    speckle = scipy.ndimage.median_filter((bright > _NEARLY_BLACK) & (spread < _GREY), 3)
    around = 2 * (min(speckle.shape) // 40) + 1
    areas = scipy.ndimage.uniform_filter(speckle.astype(np.float64), around) > 0.5
    labels, count = scipy.ndimage.label(areas)
    if count == 0:
        return np.ones(speckle.shape, bool)
    sizes = np.bincount(labels.ravel())[1:]
    return _hull(labels == 1 + int(sizes.argmax()))


def shown_mask(thumbnail: NDArray[np.generic]) -> Mask:
    """Find what of a picture may be shown without the text that is burned in around it.

    Parameters
    ----------
    thumbnail
        (H, W) or (H, W, 3), what would be shown.

    Returns
    -------
    numpy.ndarray
        (H, W) bool: the sector where the background is black; all True on any other, whose text is not found.

    Raises
    ------
    UnsupportedImageError
        If it is no image.
    """
    black = _unit_range(thumbnail).max(axis=-1) <= _NEARLY_BLACK
    return field_of_view_mask(thumbnail) if black.mean() >= _BACKGROUND else np.ones(black.shape, bool)


def likely_mask(thumbnail: NDArray[np.generic]) -> Mask:
    """Find tissue where the background is bright and grey, the sector where it is black.

    Parameters
    ----------
    thumbnail
        (H, W) or (H, W, 3), the whole image at a coarse level.

    Returns
    -------
    numpy.ndarray
        (H, W) bool; all True where less than a fiftieth of the image is such a background.

    Raises
    ------
    UnsupportedImageError
        If it is no image.
    """
    pixels = _unit_range(thumbnail)
    grey = np.ptp(pixels, axis=-1) < _GREY
    black = float((pixels.max(axis=-1) <= _NEARLY_BLACK).mean())
    glass = float(((pixels.min(axis=-1) >= _GLASS) & grey).mean())
    if max(black, glass) < _BACKGROUND:
        return np.ones(grey.shape, bool)
    return tissue_mask(thumbnail) if glass > black else field_of_view_mask(thumbnail)


def _unit_range(thumbnail: NDArray[np.generic]) -> NDArray[np.float64]:
    """(H, W, channels) in [0, 1]: integers over the range of their type, floats over their own."""
    pixels = np.asarray(thumbnail)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 3) or pixels.size == 0:
        raise UnsupportedImageError(
            f"Expected an image (height, width[, 3]) to find a mask in; got shape {thumbnail.shape}."
        )
    values = pixels.astype(np.float64)
    low, high = (0.0, 255.0) if pixels.dtype == np.uint8 else (float(values.min()), float(values.max()))
    return (values - low) / (high - low) if high > low else np.ones_like(values)


def _optical_density(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest -log10(I / I₀) over the channels, (H, W), not below 0; I₀ is the background's colour."""
    brightness = pixels.mean(axis=-1)
    counts, edges = np.histogram(brightness, _BINS, (0.0, 1.0))
    common = np.flatnonzero(counts >= _SPECK * brightness.size)
    bright = brightness >= edges[common[-1]] if len(common) else brightness >= brightness.max()
    background = np.median(pixels[bright], axis=0)
    density: NDArray[np.float64] = np.log10((background + 1 / 255) / (pixels + 1 / 255)).max(axis=-1)
    return np.maximum(density, 0.0)


def _tidy(mask: Mask) -> Mask:
    """Smooth the outline, fill small holes and remove specks."""
    smooth = scipy.ndimage.binary_opening(_closed(mask, max(1, round(_SMOOTH * min(mask.shape)))))
    least = _SPECK * mask.size
    return ~_without_small(~_without_small(smooth, least), least)


def _without_small(mask: Mask, least: float) -> Mask:
    labels, _ = scipy.ndimage.label(mask)
    keep = np.bincount(labels.ravel()) >= least
    keep[0] = False
    kept: Mask = keep[labels]
    return kept


def _closed(mask: Mask, radius: int) -> Mask:
    """Close by a disc, as if the outermost pixels went on beyond the image."""
    padded = np.pad(mask, radius, mode="edge")
    closed: Mask = scipy.ndimage.binary_closing(padded, _disc(radius))[radius:-radius, radius:-radius]
    return closed


def _disc(radius: int) -> Mask:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc: Mask = y * y + x * x <= radius * radius
    return disc


def _hull(mask: Mask) -> Mask:
    """Pixels inside the convex hull of the pixels of `mask`, which are squares, not points."""
    rows = np.flatnonzero(mask.any(axis=1))
    first, last = mask.argmax(axis=1)[rows], mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)[rows]
    y = np.repeat(rows, 4) + np.tile([-0.5, 0.5, -0.5, 0.5], len(rows))
    x = np.stack([first - 0.5, first - 0.5, last + 0.5, last + 0.5], axis=1).ravel()
    corners = np.stack([y, x], axis=1)
    sides = scipy.spatial.ConvexHull(corners).equations
    at_y, at_x = np.ogrid[: mask.shape[0], : mask.shape[1]]
    inside = np.ones(mask.shape, bool)
    for towards_y, towards_x, offset in sides:
        inside &= towards_y * at_y + towards_x * at_x + offset <= 1e-9
    return inside
