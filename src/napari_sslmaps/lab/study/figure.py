"""The study's figure: accuracy along both knobs, one row per domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_sslmaps.files import written_whole
from napari_sslmaps.lab.simulators.scenes import bayes_accuracy
from napari_sslmaps.lab.study.analysis import untrained
from napari_sslmaps.lab.study.words import NAMES

COLOURS = {"ijepa": "#0072b2", "dinov3": "#d55e00", "mae": "#009e73", "dira": "#cc79a7"}
_HEADINGS = (
    "pooled probe along locality",
    "layout probe along locality",
    "pooled probe along noise,\nlabel in the arrangement",
    "pooled probe along noise,\nlabel in the local cue",
)


def draw_study(result: Mapping[str, Any], path: Path) -> None:
    """Draw the accuracies of ``study.json`` as a PNG.

    Parameters
    ----------
    result
        Results as `run.write_results` writes it.
    path
        File to write.
    """
    design, accuracy = result["design"], result["accuracy"]
    height = 3.3 * len(accuracy) + 0.8
    figure = Figure(figsize=(13.0, height))
    FigureCanvasAgg(figure)
    figure.subplots_adjust(
        left=0.05, right=0.99, top=1 - 0.45 / height, bottom=1.15 / height, wspace=0.07, hspace=0.45
    )
    grid = figure.subplots(len(accuracy), len(_HEADINGS), squeeze=False, sharey=True)
    knobs = (design["localities"], design["localities"], design["noises"], design["noises"])
    picks = ((0, "locality", None), (1, "locality", None), (0, "noise", 0), (0, "noise", -1))
    for row, (domain, table) in zip(grid, accuracy.items(), strict=True):
        for axes, heading, knob, pick in zip(row, _HEADINGS, knobs, picks, strict=True):
            _draw_panel(axes, [name for name in design["methods"] if name in table], table, knob, pick)
            axes.set_title(f"{domain}: {heading}", fontsize=9)
        row[0].set_ylabel("accuracy")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=6, fontsize=8, frameon=False)
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=110, metadata={"Software": None})


def _draw_panel(
    axes: Axes,
    methods: Sequence[str],
    table: Mapping[str, Any],
    knob: Sequence[float],
    pick: tuple[int, str, int | None],
) -> None:
    """Every encoder in one panel, with its 95 % interval for the trained ones."""
    probe, along, end = pick
    for index, method in enumerate(methods):
        for name, style in ((method, "-"), (untrained(method), ":")):
            value, low, high = (_line(table[name][key], probe, end) for key in ("value", "low", "high"))
            shift = np.asarray(knob) + 0.012 * (index - 1.5)
            colour = COLOURS[method]
            if style == "-":
                bars = np.abs(np.stack([value - low, high - value]))
                axes.errorbar(
                    shift, value, bars, color=colour, label=NAMES[method], lw=1.6, capsize=2, elinewidth=0.8
                )
            else:
                axes.plot(shift, value, ":", color=colour, label=f"{NAMES[method]}, untrained", lw=1.3)
    for name, style, word in (("colour", "--", "colour statistics"), ("pixels", "-.", "raw pixels")):
        axes.plot(knob, _line(table[name]["value"], probe, end), style, color="0.6", label=word, lw=1)
    best = [bayes_accuracy(value)["both"] for value in knob] if along == "locality" else [1.0] * len(knob)
    axes.plot(knob, best, color="0.2", lw=0.8, label="best possible from both cues")
    axes.axhline(0.5, color="0.85", lw=0.8, zorder=0)
    axes.set_ylim(0.4, 1.03)
    axes.set_xlabel("locality λ (0: arrangement, 1: local cue)" if along == "locality" else "noise ν")
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(8)


def _line(table: Any, probe: int, end: int | None) -> Any:
    values = np.asarray(table)[probe]
    # Along locality, averaged over noise; averaged bounds are wider than the average's own.
    return values.mean(axis=0) if end is None else values[:, end]
