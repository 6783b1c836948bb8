"""Do tokens tell the classes apart? A ridge probe and nearest neighbours on simulated masks.

Untrained transformers make maps that look anatomical, and colour alone tells much of histology apart. So
a score means something only beside that of its controls, see `napari_sslmaps.evaluation.embedded.gate`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from napari_sslmaps.lab.gate.images import GRID, ProbeData, ProbeSet

Tokens = Callable[[Tensor], Tensor]
"""Maps images (n, 3, 128, 128) float32 in [0, 1] to tokens (n, N, D) of a square grid, row by row."""
NEIGHBOURS = 15
REFERENCE_PER_CLASS = 400
PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
METRICS = ("euclidean", "cosine")
_BATCH = 16


@dataclass(frozen=True, slots=True, eq=False)
class LabelledTokens:
    """Features (n, D) float32 of the labelled tokens, their classes (n,) and images (n,), int64."""

    features: Tensor
    labels: Tensor
    images: Tensor


@dataclass(frozen=True, slots=True)
class TunedSetting:
    """Setting that was chosen on the validation split, and the balanced accuracies there."""

    penalty: float
    metric: str
    probe: float
    knn: float


@torch.no_grad()
def compute_tokens(tokens: Tokens, images: Tensor) -> Tensor:
    """Tokens of images on the probe's grid, (n, 256, D) float32, computed in small batches."""
    parts = [on_probe_grid(tokens(batch).float().cpu()) for batch in torch.split(images, _BATCH)]
    return torch.cat(parts)


