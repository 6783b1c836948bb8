"""A scanner: what becomes of an anatomy between the transducer and the screen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter1d

from napari_sslmaps.lab.simulators.anatomy import (
    FLUID,
    KIDNEY,
    LESION,
    ORGAN_CLASSES,
    SHADOW,
    WALL,
    Anatomy,
    Mask,
)
from napari_sslmaps.lab.simulators.fields import FloatArray, banded_field
from napari_sslmaps.lab.simulators.speckle import Beam, envelope
from napari_sslmaps.lab.simulators.transducer import BeamSpace

#: Two-way loss of bone or gas in decibels per pixel, and the loss that counts as a shadow.
_BONE_LOSS, _SHADOW_LOSS = 7.0, 9.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the scanner.

    Attributes
    ----------
    beam
        Point-spread function of the beam.
    loss
        Two-way attenuation of soft tissue in decibels per pixel.
    mismatch
        Share of that loss which the time-gain compensation leaves (or overdoes, if negative).
    noise
        Receiver noise in decibels below the parenchyma at the surface; it is amplified with depth.
    clutter
        Reverberation and side lobes near the surface, decibels relative to the parenchyma.
    grey
        Grey value of the parenchyma, 0 to 1.
    dynamic_range
        Decibels from black to white.
    looks
        Frames or steered beams that are averaged.
    smoothing
        Standard deviation in pixels of the last filter; negative sharpens.
    """

    beam: Beam
    loss: float
    mismatch: float
    noise: float
    clutter: float
    grey: float
    dynamic_range: float
    looks: int
    smoothing: float


def draw_settings(rng: np.random.Generator, size: int) -> Settings:
    """Draw a scanner and its settings with the variation seen between clinics."""
    pulse = rng.uniform(0.75, 1.5)
    beam = Beam(pulse, pulse * rng.uniform(1.3, 2.6), rng.uniform(0.2, 1.2) * size, rng.uniform(60, 200))
    return Settings(
        beam=beam,
        loss=rng.uniform(0.08, 0.3),
        mismatch=rng.normal(0, 0.25),
        noise=rng.uniform(-48, -30),
        clutter=rng.uniform(-30, -12),
        grey=rng.uniform(0.2, 0.5),
        dynamic_range=rng.uniform(42, 75),
        looks=int(rng.choice([1, 2, 3], p=[0.55, 0.3, 0.15])),
        smoothing=rng.uniform(-0.4, 0.9),
    )


def acquire(
    rng: np.random.Generator, field: Anatomy, bone: Mask, space: BeamSpace, settings: Settings
) -> tuple[FloatArray, Mask]:
    """Image an anatomy.

    Parameters
    ----------
    rng
        Source of randomness.
    field
        Tissue in front of the transducer.
    bone
        (S, S) True where no sound passes.
    space
        Beams as `sample_beams` returns them.
    settings
        Settings of the scanner.

    Returns
    -------
    picture
        (S, S) float32, grey values of which 0 to 1 are shown.
    shadow
        (S, S) True behind bone.
    """
    labels = field.labels.reshape(-1)[space.nearest]
    hidden = hidden_by(bone.reshape(-1)[space.nearest])
    level = space.gather(field.echo)
    streaks = banded_field(rng, (level.shape[0], level.shape[1]), (rng.uniform(2, 4), rng.uniform(12, 36)))
    level += np.where(labels == WALL, np.float32(rng.uniform(2.5, 6.0)) * streaks, 0)
    gain = transmission(rng, labels, space.depth, settings) - hidden
    amplitude = decibels_to_amplitude(level + gain)
    edges = interfaces(rng, labels, amplitude)
    width = settings.beam.width(space.depth) / space.spacing
    power = np.zeros_like(amplitude)
    for _ in range(settings.looks):
        power += envelope(rng, amplitude, edges, pulse=settings.beam.pulse, width=width) ** 2
    power /= settings.looks
    power += _unwanted(rng, space, settings, power)
    echo = 10 * np.log10(np.maximum(power, 1e-12))
    picture = settings.grey + space.convert(echo) / np.float32(settings.dynamic_range)
    return _finish(picture, settings.smoothing), space.convert_mask(hidden > _SHADOW_LOSS)


