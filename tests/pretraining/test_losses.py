import math

import pytest
import torch
from torch.nn import functional

from napari_sslmaps.pretraining.losses import (
    gram_loss,
    info_nce,
    koleo,
    lsgan_fake,
    lsgan_real,
    masked_pixel_loss,
    rank_me,
    sinkhorn,
)


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return functional.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_sinkhorn_rows_are_distributions_and_columns_share_the_mass():
    plan = sinkhorn(unit(64, 16), temperature=0.1, rounds=30)
    torch.testing.assert_close(plan.sum(dim=1), torch.ones(64))
    torch.testing.assert_close(plan.sum(dim=0), torch.full((16,), 4.0), atol=0.02, rtol=0)


def test_info_nce_is_the_cross_entropy_of_the_own_key():
    query, key, queue = unit(3, 8), unit(3, 8, seed=1), unit(5, 8, seed=2)
    expected = 0.0
    for q, k in zip(query, key, strict=True):
        own = math.exp(float(q @ k) / 0.2)
        others = sum(math.exp(float(q @ other) / 0.2) for other in queue)
        expected -= math.log(own / (own + others)) / 3
    assert float(info_nce(query, key, queue, 0.2)) == pytest.approx(expected, rel=1e-5)


def test_gram_loss_ignores_rotation_and_scale_and_sees_a_change():
    tokens = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(1)))[0]
    assert float(gram_loss(tokens, 3 * tokens @ rotation)) == pytest.approx(0, abs=1e-10)
    assert float(gram_loss(tokens, tokens.flip(1) + 1)) > 1e-3


def test_gram_loss_of_orthogonal_against_equal_tokens():
    student, teacher = torch.eye(2)[None], torch.ones(1, 2, 2)
    # Off-diagonal cosines 0 against 1; the diagonal agrees.
    assert float(gram_loss(student, teacher)) == pytest.approx(0.5)


def test_koleo_prefers_spread_points():
    assert float(koleo(torch.eye(4))) < float(koleo(torch.eye(4) + 1))
    assert float(koleo(torch.eye(4))) == pytest.approx(-math.log(math.sqrt(2)), abs=1e-4)


def test_pixel_loss_normalises_each_patch():
    target = torch.randn(1, 4, 12, generator=torch.Generator().manual_seed(0))
    perfect = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
    assert float(masked_pixel_loss(perfect, target, normalised=True)) == pytest.approx(0, abs=1e-10)
    brighter = masked_pixel_loss(perfect, 5 * target + 3, normalised=True)
    assert float(brighter) == pytest.approx(0, abs=1e-6)
    assert float(masked_pixel_loss(target, target, normalised=False)) == 0


def test_least_squares_adversary():
    assert float(lsgan_real(torch.ones(3))) == 0
    assert float(lsgan_fake(torch.ones(3))) == 1


def test_rank_me_counts_equal_directions_and_sees_a_collapse():
    spread = torch.cat([torch.eye(6), -torch.eye(6)])
    assert rank_me(spread) == pytest.approx(6, rel=1e-3)
    line = torch.linspace(-1, 1, 20)[:, None] * torch.ones(1, 6)
    assert rank_me(line) == pytest.approx(1, abs=1e-2)
