"""Simulated fields and their label maps beside the real samples."""

from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from napari_sslmaps.core.region import Region
from napari_sslmaps.lab.simulators import SIMULATORS
from napari_sslmaps.lab.simulators.fields import field_seed
from napari_sslmaps.sources.samples import SAMPLES

SIZE, COLUMNS, SEED = 192, 6, 9
#: The part of the real sample that shows tissue: row and column of its corner.
CORNERS = {"histology": (180, 160), "ultrasound": (16, 74)}
COLOURS = {
    "histology": ("#ffffff", "#f2b8c6", "#7b4fa0", "#d1495b", "#2d6a9f", "#f3d27a"),
    "ultrasound": ("#000000", "#e8a33d", "#8c5a4a", "#3d7be8", "#c45ac4", "#52b85c", "#8a8a8a"),
}


def simulators(path: Path) -> None:
    """Two bands, histology above ultrasound: the real sample, then the first fields of one seed."""
    figure = Figure(figsize=(1.62 * (COLUMNS + 1), 7.6), layout="constrained")
    axes = figure.subplots(4, COLUMNS + 1)
    for band, (name, simulator) in enumerate(SIMULATORS.items()):
        above, below = axes[2 * band], axes[2 * band + 1]
        above[0].imshow(_real(name), cmap="gray", vmin=0, vmax=255)
        above[0].set_title(f"real {name}", fontsize=9)
        colours = ListedColormap(COLOURS[name])
        for column in range(COLUMNS):
            image, labels = simulator.draw(field_seed(SEED, column), SIZE)
            above[column + 1].imshow(image)
            below[column + 1].imshow(labels, cmap=colours, vmin=0, vmax=len(simulator.classes) - 1)
        above[1].set_title("simulated", fontsize=9)
        handles = [
            Patch(facecolor=colour, edgecolor="#888888", label=label)
            for colour, label in zip(COLOURS[name], simulator.classes, strict=True)
        ]
        below[0].legend(handles=handles, loc="center", fontsize=8, frameon=False)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.savefig(path, dpi=110)


def _real(name: str) -> np.ndarray:
    """SIZE × SIZE pixels of the sample, at its own magnification."""
    row, column = CORNERS[name]
    return SAMPLES[name].open().read(Region(row, column, SIZE, SIZE))
