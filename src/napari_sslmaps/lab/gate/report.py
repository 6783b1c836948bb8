"""Published result of measurements: an encoder beside its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from napari_sslmaps.evaluation.uncertainty import Tally, estimate, estimate_gain
from napari_sslmaps.lab.gate.anchors import nearness_areas
from napari_sslmaps.lab.gate.images import ProbeSet
from napari_sslmaps.lab.gate.measure import Measurement
from napari_sslmaps.lab.gate.verdict import DEVIATIONS, Needed

SCORES = ("probe", "knn")


def compose(
    *,
    trained: Mapping[str, Measurement],
    untrained: Sequence[Measurement],
    baselines: Mapping[str, Measurement],
    test: ProbeSet,
) -> dict[str, Any]:
    """Put an encoder beside its controls and decide.

    Parameters
    ----------
    trained
        Measurement by SHA-256: the shipped weights first, then those of other training seeds.
    untrained
        Networks of the same architecture and initialisation, from several seeds.
    baselines
        Controls without a network, by name; ``colour`` must be among them.
    test
        The images they were measured on.

    Returns
    -------
    dict
        Result, ready for JSON. Scores are of the shipped tokens; gains are means over training seeds minus
        means over control seeds, paired by image.
    """
    runs = list(trained.values())
    tallies = {score: [getattr(run.shipped, score) for run in runs] for score in SCORES}
    controls = {score: [getattr(control.shipped, score) for control in untrained] for score in SCORES}
    reached = {score: float(np.mean([tally.accuracy for tally in tallies[score]])) for score in SCORES}
    needed = Needed.from_controls(
        [tally.accuracy for tally in controls["probe"]],
        [tally.accuracy for tally in controls["knn"]],
        baselines["colour"].shipped.knn.accuracy,
    )
    return {
        "trained": {**_describe(runs[0]), "runs": _describe_runs(trained)},
        "untrained": _describe_controls(untrained),
        "baselines": {name: _describe_plain(found) for name, found in baselines.items()},
        "nearness": nearness_areas(test).as_dict(),
        "gain": {score: asdict(estimate_gain(tallies[score], controls[score])) for score in SCORES},
        "gain_over_colour": {
            "knn": asdict(estimate_gain(tallies["knn"], [baselines["colour"].shipped.knn])),
        },
        "reached": reached,
        "needed": asdict(needed),
        "failed": needed.failed_by(**reached),
        "tolerance": _tolerance(tallies["probe"], controls["probe"]),
        "test": _describe_images(test),
    }


def _describe(measured: Measurement) -> dict[str, Any]:
    return {
        **{score: asdict(estimate(getattr(measured.shipped, score))) for score in SCORES},
        "choice": asdict(measured.shipped.choice),
        "areas": measured.areas.as_dict(),
        "rank": measured.rank,
        "taps": dict(measured.taps),
        "best_tap": {
            "name": measured.best_tap,
            **{score: getattr(measured.best, score).accuracy for score in SCORES},
        },
    }


def _describe_runs(trained: Mapping[str, Measurement]) -> list[dict[str, Any]]:
    return [
        {"sha256": digest, **{score: getattr(found.shipped, score).accuracy for score in SCORES}}
        for digest, found in trained.items()
    ]


def _describe_controls(untrained: Sequence[Measurement]) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for score in SCORES:
        values = [getattr(control.shipped, score).accuracy for control in untrained]
        best = [getattr(control.best, score).accuracy for control in untrained]
        described[score] = {
            "value": float(np.mean(values)),
            "deviation": float(np.std(values, ddof=1)),
            "runs": values,
            "best_tap": float(np.mean(best)),
        }
    return {
        **described,
        "areas": _mean_of([control.areas.as_dict() for control in untrained]),
        "rank": float(np.mean([control.rank for control in untrained])),
        "taps": _mean_of([control.taps for control in untrained]),
        "metrics": [control.shipped.choice.metric for control in untrained],
    }


def _describe_plain(measured: Measurement) -> dict[str, Any]:
    return {
        **{score: asdict(estimate(getattr(measured.shipped, score))) for score in SCORES},
        "choice": asdict(measured.shipped.choice),
        "areas": measured.areas.as_dict(),
    }


def _mean_of(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}


def _tolerance(trained: Sequence[Tally], controls: Sequence[Tally]) -> dict[str, Any]:
    """How far the probe of a repetition may lie off: measured if there are repetitions, else estimated."""
    values = [tally.accuracy for tally in trained]
    if len(values) > 1:
        return {"probe": max(abs(value - values[0]) for value in values[1:]), "basis": "training seeds"}
    spread = float(np.std([tally.accuracy for tally in controls], ddof=1))
    return {"probe": DEVIATIONS * spread, "basis": "control seeds"}


def _describe_images(test: ProbeSet) -> dict[str, Any]:
    """Tokens and images of each class, so that a class that hardly occurs is seen."""
    counts = {
        kind: {
            "tokens": int((test.labels == index).sum()),
            "images": int((test.labels == index).any(dim=1).sum()),
        }
        for index, kind in enumerate(test.classes)
    }
    return {"images": len(test.images), "classes": counts}
