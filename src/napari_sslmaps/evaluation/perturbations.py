"""Changes that may befall an image before an encoder sees it, at graded strength.

Each perturbation is a function of (H, W) or (H, W, 3) float32 pixels in [0, 1]. Strength 0 is the identity,
exactly; the same seed and strength give the same image.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from zlib import crc32

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.errors import InvalidOptionError, UnsupportedImageError
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.colour import is_grey

_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Perturbation:
    """A change of an image at graded strength.

    Parameters
    ----------
    key, title
        Name in options and files, and in plots.
    unit
        Quantity that the strength measures, for the axis of a plot.
    strengths
        Strengths that are tried unless others are given; the first is 0, the image as it is.
    change
        Maps pixels, strength and a random generator to changed pixels, before they are clipped to [0, 1].
    draws
        Whether the seed matters.
    signed
        Whether strengths below 0 are changes in the other direction.
    wants_colour
        Whether it says nothing of a grey image.
    turns
        Whether pixels move, so that tokens have to be compared where they went.
    """

    key: str
    title: str
    unit: str
    strengths: tuple[float, ...]
    change: Callable[[Float32, float, Generator], NDArray[np.floating]]
    draws: bool = False
    signed: bool = False
    wants_colour: bool = False
    turns: bool = False

    def __call__(self, unit: Float32, strength: float, seed: int = 0) -> Float32:
        """Return the image changed.

        Parameters
        ----------
        unit
            (H, W) or (H, W, 3) float32 in [0, 1].
        strength
            Strength of the change in `unit`'s terms; at least 0 unless `signed`.
        seed
            Seed of what is drawn.

        Returns
        -------
        ndarray
            Pixels of the same shape, float32 in [0, 1]; at strength 0 the very same array.

        Raises
        ------
        InvalidOptionError
            If the strength is no number, or negative where that means nothing.
        UnsupportedImageError
            If the image is grey and the change is one of colour.
        """
        if not math.isfinite(strength) or (strength < 0 and not self.signed):
            raise InvalidOptionError(f"Expected a strength of {self.title} of at least 0; got {strength!r}.")
        if self.wants_colour and lacks_colour(unit):
            raise UnsupportedImageError(
                f"Expected a colour image for {self.title}; this one is grey. Try gain instead."
            )
        if strength == 0:
            return unit
        rng = np.random.default_rng([seed, crc32(self.key.encode())])
        return np.asarray(np.clip(self.change(unit, strength, rng), 0, 1), np.float32)


def lacks_colour(unit: Float32) -> bool:
    """Whether an image is grey as `is_grey` finds: the coloured marks of a scanner leave it grey."""
    return unit.ndim == 2 or is_grey(ArraySource(unit))


def applicable(unit: Float32) -> tuple[str, ...]:
    """Return the keys of the perturbations that say something of an image: of a grey one, not the stain."""
    grey = lacks_colour(unit)
    return tuple(key for key, change in PERTURBATIONS.items() if not (grey and change.wants_colour))


def rotate_pixels(unit: Float32, degrees: float) -> Float32:
    """Turn an image about its centre, anticlockwise as it is seen, mirroring what lies beyond its edges.

    Linear interpolation; the shape stays.
    """
    from scipy.ndimage import affine_transform

    centre = (np.array(unit.shape[:2]) - 1) / 2
    back = rotation_matrix(-degrees)
    channels = unit.reshape(*unit.shape[:2], -1)
    turned = [
        affine_transform(channel, back, centre - back @ centre, order=1, mode="mirror")
        for channel in np.moveaxis(channels, -1, 0)
    ]
    return np.stack(turned, axis=-1).reshape(unit.shape).astype(np.float32)


def rotation_matrix(degrees: float) -> NDArray[np.float64]:
    """Return the (2, 2) matrix that turns (y, x) offsets anticlockwise as rows run downwards."""
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def _gaussian(unit: Float32, strength: float, rng: Generator) -> NDArray[np.floating]:
    return unit + strength * rng.standard_normal(unit.shape, np.float32)


def _speckle(unit: Float32, strength: float, rng: Generator) -> NDArray[np.floating]:
    """Multiply each pixel by a gamma variate of mean 1 and standard deviation `strength`."""
    shape = 1 / strength**2
    noise = rng.gamma(shape, 1 / shape, unit.shape[:2]).astype(np.float32)
    return unit * (noise if unit.ndim == 2 else noise[..., None])


def _poisson(unit: Float32, strength: float, rng: Generator) -> NDArray[np.floating]:
    photons = 1 / strength**2
    return rng.poisson(unit * photons) / photons


def _blur(unit: Float32, strength: float, rng: Generator) -> NDArray[np.floating]:  # noqa: ARG001  # draws nothing
    from scipy.ndimage import gaussian_filter

    blurred: NDArray[np.floating] = gaussian_filter(unit, strength, mode="mirror", axes=(0, 1))
    return blurred


def _stain(unit: Float32, strength: float, rng: Generator) -> NDArray[np.floating]:
    """Scale the amounts of haematoxylin, eosin and DAB; what the three do not explain scales with them."""
    from skimage.color import hed_from_rgb, rgb_from_hed

    drawn = rng.uniform(-1, 1, 3)
    factors = 1 + strength * drawn / np.abs(drawn).max()
    density = -np.log(np.maximum(unit, _TINY))
    stains = (density @ hed_from_rgb) * factors.clip(min=0)
    changed: NDArray[np.floating] = np.exp(-stains @ rgb_from_hed)
    return changed


def _gain(unit: Float32, strength: float, rng: Generator) -> NDArray[np.floating]:  # noqa: ARG001  # draws nothing
    return unit * np.float32(10 ** (strength / 20))


def _gamma(unit: Float32, strength: float, rng: Generator) -> NDArray[np.floating]:  # noqa: ARG001  # draws nothing
    return unit ** np.float32(2**strength)


def _jpeg(unit: Float32, strength: float, rng: Generator) -> NDArray[np.floating]:  # noqa: ARG001  # draws nothing
    from imagecodecs import jpeg8_decode, jpeg8_encode

    stored = np.rint(unit * 255).astype(np.uint8)
    quality = max(1, round(100 - strength))
    decoded: NDArray[np.uint8] = jpeg8_decode(jpeg8_encode(stored, level=quality))
    return decoded.reshape(unit.shape) / np.float32(255)


def _rotate(unit: Float32, strength: float, rng: Generator) -> NDArray[np.floating]:  # noqa: ARG001  # draws nothing
    return rotate_pixels(unit, strength)


_ALL = (
    Perturbation(
        "speckle", "speckle", "speckle contrast, SD / mean", (0, 0.1, 0.2, 0.4), _speckle, draws=True
    ),
    Perturbation(
        "gaussian", "Gaussian noise", "SD, share of the window", (0, 0.02, 0.05, 0.1), _gaussian, draws=True
    ),
    Perturbation(
        "poisson", "Poisson noise", "noise of white, 1/√photons", (0, 0.02, 0.05, 0.1), _poisson, draws=True
    ),
    Perturbation("blur", "blur", "σ in pixels", (0, 0.5, 1, 2), _blur),
    Perturbation(
        "stain",
        "stain shift",
        "largest relative change of a stain",
        (0, 0.1, 0.2, 0.4),
        _stain,
        draws=True,
        wants_colour=True,
    ),
    Perturbation("gain", "gain shift", "dB", (0, -4, -2, -1, 1, 2, 4), _gain, signed=True),
    Perturbation("gamma", "gamma shift", "log₂ γ", (0, -1, -0.5, 0.5, 1), _gamma, signed=True),
    Perturbation("jpeg", "JPEG", "100 − quality", (0, 10, 40, 70), _jpeg),
    Perturbation("rotation", "rotation", "degrees", (0, 5, 15, 45, 90), _rotate, turns=True),
)
PERTURBATIONS: Mapping[str, Perturbation] = MappingProxyType({change.key: change for change in _ALL})
"""By key.

