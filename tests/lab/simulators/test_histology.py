"""Stains, and fields that stay what they were."""

import numpy as np

from napari_sslmaps.lab.simulators.fields import field_seed
from napari_sslmaps.lab.simulators.histology import simulate_histology
from napari_sslmaps.lab.simulators.stains import HAEMATOXYLIN, StainMix, draw_stain_mix, transmit


def test_stains_multiply_light():
    mix = draw_stain_mix(np.random.default_rng(0), immuno=False)
    one = np.zeros((3, 1, 1), dtype=np.float32)
    one[0] = 0.5
    once, twice = transmit(one, mix)[0, 0] / mix.white, transmit(2 * one, mix)[0, 0] / mix.white
    np.testing.assert_allclose(twice, once**2, rtol=1e-5)
    np.testing.assert_allclose(transmit(0 * one, mix)[0, 0], mix.white, rtol=1e-6)


def test_two_stains_transmit_the_product_of_each():
    mix = draw_stain_mix(np.random.default_rng(3), immuno=True)
    amounts = np.random.default_rng(4).uniform(0, 1, (3, 5, 7)).astype(np.float32)
    alone = np.eye(3, dtype=np.float32)[:, :, None, None]
    each = [transmit(amounts * one, mix) / mix.white for one in alone]
    np.testing.assert_allclose(transmit(amounts, mix) / mix.white, np.prod(each, axis=0), rtol=1e-4)


def test_unit_concentration_has_the_stain_vector_as_its_density():
    vectors = np.array([HAEMATOXYLIN, (0, 0, 0), (0, 0, 0)], dtype=np.float32)
    mix = StainMix(vectors, np.ones(3, dtype=np.float32), np.ones(3, dtype=np.float32))
    light = transmit(np.ones((3, 1, 1), dtype=np.float32), mix)[0, 0]
    np.testing.assert_allclose(-np.log10(light), HAEMATOXYLIN, rtol=1e-5)


def test_a_seed_s_field_stays_what_it_was():
    """Training sets are named by their seeds; the tolerance is for other versions of numpy."""
    image, _ = simulate_histology(field_seed(0, 1), 64)
    coarse = image.mean(axis=2).reshape(4, 16, 4, 16).mean(axis=(1, 3))
    expected = [
        [200.6, 176.5, 186.4, 197.7],
        [185.2, 191.3, 191.1, 210.0],
        [184.4, 196.7, 204.6, 197.2],
        [194.5, 199.2, 207.5, 192.2],
    ]
    np.testing.assert_allclose(coarse, expected, atol=1.5)
