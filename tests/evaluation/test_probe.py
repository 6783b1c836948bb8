import pytest
import torch

from napari_sslmaps.evaluation.probe import (
    balanced_accuracy,
    beats_controls,
    colour_statistics,
    nearest_neighbours,
    on_probe_grid,
    ridge,
    simulate_probe_set,
)


def test_probe_labels_mark_mixed_tokens():
    data = simulate_probe_set(3, 4)
    assert data.images.shape == (4, 3, 128, 128)
    assert data.labels.shape == (4, 256)
    assert set(data.labels.unique().tolist()) <= {-1, *range(6)}
    assert colour_statistics(data.images).shape == (4, 256, 6)


@pytest.mark.parametrize("side", [8, 16, 32])
def test_tokens_of_any_grid_reach_the_probe_s(side):
    ramp = torch.arange(side).float().repeat_interleave(side)[None, :, None] / side
    grid = on_probe_grid(ramp).reshape(16, 16)
    assert bool((grid[1:] >= grid[:-1]).all())
    assert grid.shape == (16, 16)


def test_ridge_and_neighbours_separate_what_is_separable():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(600) % 6
    features = 8 * torch.eye(6)[labels] + torch.randn(600, 6, generator=generator)
    fit = ridge(features, labels, 0.1)
    assert balanced_accuracy((features @ fit[:-1] + fit[-1]).argmax(dim=1), labels) > 0.98
    assert balanced_accuracy(nearest_neighbours(features, labels, features), labels) > 0.98


def test_balanced_accuracy_weighs_classes_alike():
    labels = torch.tensor([0] * 9 + [1])
    assert balanced_accuracy(torch.zeros(10, dtype=torch.long), labels) == 0.5


def test_the_gate_asks_for_a_margin():
    result = {
        "trained": {"probe": 0.60, "knn": 0.5},
        "random": {"probe": [0.5, 0.5, 0.5], "knn": [0.4] * 3},
        "colour": {"probe": 0.5, "knn": 0.45},
    }
    assert beats_controls(result)
    assert not beats_controls({**result, "trained": {"probe": 0.54, "knn": 0.5}})
    assert not beats_controls({**result, "colour": {"probe": 0.5, "knn": 0.55}})
