"""Physical units → micrometres."""

from typing import Any

from napari_sslmaps.sources.base import SpacingYX

_MICROMETRES = {
    "m": 1e6,
    "cm": 1e4,
    "mm": 1e3,
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "nm": 1e-3,
    "pm": 1e-6,
    "å": 1e-4,
    "in": 25_400.0,
    "inch": 25_400.0,
    "meter": 1e6,
    "centimeter": 1e4,
    "millimeter": 1e3,
    "micrometer": 1.0,
    "nanometer": 1e-3,
    "picometer": 1e-6,
    "angstrom": 1e-4,
}


def unit_um(unit: str | None) -> float | None:
    """Micrometres in one `unit`, or None if it is no unit of length that is known."""
    text = (unit or "").strip().replace("\\u00B5", "µ").lower()
    return _MICROMETRES.get(text)


def spacing_um(step_y: Any, step_x: Any, factor: float | None) -> SpacingYX:
    """Return positive, finite micrometres per pixel, or None if a step is not."""
    try:
        y, x = float(step_y) * (factor or 0.0), float(step_x) * (factor or 0.0)
    except (TypeError, ValueError):
        return None
    return (y, x) if 0 < y < float("inf") and 0 < x < float("inf") else None
