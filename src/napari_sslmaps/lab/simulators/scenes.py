"""Scenes whose label lives where we put it: in the local texture, or in the arrangement of two organs.

Every scene holds two independent fair coins, and both are visible. The **local cue** is the shape of the
small structures that fill the tissue: round or spindle nuclei of equal number, area and stain (histology),
round or fibrillar reflectors of equal number, area and echo (ultrasound). The **arrangement** is the order
of two organs as seen from a surface: A nearer to it, or B. The organs have the same outlines, never touch
each other or the surface, and lie in the same tissue, so no patch of 8 pixels tells the arrangement: a bag
of patches holds the same patches either way. Half of the scenes are upside down, so neither do the organs'
places: surface and both organs must be related to each other.

``locality`` λ is the probability that the label is the local cue; otherwise it is the arrangement. Hence

* reading the local cue alone is right with probability (1 + λ) / 2,
* reading the arrangement alone with probability 1 − λ / 2,
* the best use of both with probability 1/2 + max(λ, 1 − λ) / 2.

The pixels do not depend on λ: the same random state gives the same image with another label, so one encoder,
trained without labels, is asked about every λ on the very same images. ``noise`` ν in [0, 1] scales what the
instrument adds: stain, light and sensor variation, or fully developed speckle at ν = 1 (Goodman, 1976, JOSA
66:1145-1150: exponential intensity, which log compression makes additive). It leaves scene and label alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.simulators.fields import Ellipses, FloatArray, jittered_points, smooth_field, stamp
from napari_sslmaps.lab.simulators.stains import DAB, EOSIN, HAEMATOXYLIN, StainMix, draw_stain_mix, transmit

#: Values of `Scene.labels`, in order.
SCENE_CLASSES = ("outside", "tissue", "organ A", "organ B")
OUTSIDE, TISSUE, ORGAN_A, ORGAN_B = range(4)
DOMAINS = ("histology", "ultrasound")
_SPINDLE = 2.4  # long over short axis of a spindle; a round one has 1 to 1.2
_RADIUS, _SPACING = 2.3, 7.4
# Mirror images of each other on 64 pixels, so that a scene turned upside down has organs at the same two
# places; no patch of 8 pixels holds an organ and the surface.
_DEPTHS = ((16.0, 20.0), (43.0, 47.0))
_QUIET = 0.72  # share of the tissue between the structures


@dataclass(frozen=True, slots=True)
class Scene:
    """An image with its label, and the two cues that the label was chosen from.

    Attributes
    ----------
    image
        (S, S, 3) uint8 RGB; ultrasound has three equal channels.
    labels
        (S, S) uint8, values index `SCENE_CLASSES`.
    label
        0 or 1: the local cue with probability λ, else the arrangement.
    local
        0: round structures, 1: spindles.
    arrangement
        0: organ A is nearer to the surface, 1: organ B.
    coin
        The number in [0, 1) that chose between the cues: below λ the label is the local cue.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    label: int
    local: int
    arrangement: int
    coin: float

    def label_at(self, locality: float) -> int:
        """Return the label that the same scene has at another λ."""
        return self.local if self.coin < locality else self.arrangement


def simulate_scene(
    rng: np.random.Generator,
    domain: str,
    *,
    locality: float = 0.5,
    noise: float = 0.5,
    size: int = 64,
) -> Scene:
    """Simulate one scene.

    Parameters
    ----------
    rng
        Source of randomness; the same state gives the same scene whatever the two knobs are set to.
    domain
        Domain of the scene: histology or ultrasound.
    locality
        λ in [0, 1], where the label lives: 0 in the arrangement, 1 in the local cue.
    noise
        ν in [0, 1], strength of stain and sensor variation, or of speckle.
    size
        Side in pixels, at least 32.

    Raises
    ------
    InvalidOptionError
        If the domain is unknown or a knob lies outside [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> scene = simulate_scene(np.random.default_rng(0), "ultrasound", locality=1.0)
    >>> scene.image.shape, scene.label == scene.local
    ((64, 64, 3), True)
    """
    if domain not in DOMAINS:
        raise InvalidOptionError(f"Expected a domain among {', '.join(DOMAINS)}; got {domain!r}.")
    if not (0 <= locality <= 1 and 0 <= noise <= 1):
        raise InvalidOptionError(f"Expected locality and noise between 0 and 1; got {locality} and {noise}.")
    local, arrangement = (int(value) for value in rng.integers(0, 2, 2))
    coin = float(rng.random())
    label = local if coin < locality else arrangement
    labels = _lay_out(rng, size, arrangement)
    structures = _structures(rng, labels, spindle=bool(local))
    render = _stain if domain == "histology" else _insonify
    return Scene(render(rng, labels, structures, noise), labels, label, local, arrangement, coin)


def bayes_accuracy(locality: float) -> dict[str, float]:
    """Best accuracy from the local cue, from the arrangement, and from both, at one λ."""
    return {
        "local": (1 + locality) / 2,
        "arrangement": 1 - locality / 2,
        "both": 0.5 + 0.5 * max(locality, 1 - locality),
    }


