"""What a contract case is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.sources.protocol import ImageSource

Spacing = tuple[float, float] | None


@dataclass(frozen=True)
class Case:
    source: ImageSource
    levels: list[NDArray[Any]]
    """(frames, height, width[, 3]) as decoded by another library, finest first."""
    spacing: Spacing = None


def picture(shape: tuple[int, ...], dtype: str = "uint8") -> NDArray[Any]:
    rng = np.random.default_rng(7)
    if dtype == "bool":
        return rng.random(shape) > 0.5
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
