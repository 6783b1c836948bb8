import torch

from napari_sslmaps.lab.gate.controls import BASELINES, colour_statistics, positions, raw_patches
from napari_sslmaps.lab.gate.images import SEEDS, ProbeData, simulate_probe_set, token_labels


def test_probe_labels_mark_mixed_tokens():
    pixels = torch.zeros(1, 16, 16, dtype=torch.uint8)
    pixels[0, :, :3] = 2  # 3 of 8 columns of the left patches; the other class fills 62.5 %
    assert token_labels(pixels, 3).tolist() == [[0, 0, 0, 0]]
    pixels[0, :, 3] = 2
    assert token_labels(pixels, 3).tolist() == [[-1, 0, -1, 0]]


def test_simulated_images_repeat_and_splits_differ():
    first = {name: simulate_probe_set("histology", seed, 2) for name, seed in SEEDS.items()}
    simulate_probe_set.cache_clear()
    again = ProbeData.simulate("histology", train=2, validation=2)
    assert torch.equal(first["train"].images, again.train.images)
    assert torch.equal(first["validation"].labels, again.split("validation").labels)
    assert again.test is None
    images = torch.cat([part.images for part in first.values()])
    assert len(torch.unique(images.flatten(1), dim=0)) == 6
    assert again.train.images.shape == (2, 3, 128, 128)
    assert again.train.labels.shape == (2, 256)


def test_colour_statistics_are_those_of_each_patch():
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    found = colour_statistics(images)
    patch = images[1, :, 8:16, 16:24].flatten(1)
    expected = torch.cat([patch.mean(dim=1), patch.std(dim=1, correction=0)])
    torch.testing.assert_close(found[1, 16 + 2], expected, atol=1e-4, rtol=0)


def test_raw_patches_are_the_pixels():
    images = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(raw_patches(images)[0, 17], images[0, :, 8:16, 8:16].flatten())


def test_positions_know_nothing_of_the_image():
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    found = positions(images)
    assert torch.equal(found[0], found[1])
    assert len(torch.unique(found[0], dim=0)) == 256
    gram = found[0].T @ found[0]
    torch.testing.assert_close(gram, torch.diag(gram.diag()), atol=1e-3, rtol=0)


def test_every_baseline_has_a_feature_row_per_token():
    images = torch.zeros(2, 3, 128, 128)
    assert all(tokens(images).shape[:2] == (2, 256) for tokens in BASELINES.values())
