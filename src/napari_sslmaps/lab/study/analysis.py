"""The analysis, fixed before the results: accuracies along both knobs, two contrasts, one rule of verdict.

The primary contrast is that of the pooled probe, averaged over noises and domains::

    (I-JEPA − DINOv3 where the label is the arrangement) − (I-JEPA − DINOv3 where it is the local cue)

The hypothesis says it is positive. Beside it stands the same contrast of *gains* over untrained networks of
the same shape and initialisation, because the two methods come with different position codes, and a code
alone can show or hide the arrangement. The second contrast replaces the ends of locality by the ends of
noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.lab.study.bootstrap import BootstrapEstimate, FloatArray, Resampled, estimate, resample
from napari_sslmaps.lab.study.design import CONTRASTED, Design
from napari_sslmaps.lab.study.probe import PROBES

LATENT, VIEWS = CONTRASTED
_RESAMPLING_SEED = 2603
_VERDICTS = {
    "locality": ("against", "in support"),
    "noise": ("I-JEPA's lead shrinks with noise", "I-JEPA's lead grows with noise"),
}
#: Accuracies (probes, noises, localities) of each encoder, in; a number out.
Statistic = Callable[[Mapping[str, FloatArray]], FloatArray]


@dataclass(frozen=True, slots=True)
class StudyResult:
    """Scores of one domain, by encoder.

    Attributes
    ----------
    image
        (seeds, probes, noises, localities, images) bool: whether the label was read.
    token
        (seeds, noises, images) float32: share in the balanced accuracy of the token probe.
    """

    image: Mapping[str, NDArray[np.bool_]]
    token: Mapping[str, NDArray[np.float32]]


def untrained(method: str) -> str:
    """Name of the untrained twin of a method."""
    return f"{method}-untrained"


def analyse(design: Design, found: Mapping[str, StudyResult]) -> dict[str, Any]:
    """Return every number of the page, ready for JSON.

    Parameters
    ----------
    design
        Plan of the study.
    found
        Scores by domain.
    """
    # A seed for each domain: their trainings and images are independent.
    images, tokens = (
        {
            domain: resample(getattr(scores, level), design.resamples, _RESAMPLING_SEED + index)
            for index, (domain, scores) in enumerate(found.items())
        }
        for level in ("image", "token")
    )
    gains = {
        domain: {
            method: _gain(resampled, method) for method in design.methods if method in resampled.observed
        }
        for domain, resampled in images.items()
    }
    result: dict[str, Any] = {
        "accuracy": {domain: _every(resampled) for domain, resampled in images.items()},
        "tokens": {domain: _every(resampled) for domain, resampled in tokens.items()},
        "gains": gains,
    }
    both = {name: part for name, part in images.items() if {LATENT, VIEWS} <= part.observed.keys()}
    if both:
        learned = learned_at({domain: gains[domain] for domain in both})
        result["learned"] = learned
        result["contrasts"] = _contrasts(both, learned=all(learned.values()))
    return result


def contrast(probe: int, along: str, *, gained: bool) -> Statistic:
    """Return the contrast along a knob as a function of the accuracies.

    Parameters
    ----------
    probe
        Index of the probe in `PROBES`.
    along
        Axis of the contrast. locality: arrangement end minus local end, over all noises. noise: noisy end
        minus clean end, over both ends of locality.
    gained
        Whether to subtract the untrained twin of each method first.
    """

    def difference(accuracy: Mapping[str, FloatArray]) -> FloatArray:
        latent, views = accuracy[LATENT], accuracy[VIEWS]
        if gained:
            latent, views = latent - accuracy[untrained(LATENT)], views - accuracy[untrained(VIEWS)]
        return (latent - views)[..., probe, :, :]

    def locality(accuracy: Mapping[str, FloatArray]) -> FloatArray:
        lead = difference(accuracy).mean(axis=-2)
        ends: FloatArray = lead[..., 0] - lead[..., -1]
        return ends

    def noise(accuracy: Mapping[str, FloatArray]) -> FloatArray:
        lead = difference(accuracy)[..., [0, -1]].mean(axis=-1)
        ends: FloatArray = lead[..., -1] - lead[..., 0]
        return ends

    return {"locality": locality, "noise": noise}[along]


def verdict(found: BootstrapEstimate, along: str, *, learned: bool) -> str:
    """Apply the rule: decided if the interval excludes 0, holds seeds, and both methods learned anything."""
    if not learned or not found.freedom or found.low <= 0 <= found.high:
        return "undecided"
    return _VERDICTS[along][int(found.low > 0)]


def learned_at(gains: Mapping[str, Mapping[str, Any]]) -> dict[str, bool]:
    """Whether I-JEPA and DINOv3 beat their untrained twins for sure, at either end, in any domain."""
    return {
        method: any(
            gains[domain][method][end]["low"] > 0 for domain in gains for end in ("arrangement", "local")
        )
        for method in (LATENT, VIEWS)
    }


def _contrasts(images: Mapping[str, Resampled], *, learned: bool) -> list[dict[str, Any]]:
    """Every contrast over all domains and in each, the primary one first."""
    rows = []
    for along in ("locality", "noise"):
        for probe, name in enumerate(PROBES):
            for gained in (False, True):
                statistic = contrast(probe, along, gained=gained)
                involved = [LATENT, VIEWS, *((untrained(LATENT), untrained(VIEWS)) if gained else ())]
                for domains in (list(images), *([domain] for domain in images if len(images) > 1)):
                    number = _combine([images[domain] for domain in domains], statistic, involved)
                    rows.append(
                        {
                            "along": along,
                            "probe": name,
                            "of": "gains" if gained else "accuracies",
                            "domains": domains,
                            **asdict(number),
                            "verdict": verdict(number, along, learned=learned),
                        }
                    )
    return rows


def _combine(images: Sequence[Resampled], statistic: Statistic, involved: Sequence[str]) -> BootstrapEstimate:
    """Average a statistic over domains, whose trainings and images are independent."""
    value = float(np.mean([statistic(part.observed) for part in images]))
    draws = np.mean([statistic(part.draws) for part in images], axis=0)
    seed_draws = np.mean([statistic(part.seed_draws) for part in images], axis=0)
    seeds = [part.seeds[name] for part in images for name in involved]
    return estimate(value, draws, seed_draws, seeds)


def _gain(images: Resampled, method: str) -> dict[str, Any]:
    """Pooled probe, over all noises: trained minus untrained, at both ends of locality."""
    names = (method, untrained(method))
    ends = {}
    for end, index in (("arrangement", 0), ("local", -1)):
        observed, draws, seed_draws = (
            part[names[0]][..., 0, :, index].mean(axis=-1) - part[names[1]][..., 0, :, index].mean(axis=-1)
            for part in (images.observed, images.draws, images.seed_draws)
        )
        seeds = [images.seeds[name] for name in names]
        ends[end] = asdict(estimate(float(observed), draws, seed_draws, seeds))
    return ends


def _every(images: Resampled) -> dict[str, Any]:
    """Value, low and high of every accuracy, each nested like its axes."""
    table = {}
    for name, observed in images.observed.items():
        draws, seed_draws = images.draws[name], images.seed_draws[name]
        numbers = [
            estimate(
                float(value),
                draws[(slice(None), *index)],
                seed_draws[(slice(None), *index)],
                [images.seeds[name]],
            )
            for index, value in np.ndenumerate(observed)
        ]
        table[name] = {
            key: np.round([getattr(number, key) for number in numbers], 4).reshape(observed.shape).tolist()
            for key in ("value", "low", "high")
        }
    return table
