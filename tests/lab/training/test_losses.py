"""Each loss against its formula, written out in numpy or in loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from napari_sslmaps.lab.training.losses import (
    across_views,
    gram_loss,
    info_nce,
    koleo,
    lsgan_fake,
    lsgan_real,
    masked_patch_loss,
    masked_pixel_loss,
    sinkhorn,
)

from .tiny import seeded


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(seed))


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return functional.normalize(noise(*shape, seed=seed), dim=-1)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@settings(deadline=None, max_examples=25)
@given(
    count=st.integers(2, 30),
    prototypes=st.integers(2, 20),
    temperature=st.floats(0.04, 1.0),
    rounds=st.integers(1, 5),
)
def test_sinkhorn_alternates_sums_of_columns_and_rows(count, prototypes, temperature, rounds):
    scores = unit(count, prototypes)
    plan = np.exp(scores.double().numpy() / temperature)
    for _ in range(rounds):
        plan /= plan.sum(axis=0, keepdims=True) * prototypes
        plan /= plan.sum(axis=1, keepdims=True) * count
    expected = torch.from_numpy(plan * count).float()
    torch.testing.assert_close(sinkhorn(scores, temperature, rounds), expected, atol=1e-5, rtol=1e-4)


def test_sinkhorn_tends_to_equal_shares_of_all_prototypes():
    plan = sinkhorn(unit(64, 16), temperature=0.1, rounds=60)
    torch.testing.assert_close(plan.sum(dim=1), torch.ones(64))
    torch.testing.assert_close(plan.sum(dim=0), torch.full((16,), 4.0), atol=1e-3, rtol=0)


def test_sinkhorn_survives_scores_whose_powers_overflow():
    plan = sinkhorn(100 * unit(8, 4), temperature=0.04)
    assert bool(torch.isfinite(plan).all())


def test_dino_averages_cross_entropies_over_pairs_of_different_views():
    scores, wanted = noise(5, 3, 7), torch.softmax(noise(2, 3, 7, seed=1), dim=-1)
    expected = []
    for i in range(2):
        for j in range(5):
            if i == j:
                continue
            share = softmax(scores[j].double().numpy() / 0.1)
            expected.append(-(wanted[i].double().numpy() * np.log(share)).sum(axis=-1).mean())
    assert float(across_views(wanted, scores, 0.1)) == pytest.approx(np.mean(expected), rel=1e-5)


def test_ibot_weighs_images_equally_however_many_patches_they_hide():
    masked = torch.tensor([[True, True, True, False], [False, False, True, False], [False] * 4])
    scores, wanted = noise(4, 5), torch.softmax(noise(4, 5, seed=1), dim=-1)
    entropy = -(wanted * torch.log_softmax(scores / 0.1, dim=-1)).sum(dim=-1)
    expected = (entropy[:3].mean() + entropy[3] + 0) / 3
    assert float(masked_patch_loss(wanted, scores, masked, 0.1)) == pytest.approx(float(expected), rel=1e-5)


def test_koleo_is_minus_the_mean_log_of_the_nearest_distance():
    points = noise(9, 4)
    directions = points.double().numpy()
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    distances = np.linalg.norm(directions[:, None] - directions[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert float(koleo(points)) == pytest.approx(-np.log(distances.min(axis=1)).mean(), rel=1e-4)
    assert float(koleo(torch.eye(4))) == pytest.approx(-math.log(math.sqrt(2)), abs=1e-4)


def test_koleo_pushes_nearest_neighbours_apart():
    points = torch.tensor([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0]], requires_grad=True)
    koleo(points).backward()
    moved = (points - 0.01 * points.grad).detach()
    assert float(moved[1, 1] - moved[0, 1]) > 0.1


def test_gram_loss_is_the_mean_squared_difference_of_all_cosines():
    student, teacher = noise(2, 5, 4), noise(2, 5, 6, seed=1)
    squares = []
    for own, anchor in zip(student.double().numpy(), teacher.double().numpy(), strict=True):
        for i in range(5):
            for j in range(5):
                cosines = [
                    tokens[i] @ tokens[j] / np.linalg.norm(tokens[i]) / np.linalg.norm(tokens[j])
                    for tokens in (own, anchor)
                ]
                squares.append((cosines[0] - cosines[1]) ** 2)
    assert float(gram_loss(student, teacher)) == pytest.approx(np.mean(squares), rel=1e-5)


def test_gram_loss_ignores_rotation_and_scale():
    tokens = noise(2, 6, 8)
    rotation = torch.linalg.qr(noise(8, 8, seed=1))[0]
    assert float(gram_loss(tokens, 3 * tokens @ rotation)) == pytest.approx(0, abs=1e-10)


def test_info_nce_is_the_cross_entropy_of_the_own_key():
    query, key, queue = unit(3, 8), unit(3, 8, seed=1), unit(5, 8, seed=2)
    expected = 0.0
    for q, k in zip(query, key, strict=True):
        own = math.exp(float(q @ k) / 0.2)
        others = sum(math.exp(float(q @ other) / 0.2) for other in queue)
        expected -= math.log(own / (own + others)) / 3
    assert float(info_nce(query, key, queue, 0.2)) == pytest.approx(expected, rel=1e-5)


def test_least_squares_adversary_wants_ones_for_real_and_noughts_for_fake():
    scores = noise(2, 1, 3, 3)
    assert float(lsgan_real(scores)) == pytest.approx(float(((scores - 1) ** 2).mean()))
    assert float(lsgan_fake(scores)) == pytest.approx(float((scores**2).mean()))
    assert float(lsgan_real(torch.ones(3))) == float(lsgan_fake(torch.zeros(3))) == 0


def test_pixel_loss_normalises_each_patch():
    target = noise(1, 4, 12)
    perfect = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
    assert float(masked_pixel_loss(perfect, target, normalised=True)) == pytest.approx(0, abs=1e-10)
    brighter = masked_pixel_loss(perfect, 5 * target + 3, normalised=True)
    assert float(brighter) == pytest.approx(0, abs=1e-6)


def test_pixel_loss_can_take_pixels_as_they_are():
    predicted, target = noise(1, 4, 12), noise(1, 4, 12, seed=1)
    expected = float(((predicted - target) ** 2).mean())
    assert float(masked_pixel_loss(predicted, target, normalised=False)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", [koleo, lambda x: gram_loss(x[None], x[None, :, :2])])
def test_losses_keep_their_precision_under_autocast(loss):
    points = noise(9, 4)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = float(loss(points))
    assert rounded == float(loss(points))
