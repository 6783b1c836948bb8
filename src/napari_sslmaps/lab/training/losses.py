"""The losses that the four objectives are made of, and the feature rank that exposes a collapse."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from napari_sslmaps.lab.training.numerics import exact


def masked_pixel_loss(predicted: Tensor, target: Tensor, *, normalised: bool) -> Tensor:
    """Mean squared error between predicted and true pixels of hidden patches (arXiv 2111.06377).

    Parameters
    ----------
    predicted, target
        (B, K, P) pixels of the hidden patches.
    normalised
        Whether each target patch has its mean subtracted and is divided by its standard deviation.
    """
    if normalised:
        # By the unbiased variance plus 1e-6, in one pass: layer norm has the biased one.
        share = (target.shape[-1] - 1) / target.shape[-1]
        target = functional.layer_norm(target, target.shape[-1:], eps=1e-6 * share) * share**0.5
    return functional.mse_loss(predicted.float(), target)


@torch.no_grad()
def sinkhorn(scores: Tensor, temperature: float, rounds: int = 3) -> Tensor:
    """Centre teacher scores by Sinkhorn-Knopp (SwAV, arXiv 2006.09882; used by DINOv2 and DINOv3).

    Parameters
    ----------
    scores
        (n, K) prototype scores.
    temperature
        Temperature of the teacher.
    rounds
        Number of alternating normalisations.

    Returns
    -------
    Tensor
        Assignments (n, K): rows sum to 1, columns to about n / K.
    """
    log_plan = scores.float() / temperature
    for _ in range(rounds):
        log_plan = log_plan - torch.logsumexp(log_plan, dim=0, keepdim=True)
        log_plan = log_plan - torch.logsumexp(log_plan, dim=1, keepdim=True)
    return log_plan.exp()


@exact
def across_views(wanted: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """Match each teacher view with every other student view (DINO, arXiv 2104.14294).

    Parameters
    ----------
    wanted
        (T, n, K) target probabilities of the teacher's views.
    scores
        (V, n, K) student scores; the first T views are the teacher's.
    temperature
        Temperature of the student.

    Returns
    -------
    Tensor
        Scalar: cross-entropy, mean over images and pairs of different views.
    """
    log_share = functional.log_softmax(scores.float() / temperature, dim=-1)
    pairs = -torch.einsum("ink,jnk->ij", wanted, log_share) / wanted.shape[1]
    return (pairs.sum() - pairs.diagonal().sum()) / (pairs.numel() - len(wanted))


def masked_patch_loss(wanted: Tensor, scores: Tensor, masked: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of hidden patches, mean in each image, then over all images (iBOT, arXiv 2111.07832).

    Parameters
    ----------
    wanted, scores
        (M, K) target probabilities and student scores of the hidden patches, image after image.
    masked
        (B, N) bool, M of them True; an image without counts as 0.
    temperature
        Temperature of the student.
    """
    entropy = -(wanted * functional.log_softmax(scores.float() / temperature, dim=-1)).sum(dim=-1)
    hidden = masked.sum(dim=1)
    weight = torch.repeat_interleave(1 / hidden.clamp(min=1), hidden, output_size=len(entropy))
    return (entropy * weight).sum() / len(masked)


@exact
def koleo(features: Tensor) -> Tensor:
    """Kozachenko-Leonenko regulariser: minus the mean log nearest distance (arXiv 1806.03198).

    Parameters
    ----------
    features
        (n, D), n at least 2.
    """
    unit = functional.normalize(features.float(), dim=-1, eps=1e-8)
    with torch.no_grad():
        cosine = unit @ unit.T
        cosine.fill_diagonal_(-2)
        nearest = cosine.argmax(dim=1)
    distance = (unit - unit[nearest] + 1e-8).norm(dim=-1)
    return -torch.log(distance + 1e-8).mean()


@exact
def gram_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Gram anchoring: squared difference of the tokens' cosine matrices (arXiv 2508.10104).

    Parameters
    ----------
    student, teacher
        (B, N, D) patch tokens; D may differ.

    Returns
    -------
    Tensor
        Scalar, mean over images and token pairs.
    """
    own = functional.normalize(student.float(), dim=-1)
    anchor = functional.normalize(teacher.float(), dim=-1)
    return (own @ own.mT - anchor @ anchor.mT).square().mean()


@exact
def info_nce(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Contrast each query with its own key against a queue of others (MoCo, arXiv 1911.05722).

    Parameters
    ----------
    query, key
        (n, D), unit length.
    queue
        (K, D), unit length.
    temperature
        Temperature of the softmax.
    """
    positive = (query * key).sum(dim=-1, keepdim=True)
    scores = torch.cat([positive, query @ queue.T], dim=1) / temperature
    target = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
    return functional.cross_entropy(scores.float(), target)


def lsgan_real(scores: Tensor) -> Tensor:
    """Least-squares distance of discriminator scores to "real" (LSGAN, arXiv 1611.04076)."""
    return (scores.float() - 1).square().mean()


def lsgan_fake(scores: Tensor) -> Tensor:
    """Least-squares distance of discriminator scores to "fake" (LSGAN, arXiv 1611.04076)."""
    return scores.float().square().mean()
