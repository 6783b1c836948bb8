"""The losses that the four objectives are made of, and the feature rank that exposes a collapse."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def normalised_pixel_loss(predicted: Tensor, target: Tensor, masked: Tensor) -> Tensor:
    """Mean squared error on masked patches against per-patch normalised pixels (arXiv 2111.06377).

    Parameters
    ----------
    predicted, target
        (B, N, P) pixels of each patch.
    masked
        (B, N) bool, True where the patch was hidden.
    """
    mean = target.mean(dim=-1, keepdim=True)
    variance = target.var(dim=-1, keepdim=True)
    error = (predicted - (target - mean) / (variance + 1e-6).sqrt()).square().mean(dim=-1)
    return error[masked].mean()


@torch.no_grad()
def sinkhorn(scores: Tensor, temperature: float, rounds: int = 3) -> Tensor:
    """Centre teacher scores by Sinkhorn-Knopp (SwAV, arXiv 2006.09882; used by DINOv2 and DINOv3).

    Parameters
    ----------
    scores
        (n, K) prototype scores.
    temperature
        Teacher temperature.
    rounds
        Alternating normalisations.

    Returns
    -------
    (n, K) rows sum to 1; columns sum to about n / K.
    """
    log_plan = scores.float() / temperature
    for _ in range(rounds):
        log_plan = log_plan - torch.logsumexp(log_plan, dim=0, keepdim=True)
        log_plan = log_plan - torch.logsumexp(log_plan, dim=1, keepdim=True)
    return log_plan.exp()


def cross_entropy_of(target: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of (n, K) target probabilities and (n, K) student scores."""
    return -(target * functional.log_softmax(scores / temperature, dim=-1)).sum(dim=-1).mean()


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


def gram_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Gram anchoring: squared difference of the tokens' cosine matrices (arXiv 2508.10104).

    Parameters
    ----------
    student, teacher
        (B, N, D) patch tokens; D may differ.

    Returns
    -------
    Scalar, mean over images and token pairs.
    """
    own = functional.normalize(student.float(), dim=-1)
    anchor = functional.normalize(teacher.float(), dim=-1)
    return (own @ own.mT - anchor @ anchor.mT).square().mean()


def info_nce(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Contrast each query with its own key against a queue of others (MoCo, arXiv 1911.05722).

    Parameters
    ----------
    query, key
        (n, D), unit length.
    queue
        (K, D), unit length.
    temperature
        Softmax temperature.
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


@torch.no_grad()
def rank_me(features: Tensor) -> float:
    """Effective rank: exponential of the entropy of the singular values (RankMe, arXiv 2210.02885).

    Parameters
    ----------
    features
        (n, D), n preferably several times D.

    Returns
    -------
    Between 1 (collapsed) and min(n, D).
    """
    singular = torch.linalg.svdvals(features.float() - features.float().mean(dim=0))
    share = singular / singular.sum().clamp(min=1e-12)
    entropy = -(share * (share + 1e-12).log()).sum()
    return float(entropy.exp())
