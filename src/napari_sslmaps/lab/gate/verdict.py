"""Has an encoder beaten its controls? The rule, and the sentences that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MARGIN, DEVIATIONS = 0.05, 3.0


@dataclass(frozen=True, slots=True)
class Needed:
    """Balanced accuracies that an encoder has to reach."""

    probe: float
    knn: float

    @classmethod
    def from_controls(
        cls, untrained_probes: Sequence[float], untrained_knn: Sequence[float], colour_knn: float
    ) -> Needed:
        """Set the bar by the controls.

        The probe has to exceed the mean of untrained networks by .05 or three of their standard deviations,
        whichever is more; the neighbours have to be as good as the better of untrained networks and colour.
        """
        spread = float(np.std(untrained_probes, ddof=1))
        return cls(
            probe=float(np.mean(untrained_probes)) + max(MARGIN, DEVIATIONS * spread),
            knn=max(float(np.mean(untrained_knn)), colour_knn),
        )

    def failed_by(self, *, probe: float, knn: float) -> list[str]:
        """Return which of the two, ``probe`` and ``knn``, stay below what is needed."""
        return [name for name, value in (("probe", probe), ("knn", knn)) if value < getattr(self, name)]


def verdict(result: Mapping[str, Any]) -> str:
    """Say in a paragraph of Markdown whether an encoder beat its controls, from its published result."""
    domain, gain = result["domain"], result["gain"]
    probe = (
        f"its probe is {signed(gain['probe'])} from that of untrained networks "
        f"({result['trained']['probe']['value']:.3f}, {result['needed']['probe']:.3f} asked for)"
    )
    knn = (
        f"its nearest neighbours are {signed(gain['knn'])} from those of untrained networks and "
        f"{signed(result['gain_over_colour']['knn'])} from those of colour statistics"
    )
    if not result["failed"]:
        return f"**It beats its controls** on simulated {domain}: {probe}, and {knn}."
    parts = {"probe": "probe", "knn": "nearest neighbours"}
    failed = " and ".join(parts[name] for name in result["failed"])
    return f"**It does not beat its controls** on simulated {domain} ({failed}): {probe}; {knn}."


def label(result: Mapping[str, Any]) -> str:
    """Return the verdict in a few words."""
    if not result["failed"]:
        return "beats its controls"
    parts = {"probe": "probe", "knn": "neighbours"}
    return f"does not beat its controls ({', '.join(parts[name] for name in result['failed'])})"


def signed(estimate: Mapping[str, float]) -> str:
    """Return a difference with its interval, as text."""
    return f"{estimate['value']:+.3f} [{estimate['low']:+.3f}, {estimate['high']:+.3f}]"