def decibels_to_amplitude(level: FloatArray) -> FloatArray:
    """Linear amplitude of a level in decibels."""
    amplitude: FloatArray = np.exp(level * np.float32(np.log(10) / 20))
    return amplitude


def hidden_by(bone: Mask) -> FloatArray:
    """Two-way loss in decibels behind (n, lines) bone; its edges are as soft as the aperture is wide."""
    lost = np.cumsum(bone, axis=0, dtype=np.float32)
    lost -= bone
    np.minimum(lost, 6, out=lost)
    soft: FloatArray = uniform_filter1d(_BONE_LOSS * lost, 5, axis=1, mode="nearest")
    return soft


def transmission(
    rng: np.random.Generator, labels: NDArray[np.uint8], depth: FloatArray, settings: Settings
) -> FloatArray:
    """Gain in decibels that is left of attenuation and its compensation, (n, lines).

    The compensation is set for even tissue; behind fluid, which attenuates next to nothing, it overshoots
    (posterior enhancement), behind a dense lesion it falls short.
    """
    relative = np.ones(len(ORGAN_CLASSES), dtype=np.float32)
    relative[FLUID] = 0.05
    relative[WALL], relative[KIDNEY] = rng.uniform(0.8, 1.3), rng.uniform(0.8, 1.2)
    relative[LESION] = rng.uniform(0.4, 2.2)
    step = (float(depth[-1]) - float(depth[0])) / (len(depth) - 1)
    excess = np.cumsum(relative[labels] - 1, axis=0, dtype=np.float32) * np.float32(settings.loss * step)
    excess = 11 * np.tanh(excess / 11)  # adaptive compensation flattens what is left of long paths
    common = settings.mismatch * settings.loss * depth
    sliders = rng.uniform(0, 2.5) * banded_field(rng, (len(depth), labels.shape[1]), (70.0, 90.0))
    left = sliders - excess - common[:, None]
    # Whoever holds the transducer turns the overall gain until the middle of the picture looks right.
    adjusted: FloatArray = left - np.median(left)
    return adjusted


def interfaces(rng: np.random.Generator, labels: NDArray[np.uint8], amplitude: FloatArray) -> FloatArray:
    """Coherent echo of boundaries: the change of impedance along the beam, so that those across it shine."""
    impedance = rng.normal(0, 0.5, len(ORGAN_CLASSES)).astype(np.float32)
    impedance[FLUID] = 2.0
    impedance[SHADOW] = 6.0
    change = np.diff(impedance[labels], axis=0, prepend=impedance[labels[:1]])
    near = np.maximum(amplitude, np.roll(amplitude, 1, axis=0))
    shining: FloatArray = np.float32(rng.uniform(0.3, 1.3)) * np.abs(change) * np.minimum(near, 4.0)
    return shining


def _unwanted(
    rng: np.random.Generator, space: BeamSpace, settings: Settings, power: FloatArray
) -> FloatArray:
    """Power of receiver noise, amplified with depth, and of reverberation, strongest near the transducer."""
    amplified = settings.noise + settings.loss * space.depth
    floor = 10 ** (np.minimum(amplified, -14.0) / 10)
    haze = 10 ** ((settings.clutter - 0.16 * space.depth) / 10)
    chance = rng.standard_exponential(power.shape, dtype=np.float32)
    unwanted: FloatArray = (floor + haze)[:, None].astype(np.float32) * chance
    return unwanted


def _finish(picture: FloatArray, smoothing: float) -> FloatArray:
    """Smooth a little, or sharpen, as scanners do."""
    if abs(smoothing) < 0.25:
        return picture
    smooth: FloatArray = gaussian_filter(picture, abs(smoothing), truncate=2.5)
    if smoothing > 0:
        return smooth
    return picture + 0.6 * (picture - smooth)
