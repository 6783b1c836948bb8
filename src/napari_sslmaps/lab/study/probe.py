"""Test of an encoder: a linear probe reads the label off its tokens.

Three probes, defined before any result was seen:

* **pooled** (the primary one): the mean of an image's tokens. A bag of patches cannot tell the arrangement,
  so whatever this probe reads of it the encoder itself has put into its tokens.
* **layout**: the means of the four quadrants, side by side. It knows where tokens lie; the encoder still
  has to relate the organs to the surface.
* **tokens**: the class of each token: outside, tissue, organ A, organ B.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_sslmaps.lab.gate.probe import balanced_accuracy, classify, ridge_path
from napari_sslmaps.lab.simulators.scenes import SCENE_CLASSES
from napari_sslmaps.lab.study.scenes import GRID, LabelledScene

PROBES = ("pooled", "layout")
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_HELD_OUT = 0.25
_TOKEN_IMAGES = 150


@dataclass(frozen=True, slots=True)
class ProbeScores:
    """Correct answers of one encoder, image by image.

    Attributes
    ----------
    image
        (2 probes, noises, localities, test images) bool.
    token
        (noises, test images) float32; the mean over the images is the balanced accuracy of the token probe.
    """

    image: NDArray[np.bool_]
    token: NDArray[np.float32]


def score(
    probe_tokens: list[Tensor], test_tokens: list[Tensor], probe: LabelledScene, test: LabelledScene
) -> ProbeScores:
    """Fit the probes on one set of scenes and test them on another.

    Parameters
    ----------
    probe_tokens, test_tokens
        (n, 64, D) tokens at each noise.
    probe, test
        The scenes they are tokens of.
    """
    image, token = [], []
    for fitted, held_out in zip(probe_tokens, test_tokens, strict=True):
        image.append(
            [_read_labels(*_scaled(pool(fitted), pool(held_out)), probe, test) for pool in (pooled, layout)]
        )
        token.append(_read_tokens(fitted, held_out, probe.tokens, test.tokens))
    return ProbeScores(np.array(image).swapaxes(0, 1), np.array(token, dtype=np.float32))


def pooled(tokens: Tensor) -> Tensor:
    """Mean token, (n, D)."""
    return tokens.mean(dim=1)


def layout(tokens: Tensor) -> Tensor:
    """Mean token of each quadrant, (n, 4 D)."""
    grid = tokens.transpose(1, 2).reshape(len(tokens), -1, GRID, GRID)
    return functional.avg_pool2d(grid, GRID // 2).flatten(1)


def _scaled(fitted: Tensor, held_out: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = fitted.mean(dim=0), fitted.std(dim=0).clamp(min=1e-6)
    return (fitted - mean) / std, (held_out - mean) / std


def _fit(features: Tensor, labels: Tensor) -> Tensor:
    """Ridge regression with the penalty that is best on the last quarter, then fitted to all."""
    split = len(features) - int(_HELD_OUT * len(features))
    fits = ridge_path(features[:split], labels[:split], _PENALTIES)
    found = [balanced_accuracy(classify(fit, features[split:]), labels[split:]) for fit in fits]
    return ridge_path(features, labels, [_PENALTIES[int(np.argmax(found))]])[0]


def _read_labels(
    fitted: Tensor, held_out: Tensor, probe: LabelledScene, test: LabelledScene
) -> NDArray[np.bool_]:
    """Whether each test image's label is read, at each locality, (localities, n)."""
    rows = []
    for known, wanted in zip(probe.labels, test.labels, strict=True):
        fit = _fit(fitted, torch.from_numpy(known).long())
        rows.append(classify(fit, held_out).numpy() == wanted)
    return np.stack(rows)


def _read_tokens(
    fitted: Tensor, held_out: Tensor, known: NDArray[np.int8], wanted: NDArray[np.int8]
) -> NDArray[np.float32]:
    """Share that each image adds to the balanced accuracy of the token probe, (n,)."""
    known = known[:_TOKEN_IMAGES]
    features, queries = _scaled(fitted[:_TOKEN_IMAGES].flatten(0, 1), held_out.flatten(0, 1))
    kept = torch.from_numpy(known.reshape(-1) >= 0)
    fit = _fit(features[kept], torch.from_numpy(known.reshape(-1)).long()[kept])
    right = classify(fit, queries).numpy().reshape(wanted.shape) == wanted
    classes = [kind for kind in range(len(SCENE_CLASSES)) if (wanted == kind).any()]
    shares = [(right & (wanted == kind)).sum(axis=1) / (wanted == kind).mean() for kind in classes]
    total: NDArray[np.float32] = (np.mean(shares, axis=0) / wanted.shape[1]).astype(np.float32)
    return total