def _lay_out(rng: np.random.Generator, size: int, arrangement: int) -> NDArray[np.uint8]:
    """Labels of a surface and two organs, one beyond the other; upside down half of the time."""
    unit = size / 64
    y, x = np.mgrid[:size, :size].astype(np.float32)
    labels = np.full((size, size), TISSUE, dtype=np.uint8)
    edge = rng.uniform(2, 4) + rng.uniform(-0.02, 0.02) * (x / unit - 32) + 0.5 * smooth_field(rng, size, 16)
    labels[y < edge * unit] = OUTSIDE
    kinds = (ORGAN_B, ORGAN_A) if arrangement else (ORGAN_A, ORGAN_B)
    for kind, depth in zip(kinds, _DEPTHS, strict=True):
        centre_y, centre_x = rng.uniform(*depth) * unit, rng.uniform(18, 46) * unit
        away = np.hypot((y - centre_y) * rng.uniform(1.0, 1.15), (x - centre_x) * rng.uniform(0.8, 1.0))
        wavy = away + 0.7 * unit * smooth_field(rng, size, 12 * unit)
        labels[(wavy < rng.uniform(6.5, 7.8) * unit) & (labels == TISSUE)] = kind
    return labels[::-1].copy() if rng.random() < 0.5 else labels


def _structures(rng: np.random.Generator, labels: NDArray[np.uint8], *, spindle: bool) -> FloatArray:
    """Round or spindle structures all over the tissue, (S, S) in [0, 1], the same values either way."""
    size = len(labels)
    unit = size / 64
    centre = jittered_points(rng, size, _SPACING * unit)
    count = len(centre)
    radius = _RADIUS * unit * np.exp(rng.normal(0, 0.08, count))
    stretch = np.sqrt(rng.uniform(1.0, 1.2, count) * (_SPINDLE if spindle else 1.0))
    angle = rng.uniform(0, np.pi, count)
    amount = rng.uniform(0.8, 1.2, count)
    canvas = np.zeros((size, size), dtype=np.float32)
    axes = ((radius * stretch).astype(np.float32), (radius / stretch).astype(np.float32))
    stamp(canvas, Ellipses(centre, *axes, angle.astype(np.float32)), amount.astype(np.float32))
    # A spindle has the longer edge. Blurring first and then giving every scene the same values, rank by rank,
    # leaves shape alone to differ: no statistic of single pixels tells the cue.
    canvas = gaussian_filter(canvas, 0.6 * unit) + 0.02 * smooth_field(rng, size, 4)
    inside = labels != OUTSIDE
    rank = (np.argsort(np.argsort(canvas[inside])) + 0.5) / max(1, int(inside.sum()))
    equal: FloatArray = np.zeros((size, size), dtype=np.float32)
    equal[inside] = 1 / (1 + np.exp((_QUIET - rank) / 0.06))
    return equal


def _stain(
    rng: np.random.Generator, labels: NDArray[np.uint8], nuclei: FloatArray, noise: float
) -> NDArray[np.uint8]:
    """Beer-Lambert colours of the scene; ν scales the departure from the standard stain, and the sensor."""
    size = len(labels)
    basophil, eosin = np.array([0.0, 0.06, 0.30, 0.02]), np.array([0.0, 0.30, 0.26, 0.62])
    uneven = 1 + 0.3 * noise * smooth_field(rng, size, 24) / 2
    haematoxylin = np.clip(basophil[labels] + 0.6 * nuclei, 0, None) * np.clip(uneven, 0.3, None)
    cytoplasm = eosin[labels] * (1 + 0.12 * smooth_field(rng, size, 5))
    mix = _departing(draw_stain_mix(rng, immuno=False), noise)
    stains = np.stack([haematoxylin, cytoplasm, np.zeros_like(cytoplasm)]).astype(np.float32)
    light = transmit(stains, mix)
    grain = rng.standard_normal(light.shape, dtype=np.float32)
    return _as_bytes(light + (0.01 + 0.12 * noise) * grain)


def _departing(drawn: StainMix, share: float) -> StainMix:
    """Go from the standard stain a share of the way to a drawn one."""
    return StainMix(
        *(
            (usual + share * (part - usual)).astype(np.float32)
            for part, usual in (
                (drawn.vectors, np.array([HAEMATOXYLIN, EOSIN, DAB])),
                (drawn.strength, np.array([1.0, 1.0, 0.0])),
                (drawn.white, np.full(3, 0.95)),
            )
        )
    )


def _insonify(
    rng: np.random.Generator, labels: NDArray[np.uint8], reflectors: FloatArray, noise: float
) -> NDArray[np.uint8]:
    """Log-compressed echo of the scene, 50 dB deep; ν scales the speckle in decibels."""
    size = len(labels)
    echo = np.array([-46.0, -27.0, -19.0, -35.0])[labels] + 11.0 * reflectors
    echo += 1.2 * smooth_field(rng, size, 24)
    wave = rng.standard_normal((2, size, size), dtype=np.float32)
    wave = gaussian_filter(wave, (0, 0.6, 1.1), mode="wrap")
    power = (wave**2).sum(axis=0)
    speckle = 10 * np.log10(np.clip(power / power.mean(), 1e-4, None))
    blurred = echo + noise * (speckle - speckle.mean())
    grain = 0.01 * rng.standard_normal((size, size), dtype=np.float32)
    grey = _as_bytes((blurred + 50) / 50 + grain)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _as_bytes(light: FloatArray) -> NDArray[np.uint8]:
    values: NDArray[np.uint8] = np.clip(255 * light + 0.5, 0, 255).astype(np.uint8)
    return values
