"""A plot of findings drawn into axes, for the window, the report and figures alike."""

from matplotlib.axes import Axes

from napari_sslmaps.core.findings import Plot
from napari_sslmaps.figures.panels import FAINT, INK

COLOURS = ("#3b82d6", "#e08a1e", "#2fa37c", "#c65fa2", "#8c7be0", "#c9a227", "#d9534f", "#5ab4c9")
"""Colours of the curves, in order; told apart by readers with any colour vision, on white and on dark."""
_MARKERS = "os^Dvph*"
_FONT = 8.0


def draw_plot(axes: Axes, plot: Plot, *, ink: str = INK, faint: str = FAINT, font: float = _FONT) -> None:
    """Draw the curves of a plot with their bands, a legend and labels.

    Parameters
    ----------
    axes
        Empty; the figure around them stays the caller's.
    plot
        What to draw; its title and notes are left to the caller.
    ink, faint
        Colours of text, and of frame and grid lines.
    font
        Size of text (pt).
    """
    for index, curve in enumerate(plot.curves):
        colour = COLOURS[index % len(COLOURS)]
        marker = _MARKERS[index // len(COLOURS) % len(_MARKERS)]
        axes.plot(curve.x, curve.y, color=colour, marker=marker, markersize=3, lw=1.4, label=curve.label)
        if curve.low is not None and curve.high is not None:
            axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.18, lw=0)
    if plot.x_axis == "log":
        axes.set_xscale("log")
    axes.set_xlabel(plot.x_label, color=ink, fontsize=font)
    axes.set_ylabel(plot.y_label, color=ink, fontsize=font)
    axes.tick_params(which="both", colors=ink, labelsize=font - 1, width=0.6, length=3)
    axes.grid(visible=True, color=faint, alpha=0.25, lw=0.5)
    axes.set_facecolor("none")
    for side, spine in axes.spines.items():
        spine.set(color=faint, linewidth=0.6, visible=side in {"left", "bottom"})
    if plot.curves:
        axes.legend(fontsize=font - 1, frameon=False, labelcolor=ink, handlelength=1.4)
