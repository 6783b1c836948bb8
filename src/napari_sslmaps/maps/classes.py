"""Label maps: one class for each token."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.results import TokenMap
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.maps.map_type import MapType

CLASS_COLOURS = ("#f2545b", "#3fb8af", "#f5b700", "#8f7ae5", "#5cb3ff", "#ff9f6b")
"""Of the first classes that a user paints or annotates, told apart on purple and brown tissue as on grey."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelMap(TokenMap):
    """A class for every token; `values` is how sure the probe is, in [0, 1], NaN where not computed.

    Parameters
    ----------
    labels
        (rows, cols) int32 class numbers; 0 where the token has not been computed.
    classes
        The numbers there can be.
    """

    labels: NDArray[np.int32]
    classes: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.labels.shape != self.grid.shape or self.values.shape != self.grid.shape:
            raise InvalidOptionError(
                f"Expected labels and confidence on the grid {self.grid.shape}; got {self.labels.shape} and "
                f"{self.values.shape}. A map of classes stays on the grid it was predicted on."
            )


CLASSES = MapType(
    key="classes",
    result=LabelMap,
    title="probe",
    opacity=0.45,
    rule="none",
    labels=True,
    selectable=False,
    facts=lambda result: {"classes": list(result.classes)},
)
