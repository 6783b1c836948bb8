"""Speckle of pulse-echo ultrasound: random scatterers seen through a pulse and a beam.

Echoes of many scatterers per resolution cell add with random phases, so that the demodulated echo is a
circular complex Gaussian and its magnitude follows a Rayleigh law of signal-to-noise ratio 1.91 (Burckhardt,
1978, IEEE Transactions on Sonics and Ultrasonics 25:1-6; Wagner et al., 1983, ibid. 30:156-163). Everything
here is at base band: the carrier of the modulated pulse is taken out, what is left of it is its envelope.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.lab.simulators.fields import FloatArray

ComplexArray = NDArray[np.complex64]
#: Half the length of a lateral kernel and the widest beam, both in lines.
_REACH, _WIDEST = 9, 3.6


@dataclass(frozen=True, slots=True)
class Beam:
    """Point-spread function of a focused beam.

    Attributes
    ----------
    pulse
        Standard deviation of the pulse's envelope along the beam, in pixels.
    waist
        Standard deviation across the beam at the focus, in pixels.
    focus
        Depth of the focus below the transducer, in pixels.
    range
        Distance from the focus at which the beam has grown by a factor of the square root of two, in pixels.
    """

    pulse: float
    waist: float
    focus: float
    range: float

    def width(self, depth: FloatArray) -> FloatArray:
        """Lateral standard deviation in pixels at (n,) depths: a Gaussian beam around its focus."""
        width: FloatArray = self.waist * np.sqrt(1 + ((depth - self.focus) / self.range) ** 2)
        return width


def _taps(width: FloatArray, reach: int) -> FloatArray:
    """(n, reach + 1) one side of Gaussian kernels of unit energy, so that noise keeps its variance."""
    offset = np.arange(reach + 1, dtype=np.float32)
    taps = np.exp(-0.5 * (offset / np.maximum(width, 0.2)[:, None]) ** 2)
    energy = taps[:, 0] ** 2 + 2 * (taps[:, 1:] ** 2).sum(axis=1)
    unit: FloatArray = (taps / np.sqrt(energy)[:, None]).astype(np.float32)
    return unit


def through_pulse(echo: ComplexArray, pulse: float) -> ComplexArray:
    """Convolve (n, lines) echoes along depth with a pulse of standard deviation `pulse` samples."""
    reach = max(1, int(np.ceil(2.6 * pulse)))
    taps = _taps(np.array([pulse], dtype=np.float32), reach)[0]
    padded = np.pad(echo, ((reach, reach), (0, 0)), mode="reflect")
    count = len(echo)
    heard: ComplexArray = taps[0] * echo
    for step in range(1, reach + 1):
        heard += taps[step] * (padded[reach - step :][:count] + padded[reach + step :][:count])
    return heard


def through_beam(echo: ComplexArray, width: FloatArray) -> ComplexArray:
    """Convolve (n, lines) echoes across the lines with a beam of (n,) standard deviations in lines."""
    width = np.minimum(width, _WIDEST)
    reach = min(_REACH, max(1, int(np.ceil(2.6 * float(width.max())))), echo.shape[1] - 1)
    taps = _taps(width, reach)
    padded = np.pad(echo, ((0, 0), (reach, reach)), mode="reflect")
    count = echo.shape[1]
    heard: ComplexArray = taps[:, :1] * echo
    for step in range(1, reach + 1):
        pair = padded[:, reach - step :][:, :count] + padded[:, reach + step :][:, :count]
        pair *= taps[:, step : step + 1]
        heard += pair
    return heard


def scatterers(rng: np.random.Generator, shape: tuple[int, int]) -> ComplexArray:
    """Unit-variance circular complex Gaussian noise: many scatterers per sample, at random phases."""
    pair = rng.standard_normal((*shape, 2), dtype=np.float32)
    pair *= np.float32(np.sqrt(0.5))
    field: ComplexArray = pair.view(np.complex64)[..., 0]
    return field


def envelope(
    rng: np.random.Generator,
    amplitude: FloatArray,
    interfaces: FloatArray,
    *,
    pulse: float,
    width: FloatArray,
) -> FloatArray:
    """Draw the envelope of the echoes of one transmission.

    Parameters
    ----------
    rng
        Source of randomness.
    amplitude
        (n, lines) root-mean-square echo of the scatterers, linear.
    interfaces
        (n, lines) coherent echo of boundaries, linear.
    pulse
        Standard deviation of the pulse in samples.
    width
        (n,) standard deviation of the beam in lines.

    Returns
    -------
    ndarray
        Envelope (n, lines) float32, root mean square equal to `amplitude` where that is even and `interfaces`
        is 0.
    """
    echo = scatterers(rng, (amplitude.shape[0], amplitude.shape[1]))
    echo *= amplitude
    echo += interfaces
    magnitude: FloatArray = np.abs(through_beam(through_pulse(echo, pulse), width))
    return magnitude
