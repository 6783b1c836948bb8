"""A training that is killed again and again ends where an unbroken one ends, to the last bit."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from napari_sslmaps.lab.training.checkpoints import resume
from napari_sslmaps.lab.training.datasets.protocol import ArrayFields
from napari_sslmaps.lab.training.monitoring import read_log
from napari_sslmaps.lab.training.recipes import load_recipe, recipe_to_toml
from napari_sslmaps.lab.training.run import start
from napari_sslmaps.lab.training.trainer import LoggingSchedule, train

from .conftest import tiny_recipe

_SCHEDULE = LoggingSchedule(log=1, save=2, panel=1000)
_KILLS = 6


def fields() -> ArrayFields:
    return ArrayFields(np.random.default_rng(0).integers(0, 256, (8, 96, 96, 3), dtype=np.uint8))


def go_on(folder: Path) -> None:
    """Start or resume the training of a folder, and train to the end."""
    torch.set_num_threads(1)
    recipe, checkpoint = load_recipe(folder / "recipe.toml"), folder / "checkpoint.pt"
    run = resume(recipe, checkpoint) if checkpoint.exists() else start(recipe)
    (folder / "begun").touch()
    train(run, fields(), folder, schedule=_SCHEDULE)


def test_killed_at_random_instants(tmp_path):
    recipe = replace(tiny_recipe("dira"), steps=40)  # with a queue, a moving average and two phases
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    for folder in (broken, whole):
        folder.mkdir()
        (folder / "recipe.toml").write_text(recipe_to_toml(recipe))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["napari_sslmaps.lab.training.trainer"])
    instants, reached = np.random.default_rng(0), []
    for number in range(_KILLS):
        process = context.Process(target=go_on, args=(broken,))
        (broken / "begun").unlink(missing_ok=True)
        before = len(read_log(broken / "log.jsonl"))
        process.start()
        while process.is_alive() and not (broken / "begun").exists():
            process.join(0.005)
        while number % 2 and process.is_alive() and len(read_log(broken / "log.jsonl")) == before:
            process.join(0.005)  # a busy machine gets as far
        process.join(instants.uniform(0.0, 0.5))
        process.kill()
        process.join()
        assert process.exitcode in {-9, 0}
        reached.append(len(read_log(broken / "log.jsonl")))
    assert reached[-1] > 0
    last = context.Process(target=go_on, args=(broken,))
    last.start()
    go_on(whole)
    last.join()
    assert last.exitcode == 0
    logs = [read_log(folder / "log.jsonl") for folder in (broken, whole)]
    assert [line["step"] for line in logs[0]] == list(range(1, 41))
    for told, unbroken in zip(*logs, strict=True):
        for name in unbroken.keys() - {"seconds", "images_per_second"}:
            assert told[name] == unbroken[name], name
    one, two = (torch.load(f / "checkpoint.pt", weights_only=True)["objective"] for f in (broken, whole))
    assert all(torch.equal(one[name], two[name]) for name in two)
