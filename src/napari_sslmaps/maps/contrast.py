"""Contrast: the limits between which a map is drawn, the same in the window and in figures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.results import TokenMap
from napari_sslmaps.maps.map_type import Display, MapType

Limits = tuple[float, float]
_PERCENTILES = (1.0, 99.0)
_STRETCHED = "percentiles 1–99"
_SHARED = f"{_STRETCHED} of all encoders"
_WORDS = {_SHARED: "shared", _STRETCHED: "by itself"}


def limits_of(
    map_type: MapType, maps: Sequence[TokenMap], display: Display = "shared"
) -> list[Limits | None]:
    """Return the limits of each of several encoders' maps of one kind.

    Parameters
    ----------
    map_type
        Kind of map, which has the rule.
    maps
        Maps that are drawn together.
    display
        Whether kinds that can share their contrast do.

    Returns
    -------
    list
        Low and high of each map, never equal; None for colours and labels.
    """
    if map_type.rule == "none" or not maps:
        return [None] * len(maps)
    if map_type.shared and display == "shared":
        return [robust_limits([result.values for result in maps])] * len(maps)
    return [_limits_alone(map_type, result, display) for result in maps]


def rule_of(map_type: MapType, display: Display = "shared") -> str:
    """Return in words by which rule `limits_of` goes, as metadata keep it."""
    if map_type.shared and display == "shared":
        return _SHARED
    if map_type.rule == "range" and display == "fixed":
        return "fixed"
    return {"symmetric": "symmetric", "zero": "0 to percentile 99"}.get(map_type.rule, _STRETCHED)


def contrast_words(contrast: dict[str, Any]) -> str:
    """Say limits and rule, as metadata keep them, in a caption."""
    low, high = (f"{limit:.2g}".replace("-", "−") for limit in contrast["limits"])
    return f"{low} to {high}, {_WORDS.get(contrast['rule'], contrast['rule'])}"


def robust_limits(maps: Sequence[NDArray[Any]]) -> Limits:
    """Return the 1st and 99th percentile of what is finite in all maps together, never equal."""
    finite = np.concatenate([values[np.isfinite(values)] for values in maps])
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, _PERCENTILES))
    return (low, high) if high > low else (low, low + max(abs(low), 1.0) * 1e-3)


def _limits_alone(map_type: MapType, result: TokenMap, display: Display) -> Limits:
    if map_type.rule == "range" and display == "fixed":
        low, high = result.value_range  # type: ignore[attr-defined]  # every map of this rule has one
        return float(low), float(high)
    if map_type.rule in ("symmetric", "zero"):
        known = np.abs(result.values[np.isfinite(result.values)])
        end = float(np.percentile(known, _PERCENTILES[1])) if known.size else 0.0
        end = max(end, map_type.span) or 1.0
        return (-end, end) if map_type.rule == "symmetric" else (0.0, end)
    return robust_limits([result.values])
