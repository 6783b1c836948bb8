"""Numbers into sentences and tables: nothing is said that an interval does not hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.lab.study.analysis import LATENT, VIEWS, untrained

NAMES = {method.name: method.title for method in METHODS.values()}
_OTHERS = {"colour": "colour statistics", "pixels": "raw pixels"}
_FOUND = 1.96 + 0.84  # standard errors at which an effect is found in 80 % of studies
_ENDS = {
    "locality": "where the label is the arrangement, less the same where it is the local cue",
    "noise": "at the noisiest setting, less the same at the cleanest",
}
Rows = list[list[str]]


def verdict_sentence(row: Mapping[str, Any], learned: Mapping[str, bool]) -> str:
    """Say what one contrast found, and no more.

    Parameters
    ----------
    row
        Row of the contrast, one of `analysis.analyse`'s.
    learned
        Whether I-JEPA and DINOv3 beat their untrained twins.
    """
    found = (
        f"I-JEPA's lead over DINOv3 {_ENDS[row['along']]} ({row['of']}, {row['probe']} probe, "
        f"{' and '.join(row['domains'])}): {row['value']:+.3f}, 95 % interval {row['low']:+.3f} to "
        f"{row['high']:+.3f}. By the rule fixed beforehand: **{row['verdict']}**. "
    )
    excluded = not row["low"] <= 0 <= row["high"]
    idle = [NAMES[method] for method, yes in learned.items() if not yes]
    if excluded and idle:
        found += (
            f"The interval excludes 0, but {' and '.join(idle)} did not beat an untrained twin for sure, so "
            "this says nothing about what the objective learns. "
        )
    if not row["freedom"]:
        found += (
            "One method has a single training, whose variation the interval does not hold: not a verdict. "
        )
    return (
        found + f"A true contrast of {row['detectable']:.3f} would have been found in 80 % of such studies."
    )


def contrast_table(rows: Sequence[Mapping[str, Any]]) -> Rows:
    """Every contrast with interval, power and verdict."""
    head = ["along", "probe", "of", "domains", "contrast", "95 % interval", "detectable (80 %)", "verdict"]
    body = [
        [
            row["along"],
            row["probe"],
            row["of"],
            " + ".join(row["domains"]),
            f"{row['value']:+.3f}",
            f"{row['low']:+.3f} … {row['high']:+.3f}",
            f"{row['detectable']:.3f}",
            row["verdict"],
        ]
        for row in rows
    ]
    return [head, *body]


def gain_table(gains: Mapping[str, Any]) -> Rows:
    """Trained minus untrained at both ends of locality."""
    head = ["pooled probe, over all noises", "label in the arrangement", "label in the local cue"]
    body = [
        [f"{domain}, {NAMES[method]}", *(_signed(ends[end]) for end in ("arrangement", "local"))]
        for domain, methods in gains.items()
        for method, ends in methods.items()
    ]
    return [head, *body]


def accuracy_table(design: Mapping[str, Any], table: Mapping[str, Any], probe: int) -> Rows:
    """Accuracies of every encoder at both ends of locality and every noise, with half-widths."""
    head = [
        "",
        *(f"{word}, ν = {noise:g}" for word in ("arrangement", "local cue") for noise in design["noises"]),
    ]
    body = []
    for name in table:
        value, low = (np.asarray(table[name][key])[probe] for key in ("value", "low"))
        cells = [
            f"{value[row, end]:.3f} ± {value[row, end] - low[row, end]:.3f}"
            for end in (0, -1)
            for row in range(len(design["noises"]))
        ]
        body.append([encoder_name(name), *cells])
    return [head, *body]


def token_table(design: Mapping[str, Any], tables: Mapping[str, Any]) -> Rows:
    """Balanced accuracy of the token probe at every noise."""
    head = ["token probe", *(f"{domain}, ν = {noise:g}" for domain in tables for noise in design["noises"])]
    names = list(dict.fromkeys(name for table in tables.values() for name in table))
    missing = ["–"] * len(design["noises"])
    body = []
    for name in names:
        shown = [
            [f"{value:.3f}" for value in table[name]["value"]] if name in table else missing
            for table in tables.values()
        ]
        body.append([encoder_name(name), *(cell for cells in shown for cell in cells)])
    return [head, *body]


def compute_table(compute: Mapping[str, Any]) -> Rows:
    """Cost of the trainings, by domain and method."""
    head = ["", "trainings", "steps", "images", "minutes each", "images/s", "feature rank"]
    body = []
    for domain, methods in compute.items():
        for method, trainings in methods.items():
            seconds = np.mean([facts["seconds"] for facts in trainings])
            images = trainings[0]["images"]
            body.append(
                [
                    f"{domain}, {NAMES[method]}",
                    str(len(trainings)),
                    f"{trainings[0]['steps']:,}",
                    f"{images:,}",
                    f"{seconds / 60:.1f}",
                    f"{images / seconds:.0f}",
                    ", ".join(f"{facts['feature_rank']:.0f}" for facts in trainings),
                ]
            )
    return [head, *body]


def design_table(design: Mapping[str, Any]) -> Rows:
    """Every value of the design."""
    plain = {name: value for name, value in design.items() if name != "steps"}
    rows = [
        [name, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)]
        for name, value in plain.items()
    ]
    steps = ", ".join(f"{NAMES[method]} {count:,}" for method, count in design["steps"].items())
    return [["design", ""], *rows, ["steps", steps]]


def minutes_spent(compute: Mapping[str, Any]) -> float:
    """Minutes of all trainings together."""
    runs = [facts for methods in compute.values() for trainings in methods.values() for facts in trainings]
    return float(sum(facts["seconds"] for facts in runs)) / 60


def encoder_name(name: str) -> str:
    """Return the name as it is shown."""
    twins = {untrained(method): f"{shown}, untrained" for method, shown in NAMES.items()}
    return (NAMES | _OTHERS | twins)[name]


def seeds_needed(row: Mapping[str, Any], seeds: int, wanted: float, more_images: float = 1.0) -> int:
    """Seeds with which a contrast of `wanted` would be found in 80 % of studies.

    The variance between trainings falls with their number, that of test images with theirs.

    Parameters
    ----------
    row
        A contrast, as measured.
    seeds
        Seeds of each method that it was measured with, at least 2.
    wanted
        The contrast to be found.
    more_images
        Factor by which there would be more test images.

    Returns
    -------
    int
        0 if no number of seeds suffices: the images alone vary too much.
    """
    of_seeds, whole = row["seed_error"] ** 2, row["error"] ** 2
    of_images = max(0.0, whole - of_seeds) / more_images
    left = (wanted / _FOUND) ** 2 - of_images
    return 0 if left <= 0 else max(2, int(np.ceil(of_seeds * seeds / left)))


def plan_sentence(result: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """Say what another design would cost, and what it could find if trainings vary as they did here.

    Parameters
    ----------
    result
        Numbers that the study measured.
    plan
        The other design, as `design.design_to_dict` gives it.
    """
    trainings = plan["seeds"] * len(plan["domains"]) * len(plan["methods"])
    cost = (
        f"The design `{plan['name']}` has {plan['seeds']} seeds, {trainings} trainings of "
        f"{plan['minutes'] / trainings:.0f} minutes each: {plan['minutes'] / 60:.0f} hours of one core, "
        "and `--part` shares them among cores. "
    )
    compute = result["compute"]
    counts = [len(runs) for methods in compute.values() for runs in methods.values()]
    rates = [
        f"{NAMES[method]} {np.mean([facts['steps'] / facts['seconds'] for facts in runs]):.1f}"
        for method, runs in next(iter(compute.values())).items()
    ]
    cost += f"Steps a second of one core were here, with the smaller networks: {', '.join(rates)}. "
    if "contrasts" not in result or min(counts) < 2:
        return cost + "How many seeds it takes is not known from one training of each method."
    more = plan["test_images"] / result["design"]["test_images"]
    found = [
        f"{wanted:.2f} with {needed}" if needed else f"{wanted:.2f} with no number"
        for wanted in (0.1, 0.05, 0.03)
        for needed in [seeds_needed(result["contrasts"][0], min(counts), wanted, more)]
    ]
    return (
        cost
        + f"If trainings vary as they did here, {plan['test_images']:,} test images would find a primary "
        f"contrast of {', of '.join(found)} seeds in 80 % of studies. Longer trainings may vary otherwise."
    )


def learned_sentence(learned: Mapping[str, bool]) -> str:
    """Say whether the two methods of the contrast learned anything that the probes ask for."""
    yes = [NAMES[method] for method in (LATENT, VIEWS) if learned[method]]
    no = [NAMES[method] for method in (LATENT, VIEWS) if not learned[method]]
    parts = []
    if yes:
        parts.append(
            f"{' and '.join(yes)} beat untrained twins at one end of locality at least, in a domain at least"
        )
    if no:
        parts.append(f"{' and '.join(no)} did not beat untrained twins for sure anywhere")
    return "; ".join(parts) + "."


def _signed(number: Mapping[str, Any]) -> str:
    return f"{number['value']:+.3f} ({number['low']:+.3f} … {number['high']:+.3f})"
