"""Does an encoder beat its controls? Paired differences of its anchors' scores, with intervals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.compare.results import Comparison, Float
from napari_sslmaps.core.estimate import Estimate
from napari_sslmaps.evaluation.anchor_scores import Stratum
from napari_sslmaps.evaluation.intervals import paired_difference

NEARNESS = "distance alone"
"""Every comparison of anchors has this control: a map that knows but how far a token is from the anchor."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an encoder compares with its controls.

    Parameters
    ----------
    encoder
        Its name.
    differences
        Control → encoder's mean score less the control's, over the same anchors.
    """

    encoder: str
    differences: tuple[tuple[str, Estimate], ...]

    @property
    def unbeaten(self) -> tuple[str, ...]:
        """Controls that the encoder is not clearly better than: the interval of the difference reaches 0."""
        return tuple(name for name, difference in self.differences if not difference.low > 0)

    @property
    def sentence(self) -> str:
        """Say so, in words that stand below a table; empty if it beats them all."""
        if not self.unbeaten:
            return ""
        return (
            f"{self.encoder} does not beat its controls: it is not clearly better than "
            f"{', '.join(self.unbeaten)}, so what its maps show may not need this encoder."
        )


def verdicts(comparison: Comparison, stratum: Stratum = "all") -> tuple[Verdict, ...]:
    """Compare each encoder with each of its controls, anchor by anchor.

    Parameters
    ----------
    comparison
        With anchors' scores; without, there is no verdict.
    stratum
        Tokens at which distance from the anchor.
    """
    if not any(image.anchors for image in comparison.images):
        return ()
    found = []
    for encoder in comparison.encoders:
        controls = [control.name for control in comparison.controls_of(encoder.name)]
        pairs = [
            (name, difference(comparison, encoder.name, name, stratum)) for name in (*controls, NEARNESS)
        ]
        found.append(Verdict(encoder.name, tuple(pairs)))
    return tuple(found)


def difference(comparison: Comparison, first: str, second: str, stratum: Stratum = "all") -> Estimate:
    """Mean difference of two methods' scores over the same anchors, with its interval."""
    one, groups = anchor_areas(comparison, first, stratum)
    other, _ = anchor_areas(comparison, second, stratum)
    return paired_difference(one, other, groups)


def anchor_areas(
    comparison: Comparison, method: str, stratum: Stratum = "all"
) -> tuple[Float, NDArray[np.int64]]:
    """Return the areas of all anchors, (n,), NaN where undefined, and the numbers of their images, (n,)."""
    areas, groups = [], []
    for number, image in enumerate(comparison.images):
        strata = image.areas_of(method) if method != NEARNESS else image.nearness
        if stratum in strata:
            areas.append(strata[stratum])
            groups.append(np.full(len(strata[stratum]), number, np.int64))
    if not areas:
        return np.empty(0), np.empty(0, np.int64)
    return np.concatenate(areas), np.concatenate(groups)
