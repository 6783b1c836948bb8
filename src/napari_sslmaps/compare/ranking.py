"""Which encoder is ahead on a comparison's own scores, by how much, and how sure that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.compare.results import Comparison, Float
from napari_sslmaps.compare.verdicts import anchor_areas
from napari_sslmaps.core.estimate import Estimate
from napari_sslmaps.evaluation.intervals import bootstrap_mean, paired_difference

_OWN_CHOICE = ("pca",)
"""Maps that are scored as the annotation likes them best; they would favour whoever has more of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Encoders by their mean score.

    Parameters
    ----------
    what
        Which score.
    order
        Names, the best first.
    means
        Name → mean score with its interval.
    values
        Name → (n,) scores of the same anchors or maps in the same order, NaN where undefined.
    groups
        (n,) the number of the image of each.
    """

    what: str
    order: tuple[str, ...]
    means: Mapping[str, Estimate]
    values: Mapping[str, Float]
    groups: NDArray[np.int64]

    def lead(self, first: str, second: str) -> Estimate:
        """Mean difference of two encoders' scores, first less second, paired."""
        return paired_difference(self.values[first], self.values[second], self.groups)

    def lead_of_groups(self, first: Sequence[str], second: Sequence[str]) -> Estimate:
        """Mean difference of the means of two groups of encoders, paired."""
        one, other = (np.mean([self.values[name] for name in names], axis=0) for names in (first, second))
        return paired_difference(one, other, self.groups)


def rank_encoders(comparison: Comparison) -> Ranking | None:
    """Rank the encoders by similarity to anchors where that was scored, else by their attention's maps.

    Returns
    -------
    Ranking or None
        None without scores. An encoder that has no score comes last.
    """
    names = [encoder.name for encoder in comparison.encoders]
    found = {name: anchor_areas(comparison, name) for name in names}
    if any(len(values) for values, _ in found.values()):
        groups = max((groups for _, groups in found.values()), key=len)
        values = {
            name: areas if len(areas) else np.full(len(groups), np.nan) for name, (areas, _) in found.items()
        }
        return _ranking("AUROC of similarity to anchors", values, groups)
    keys = _map_keys(comparison)
    if not keys:
        return None
    maps = {name: np.array([_map_area(comparison, name, key) for key in keys]) for name in names}
    return _ranking("AUROC of maps", maps, np.array([number for number, _, _ in keys], np.int64))


def _ranking(what: str, values: Mapping[str, Float], groups: NDArray[np.int64]) -> Ranking:
    means = {name: bootstrap_mean(scores, groups) for name, scores in values.items()}
    order = sorted(means, key=lambda name: -np.nan_to_num(means[name].value, nan=-1.0))
    return Ranking(what, tuple(order), means, values, groups)


def _kind(name: str) -> str:
    """Attention and, for a CNN, activation are each method's own word for what it looks at."""
    return "attention" if name == "activation" else name


def _map_keys(comparison: Comparison) -> list[tuple[int, str, str]]:
    """Image's number, kind of map and class of all that encoders have."""
    names = {encoder.name for encoder in comparison.encoders}
    keys = [
        (number, _kind(row.map), row.label)
        for number, image in enumerate(comparison.images)
        for row in image.maps
        if row.method in names and not row.map.startswith(_OWN_CHOICE)
    ]
    return list(dict.fromkeys(keys))


def _map_area(comparison: Comparison, method: str, key: tuple[int, str, str]) -> float:
    number, kind, label = key
    for row in comparison.images[number].maps:
        if (row.method, _kind(row.map), row.label) == (method, kind, label):
            return row.scores.auroc
    return float("nan")
