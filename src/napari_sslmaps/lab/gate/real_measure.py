"""Scores of tokens on real images: similarity to an anchor, components, probes; one entrant on one set.

Everybody is asked at the same resolution and over the same neighbourhood, so that neither flatters one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from napari_sslmaps.core.neighbourhood import Neighbourhood
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.evaluation.anchor_scores import STRATA, AnchorScores, score_anchors
from napari_sslmaps.evaluation.classifiers import fit_linear
from napari_sslmaps.evaluation.image_labels import FOLDS, cross_validate_heads
from napari_sslmaps.evaluation.map_scores import score_map
from napari_sslmaps.evaluation.uncertainty import Tally
from napari_sslmaps.lab.gate.image_sets import MaskedImage
from napari_sslmaps.maps.pca import pca_map

Embed = Callable[[NDArray[np.uint8]], Embedding]
"""Computes the tokens of (H, W, 3) pixels at the resolution of the domain."""
ANCHORS = 16
THINNED = 3
"""Probes see every so many-th row and column of tokens: neighbours see much of the same."""
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Working:
    """Resolution and neighbourhood in which tokens of a domain are compared.

    Parameters
    ----------
    short_side
        Pixels along the shorter side of an image.
    share
        Standard deviation of the neighbourhood as a share of that side.
    """

    short_side: int
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class MaskScores:
    """Scores of an entrant on a set with masks.

    Parameters
    ----------
    areas
        (images, strata) mean areas under the ROC curve of similarity to the anchors; NaN where not defined.
    nearness
        The same of the distance from the anchor alone.
    components
        (images,) area of the best of the first three principal components, either way round.
    probe
        Tokens that a linear probe recognises in images that it was not fitted to.
    """

    areas: Float
    nearness: Float
    components: Float
    probe: Tally


def measure_masked(
    images: Sequence[MaskedImage], embed: Embed, working: Working, like: Sequence[AnchorScores] = ()
) -> tuple[MaskScores, list[AnchorScores]]:
    """Measure an entrant on a set with masks.

    Parameters
    ----------
    images
        Images of the set.
    embed
        Function that computes the entrant's tokens.
    working
        Resolution and neighbourhood of the tokens.
    like
        Second result for another entrant; nearness is taken over from it where tokens are of one size.
    """
    scores, components, tokens, kinds, groups = [], [], [], [], []
    for number, image in enumerate(images):
        embedding = averaged(embed(image.pixels), working.share * min(image.pixels.shape[:2]))
        known = like[number] if like else None
        scores.append(score_anchors(embedding, image.annotation, count=ANCHORS, like=known))
        components.append(score_map(pca_map(embedding), image.annotation).auroc)
        labels = image.annotation.token_labels(embedding.grid)[::THINNED, ::THINNED]
        tokens.append(embedding.tokens[::THINNED, ::THINNED][labels >= 0])
        kinds.append(labels[labels >= 0])
        groups.append(np.full(len(kinds[-1]), number))
    found = MaskScores(
        areas=np.array([[_mean(each.areas[stratum]) for stratum in STRATA] for each in scores]),
        nearness=np.array([[_mean(each.nearness[stratum]) for stratum in STRATA] for each in scores]),
        components=np.array(components),
        probe=probe_by_image(*(np.concatenate(part) for part in (tokens, kinds, groups))),
    )
    return found, scores


def averaged(embedding: Embedding, scale: float) -> Embedding:
    """Return an embedding whose tokens are Gaussian averages of a standard deviation in pixels of the image.

    Similarity, components and probes of it are what the maps show at that scale.
    """
    if scale <= 0:
        return embedding
    strips = [tokens for _, tokens in Neighbourhood(embedding, scale).strips()]
    return replace(embedding, tokens=np.concatenate(strips))


def probe_by_image(tokens: Float32, kinds: NDArray[np.int64], images: NDArray[np.int64]) -> Tally:
    """Recognise tokens (n, dim) of each image by a linear probe on those of others, in five folds."""
    classes, numbered = np.unique(kinds, return_inverse=True)
    predicted = np.zeros(len(kinds), np.int64)
    for fold in range(FOLDS):
        held_out = images % FOLDS == fold
        head = fit_linear(tokens[~held_out], numbered[~held_out])
        predicted[held_out] = head.classes[head.probabilities(tokens[held_out]).argmax(axis=1)]
    found, wanted, groups = (torch.from_numpy(part) for part in (predicted, numbered, images))
    return Tally.count(found, wanted, groups, (int(images.max()) + 1, len(classes)))


def measure_labelled(features: Float32, labels: Sequence[str]) -> Tally:
    """Recognise images by a linear probe on the mean of their tokens, (images, dim), in five folds."""
    held_out = cross_validate_heads(features, labels)
    counts = np.array([[name == label for name in held_out.names] for label in labels], float)
    right = held_out.probabilities.argmax(axis=1) == counts.argmax(axis=1)
    return Tally(counts * right[:, None], counts)


def _mean(areas: Float) -> float:
    known = areas[np.isfinite(areas)]
    return float(known.mean()) if len(known) else float("nan")
