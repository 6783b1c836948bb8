"""The probes read what they can and no more."""

import numpy as np
import torch

from napari_sslmaps.lab.gate.controls import colour_statistics, raw_patches
from napari_sslmaps.lab.study.probe import layout, pooled, score
from napari_sslmaps.lab.study.scenes import LabelledScene


def test_pooling_follows_its_definition() -> None:
    tokens = torch.randn(3, 64, 5)
    grid = tokens.reshape(3, 8, 8, 5)
    assert torch.allclose(pooled(tokens), grid.mean(dim=(1, 2)), atol=1e-6)
    quarters = torch.stack(
        [grid[:, y : y + 4, x : x + 4].mean(dim=(1, 2)) for y in (0, 4) for x in (0, 4)], dim=2
    )
    assert torch.allclose(layout(tokens).reshape(3, 5, 4), quarters, atol=1e-6)


def test_controls_are_what_they_are_called() -> None:
    images = torch.rand(2, 3, 64, 64)
    patch = images[1, :, 8:16, 16:24]
    assert torch.allclose(raw_patches(images)[1, 8 + 2], patch.reshape(-1))
    colours = colour_statistics(images)[1, 8 + 2]
    assert torch.allclose(colours[:3], patch.mean(dim=(1, 2)), atol=1e-6)
    assert torch.allclose(colours[3:], patch.std(dim=(1, 2), correction=0), atol=1e-5)


def test_probes_find_a_label_in_the_tokens_and_none_in_noise() -> None:
    rng = np.random.default_rng(0)

    def made(count: int) -> tuple[LabelledScene, list[torch.Tensor]]:
        labels = rng.integers(0, 2, (2, count)).astype(np.int8)
        classes = rng.integers(-1, 4, (count, 64)).astype(np.int8)
        tokens = rng.standard_normal((count, 64, 8)).astype(np.float32)
        tokens[:, :, 0] += labels[0][:, None]  # the whole image says the first label
        tokens[:, :32, 1] += 2 * labels[1][:, None] - 1  # halves cancel: only the layout says the second
        tokens[:, 32:, 1] -= 2 * labels[1][:, None] - 1
        tokens[:, :, 2:6] += 4 * (classes[:, :, None] == np.arange(4))
        images = np.zeros((1, count, 64, 64, 3), dtype=np.uint8)
        return LabelledScene(images, labels, classes), [torch.from_numpy(tokens)]

    probe, fitted = made(300)
    test, asked = made(300)
    found = score(fitted, asked, probe, test)
    accuracy = found.image.mean(axis=-1)  # (probes, noises, labels)
    assert accuracy[0, 0, 0] > 0.95
    assert abs(accuracy[0, 0, 1] - 0.5) < 0.12
    assert accuracy[1, 0].min() > 0.95
    assert found.token.shape == (1, 300)
    assert 0.9 < found.token.mean() <= 1.0
