"""Beer-Lambert mixing of histological stains.

Light that crosses a stained section is attenuated by ``10 ** -OD`` per colour channel, and the optical
densities of several stains add up (Ruifrok and Johnston, 2001, Analytical and Quantitative Cytology and
Histology 23:291-299).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.lab.simulators.fields import small_product

#: Unit optical-density vectors (red, green, blue) of Ruifrok and Johnston (2001).
HAEMATOXYLIN = (0.650, 0.704, 0.286)
EOSIN = (0.072, 0.990, 0.105)
DAB = (0.268, 0.570, 0.776)


@dataclass(frozen=True, slots=True)
class StainMix:
    """Stain and light of one slide.

    Attributes
    ----------
    vectors
        Optical density per unit concentration, rows haematoxylin, eosin, DAB; columns red, green, blue.
    strength
        Concentration factor of each stain.
    white
        Transmitted light of empty glass, red, green, blue, in [0, 1].
    """

    vectors: NDArray[np.float32]
    strength: NDArray[np.float32]
    white: NDArray[np.float32]


def draw_stain_mix(rng: np.random.Generator, *, immuno: bool) -> StainMix:
    """Draw a staining with the variation seen between laboratories and scanners.

    Parameters
    ----------
    rng
        Source of randomness.
    immuno
        Whether it is an immunohistochemistry stain: DAB in place of eosin, over a pale haematoxylin
        counterstain.
    """
    vectors = np.array([HAEMATOXYLIN, EOSIN, DAB], dtype=np.float32)
    vectors = np.clip(vectors + rng.normal(0, 0.05, vectors.shape).astype(np.float32), 0.02, None)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    base = (0.75, 0.10, 0.9) if immuno else (1.0, 1.0, 0.0)
    strength = (np.array(base) * np.exp(rng.normal(0, 0.22, 3))).astype(np.float32)
    white = (rng.uniform(0.88, 0.99) + rng.normal(0, 0.012, 3)).clip(0.8, 1.0).astype(np.float32)
    return StainMix(vectors, strength, white)


def transmit(concentration: NDArray[np.float32], mix: StainMix) -> NDArray[np.float32]:
    """Colour of the light behind a stained section.

    Parameters
    ----------
    concentration
        (3, H, W) amounts of haematoxylin, eosin and DAB, non-negative, about 1 for a well stained structure.
    mix
        Colours and amounts of the stains.

    Returns
    -------
    ndarray
        (H, W, 3) float32 in [0, 1].
    """
    weights = mix.vectors * mix.strength[:, None]
    flat = np.ascontiguousarray(concentration.reshape(3, -1).T)
    density = small_product(flat, weights).reshape(*concentration.shape[1:], 3)
    light: NDArray[np.float32] = (mix.white * np.exp(-np.log(10.0) * density)).astype(np.float32)
    return light
