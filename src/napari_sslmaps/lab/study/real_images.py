"""The papers' question on real images, where sets differ in how large a thing is looked for.

Each set has one place on the axis, the length of its annotated signal over the image's side. I-JEPA's lead
over DINOv3, in areas above their untrained twins, is regressed on the logarithm of that share, with an
intercept for each domain, whose encoders were trained apart. The hypothesis says that the slope is positive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.findings import Estimate
from napari_sslmaps.evaluation.locality import GLOBAL, LOCAL
from napari_sslmaps.evaluation.uncertainty import bootstrap_mean, interval
from napari_sslmaps.lab.gate.image_sets import image_sets
from napari_sslmaps.lab.study.analysis import LATENT, VIEWS
from napari_sslmaps.lab.study.page import Block, Heading, PageTable, Text
from napari_sslmaps.lab.study.words import NAMES

Results = Mapping[str, Mapping[str, Any]]
DRAWS, SEED = 2000, 2603
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SetLead:
    """I-JEPA's lead over DINOv3 on one set.

    Parameters
    ----------
    name, domain
        Name of the set, and domain of its images.
    share
        Length of its signal as a share of the image's side.
    lead
        (images,) gain of I-JEPA over its twin less that of DINOv3 over its own.
    learned
        Whether each of the two is above its twin there for sure, by method.
    """

    name: str
    domain: str
    share: float
    lead: Float
    learned: Mapping[str, bool]

    @property
    def reach(self) -> str:
        """``local``, ``global`` or ``between``, by the bounds that `evaluate` has."""
        return "local" if self.share < LOCAL else "global" if self.share >= GLOBAL else "between"


def leads(results: Results) -> tuple[SetLead, ...]:
    """Return the lead on every set that both methods were judged on, domain by domain."""
    found = []
    for domain in dict.fromkeys(result["domain"] for result in results.values()):
        pair = [results.get(f"{method}-{domain}") for method in (LATENT, VIEWS)]
        if None in pair:
            continue
        first, second = (result["masks"] for result in pair if result is not None)
        found += [
            SetLead(
                name,
                domain,
                first[name]["share"],
                _gains(first[name]) - _gains(second[name]),
                {
                    method: masks[name]["gains"]["untrained"]["low"] > 0
                    for method, masks in ((LATENT, first), (VIEWS, second))
                },
            )
            for name in first
        ]
    return tuple(found)


def slope(found: Sequence[SetLead]) -> Estimate:
    """Change of the lead where a signal is twice as long, with an interval over images within the sets.

    NaN where no domain has two sets of different length.
    """
    rng = np.random.default_rng(SEED)
    means = np.array([each.lead.mean() for each in found])
    drawn = np.array(
        [each.lead[rng.integers(len(each.lead), size=(DRAWS, len(each.lead)))].mean(axis=1) for each in found]
    )
    domains = np.array([each.domain for each in found])
    length = np.log2([each.share for each in found])
    for domain in np.unique(domains):
        length[domains == domain] -= length[domains == domain].mean()
    energy = float(length @ length)
    if energy == 0:
        return Estimate(np.nan)
    weights = length / energy  # they sum to 0 in each domain, which takes its intercept away
    return interval(float(weights @ means), weights @ drawn)


def verdict(found: Sequence[SetLead]) -> str:
    """Say in a word what the interval of the slope says; its trainings are not in it."""
    estimate = slope(found)
    both = all(any(each.learned[method] for each in found) for method in (LATENT, VIEWS))
    if not both or not estimate.excludes_zero:
        return "undecided"
    return "supports" if estimate.low > 0 else "against"


def real_blocks(results: Results) -> Iterator[Block]:
    """Everything the page says of real images, from the gate's results alone."""
    found = sorted(leads(results), key=lambda each: (each.domain, each.share))
    estimate, said = slope(found), verdict(found)
    yield Heading("On real images")
    yield Text(
        "I-JEPA's lead over DINOv3 (areas of similarity to an anchor, each less its untrained twins'), where "
        f"what is looked for is twice as long: {estimate.value:+.3f}, 95 % interval {estimate.low:+.3f} to "
        f"{estimate.high:+.3f} over images. The interval alone says *{said}* (*supports* if it lies above 0, "
        "*against* if below, else *undecided*; also undecided unless both are above their twins for sure on "
        "one set at least). There is one training of each encoder, whose variation the interval does not "
        "hold, so that by the rule above the verdict is **undecided**."
    )
    yield Text(
        f"These are {len(found)} sets and small encoders, and length goes together with organ, scanner and "
        "difficulty: the objective cannot be told from these. *Length* is where the autocorrelation of the "
        "annotation falls to 1/e, over the image's side, as `evaluate` has it."
    )
    yield PageTable(set_table(results, found))


def set_table(results: Results, found: Sequence[SetLead]) -> list[list[str]]:
    """Methods × sets: areas of each method and its twins, and the lead."""
    titles = {known.name: known.title for known in image_sets()}
    methods = [method for method in NAMES if all(f"{method}-{each.domain}" in results for each in found)]
    head = [
        "set",
        "images",
        "length",
        "reach",
        *(f"{NAMES[method]} / untrained" for method in methods),
        f"lead of {NAMES[LATENT]}",
    ]
    rows = []
    for each in found:
        cells = []
        for method in methods:
            areas = results[f"{method}-{each.domain}"]["masks"][each.name]["areas"]
            cells.append(f"{areas['encoder']['all']:.3f} / {areas['untrained']['all']:.3f}")
        lead = bootstrap_mean(each.lead)
        rows.append(
            [
                f"{titles[each.name]}, {each.domain}",
                str(len(each.lead)),
                f"{each.share:.2f}",
                each.reach,
                *cells,
                f"{lead.value:+.3f} [{lead.low:+.3f}, {lead.high:+.3f}]",
            ]
        )
    return [head, *rows]


def _gains(masks: Mapping[str, Any]) -> Float:
    encoder, untrained = (np.array(masks["by_image"][key], np.float64) for key in ("encoder", "untrained"))
    return encoder - untrained
