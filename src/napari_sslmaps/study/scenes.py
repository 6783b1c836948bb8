"""The study's scenes: unlabelled ones to train on, labelled ones the same at every setting of the knobs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.simulators import field_seed
from napari_sslmaps.simulators.scenes import DOMAINS, simulate_scene
from napari_sslmaps.study.design import Design

SIDE, PATCH = 64, 8
GRID = SIDE // PATCH
_TRAIN, _PROBE, _TEST = 7001, 7101, 7201
_PURITY = 0.6


@dataclass(frozen=True, slots=True)
class Labelled:
    """The same scenes at every noise, with their label at every locality.

    Attributes
    ----------
    images
        (noises, n, 64, 64, 3) uint8.
    labels
        (localities, n) int8, 0 or 1; the images do not depend on locality.
    tokens
        (n, 64) int8 class of each patch, -1 where none fills 60 % of it.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int8]
    tokens: NDArray[np.int8]


def training_scenes(design: Design, domain: str) -> NDArray[np.uint8]:
    """Scenes with noise drawn evenly from the design's range, without labels, (n, 64, 64, 3) uint8."""
    scenes = np.empty((design.train_images, SIDE, SIDE, 3), dtype=np.uint8)
    for index in range(design.train_images):
        noise = float(field_seed(_seed(_TRAIN, domain), index).uniform(design.noises[0], design.noises[-1]))
        rng = field_seed(_seed(_TRAIN, domain) + 1, index)
        scenes[index] = simulate_scene(rng, domain, noise=noise, size=SIDE).image
    return scenes


def fitted_scenes(design: Design, domain: str) -> Labelled:
    """Scenes to fit probes on."""
    return _labelled(design, domain, _PROBE, design.probe_images)


def asked_scenes(design: Design, domain: str) -> Labelled:
    """Scenes to test probes on."""
    return _labelled(design, domain, _TEST, design.test_images)


def _seed(base: int, domain: str) -> int:
    return base + 10 * DOMAINS.index(domain)


def _labelled(design: Design, domain: str, base: int, count: int) -> Labelled:
    images = np.empty((len(design.noises), count, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.empty((len(design.localities), count), dtype=np.int8)
    tokens = np.empty((count, GRID * GRID), dtype=np.int8)
    for index in range(count):
        for row, noise in enumerate(design.noises):
            scene = simulate_scene(field_seed(_seed(base, domain), index), domain, noise=noise, size=SIDE)
            images[row, index] = scene.image
        tokens[index] = _token_classes(scene.labels)
        for row, locality in enumerate(design.localities):
            labels[row, index] = scene.label_at(locality)
    return Labelled(images, labels, tokens)


def _token_classes(labels: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Class that fills at least 60 % of each patch, else -1, (64,)."""
    patches = labels.reshape(GRID, PATCH, GRID, PATCH).swapaxes(1, 2).reshape(GRID * GRID, -1)
    shares = np.stack([(patches == kind).mean(axis=1) for kind in range(4)])
    best: NDArray[np.int8] = np.where(shares.max(axis=0) >= _PURITY, shares.argmax(axis=0), -1).astype(
        np.int8
    )
    return best
