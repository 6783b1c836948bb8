"""Simulated images with label maps: training data of the embedded encoders, ground truth of their scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.simulators import histology, ultrasound
from napari_sslmaps.lab.simulators.anatomy import ORGAN_CLASSES
from napari_sslmaps.lab.simulators.tissue import TISSUE_CLASSES


@dataclass(frozen=True, slots=True)
class Simulator:
    """A source of simulated images with label maps.

    Attributes
    ----------
    name
        Name by which it is chosen.
    classes
        Name of each label value, in order.
    upright
        Whether up and down differ: ultrasound has a top, a tissue section has none.
    colour
        Whether colour carries information; if not, the three channels are equal.
    draw
        Function from a random state and a side S in pixels (at least 32) to an (S, S, 3) uint8 RGB image and
        an (S, S) uint8 label map.
    """

    name: str
    classes: tuple[str, ...]
    upright: bool
    colour: bool
    draw: Callable[[np.random.Generator, int], tuple[NDArray[np.uint8], NDArray[np.uint8]]]


SIMULATORS: Mapping[str, Simulator] = MappingProxyType(
    {
        simulator.name: simulator
        for simulator in (
            Simulator("histology", TISSUE_CLASSES, False, True, histology.simulate_histology),
            Simulator("ultrasound", ORGAN_CLASSES, True, False, ultrasound.simulate_ultrasound),
        )
    }
)
"""The simulators by name."""


def get_simulator(name: str) -> Simulator:
    """Find a simulator by its name.

    Raises
    ------
    InvalidOptionError
        If there is none of that name; the text lists the names.
    """
    if name not in SIMULATORS:
        raise InvalidOptionError(f"Expected the simulator to be {' or '.join(SIMULATORS)}; got {name!r}.")
    return SIMULATORS[name]