def on_probe_grid(tokens: Tensor) -> Tensor:
    """Bring (n, N, D) tokens of a square grid to 16 x 16: finer ones averaged, coarser ones repeated."""
    side = round(tokens.shape[1] ** 0.5)
    if side == GRID:
        return tokens
    grid = tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)
    if side > GRID:
        grid = functional.avg_pool2d(grid, side // GRID)
    else:
        grid = functional.interpolate(grid, scale_factor=GRID / side, mode="nearest")
    return grid.flatten(2).transpose(1, 2)


def labelled(tokens: Tensor, data: ProbeSet) -> LabelledTokens:
    """Keep the tokens (n, 256, D) that have a class."""
    kept = data.labels >= 0
    images = torch.arange(len(tokens))[:, None].expand_as(kept)
    return LabelledTokens(tokens[kept], data.labels[kept], images[kept])


def balanced_accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Mean over the classes of the share of their tokens that are recognised."""
    hits = [(predicted[labels == kind] == kind).double().mean() for kind in torch.unique(labels)]
    return float(torch.stack(hits).mean())


def ridge_path(features: Tensor, labels: Tensor, penalties: Sequence[float]) -> list[Tensor]:
    """Class-balanced ridge regression onto one-hot classes, one fit per penalty.

    Minimises ``sum_i w_i |y_i - x_i B - c|^2 + penalty * |B|^2``; the weights of a class sum to one over
    the number of classes, and the offset c is not penalised. One eigendecomposition serves all penalties.

    Parameters
    ----------
    features
        Features, (n, D).
    labels
        Classes, (n,) int64.
    penalties
        Penalties to try, above 0.

    Returns
    -------
    list of (D + 1, classes) float64
        The last row is the offset.
    """
    target = functional.one_hot(labels).double()
    counts = target.sum(dim=0)
    weight = (1 / (counts.clamp(min=1) * (counts > 0).sum()))[labels][:, None]
    design = features.double()
    centre, level = (weight * design).sum(dim=0), (weight * target).sum(dim=0)
    design, target = (design - centre) * weight.sqrt(), (target - level) * weight.sqrt()
    values, vectors = torch.linalg.eigh(design.T @ design)
    rotated = vectors.T @ (design.T @ target)
    fits = []
    for penalty in penalties:
        slope = vectors @ (rotated / (values.clamp(min=0) + penalty)[:, None])
        fits.append(torch.cat([slope, (level - centre @ slope)[None]]))
    return fits


def classify(fit: Tensor, features: Tensor) -> Tensor:
    """Class with the highest response of a fit of `ridge_path`, (n,)."""
    return (features.double() @ fit[:-1] + fit[-1]).argmax(dim=1)


def nearest_neighbours(reference: Tensor, classes: Tensor, features: Tensor) -> Tensor:
    """Majority class of the 15 nearest reference tokens (Euclidean; the lowest class of a tie), (n,)."""
    kinds, votes = int(classes.max()) + 1, []
    half = reference.square().sum(dim=1) / 2
    for part in torch.split(features, 4096):
        nearest = (part @ reference.T - half).topk(min(NEIGHBOURS, len(reference)), sorted=False).indices
        ballots = torch.zeros(len(part), kinds)
        ballots.scatter_add_(1, classes[nearest], torch.ones(nearest.shape))
        votes.append(ballots.argmax(dim=1))
    return torch.cat(votes)


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """A ridge fit with the penalty that was best on validation tokens, and how good it was there."""

    fit: Tensor
    penalty: float
    validated: float


class Probe:
    """Ridge probe and neighbours fitted to training tokens, settings chosen on validation tokens.

    Parameters
    ----------
    train
        Tokens that both are fitted to.
    validation
        Tokens on which the penalty and the metric of the neighbours are chosen. The metric is the Euclidean
        distance of z-scored tokens or the cosine of centred ones.
    """

    def __init__(self, train: LabelledTokens, validation: LabelledTokens) -> None:
        self._scale = _Scale.of(train)
        self._ridge = fit_ridge(train, validation)
        self._reference = _balanced_subset(train)
        found = {
            metric: balanced_accuracy(self._neighbours(validation, metric), validation.labels)
            for metric in METRICS
        }
        metric = max(found, key=lambda name: found[name])
        self.choice = TunedSetting(self._ridge.penalty, metric, self._ridge.validated, found[metric])

    def predict(self, held_out: LabelledTokens) -> dict[str, Tensor]:
        """Classes (n,) of tokens by ``probe`` and ``knn``."""
        return {
            "probe": classify(self._ridge.fit, self._scale.standardise(held_out.features)),
            "knn": self._neighbours(held_out, self.choice.metric),
        }

    def _neighbours(self, held_out: LabelledTokens, metric: str) -> Tensor:
        project = self._scale.standardise if metric == "euclidean" else self._scale.direct
        reference, features = project(self._reference.features), project(held_out.features)
        return nearest_neighbours(reference, self._reference.labels, features)


@dataclass(frozen=True, slots=True, eq=False)
class _Scale:
    """Mean and standard deviation of training tokens, (D,) each."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, train: LabelledTokens) -> _Scale:
        return cls(train.features.mean(dim=0), train.features.std(dim=0).clamp(min=1e-6))

    def standardise(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.std

    def direct(self, features: Tensor) -> Tensor:
        """Return unit vectors from the mean; their Euclidean order is that of their cosine."""
        return functional.normalize(features - self.mean, dim=1)


def fit_ridge(train: LabelledTokens, validation: LabelledTokens) -> Ridge:
    """Fit z-scored training tokens with every penalty and keep what is best on validation tokens."""
    scale = _Scale.of(train)
    checked = scale.standardise(validation.features)
    fits = ridge_path(scale.standardise(train.features), train.labels, PENALTIES)
    found = [
        Ridge(fit, penalty, balanced_accuracy(classify(fit, checked), validation.labels))
        for fit, penalty in zip(fits, PENALTIES, strict=True)
    ]
    return max(found, key=lambda ridge: ridge.validated)


def _balanced_subset(train: LabelledTokens) -> LabelledTokens:
    """At most 400 tokens of each class, the same whatever the features are."""
    shuffled = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(0))
    kinds = torch.unique(train.labels)
    kept = torch.cat(
        [shuffled[train.labels[shuffled] == kind][:REFERENCE_PER_CLASS] for kind in kinds.tolist()]
    )
    return LabelledTokens(train.features[kept], train.labels[kept], train.images[kept])


def score(tokens: Tokens, data: ProbeData, *, split: str = "validation") -> dict[str, float]:
    """Balanced accuracy of ridge probe and nearest neighbours.

    Parameters
    ----------
    tokens
        Tokens that are scored.
    data
        Images with their labels; the settings are chosen on the validation split.
    split
        The split that the scores are of. On ``validation`` they are those that the settings were chosen by.

    Returns
    -------
    dict
        ``probe`` and ``knn``, in [0, 1].
    """
    train, validation = (
        labelled(compute_tokens(tokens, part.images), part) for part in (data.train, data.validation)
    )
    probe = Probe(train, validation)
    if split == "validation":
        return {"probe": probe.choice.probe, "knn": probe.choice.knn}
    wanted = data.split(split)
    held_out = labelled(compute_tokens(tokens, wanted.images), wanted)
    return {
        name: balanced_accuracy(found, held_out.labels) for name, found in probe.predict(held_out).items()
    }
