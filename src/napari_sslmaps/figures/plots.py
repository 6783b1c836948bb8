"""A plot of findings drawn into axes, for the window, the report and figures alike."""

from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from napari_sslmaps.core.findings import Plot
from napari_sslmaps.figures.panels import FAINT, INK

COLOURS = ("#3b82d6", "#e08a1e", "#2fa37c", "#c65fa2", "#8c7be0", "#c9a227", "#d9534f", "#5ab4c9")
"""Colours of the curves, in order; told apart by readers with any colour vision, on white and on dark."""
_MARKERS = "os^Dvph*"
_DASHES: tuple[tuple[float, ...], ...] = ((1, 1.5), (4, 1.5, 1, 1.5), (6, 2), (1, 3))
"""Dashes of controls that stand beside all curves, in order."""
_BELOW, _COLUMNS, _LEGEND_ROW = 4, 2, 0.17
"""Curves that leave room for a legend; its columns where it stands below; height of a row, in inches."""
_FONT = 8.0
_CELLS, _BRIGHT = "cividis", 0.5
_LUMA = np.array([0.299, 0.587, 0.114])


def size_of(plot: Plot) -> tuple[float, float]:
    """Return the width and height in inches that a plot needs on a page."""
    return (7.2, 1.0 + 0.22 * len(plot.curves)) if plot.heat else (5.6, 3.5 + _LEGEND_ROW * rows_below(plot))


def rows_below(plot: Plot) -> int:
    """Return how many rows of a legend stand below a plot: none where it has room among the curves."""
    return 0 if plot.heat or len(plot.curves) <= _BELOW else -(-len(plot.curves) // _COLUMNS)


def draw_plot(axes: Axes, plot: Plot, *, ink: str = INK, faint: str = FAINT, font: float = _FONT) -> None:
    """Draw the curves of a plot with their bands, a legend and labels.

    Controls are dashed and have no bands: one that belongs to a single curve in its colour, others grey.

    Parameters
    ----------
    axes
        Empty axes; the figure around them stays the caller's.
    plot
        Plot to draw; its title and notes are left to the caller.
    ink, faint
        Colours of text, and of frame and grid lines.
    font
        Size of text (pt).
    """
    if plot.heat:
        _draw_cells(axes, plot, font)
    else:
        _draw_lines(axes, plot, faint)
    axes.set_xlabel(plot.x_label, color=ink, fontsize=font)
    axes.set_ylabel("" if plot.heat else plot.y_label, color=ink, fontsize=font)
    axes.tick_params(which="both", colors=ink, labelsize=font - 1, width=0.6, length=3)
    if not plot.heat:
        axes.grid(visible=True, color=faint, alpha=0.25, lw=0.5)
    axes.set_facecolor("none")
    for side, spine in axes.spines.items():
        spine.set(color=faint, linewidth=0.6, visible=side in {"left", "bottom"} and not plot.heat)
    if plot.curves and not plot.heat:
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": _COLUMNS}
        placed: dict[str, Any] = below if rows_below(plot) else {}
        axes.legend(fontsize=font - 1, frameon=False, labelcolor=ink, handlelength=2.2, **placed)


def _draw_lines(axes: Axes, plot: Plot, faint: str) -> None:
    styles: dict[str, tuple[str, str]] = {}
    dashes = cycle(_DASHES)
    for index, curve in enumerate(curve for curve in plot.curves if curve.beside is None):
        styles[curve.label] = COLOURS[index % len(COLOURS)], _MARKERS[index // len(COLOURS) % len(_MARKERS)]
    for curve in plot.curves:
        if curve.beside is not None:
            colour, _ = styles.get(curve.beside, (faint, ""))
            dash = (3, 2) if curve.beside in styles else next(dashes)
            axes.plot(curve.x, curve.y, color=colour, lw=1.1, ls=(0, dash), label=curve.label)
            continue
        colour, marker = styles[curve.label]
        axes.plot(curve.x, curve.y, color=colour, marker=marker, markersize=3, lw=1.4, label=curve.label)
        if curve.low is not None and curve.high is not None:
            axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.18, lw=0)
    if plot.x_axis == "log":
        axes.set_xscale("log")


def _draw_cells(axes: Axes, plot: Plot, font: float) -> None:
    """Draw curves over common points as rows of cells, each with its number."""
    values = np.array([curve.y for curve in plot.curves], np.float32)
    image = axes.imshow(values, cmap=_CELLS, aspect="auto", interpolation="nearest")
    brightness = np.asarray(image.to_rgba(values))[..., :3] @ _LUMA
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "black" if brightness[row, column] > _BRIGHT else "white"
            text = f"{value:.2f}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=font - 2)
    axes.set_xticks(range(values.shape[1]), [f"{x:g}" for x in plot.curves[0].x])
    axes.set_yticks(range(len(values)), [curve.label for curve in plot.curves])
