"""Train the recipes of a folder in two CPU processes: run by `test_distributed`."""

import sys
from pathlib import Path

import numpy as np

from napari_sslmaps.lab.training.datasets.protocol import ArrayFields
from napari_sslmaps.lab.training.launching import Devices, open_fabric
from napari_sslmaps.lab.training.recipes import load_recipe
from napari_sslmaps.lab.training.run import start
from napari_sslmaps.lab.training.trainer import LoggingSchedule, train

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    fields = ArrayFields(np.load(folder / "fields.npy"))
    fabric = open_fabric("32", Devices("cpu", "2"))
    fabric.launch()
    for path in sorted(folder.glob("*.toml")):
        run = start(load_recipe(path), fabric)
        train(run, fields, folder / "two" / path.stem, schedule=LoggingSchedule(log=1, save=100))
