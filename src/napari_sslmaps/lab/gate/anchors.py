"""Area under the ROC curve of similarity to an anchor against the anchor's class.

Within an image, colour and mere nearness do well at this, so the area is reported, also by distance from the
anchor and across images, and never gated on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_sslmaps.evaluation.auroc import auroc
from napari_sslmaps.lab.gate.images import GRID, ProbeSet

NEAR, FAR = 4.0, 8.0
"""Tokens from the anchor: near is below the first, far from the second on."""
_ANCHORS = 32
_SEED = 21


@dataclass(frozen=True, slots=True)
class AnchorAreas:
    """Mean area under the ROC curve over anchors, classes weighing alike; 0.5 is chance.

    Parameters
    ----------
    image
        Anchor and tokens of one image.
    near, middle, far
        The same among tokens at like distance: below 32 px, from there to 64 px, and above.
    across
        Anchor of one image, tokens of another.
    """

    image: float
    near: float
    middle: float
    far: float
    across: float

    def as_dict(self) -> dict[str, float]:
        """Return the areas by name."""
        return asdict(self)


def anchor_areas(tokens: Tensor, data: ProbeSet) -> AnchorAreas:
    """Areas for 32 anchors per image, the same for every encoder.

    Parameters
    ----------
    tokens
        (n, 256, D) on the probe's grid. Compared as users compare them: cosine of tokens centred on their
        image's mean; across images centred on the mean of all.
    data
        Images with their labels.
    """
    local = functional.normalize(tokens - tokens.mean(dim=1, keepdim=True), dim=2)
    common = functional.normalize(tokens - tokens.mean(dim=(0, 1)), dim=2)
    anchors = _draw_anchors(len(tokens))
    other = torch.roll(torch.arange(len(tokens)), 1)
    inside = local.gather(1, anchors[:, :, None].expand(-1, -1, tokens.shape[2])) @ local.transpose(1, 2)
    outside = common.gather(1, anchors[:, :, None].expand(-1, -1, tokens.shape[2])) @ common[other].transpose(
        1, 2
    )
    return _areas(inside, outside, data.labels, anchors, other)


def nearness_areas(data: ProbeSet) -> AnchorAreas:
    """Areas of the distance from the anchor alone: what any smooth map gets for nothing."""
    anchors = _draw_anchors(len(data.labels))
    other = torch.roll(torch.arange(len(anchors)), 1)
    closeness = -_distances()[anchors]
    return _areas(closeness, closeness, data.labels, anchors, other)


def _draw_anchors(images: int) -> Tensor:
    generator = torch.Generator().manual_seed(_SEED)
    return torch.rand(images, GRID * GRID, generator=generator).argsort(dim=1)[:, :_ANCHORS]


def _distances() -> Tensor:
    """Distances between tokens, (256, 256), in tokens."""
    place = torch.cartesian_prod(torch.arange(GRID), torch.arange(GRID)).double()
    return torch.cdist(place, place)


def _areas(inside: Tensor, outside: Tensor, labels: Tensor, anchors: Tensor, other: Tensor) -> AnchorAreas:
    kinds = labels.gather(1, anchors)
    distance = _distances()[anchors]
    same = labels[:, None] == kinds[:, :, None]
    valid = (labels[:, None] >= 0) & (distance > 0)
    strata = {
        "image": valid,
        "near": valid & (distance < NEAR),
        "middle": valid & (distance >= NEAR) & (distance < FAR),
        "far": valid & (distance >= FAR),
    }
    found = {name: _class_mean(inside, same, chosen, kinds) for name, chosen in strata.items()}
    theirs = labels[other][:, None].expand_as(same)
    found["across"] = _class_mean(outside, theirs == kinds[:, :, None], theirs >= 0, kinds)
    return AnchorAreas(**found)


def _class_mean(scores: Tensor, same: Tensor, valid: Tensor, kinds: Tensor) -> float:
    areas = auroc(*(part.flatten(0, 1).numpy() for part in (scores, same & valid, ~same & valid)))
    flat = kinds.flatten().numpy()
    means = [
        areas[known].mean()
        for kind in np.unique(flat[flat >= 0])
        if (known := (flat == kind) & np.isfinite(areas)).any()
    ]
    return float(np.mean(means)) if means else float("nan")
