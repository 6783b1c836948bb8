"""Noise of the pixels of a region."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.results import Float32
from napari_sslmaps.evaluation.perturbations import lacks_colour

_TO_SIGMA = 1.4826
"""Standard deviation over median absolute deviation, of a normal distribution."""
_GAIN = 6.0
_SIDE, _DARK = 7, 0.05
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NoiseLevel:
    """Noise of a region.

    Parameters
    ----------
    sigma
        Standard deviation of additive noise, as a share of the intensity window; NaN for a flat region. Fine
        texture counts as noise: it is an upper bound.
    contrast
        Median of local standard deviation over local mean, of a grey image: speckle contrast as displayed,
        after the scanner's compression, again with texture. NaN for a colour image.
    """

    sigma: float
    contrast: float


def noise_level(unit: Float32) -> NoiseLevel:
    """Estimate the noise of a region.

    Parameters
    ----------
    unit
        (H, W) or (H, W, 3) float32 in [0, 1]; at least 3 × 3.

    Returns
    -------
    NoiseLevel
        `sigma` by the difference of two Laplacians (Immerkær 1996, Computer Vision and Image Understanding
        64:300), with the median absolute deviation in place of the mean; over colours as root mean square.
        Pixels amid equal ones, such as the black around an ultrasound sector, are left out. `contrast` in
        windows of 7 × 7 pixels whose mean is above 0.05.
    """
    channels = unit.reshape(*unit.shape[:2], -1).astype(np.float64)
    grey = lacks_colour(unit)
    planes = [channels.mean(axis=-1)] if grey else list(np.moveaxis(channels, -1, 0))
    sigma = float(np.sqrt(np.mean([_sigma(plane) ** 2 for plane in planes])))
    return NoiseLevel(sigma, _contrast(planes[0]) if grey else float("nan"))


def _sigma(plane: Float) -> float:
    from scipy.ndimage import convolve, maximum_filter, minimum_filter

    kernel = np.outer([1, -2, 1], [1, -2, 1])
    residual = convolve(plane, kernel, mode="mirror")
    varied = maximum_filter(plane, 3) > minimum_filter(plane, 3)
    if not varied.any():
        return float("nan")
    return float(_TO_SIGMA * np.median(np.abs(residual[varied])) / _GAIN)


def _contrast(plane: Float) -> float:
    from scipy.ndimage import uniform_filter

    mean = uniform_filter(plane, _SIDE, mode="mirror")
    square = uniform_filter(plane**2, _SIDE, mode="mirror")
    std = np.sqrt(np.maximum(square - mean**2, 0) * _SIDE**2 / (_SIDE**2 - 1))
    bright = mean > _DARK
    return float(np.median(std[bright] / mean[bright])) if bright.any() else float("nan")
