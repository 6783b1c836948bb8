import numpy as np

from napari_sslmaps.simulators import CLASSES, simulate_histology
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
