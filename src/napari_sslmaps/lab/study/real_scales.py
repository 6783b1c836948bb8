"""The papers' question against scale: I-JEPA's lead over DINOv3 as more of an image is averaged.

On one set of real images the size of what is compared is the only thing that changes: image, annotation,
anchors and encoders stay. So this needs no other set, unlike the length of a signal in `real_images`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_sslmaps.core.findings import Estimate
from napari_sslmaps.evaluation.uncertainty import bootstrap_mean, curve_over_images, interval
from napari_sslmaps.files import written_whole
from napari_sslmaps.lab.gate.image_sets import image_sets
from napari_sslmaps.lab.study.analysis import LATENT, VIEWS
from napari_sslmaps.lab.study.figure import COLOURS
from napari_sslmaps.lab.study.page import Block, Heading, PageImage, PageTable, Text
from napari_sslmaps.lab.study.words import NAMES

Float = NDArray[np.float64]
SetProfiles = Mapping[str, Any]
"""One set: its ``domain`` and ``areas``, method → (images, scales) areas under the ROC curve as lists."""
Profiles = Mapping[str, Any]
"""``scales``, in per cent of the shorter side, and ``sets``, name → `SetProfiles`."""
SHOWN = (0.0, 1.5, 3.0, 6.0, 12.5)
"""Scales that the table has a column for."""
_DRAWS, _SEED = 2000, 2603


def lead_against_scale(found: SetProfiles) -> Float:
    """Return (images, scales) gain of I-JEPA over its untrained twin less that of DINOv3 over its own."""
    return _gain(found, LATENT) - _gain(found, VIEWS)


def change_of_lead(sets: Sequence[SetProfiles]) -> Estimate:
    """Return how the lead changes from one patch to the largest scale, sets counting alike.

    Parameters
    ----------
    sets
        Sets whose images are drawn anew within each of them.

    Returns
    -------
    Estimate
        Mean with a 95 % interval over images; NaN without a set.
    """
    if not sets:
        return Estimate(np.nan)
    rng = np.random.default_rng(_SEED)
    changes = [lead[:, -1] - lead[:, 0] for lead in map(lead_against_scale, sets)]
    drawn = [each[rng.integers(len(each), size=(_DRAWS, len(each)))].mean(axis=1) for each in changes]
    return interval(float(np.mean([each.mean() for each in changes])), np.mean(drawn, axis=0))


def scale_blocks(profiles: Profiles, picture: str) -> Iterator[Block]:
    """Everything the page says of scale, from the profiles alone.

    Parameters
    ----------
    profiles
        Areas of every set at every scale.
    picture
        Path of the figure that `draw_scales` made.
    """
    sets, scales = profiles["sets"], profiles["scales"]
    yield Heading("Against scale, on real images")
    yield Text(
        "A click compares averages over a neighbourhood, and its size σ can be chosen. On one set nothing "
        "but σ changes: if view invariance sees what is local and latent prediction what is global, I-JEPA's "
        "lead over DINOv3 grows with σ. Areas of similarity to an anchor, each less its untrained twin's at "
        f"the same σ, from one patch to σ = {scales[-1]:g} % of the shorter side."
    )
    for domain in dict.fromkeys(found["domain"] for found in sets.values()):
        change = change_of_lead([found for found in sets.values() if found["domain"] == domain])
        yield Text(
            f"{domain.capitalize()}: the lead changes by {_signed(change)}. The interval, over images, says "
            f"*{_said(change)}*; there is one training of each encoder, so that by the rule above the "
            "verdict is **undecided**."
        )
    yield PageImage(
        "Above, each method's area (dotted: its untrained twin); below, I-JEPA's lead over DINOv3 in gains "
        "over their twins. Bands are 95 % intervals over images.",
        picture,
    )
    yield PageTable(_lead_table(sets, scales))


def draw_scales(profiles: Profiles, path: Path) -> None:
    """Draw areas, and I-JEPA's lead over DINOv3, against scale: one column per set, as a PNG.

    Parameters
    ----------
    profiles
        Areas of every set at every scale.
    path
        File to write.
    """
    sets, scales = profiles["sets"], profiles["scales"]
    figure = Figure(figsize=(2.9 * len(sets), 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, len(sets), squeeze=False, sharex=True, sharey="row")
    for (name, found), (above, below) in zip(sets.items(), grid.T, strict=True):
        above.set_title(f"{found['domain']}\n{fill(_title(name), 34)}", fontsize=8)
        for method in COLOURS:
            for who, style in ((method, "-"), (f"{method}-untrained", ":")):
                areas = np.array(found["areas"][who], float)
                _draw_curve(above, scales, areas, COLOURS[method], style, NAMES[method])
        _draw_curve(below, scales, lead_against_scale(found), "0.2", "-", "")
        below.axhline(0, color="0.7", lw=0.8, zorder=0)
        below.set_xlabel("σ, % of the shorter side", fontsize=8)
        for axes in (above, below):
            axes.tick_params(labelsize=7)
    grid[0, 0].set_ylabel("AUROC to an anchor", fontsize=8)
    grid[1, 0].set_ylabel("I-JEPA's lead over DINOv3", fontsize=8)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles[::2], labels[::2], loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=110, metadata={"Software": None})


def _draw_curve(
    axes: Axes, scales: Sequence[float], values: Float, colour: str, style: str, label: str
) -> None:
    curve = curve_over_images(label, scales, values)
    low, high = curve.low, curve.high
    axes.plot(scales, curve.y, style, color=colour, lw=1.5, label=label)
    if style == "-" and low is not None and high is not None:
        axes.fill_between(scales, low, high, color=colour, alpha=0.15, lw=0)


def _lead_table(sets: Mapping[str, SetProfiles], scales: Sequence[float]) -> list[list[str]]:
    heads = ("one patch" if scale == 0 else f"σ {scale:g} %" for scale in SHOWN)
    rows = [["lead of I-JEPA", "images", *heads, "change"]]
    for name, found in sets.items():
        lead = lead_against_scale(found)
        cells = [f"{lead[:, scales.index(scale)].mean():+.3f}" for scale in SHOWN]
        change = bootstrap_mean(lead[:, -1] - lead[:, 0])
        rows.append([f"{_title(name)}, {found['domain']}", str(len(lead)), *cells, _signed(change)])
    return rows


def _gain(found: SetProfiles, method: str) -> Float:
    trained, untrained = (np.array(found["areas"][who], float) for who in (method, f"{method}-untrained"))
    return np.asarray(trained - untrained, np.float64)


def _said(change: Estimate) -> str:
    if not change.excludes_zero:
        return "undecided"
    return "supports" if change.low > 0 else "against"


def _signed(change: Estimate) -> str:
    return f"{change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"


def _title(name: str) -> str:
    return {known.name: known.title for known in image_sets()}.get(name, name.replace("_", " "))
