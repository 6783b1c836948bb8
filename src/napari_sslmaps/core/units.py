"""Durations, sizes, lists and names in words."""

import re
from collections.abc import Sequence
from itertools import takewhile


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


def told_apart(names: Sequence[str], most: int) -> dict[str, str]:
    """Return name → what tells it from the others, in so many characters: short places show no more.

    Whole words that all names begin or end with are left out, and of what is still too long the middle.

    Examples
    --------
    >>> told_apart(["slide_0012-a.webp", "slide_0013-b.webp"], 12)
    {'slide_0012-a.webp': '…0012-a…', 'slide_0013-b.webp': '…0013-b…'}
    """
    several = len(set(names)) > 1
    start = _shared_words(names) if several else 0
    end = _shared_words([name[start:][::-1] for name in names]) if several else 0
    found = {}
    for name in names:
        middle = f"{'…' * bool(start)}{name[start : len(name) - end]}{'…' * bool(end)}"
        shown = name if len(name) <= most else middle
        half = (most - 1) // 2
        found[name] = shown if len(shown) <= most else f"{shown[: most - 1 - half]}…{shown[-half:]}"
    return found


def _shared_words(names: Sequence[str]) -> int:
    """Return with how many characters all names begin, in whole words with what stands behind them."""
    alike = takewhile(lambda column: len(set(column)) == 1, zip(*names, strict=False))
    start = names[0][: len(list(alike))]
    return max((found.end() for found in re.finditer(r"[\W_]+", start)), default=0)
