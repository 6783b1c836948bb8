import numpy as np
import pytest
import torch

from napari_sslmaps.core.diagnostics import effective_rank


def test_it_counts_equal_directions():
    axes = np.concatenate([np.eye(6), -np.eye(6)])
    assert effective_rank(axes) == pytest.approx(6, rel=1e-6)
    draw = np.random.default_rng(0).normal(size=(40, 100, 8))
    assert effective_rank(draw) == pytest.approx(8, rel=0.01)


def test_it_sees_a_collapse():
    line = np.linspace(-1, 1, 20)[:, None] * np.ones((1, 6))
    assert effective_rank(line) == pytest.approx(1, abs=1e-3)


def test_it_is_the_exponential_of_the_entropy_of_singular_values():
    features = np.random.default_rng(1).normal(size=(50, 6)) * np.arange(1.0, 7.0)
    singular = np.linalg.svd(features - features.mean(axis=0))[1]
    share = singular / singular.sum()
    expected = np.exp(-(share * np.log(share)).sum())
    assert effective_rank(features) == pytest.approx(expected, rel=1e-9)
    assert effective_rank(torch.from_numpy(features).to(torch.float32)) == pytest.approx(expected, rel=1e-5)
