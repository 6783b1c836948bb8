"""Simulated readers: they know their page alone, and answer by what the key's owner says that they see."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

from napari_sslmaps.readers.page import PageImage, write_page
from napari_sslmaps.readers.schedule import make_schedule
from napari_sslmaps.readers.study import PAGES, Question, Study, StudyImage, StudyMethod


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


def tiny_study(
    folder: Path,
    design: str = "rating",
    *,
    images: int = 2,
    readers: int = 2,
    asked: tuple[Question, ...] = (),
) -> Study:
    """Write a study of plain pictures, whose methods and images have names that no reader may see."""
    rng = np.random.default_rng(3)
    methods = ("mae-secret", "dinov3-secret", "colour-secret")
    questions = (Question("marks", "Does it mark it?", "no", "yes"), Question("smooth", "Is it smooth?"))
    given = {"similarity": list(methods), "pca": list(methods)}
    study = Study(
        id="5f0c",
        design=design,
        questions=asked or (questions if design == "rating" else questions[:1]),
        methods=tuple(StudyMethod(name) for name in methods),
        images=tuple(StudyImage(n, f"Doe^John-{n}.png", "hash-secret") for n in range(1, images + 1)),
        maps=tuple(given),
        readers=make_schedule(("Anna", "Ben")[:readers], range(1, images + 1), given, design, repeats=0.5),
    )
    shown = {
        (image.number, key, name): picture(rng, (40, 60), "png")
        for image in study.images
        for key in given
        for name in methods
    }
    images_ = [
        PageImage(image.number, picture(rng, (40, 60), "jpeg"), ((0.25, 0.5),), ((0.75, 0.25),))
        for image in study.images
    ]
    for reader in study.readers:
        write_page(folder / PAGES / f"reader-{reader.code}.html", study, reader, images_, shown)
    study.write(folder)
    return study


def picture(rng: np.random.Generator, shape: tuple[int, int], form: str) -> str:
    """Return one colour as a data address, so that a picture is known on the canvas."""
    pixels = np.broadcast_to(rng.integers(0, 255, 3, dtype=np.uint8), (*shape, 3))
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form)
    return f"data:image/{form};base64,{base64.b64encode(out.getvalue()).decode()}"
