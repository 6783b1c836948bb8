"""Does an encoder beat its controls, and which is ahead? Paired differences with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.compare.results import Comparison
from napari_sslmaps.core.findings import Estimate
from napari_sslmaps.core.units import listed
from napari_sslmaps.evaluation.anchor_scores import Float, Stratum
from napari_sslmaps.evaluation.uncertainty import bootstrap_mean, paired_difference

NEARNESS = "distance alone"
"""Every comparison of anchors has this control: a map that knows but how far a token is from the anchor."""

_ASK_FOR_MORE = "untrained twins, pixels and colour, which were not compared, would tell more"
_IN_ONE_PIECE = (
    "Where what is sought lies in one piece, places near the anchor are right without a look at the image"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict on an encoder against its controls.

    Parameters
    ----------
    encoder
        Name of the encoder.
    differences
        Control → encoder's mean score less the control's, over the same anchors.
    blind
        Those of the controls that know where a token is, and nothing of the image.
    twin
        Name of the control that is the encoder before training; empty without one.
    """

    encoder: str
    differences: tuple[tuple[str, Estimate], ...]
    blind: tuple[str, ...] = ()
    twin: str = ""

    @property
    def unbeaten(self) -> tuple[str, ...]:
        """Controls that the encoder is not clearly better than: the interval of the difference reaches 0."""
        return tuple(name for name, difference in self.differences if not difference.low > 0)

    @property
    def seeing(self) -> tuple[str, ...]:
        """Controls that know something of the image."""
        return tuple(name for name, _ in self.differences if name not in self.blind)

    @property
    def word(self) -> str:
        """The verdict in a table: ``yes``, ``no``, or ``all that see`` but not the blind ones."""
        if not self.unbeaten:
            return "yes"
        return "all that see" if self.seeing and set(self.unbeaten) <= set(self.blind) else "no"


def doubts_of(found: Sequence[Verdict]) -> tuple[str, ...]:
    """Say which encoders do not beat their controls, in words that stand below a table; empty if all do.

    Encoders that fail alike share a sentence.

    Parameters
    ----------
    found
        Verdicts of all encoders.
    """
    failing = [verdict for verdict in found if verdict.unbeaten]
    near = [verdict for verdict in failing if set(verdict.unbeaten) <= set(verdict.blind)]
    seen = [verdict for verdict in failing if verdict not in near]
    unseen = [verdict for verdict in near if not verdict.seeing]
    beyond = [verdict for verdict in near if verdict.seeing]
    sentences = []
    if seen:
        it, maps = ("this encoder", "its") if len(seen) == 1 else ("these encoders", "their")
        told = _than(seen, "not clearly better than")
        sentences.append(f"{_failing(seen)}: {told}. What {maps} maps show may not need {it}.")
    if beyond:
        told = _than(beyond, besides=f"clearly better than {_beaten(beyond)}")
        more = "beating controls that look tells more"
        sentences.append(f"{_failing(beyond)}: {told}. {_IN_ONE_PIECE}; {more}.")
    if unseen:
        told = _than(unseen, "no better than")
        sentences.append(f"{_failing(unseen)}: {told}. {_IN_ONE_PIECE}; {_ASK_FOR_MORE}.")
    return tuple(sentences)


def _failing(found: Sequence[Verdict]) -> str:
    names = listed([verdict.encoder for verdict in found])
    return f"{names} does not beat its controls" if len(found) == 1 else f"{names} do not beat their controls"


def _beaten(found: Sequence[Verdict]) -> str:
    beaten = {_alike(verdict.seeing, verdict): _named(verdict.seeing, found) for verdict in found}
    [names, *others] = beaten.values()
    return "all of their controls that see the image" if others else names


def _alike(names: tuple[str, ...], verdict: Verdict) -> tuple[str, ...]:
    """Return names of controls with the same word for every encoder's own twin."""
    return tuple("" if name == verdict.twin else name for name in names)


def _named(names: tuple[str, ...], group: Sequence[Verdict]) -> str:
    """List controls; twins of several encoders, which have names of their own, together."""
    twins = {verdict.twin for verdict in group}
    own = len(twins) > 1
    return listed(["their untrained twins" if own and name in twins else name for name in names])


def _than(found: Sequence[Verdict], better: str = "", *, besides: str = "") -> str:
    """Say what encoders are not better than, in such words or after what they are better than."""
    groups: dict[tuple[str, ...], list[Verdict]] = {}
    for verdict in found:
        groups.setdefault(_alike(verdict.unbeaten, verdict), []).append(verdict)
    first, *others = (
        (listed([verdict.encoder for verdict in group]), _named(group[0].unbeaten, group))
        for group in groups.values()
    )
    they_are = "it is" if len(found) == 1 else "they are"
    if besides and not others:
        return f"{they_are} {besides}, but not than {first[1]}"
    more = "".join(f", nor {who} than {what}" for who, what in others)
    if not others:
        return f"{they_are} {better} {first[1]}"
    are = "is" if len(next(iter(groups.values()))) == 1 else "are"
    opening = (
        f"{they_are} {besides}; {first[0]} {are} not clearly better"
        if besides
        else f"{first[0]} {are} {better}"
    )
    return f"{opening}{' than' if besides else ''} {first[1]}{more}"


def verdicts(comparison: Comparison, stratum: Stratum = "all") -> tuple[Verdict, ...]:
    """Compare each encoder with each of its controls, anchor by anchor.

    Parameters
    ----------
    comparison
        Comparison with anchors' scores; without, there is no verdict.
    stratum
        Tokens at which distance from the anchor.
    """
    if not any(image.anchors for image in comparison.images):
        return ()
    found = []
    for encoder in comparison.encoders:
        controls = comparison.controls_of(encoder.name)
        twin = next((control.name for control in controls if control.control == "untrained"), "")
        blind = (*(control.name for control in controls if control.control == "position"), NEARNESS)
        names = (*(control.name for control in controls), NEARNESS)
        pairs = [(name, difference(comparison, encoder.name, name, stratum)) for name in names]
        found.append(Verdict(encoder.name, tuple(pairs), blind, twin))
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


_OWN_CHOICE = ("pca",)
"""Maps that are scored as the annotation likes them best; they would favour whoever has more of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Encoders by their mean score.

    Parameters
    ----------
    what
        Score that is ranked.
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
        Ranking, None without scores; an encoder that has no score comes last.
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
