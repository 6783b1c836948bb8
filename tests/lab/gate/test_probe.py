import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from torch.nn import functional

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.gate.images import ProbeData, ProbeSet
from napari_sslmaps.lab.gate.probe import (
    LabelledTokens,
    Probe,
    balanced_accuracy,
    classify,
    compute_tokens,
    nearest_neighbours,
    on_probe_grid,
    ridge_path,
    score,
)

CLASSES = 4


def clouds(count: int, dim: int, seed: int, apart: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Gaussian clouds of unequal sizes, one per class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(
        torch.tensor([0.5, 0.3, 0.15, 0.05]), count, replacement=True, generator=generator
    )
    labels[:CLASSES] = torch.arange(CLASSES)
    return apart * torch.eye(CLASSES, dim)[labels] + torch.randn(count, dim, generator=generator), labels


def toy_set(seed: int, count: int = 6) -> ProbeSet:
    """Images whose green channel tells the class of each 8 x 8 patch."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count, 256), generator=generator)
    green = labels.reshape(count, 1, 16, 16).float() / CLASSES
    images = torch.rand(count, 3, 128, 128, generator=generator)
    images[:, 1:2] = green.repeat_interleave(8, 2).repeat_interleave(8, 3)
    return ProbeSet(images, labels, ("a", "b", "c", "d"))


TOY = ProbeData(toy_set(1), toy_set(2), toy_set(3))


@pytest.mark.parametrize("penalty", [1e-4, 1e-1, 10.0])
def test_ridge_is_scikit_learn_s_with_balanced_weights(penalty):
    features, labels = clouds(300, 7, 0)
    weights = (1 / torch.bincount(labels))[labels] / CLASSES
    target = functional.one_hot(labels).double().numpy()
    peer = Ridge(alpha=penalty).fit(features.double().numpy(), target, sample_weight=weights.double().numpy())
    (fit,) = ridge_path(features, labels, [penalty])
    np.testing.assert_allclose(fit[:-1].T, peer.coef_, atol=1e-8)
    np.testing.assert_allclose(fit[-1], peer.intercept_, atol=1e-8)


def test_the_probe_classifies_as_scikit_learn_s_ridge_classifier():
    features, labels = clouds(400, 6, 1)
    asked, _ = clouds(200, 6, 2)
    # its balanced weights sum to the number of samples, ours to one; its targets are -1 and 1, ours 0 and 1
    peer = RidgeClassifier(alpha=0.01 * len(labels), class_weight="balanced")
    peer.fit(features.double().numpy(), labels.numpy())
    (fit,) = ridge_path(features, labels, [0.01])
    assert np.array_equal(classify(fit, asked).numpy(), peer.predict(asked.double().numpy()))


def test_neighbours_are_scikit_learn_s():
    features, labels = clouds(500, 5, 3, apart=1.0)
    asked, _ = clouds(300, 5, 4, apart=1.0)
    peer = KNeighborsClassifier(15).fit(features.numpy(), labels.numpy())
    assert np.array_equal(nearest_neighbours(features, labels, asked).numpy(), peer.predict(asked.numpy()))


def test_balanced_accuracy_is_scikit_learn_s():
    _, labels = clouds(200, 2, 5)
    predicted = torch.randint(0, CLASSES, (200,), generator=torch.Generator().manual_seed(6))
    assert balanced_accuracy(predicted, labels) == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_balanced_accuracy_weighs_classes_alike():
    assert balanced_accuracy(torch.zeros(10, dtype=torch.long), torch.tensor([0] * 9 + [1])) == 0.5


@pytest.mark.parametrize("side", [8, 16, 32])
def test_tokens_of_any_grid_reach_the_probe_s(side):
    ramp = torch.arange(side).float().repeat_interleave(side)[None, :, None] / side
    grid = on_probe_grid(ramp).reshape(16, 16)
    assert bool((grid[1:] >= grid[:-1]).all())
    assert grid.shape == (16, 16)


def perfect(images: torch.Tensor) -> torch.Tensor:
    """The green channel, one-hot."""
    return functional.one_hot((images[:, 1, ::8, ::8] * CLASSES).round().long()).float().flatten(1, 2)


def test_perfect_tokens_score_one():
    assert score(perfect, TOY, split="test") == {"probe": 1.0, "knn": 1.0}


def test_tokens_of_noise_score_at_chance():
    generator = torch.Generator().manual_seed(0)
    found = score(lambda images: torch.randn(len(images), 256, 8, generator=generator), TOY, split="test")
    assert found["probe"] == pytest.approx(1 / CLASSES, abs=0.05)
    assert found["knn"] == pytest.approx(1 / CLASSES, abs=0.05)


def test_the_score_does_not_depend_on_scale_or_offset():
    tokens = compute_tokens(perfect, TOY.train.images)
    noisy = tokens + torch.randn(tokens.shape, generator=torch.Generator().manual_seed(0))
    kept = LabelledTokens(
        noisy.flatten(0, 1), TOY.train.labels.flatten(), torch.zeros(6 * 256, dtype=torch.long)
    )
    moved = LabelledTokens(3 * kept.features + 7, kept.labels, kept.images)
    first, second = Probe(kept, kept).choice, Probe(moved, moved).choice
    assert first.probe == pytest.approx(second.probe, abs=2e-3)
    assert first.knn == pytest.approx(second.knn, abs=2e-3)


def test_settings_are_chosen_without_the_test_split():
    other = ProbeData(TOY.train, TOY.validation)
    assert score(perfect, other) == score(perfect, TOY, split="validation")
    with pytest.raises(InvalidOptionError, match="Expected a split among train, validation; got 'test'"):
        score(perfect, other, split="test")


def test_the_cosine_is_chosen_where_length_is_noise():
    features, labels = clouds(800, 8, 7, apart=6.0)
    lengths = torch.exp(2 * torch.randn(800, 1, generator=torch.Generator().manual_seed(8)))
    centred = (features - features.mean(dim=0)) * lengths
    parts = [
        LabelledTokens(centred[half], labels[half], torch.zeros(400, dtype=torch.long))
        for half in (slice(0, 400), slice(400, 800))
    ]
    assert Probe(*parts).choice.metric == "cosine"
