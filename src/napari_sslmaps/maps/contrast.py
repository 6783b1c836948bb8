"""Contrast: the limits between which a map is drawn."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Display = Literal["fixed", "shared", "each"]
Limits = tuple[float, float]


def robust_limits(maps: Sequence[NDArray[Any]]) -> Limits:
    """Return the 1st and 99th percentile of what is finite in all maps together, never equal."""
    finite = np.concatenate([values[np.isfinite(values)] for values in maps])
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, ROBUST_PERCENTILES))
    return (low, high) if high > low else (low, low + max(abs(low), 1.0) * 1e-3)


ROBUST_PERCENTILES = (1.0, 99.0)
