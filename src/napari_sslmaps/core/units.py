"""Durations, sizes and lists in words."""

from collections.abc import Sequence


def duration(seconds: float) -> str:
    """Say a time: ``3 s``, ``2 min`` or ``5 h``."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 6000 else f"{seconds / 3600:.3g} h"


def size_text(megabytes: float) -> str:
    """Say a size: ``448 MB`` or ``1.3 GB``."""
    return f"{max(1.0, megabytes):.0f} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"


def listed(names: Sequence[str]) -> str:
    """Join names as a sentence does: ``a``, ``a and b``, ``a, b and c``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
