import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from napari_sslmaps.evaluation.uncertainty import Tally, draw_weights, estimate, estimate_gain


def random_tally(seed: int, images: int = 40, right: float = 0.7) -> Tally:
    """Tokens of two classes; each image has a rate of its own around `right`."""
    rng = np.random.default_rng(seed)
    counts = np.full((images, 2), 30.0)
    rates = np.clip(right + 0.1 * rng.standard_normal((images, 1)), 0, 1)
    return Tally(rng.binomial(30, np.repeat(rates, 2, axis=1)).astype(float), counts)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 4))
def test_a_tally_is_scikit_learn_s_balanced_accuracy(seed, classes, images):
    generator = torch.Generator().manual_seed(seed)
    labels, predicted = (torch.randint(0, classes, (50,), generator=generator) for _ in range(2))
    labels[:classes] = torch.arange(classes)
    where = torch.randint(0, images, (50,), generator=generator)
    tally = Tally.count(predicted, labels, where, (images, classes))
    assert tally.accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_every_bootstrap_sample_has_as_many_images():
    weights = draw_weights(17)
    assert weights.shape == (1000, 17)
    assert (weights.sum(axis=1) == 17).all()
    assert weights.mean() == 1


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    inside = 0
    for seed in range(120):
        found = estimate(random_tally(seed))
        inside += found.low <= 0.7 <= found.high
    assert 0.88 <= inside / 120 <= 0.99


def test_a_class_that_a_sample_lacks_is_left_out():
    tally = Tally(np.array([[4.0, 0.0], [0.0, 2.0]]), np.array([[4.0, 0.0], [0.0, 4.0]]))
    assert tally.accuracy == 0.75
    assert tally.resampled(np.array([[2.0, 0.0], [0.0, 2.0]])).tolist() == [1.0, 0.5]


def test_a_gain_is_paired_by_image():
    control = random_tally(1)
    better = Tally(np.minimum(control.hits + 3, 30), control.counts)
    gain = estimate_gain([better], [control])
    alone = estimate(better)
    assert gain.value == pytest.approx(better.accuracy - control.accuracy)
    assert gain.low > 0
    assert gain.high - gain.low < (alone.high - alone.low) / 3


def test_no_gain_over_oneself():
    control = random_tally(2)
    gain = estimate_gain([control], [control, control])
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)