- ``speckle``: multiplicative, gamma-distributed, of unit mean (Goodman, Speckle Phenomena in Optics, 2007);
  contrast 0.52 is a fully developed amplitude. Neighbouring pixels are independent, which in a scanner they
  are not.
- ``gaussian``: additive, of the intensity window's width. ``poisson``: photon counts.
- ``blur``: Gaussian, in pixels of the region's level.
- ``stain``: amounts of haematoxylin, eosin and DAB (Ruifrok and Johnston 2001, scikit-image's matrices) times
  1 + s·u, the multiplicative part of the stain augmentation of arXiv 1902.06543; u is drawn, its largest
  entry ±1.
- ``gain``: times 10^(dB / 20). ``gamma``: to the power 2^s.
- ``jpeg``: libjpeg's quality, chroma subsampled as it does by default.
- ``rotation``: about the region's centre; tokens are compared where they went (`robustness`).
"""
_MARGIN = 1.5


def rotated_back(turned: Embedding, clean: Embedding, degrees: float) -> tuple[Embedding, Embedding]:
    """Bring the tokens of a region that was turned about its centre back onto the clean region's grid.

    Each value is interpolated linearly between the token centres around the place where the clean token went.

    Parameters
    ----------
    turned
        Tokens of the pixels of `rotate_pixels(pixels, degrees)`.
    clean
        Tokens of the pixels themselves.
    degrees
        Angle in degrees, anticlockwise.

    Returns
    -------
    tuple of Embedding
        The turned one on the clean one's grid, and the clean one; in both, tokens nearer than 1.5 tokens to a
        border before or after are NaN.
    """
    grid = replace(clean.grid, origin_yx=(0.0, 0.0))
    centres = grid.token_to_pixel(np.moveaxis(np.indices(grid.shape), 0, -1))
    middle = (np.asarray(grid.extent_yx) - 1) / 2
    went = (centres - middle) @ rotation_matrix(degrees).T + middle
    kept = np.logical_and(_inside(centres, grid), _inside(went, grid))
    at = np.moveaxis(grid.pixel_to_token(went), -1, 0)
    return _resampled(turned, clean, at, kept), _masked(clean, kept)


def _inside(pixel_yx: NDArray[np.float64], grid: TokenGrid) -> NDArray[np.bool_]:
    margin = _MARGIN * np.asarray(grid.stride_yx) - 0.5
    far = np.asarray(grid.extent_yx) - 1 - margin
    return np.asarray(((pixel_yx >= margin) & (pixel_yx <= far)).all(axis=-1))


def _resampled(
    turned: Embedding, clean: Embedding, at: NDArray[np.float64], kept: NDArray[np.bool_]
) -> Embedding:
    def sample(plane: Float32) -> Float32:
        """Interpolate an array (rows, cols, channels)."""
        from scipy.ndimage import map_coordinates

        channels = [
            map_coordinates(channel, at, order=1, mode="nearest", output=np.float32)
            for channel in np.moveaxis(plane, -1, 0)
        ]
        values = np.stack(channels, axis=-1)
        values[~kept] = np.nan
        return values

    attention, activation = turned.attention, turned.activation
    return replace(
        turned,
        tokens=sample(turned.tokens),
        grid=clean.grid,
        attention=None if attention is None else np.moveaxis(sample(np.moveaxis(attention, 0, -1)), -1, 0),
        activation=None if activation is None else sample(activation[..., None])[..., 0],
        foreground=clean.foreground,
    )


def _masked(clean: Embedding, kept: NDArray[np.bool_]) -> Embedding:
    def mask(values: Float32 | None) -> Float32 | None:
        return None if values is None else np.where(kept, values, np.float32(np.nan))

    return replace(
        clean,
        tokens=np.where(kept[..., None], clean.tokens, np.float32(np.nan)),
        attention=mask(clean.attention),
        activation=mask(clean.activation),
    )
