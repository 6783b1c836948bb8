"""Simulated readers: they know their page alone, and answer by what the key's owner says that they see."""

import json
import re
from pathlib import Path

import numpy as np

from napari_sslmaps.readers.study import Study


def page_of(path: Path) -> dict:
    """Read what a page knows, as a browser does."""
    found = re.search(
        r'<script type="application/json" id="study">(.*?)</script>', path.read_text(), re.DOTALL
    )
    return json.loads(found.group(1))


def answer_page(
    path: Path, study: Study, liking: dict[str, float], *, noise: float, bias: float, seed: int
) -> dict:
    """Answer a page as a reader who likes each method so much, with noise, in the page's own form."""
    told, rng = page_of(path), np.random.default_rng(seed)
    trials = study.trials
    answers, seconds = [], {}
    for shown in told["trials"]:
        _, trial = trials[shown["id"]]
        rng_of_image = np.random.default_rng([seed, trial.image])
        level = rng_of_image.normal(0, 0.4)
        felt = [liking[name] + bias + level + rng.normal(0, noise) for name in trial.shown]
        seconds[shown["id"]] = float(rng.gamma(4, 3))
        for question in told["questions"]:
            values = _values(told["design"], felt)
            answers += [
                {"trial": shown["id"], "question": question["key"], "letter": letter, "value": value}
                for letter, value in zip(shown["maps"], values, strict=True)
            ]
    return {
        "format": "napari-sslmaps/reader-answers",
        "schema": 1,
        "study": told["study"],
        "reader": told["reader"],
        "answers": answers,
        "seconds": seconds,
        "state": {},
    }


def _values(design: str, felt: list[float]) -> list[float]:
    if design == "rating":
        return [float(np.clip(round(3 + value), 1, 5)) for value in felt]
    if design == "pairwise":
        first = 0.5 if abs(felt[0] - felt[1]) < 0.1 else float(felt[0] > felt[1])
        return [first, 1 - first]
    order = np.argsort(felt)
    return [1.0 if at == order[-1] else -1.0 if at == order[0] else 0.0 for at in range(len(felt))]
