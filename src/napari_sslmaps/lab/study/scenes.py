"""The study's scenes: unlabelled ones to train on, labelled ones the same at every setting of the knobs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_sslmaps.lab.gate.images import PATCH, token_labels
from napari_sslmaps.lab.simulators.fields import field_seed
from napari_sslmaps.lab.simulators.scenes import DOMAINS, SCENE_CLASSES, simulate_scene
from napari_sslmaps.lab.study.design import Design

SIDE = 64
GRID = SIDE // PATCH
_TRAIN, _PROBE, _TEST = 7001, 7101, 7201


@dataclass(frozen=True, slots=True)
class LabelledScene:
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


def fitted_scenes(design: Design, domain: str) -> LabelledScene:
    """Scenes to fit probes on."""
    return _labelled(design, domain, _PROBE, design.probe_images)


def held_out_scenes(design: Design, domain: str) -> LabelledScene:
    """Scenes to test probes on."""
    return _labelled(design, domain, _TEST, design.test_images)


def _seed(base: int, domain: str) -> int:
    return base + 10 * DOMAINS.index(domain)


def _labelled(design: Design, domain: str, base: int, count: int) -> LabelledScene:
    images = np.empty((len(design.noises), count, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.empty((len(design.localities), count), dtype=np.int8)
    classes = np.empty((count, SIDE, SIDE), dtype=np.uint8)
    for index in range(count):
        for row, noise in enumerate(design.noises):
            scene = simulate_scene(field_seed(_seed(base, domain), index), domain, noise=noise, size=SIDE)
            images[row, index] = scene.image
        classes[index] = scene.labels
        for row, locality in enumerate(design.localities):
            labels[row, index] = scene.label_at(locality)
    tokens = token_labels(torch.from_numpy(classes), len(SCENE_CLASSES))
    return LabelledScene(images, labels, tokens.numpy().astype(np.int8))
