"""One process that takes two shards in turn, and two processes with a shard each, train the same."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_sslmaps.lab.training.datasets.protocol import ArrayFields
from napari_sslmaps.lab.training.monitoring import read_log
from napari_sslmaps.lab.training.recipes import load_recipe, recipe_to_toml
from napari_sslmaps.lab.training.run import start
from napari_sslmaps.lab.training.trainer import LoggingSchedule, train

from .conftest import tiny_recipe

pytestmark = pytest.mark.xdist_group("two processes")
_METHODS = ("mae", "ijepa", "dinov3", "dira")
_STEPS = 4


@pytest.fixture(scope="module")
def trained_twice(tmp_path_factory) -> Path:
    """Folder with `one` and `two`: what one and two processes wrote of the same recipes."""
    folder = tmp_path_factory.mktemp("processes")
    fields = np.random.default_rng(0).integers(0, 256, (10, 96, 96, 3), dtype=np.uint8)
    np.save(folder / "fields.npy", fields)
    for method in _METHODS:
        recipe = replace(tiny_recipe(method), steps=_STEPS, batch=4, shards=2)
        (folder / f"{method}.toml").write_text(recipe_to_toml(recipe))
    script = Path(__file__).with_name("two_processes.py")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "PYTEST"))}
    launched = subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        env={**environment, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for method in _METHODS:
        recipe = load_recipe(folder / f"{method}.toml")
        train(
            start(recipe),
            ArrayFields(fields),
            folder / "one" / method,
            schedule=LoggingSchedule(log=1, save=100),
        )
    said, _ = launched.communicate(timeout=120)
    assert launched.returncode == 0, said
    return folder


def test_the_loss_curves_agree(trained_twice, method):
    one, two = (read_log(trained_twice / name / method / "log.jsonl") for name in ("one", "two"))
    assert len(one) == len(two) == _STEPS
    for alone, shared in zip(one, two, strict=True):
        assert alone.keys() == shared.keys()
        for name in alone.keys() - {"seconds", "images_per_second"}:
            assert shared[name] == pytest.approx(alone[name], rel=1e-4, abs=1e-6), name


def test_the_weights_and_all_that_lasts_agree(trained_twice, method):
    one, two = (
        torch.load(trained_twice / name / method / "checkpoint.pt", weights_only=True)
        for name in ("one", "two")
    )
    assert one["objective"].keys() == two["objective"].keys()
    for name, value in one["objective"].items():
        torch.testing.assert_close(two["objective"][name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_both_phases_were_met(trained_twice):
    last = {method: read_log(trained_twice / "two" / method / "log.jsonl")[-1] for method in _METHODS}
    assert "gram" in last["dinov3"]
    assert "adversary" in last["dira"]
