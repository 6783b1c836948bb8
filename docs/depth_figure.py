"""AUROC of anchors against depth, a panel per set: ``python docs/depth_figure.py FOLDER …``.

Each folder is what ``evaluate --scores depth`` wrote of one set of images, and gives its name to a panel.
"""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_sslmaps.core.findings import Curve, Plot
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.figures.panels import INK
from napari_sslmaps.figures.plots import draw_plot

PICTURE = Path(__file__).parent / "images" / "depth.png"
#: Controls without a network, as the files call them.
BARE = {"position": "position", "pixels": "pixels", "colour": "colour"}


def depth_figure(folders: Sequence[Path], path: Path) -> None:
    """Draw a panel per folder, one legend for all."""
    figure = Figure(figsize=(3.1 * len(folders), 3.4), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    row = figure.subplots(1, len(folders), sharey=True, squeeze=False)[0]
    for axes, folder in zip(row, folders, strict=True):
        draw_plot(axes, plot_of(folder))
        axes.get_legend().remove()
        axes.set_title(folder.name.replace("_", " "), color=INK, fontsize=8)
    for axes in row[1:]:
        axes.set_ylabel("")
    handles, labels = row[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=7, frameon=False)
    figure.savefig(path)


def plot_of(folder: Path) -> Plot:
    """Read the curves of a folder; an untrained twin stands beside its method, in its colour."""
    with (folder / "depth-anchors-curves.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    names = list(dict.fromkeys(row[0] for row in rows))
    curves = []
    for name in names:
        x, y, low, high = np.array([row[1:] for row in rows if row[0] == name], np.float32).T
        method = name.partition("-")[0]
        beside = None
        label = BARE.get(method) or METHODS[method].title
        if method in BARE:
            beside = ""
        elif name.endswith("-untrained"):
            beside, label = label, f"{label}, untrained"
        curves.append(Curve(label, x, y, low, high, beside=beside))
    return Plot("", "depth, share of blocks or stages", "AUROC of anchors", tuple(curves))


if __name__ == "__main__":
    depth_figure([Path(name) for name in sys.argv[1:]], PICTURE)
