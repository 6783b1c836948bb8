"""Have the tokens learned anything? Ridge probe and nearest neighbours on simulated masks, beside controls.

Untrained transformers make maps that look anatomical, and colour alone tells much of histology apart. So
every score stands beside that of untrained networks of the same architecture and of colour statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_sslmaps.simulators import CLASSES, field_seed, simulate_histology

Tokens = Callable[[Tensor], Tensor]

_SIDE, _PATCH = 128, 8
_PURITY = 0.6
_NEIGHBOURS = 15
_REFERENCE_PER_CLASS = 400
_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
_MARGIN, _DEVIATIONS = 0.05, 3.0


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """Images (n, 3, 128, 128) float32 in [0, 1] and a class per token (n, 256) int64, -1 where mixed."""

    images: Tensor
    labels: Tensor


def simulate_probe_set(seed: int, count: int) -> ProbeSet:
    """Simulate labelled images that no training sees; a token is labelled if one class fills 60 % of it."""
    pairs = [simulate_histology(field_seed(seed, index), _SIDE) for index in range(count)]
    images = torch.from_numpy(np.stack([image for image, _ in pairs])).permute(0, 3, 1, 2).float() / 255
    pixels = torch.from_numpy(np.stack([labels for _, labels in pairs])).long()
    shares = functional.one_hot(pixels, len(CLASSES)).permute(0, 3, 1, 2).float()
    most, label = functional.avg_pool2d(shares, _PATCH).flatten(2).max(dim=1)
    return ProbeSet(images, torch.where(most >= _PURITY, label, -1))


def colour_statistics(images: Tensor) -> Tensor:
    """Mean and standard deviation of each channel in each 8 x 8 patch, (n, 256, 6): the colour control."""
    mean = functional.avg_pool2d(images, _PATCH)
    square = functional.avg_pool2d(images.square(), _PATCH)
    deviation = (square - mean.square()).clamp(min=0).sqrt()
    return torch.cat([mean, deviation], dim=1).flatten(2).transpose(1, 2)


def on_probe_grid(tokens: Tensor) -> Tensor:
    """Bring (n, N, D) tokens of a square grid to 16 x 16: finer ones averaged, coarser ones repeated."""
    side, wanted = round(tokens.shape[1] ** 0.5), _SIDE // _PATCH
    grid = tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)
    if side > wanted:
        grid = functional.avg_pool2d(grid, side // wanted)
    elif side < wanted:
        grid = functional.interpolate(grid, scale_factor=wanted / side, mode="nearest")
    return grid.flatten(2).transpose(1, 2)


@torch.no_grad()
def _features(tokens: Tokens, data: ProbeSet) -> tuple[Tensor, Tensor]:
    """Features (n, D) and classes (n,) of the labelled tokens."""
    parts = [on_probe_grid(tokens(batch).float()) for batch in torch.split(data.images, 16)]
    flat, labels = torch.cat(parts).flatten(0, 1), data.labels.flatten()
    return flat[labels >= 0], labels[labels >= 0]


def balanced_accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Mean over the classes of the share of their tokens that are recognised."""
    hits = [(predicted[labels == kind] == kind).float().mean() for kind in torch.unique(labels)]
    return float(torch.stack(hits).mean())


def ridge(features: Tensor, labels: Tensor, penalty: float) -> Tensor:
    """Class-balanced ridge regression onto one-hot classes, (D + 1, classes), last row the offset."""
    design = torch.cat([features, torch.ones(len(features), 1)], dim=1).double()
    target = functional.one_hot(labels, len(CLASSES)).double()
    weight = (1 / target.sum(dim=0).clamp(min=1))[labels][:, None]
    normal = design.T @ (weight * design) + penalty * torch.eye(design.shape[1], dtype=torch.float64) * 1e-2
    fit: Tensor = torch.linalg.solve(normal, design.T @ (weight * target))
    return fit.float()


def nearest_neighbours(reference: Tensor, classes: Tensor, features: Tensor) -> Tensor:
    """Majority class of the 15 nearest reference tokens (Euclidean), (n,)."""
    votes = []
    for part in torch.split(features, 4096):
        nearest = torch.cdist(part, reference).topk(_NEIGHBOURS, largest=False).indices
        votes.append(functional.one_hot(classes[nearest], len(CLASSES)).sum(dim=1).argmax(dim=1))
    return torch.cat(votes)


@dataclass(frozen=True, slots=True)
class ProbeData:
    """Training, validation and test images of a probe."""

    train: ProbeSet
    validation: ProbeSet
    test: ProbeSet

    @classmethod
    def simulate(cls, train: int = 60, validation: int = 40, test: int = 100) -> ProbeData:
        """Simulate the three sets from seeds of their own."""
        return cls(*(simulate_probe_set(9001 + i, n) for i, n in enumerate((train, validation, test))))


def score(tokens: Tokens, data: ProbeData, *, split: str = "test") -> dict[str, float]:
    """Balanced accuracy of ridge probe and nearest neighbours; the penalty is chosen on validation."""
    features, labels = _features(tokens, data.train)
    mean, deviation = features.mean(dim=0), features.std(dim=0).clamp(min=1e-6)
    sets = {name: _features(tokens, getattr(data, name)) for name in ("validation", "test")}
    scaled = {name: ((found - mean) / deviation, kinds) for name, (found, kinds) in sets.items()}
    features = (features - mean) / deviation
    checked, kinds = scaled["validation"]
    fits = [ridge(features, labels, penalty) for penalty in _PENALTIES]
    best = max(fits, key=lambda fit: balanced_accuracy(_classify(fit, checked), kinds))
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    kept = torch.cat(
        [shuffled[labels[shuffled] == kind][:_REFERENCE_PER_CLASS] for kind in torch.unique(labels)]
    )
    asked, kinds = scaled[split]
    return {
        "probe": balanced_accuracy(_classify(best, asked), kinds),
        "knn": balanced_accuracy(nearest_neighbours(features[kept], labels[kept], asked), kinds),
    }


def _classify(fit: Tensor, features: Tensor) -> Tensor:
    return (features @ fit[:-1] + fit[-1]).argmax(dim=1)


def beats_controls(result: Mapping[str, Any]) -> bool:
    """Whether probe (by .05 and three deviations) and neighbours (by anything) exceed the controls."""
    probes, neighbours = result["random"]["probe"], result["random"]["knn"]
    needed = float(np.mean(probes)) + max(_MARGIN, _DEVIATIONS * float(np.std(probes, ddof=1)))
    rival = max(float(np.mean(neighbours)), result["colour"]["knn"])
    return bool(result["trained"]["probe"] >= needed and result["trained"]["knn"] >= rival)
