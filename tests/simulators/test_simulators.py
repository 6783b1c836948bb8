import numpy as np
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
from napari_sslmaps.pretraining.data import CropScheme, build_bank, draw_crops, jitter_stain
from napari_sslmaps.simulators import CLASSES, field_seed, simulate_histology
from napari_sslmaps.simulators.stains import draw_stain_mix, transmit


def test_a_seed_gives_one_field_and_another_seed_another():
    first, labels = simulate_histology(np.random.default_rng(1), 64)
    again, same = simulate_histology(np.random.default_rng(1), 64)
    other, _ = simulate_histology(np.random.default_rng(2), 64)
    assert np.array_equal(first, again)
    assert np.array_equal(labels, same)
    assert not np.array_equal(first, other)
    assert first.shape == (64, 64, 3)
    assert first.dtype == labels.dtype == np.uint8


def test_no_class_is_rare():
    counts = np.zeros(len(CLASSES))
    for seed in range(80):
        counts += np.bincount(simulate_histology(np.random.default_rng(seed), 128)[1].ravel(), minlength=6)
    shares = counts / counts.sum()
    assert shares.min() > 0.05
    assert shares.max() < 0.5


def test_stains_multiply_light():
    mix = draw_stain_mix(np.random.default_rng(0), immuno=False)
    one = np.zeros((3, 1, 1), dtype=np.float32)
    one[0] = 0.5
    once, twice = transmit(one, mix)[0, 0] / mix.white, transmit(2 * one, mix)[0, 0] / mix.white
    np.testing.assert_allclose(twice, once**2, rtol=1e-5)
    np.testing.assert_allclose(transmit(0 * one, mix)[0, 0], mix.white, rtol=1e-6)


def test_a_bank_is_made_once_and_reopened(tmp_path):
    bank = build_bank(tmp_path / "bank.npy", count=2, size=48, seed=5)
    expected, _ = simulate_histology(field_seed(5, 1), 48)
    assert np.array_equal(bank[1], expected)
    assert np.array_equal(build_bank(tmp_path / "bank.npy", count=2, size=48, seed=99), bank)


def test_crops_stay_inside_the_field(generator):
    crops = draw_crops(torch.full((32, 3, 96, 96), 0.5), CropScheme(32, (24.0, 60.0)), generator)
    assert crops.shape == (32, 3, 32, 32)
    torch.testing.assert_close(crops, torch.full_like(crops, 0.5))


def test_an_upright_crop_keeps_rows_in_order(generator):
    ramp = torch.linspace(0, 1, 96)[None, None, :, None].expand(4, 3, 96, 96)
    crops = draw_crops(ramp, CropScheme(32, (32.0, 64.0), upright=True), generator)
    assert bool((crops[:, :, 1:] > crops[:, :, :-1]).all())


def test_stain_jitter_stays_in_range_and_keeps_glass_bright(generator):
    images = torch.rand(8, 3, 16, 16, generator=generator)
    jittered = jitter_stain(images, generator)
    assert float(jittered.min()) >= 0
    assert float(jittered.max()) <= 1


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
