import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_sslmaps.pretext.distortions import cut_masks, distort, shuffle_index

from .tiny import seeded


def test_a_cut_out_replaces_one_to_five_rectangles():
    masks = cut_masks(torch.zeros(400, dtype=torch.bool), 60, seeded())
    shares = masks.float().mean(dim=(1, 2))
    # One rectangle of a sixth by a sixth at least; five of a third by a third at most.
    assert 1 / 36 <= float(shares.min()) < float(shares.max()) <= 5 / 9
    # Three rectangles of a quarter by a quarter on average, less what they share.
    assert float(shares.mean()) == pytest.approx(3 / 16, abs=0.05)


def test_an_outer_cut_out_keeps_one_to_four_rectangles():
    masks = cut_masks(torch.ones(400, dtype=torch.bool), 70, seeded())
    kept = 1 - masks.float().mean(dim=(1, 2))
    assert float(kept.min()) >= (3 / 7) ** 2 - 1e-6
    assert float(kept.max()) < 1
    single = [mask for mask in (~masks).numpy() if ndimage.label(mask)[1] == 1 and is_box(mask)]
    assert len(single) > 60  # a quarter of the images keep one rectangle alone
    sides = {int(side) for mask in single for side in (mask.any(axis=1).sum(), mask.any(axis=0).sum())}
    assert sides == set(range(30, 41))


def is_box(mask: np.ndarray) -> bool:
    return bool(mask.sum() == mask.any(axis=1).sum() * mask.any(axis=0).sum())


@settings(deadline=None, max_examples=20)
@given(side=st.integers(8, 70), windows=st.integers(1, 80), seed=st.integers(0, 1000))
def test_shuffling_permutes_the_pixels_of_an_image(side, windows, seed):
    index = shuffle_index(2, side, windows, seeded(seed))
    assert torch.equal(index.sort(dim=1).values, torch.arange(side * side).expand(2, -1))


def test_a_shuffled_pixel_comes_from_its_window():
    side, longest = 60, 6
    index = shuffle_index(50, side, 60, seeded())
    here = torch.arange(side * side).expand_as(index)
    moved_y, moved_x = (index // side - here // side).abs(), (index % side - here % side).abs()
    assert int(moved_y.max()) == longest - 1
    assert int(moved_x.max()) == longest - 1
    moved = (index != here).float().mean()
    # 60 windows of 3.6 by 3.6 pixels cover 19 % of the image at 60 pixels, less where they overlap.
    assert 0.1 < float(moved) < 0.22


def test_pixels_within_a_window_are_permuted_uniformly():
    # Sides of a window are 0.4 to 2 pixels of 20, rounded, at least 1.
    index = shuffle_index(4000, 20, 1, seeded())
    moved = (index != torch.arange(400)).sum(dim=1)
    one, two = 1.1 / 1.6, 0.5 / 1.6
    # Two pixels are swapped half of the time; 6 of the 24 orders of four pixels move two.
    expected = 2 * one * two / 2 + two * two * 6 / 24
    assert float((moved == 2).float().mean()) == pytest.approx(expected, abs=0.03)


def test_channels_move_together_and_a_shuffled_image_keeps_its_histogram(monkeypatch):
    monkeypatch.setattr("napari_sslmaps.pretext.distortions._CUT", 0.0)
    plane = torch.rand(64, 1, 40, 40, generator=seeded())
    images = torch.cat([plane, 0.5 * plane, 0.25 * plane], dim=1)
    distorted = distort(images, seeded(1))
    torch.testing.assert_close(distorted[:, 1], 0.5 * distorted[:, 0])
    assert torch.equal(distorted.flatten(2).sort(dim=2).values, images.flatten(2).sort(dim=2).values)
    changed = (distorted != images).flatten(1).any(dim=1).float().mean()
    assert float(changed) == pytest.approx(0.5, abs=0.15)


def test_nine_images_in_ten_are_cut_and_noise_fills_the_holes(monkeypatch):
    monkeypatch.setattr("napari_sslmaps.pretext.distortions._SHUFFLED", 0.0)
    images = torch.full((300, 3, 32, 32), 2.0)
    distorted = distort(images, seeded())
    replaced = distorted != 2
    assert float(replaced.flatten(1).any(dim=1).float().mean()) == pytest.approx(0.9, abs=0.05)
    assert bool((replaced.all(dim=1) == replaced.any(dim=1)).all())
    noise = distorted[replaced]
    assert float(noise.min()) >= 0
    assert float(noise.max()) < 1
    assert float(noise.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(noise.var()) == pytest.approx(1 / 12, abs=0.005)


def test_distortion_is_repeatable_and_leaves_its_input_alone():
    images = torch.rand(4, 3, 32, 32, generator=seeded())
    before = images.clone()
    first, second = (distort(images, seeded(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(images, before)


def test_a_batch_without_a_shuffled_image_is_distorted_too():
    for seed in range(12):
        assert distort(torch.rand(1, 3, 32, 32), seeded(seed)).shape == (1, 3, 32, 32)
