"""One source of tokens on one domain: settings chosen on validation images, then measured on test images.

A trained encoder, its untrained controls and the baselines without a network all pass through the same two
functions, so that none has more freedom than another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from napari_sslmaps.core.diagnostics import effective_rank
from napari_sslmaps.evaluation.uncertainty import Tally
from napari_sslmaps.lab.gate.anchors import AnchorAreas, anchor_areas
from napari_sslmaps.lab.gate.images import ProbeData, ProbeSet
from napari_sslmaps.lab.gate.probe import LabelledTokens, Probe, Tokens, TunedSetting, fit_ridge, labelled


class Source(Protocol):
    """Gives tokens at one or more taps."""

    @property
    def shipped(self) -> str:
        """Name of the tap that the verdict is about."""
        ...

    def compute(self, images: Tensor) -> dict[str, Tensor]:
        """Tokens (n, 256, D) at each tap of images (n, 3, 128, 128) in [0, 1]."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Plain:
    """Any callable on images as a source with one tap."""

    tokens: Tokens
    shipped: str = "tokens"

    @torch.no_grad()
    def compute(self, images: Tensor) -> dict[str, Tensor]:
        """Tokens at the only tap."""
        return {self.shipped: self.tokens(images)}


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A source with everything that is decided on validation images.

    Parameters
    ----------
    source
        Source of the tokens.
    probes
        The fitted probes of the shipped tap and of the best one.
    best
        The tap with the best ridge probe on validation images.
    taps
        Balanced accuracy of each tap's ridge probe on validation images.
    """

    source: Source
    probes: Mapping[str, Probe]
    best: str
    taps: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class TapMeasurement:
    """Scores of a tap's tokens on test images, with the settings chosen before."""

    choice: TunedSetting
    probe: Tally
    knn: Tally


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """Scores of a source on test images.

    Parameters
    ----------
    shipped, best
        The shipped tap and the one that was best on validation images; often the same.
    best_tap, taps
        Chosen features, as in `Chosen`.
    areas, rank
        Anchor areas and effective rank of the shipped tokens.
    """

    shipped: TapMeasurement
    best: TapMeasurement
    best_tap: str
    taps: Mapping[str, float]
    areas: AnchorAreas
    rank: float


def choose(source: Source, data: ProbeData) -> Chosen:
    """Fit probes on training images and choose penalty, metric and best tap on validation images."""
    train, validation = source.compute(data.train.images), source.compute(data.validation.images)
    pairs = {
        name: (labelled(train[name], data.train), labelled(validation[name], data.validation))
        for name in train
    }
    taps = {name: fit_ridge(*pair).validated for name, pair in pairs.items()}
    # the shipped tap wins a tie
    best = max(taps, key=lambda name: (taps[name], name == source.shipped))
    probes = {name: Probe(*pairs[name]) for name in {source.shipped, best}}
    return Chosen(source, probes, best, taps)


def measure(chosen: Chosen, test: ProbeSet) -> Measurement:
    """Measure on test images; nothing is chosen here."""
    tokens = chosen.source.compute(test.images)
    shipped = chosen.source.shipped
    measured = {
        name: _measure_tap(probe, labelled(tokens[name], test), (len(test.images), len(test.classes)))
        for name, probe in chosen.probes.items()
    }
    return Measurement(
        shipped=measured[shipped],
        best=measured[chosen.best],
        best_tap=chosen.best,
        taps=chosen.taps,
        areas=anchor_areas(tokens[shipped], test),
        rank=effective_rank(tokens[shipped]),
    )


def _measure_tap(probe: Probe, held_out: LabelledTokens, shape: tuple[int, int]) -> TapMeasurement:
    tallies = {
        name: Tally.count(found, held_out.labels, held_out.images, shape)
        for name, found in probe.predict(held_out).items()
    }
    return TapMeasurement(probe.choice, tallies["probe"], tallies["knn"])
