"""A whole study in one folder: every training and every score a file, written whole; a killed study goes on.

``design.toml`` is written first and holds from then on. ``encoders/`` has the weights and what they cost,
``scores/`` what each encoder got right image by image, ``study.json`` the analysis, ``index.html`` the page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_sslmaps.core.diagnostics import effective_rank
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.files import alone_in, written_whole
from napari_sslmaps.lab.gate.controls import colour_statistics, raw_patches
from napari_sslmaps.lab.study import probe, scenes
from napari_sslmaps.lab.study.analysis import StudyResult, analyse, untrained
from napari_sslmaps.lab.study.design import Design, design_to_dict, design_to_toml, find_design
from napari_sslmaps.lab.study.page import write_page
from napari_sslmaps.lab.study.train import (
    Training,
    as_images,
    compute_tokens,
    seconds_per_step,
    study_recipe,
    train,
    whole,
)
from napari_sslmaps.records.claim import check_claim
from napari_sslmaps.serialise import dump, load, read, strict

ENCODERS = "encoders"
CONTROLS = ("colour", "pixels")
_WRITTEN = (f"{ENCODERS}/*", "scores/*", "study.json", "study.png", "index.html")
_CPU = torch.device("cpu")
#: Told what is being done, how much of it is done, and of how much.
OnProgress = Callable[[str, int, int], None]


def run_study(
    design: Design,
    out: Path,
    *,
    device: str = "auto",
    part: tuple[int, int] = (1, 1),
    on_progress: OnProgress = lambda _what, _done, _of: None,
) -> Path:
    """Run a study, or go on with the one in `out`, and write its page.

    Every training and every score is a file of its own, so several processes, on several machines even, can
    share a folder: each takes its part, and the one that ends last writes the whole page.

    Parameters
    ----------
    design
        Plan of the study. If `out` holds a study already, it must be the same.
    out
        Folder of the study.
    device
        Device: ``auto``, ``cpu`` or ``cuda``.
    part
        Number of this process's part of the trainings, from 1, and of all parts: (1, 8) is the first of
        eight.
    on_progress
        Callback, called with what is being done, the steps of it done, and their number.

    Returns
    -------
    Path
        Path of ``index.html``.

    Raises
    ------
    InvalidOptionError
        If `out` holds a study of another design, or a later part is to begin it.
    ExportError
        If `out` cannot be written to, a file there would be replaced that no study wrote, or another process
        is at the same part or training.
    """
    own, parts = part
    if not 1 <= own <= parts:
        raise InvalidOptionError(f"Expected a part from 1 to {parts}; got {own}.")
    chosen = _device(device)
    if own > 1 and not design.steps and not (out / "design.toml").exists():
        raise InvalidOptionError(
            f"Expected {out / 'design.toml'}, which part 1 writes once it has timed the methods. "
            "Start part 1 first."
        )
    with alone_in(out, f"part-{own}"):
        study = _Study(_settled(design, out, chosen), out, chosen, on_progress)
        if own == 1:
            study.score_controls()
    for position, (domain, seed, method) in enumerate(study.design.trainings, start=1):
        if position % parts == own % parts:
            with alone_in(out / ENCODERS, f"{domain}-{method}-{seed}"):
                study.train_and_score(domain, seed, method, position)
    return write_results(study.design, out)


def write_results(design: Design, out: Path) -> Path:
    """Analyse what is there, be it the whole study or not, and write ``study.json`` and the page.

    Raises
    ------
    InvalidOptionError
        If no encoder has been trained and scored.
    """
    seeds = {domain: _seeds_done(design, out, domain) for domain in design.domains}
    seeds = {domain: found for domain, found in seeds.items() if found}
    if not seeds:
        raise InvalidOptionError(
            f"Expected a trained and scored encoder in {out}; there is none yet. Let the study go on."
        )
    result = {
        "design": design_to_dict(design),
        "compute": {domain: _compute(out, domain, found) for domain, found in seeds.items()},
        **analyse(design, {domain: _found(design, out, domain, found) for domain, found in seeds.items()}),
    }
    with written_whole(out / "study.json") as partial:
        partial.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return write_page(result, out)


@strict
@dataclass(frozen=True, slots=True)
class _Facts:
    """Cost and outcome of a training."""

    steps: int
    images: int
    seconds: float
    loss: float
    feature_rank: float


@dataclass(slots=False)
class _Domain:
    """Scenes of one domain, simulated when first needed."""

    design: Design
    name: str

    @cached_property
    def bank(self) -> Any:
        return scenes.training_scenes(self.design, self.name)

    @cached_property
    def fitted(self) -> scenes.LabelledScene:
        return scenes.fitted_scenes(self.design, self.name)

    @cached_property
    def held_out(self) -> scenes.LabelledScene:
        return scenes.held_out_scenes(self.design, self.name)


class _Study:
    """Values that one call of `run_study` works with."""

    def __init__(self, design: Design, out: Path, device: torch.device, on_progress: OnProgress) -> None:
        self.design = design
        self._out = out
        self._device = device
        self._on_progress = on_progress
        self._domains = {name: _Domain(design, name) for name in design.domains}

    def score_controls(self) -> None:
        """Colour, raw pixels and untrained networks."""
        for domain in self.design.domains:
            self._score(domain, "colour", 0, lambda pixels: colour_statistics(as_images(pixels, _CPU)))
            self._score(domain, "pixels", 0, lambda pixels: raw_patches(as_images(pixels, _CPU)))
            for method, seed in ((m, s) for m in self.design.methods for s in range(self.design.seeds)):
                if not _scores_path(self._out, domain, untrained(method), seed).exists():
                    training = self._begin(method, seed)
                    self._score(domain, untrained(method), seed, self._tokens_of(training))

    def train_and_score(self, domain: str, seed: int, method: str, position: int) -> None:
        """Train one encoder and score it, unless the files are there."""
        weights = self._out / ENCODERS / f"{domain}-{method}-{seed}.pt"
        checkpoint = weights.with_suffix(".checkpoint")
        what = f"{position}/{len(self.design.trainings)} {domain} {method} seed {seed}"
        training = self._begin(method, seed)
        if weights.exists():
            with whole(weights):
                training.objective.load_state_dict(
                    torch.load(weights, map_location=self._device, weights_only=True)
                )
        else:
            steps = training.recipe.steps
            self._on_progress(what, 0, steps)
            bank = self._domains[domain].bank
            train(training, bank, checkpoint, lambda done: self._on_progress(what, done, steps))
            self._keep(training, weights, domain)
            checkpoint.unlink(missing_ok=True)
        self._score(domain, method, seed, self._tokens_of(training))

    def _begin(self, method: str, seed: int) -> Training:
        recipe = study_recipe(self.design, method, seed, self.design.steps[method])
        return Training.begin(recipe, self._device)

    def _tokens_of(self, training: Training) -> Callable[[Any], torch.Tensor]:
        return lambda pixels: compute_tokens(training.objective, pixels, self._device)

    def _keep(self, training: Training, weights: Path, domain: str) -> None:
        """Write what the training cost, then its weights: with the weights, the cost is there too."""
        tokens = compute_tokens(training.objective, self._domains[domain].bank[:100], self._device)
        facts = _Facts(
            training.step,
            training.step * training.recipe.batch,
            round(training.seconds, 2),
            round(training.smooth_loss, 4),
            round(float(effective_rank(tokens.flatten(0, 1))), 1),
        )
        with written_whole(weights.with_suffix(".json")) as partial:
            partial.write_text(json.dumps(dump(facts)) + "\n", encoding="utf-8")
        with written_whole(weights) as partial:
            torch.save(training.objective.state_dict(), partial)

    def _score(self, domain: str, name: str, seed: int, tokens: Callable[[Any], torch.Tensor]) -> None:
        path = _scores_path(self._out, domain, name, seed)
        if path.exists():
            return
        self._on_progress(f"probing {domain} {name} seed {seed}", 0, 1)
        fitted, held_out = self._domains[domain].fitted, self._domains[domain].held_out
        found = probe.score(
            [tokens(images) for images in fitted.images],
            [tokens(images) for images in held_out.images],
            fitted,
            held_out,
        )
        with written_whole(path) as partial:
            np.savez_compressed(partial, image=found.image, token=found.token)
        self._on_progress(f"probing {domain} {name} seed {seed}", 1, 1)


def _settled(design: Design, out: Path, device: torch.device) -> Design:
    """Return the design of the folder, or measure the steps and write it."""
    path = out / "design.toml"
    if path.exists():
        begun = find_design(str(path))
        if replace(begun, steps={}) != replace(design, steps={}) or (
            design.steps and begun.steps != design.steps
        ):
            raise InvalidOptionError(
                f"Expected the design that {out} was begun with (see {path}); got another one. "
                "Choose another folder, or go on with `--design` and that file."
            )
        return begun
    check_claim(out, _WRITTEN)
    steps = dict(design.steps)
    bank = scenes.training_scenes(replace(design, train_images=64), design.domains[0])
    for method in design.methods:
        if method not in steps:
            cost = seconds_per_step(study_recipe(design, method, 0), bank, device)
            steps[method] = max(1, round(design.seconds / cost))
    settled = replace(design, steps=steps)
    with written_whole(path) as partial:
        partial.write_text(design_to_toml(settled), encoding="utf-8")
    return settled


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted not in {"cpu", "cuda"}:
        raise InvalidOptionError(f"Expected a device among auto, cpu, cuda; got {wanted!r}.")
    return torch.device(wanted)


def _scores_path(out: Path, domain: str, name: str, seed: int) -> Path:
    return out / "scores" / f"{domain}-{name}-{seed}.npz"


def _found(design: Design, out: Path, domain: str, seeds: Mapping[str, int]) -> StudyResult:
    """Scores of the trained encoders of a domain, of their untrained twins and of the controls."""
    twins = {untrained(method): design.seeds for method in seeds}
    image, token = {}, {}
    for name, count in {**seeds, **twins, **dict.fromkeys(CONTROLS, 1)}.items():
        files = [_scores(_scores_path(out, domain, name, seed)) for seed in range(count)]
        with whole(out / "scores"):
            image[name] = np.stack([file["image"] for file in files])
            token[name] = np.stack([file["token"] for file in files])
    return StudyResult(image, token)


def _scores(path: Path) -> dict[str, NDArray[Any]]:
    with whole(path), np.load(path) as stored:
        return dict(stored)


def _seeds_done(design: Design, out: Path, domain: str) -> dict[str, int]:
    """Seeds, counted from 0, that each method has been scored with; methods with none are left out."""
    counts = {}
    for method in design.methods:
        there = [_scores_path(out, domain, method, seed).exists() for seed in range(design.seeds)]
        counts[method] = (*there, False).index(False)
    return {method: count for method, count in counts.items() if count}


def _compute(out: Path, domain: str, seeds: Mapping[str, int]) -> dict[str, Any]:
    """Return what each training of a domain cost: {method: [facts of each seed]}."""
    return {
        method: [_facts(out / ENCODERS / f"{domain}-{method}-{seed}.json") for seed in range(count)]
        for method, count in seeds.items()
    }


def _facts(path: Path) -> dict[str, Any]:
    what = f"what a training cost ({path.name})"
    facts: dict[str, Any] = dump(load(_Facts, read(path, what), what))
    return facts
