"""Attenuation, enhancement, shadows and interfaces behave as sound does."""

from dataclasses import replace

import numpy as np
import pytest

from napari_sslmaps.lab.simulators.anatomy import FLUID, PARENCHYMA, WALL, Anatomy
from napari_sslmaps.lab.simulators.scanner import (
    Settings,
    acquire,
    decibels_to_amplitude,
    hidden_by,
    interfaces,
    transmission,
)
from napari_sslmaps.lab.simulators.speckle import Beam
from napari_sslmaps.lab.simulators.transducer import BeamSpace, Transducer, depth_and_angle, sample_beams

SIZE = 120
SETTINGS = Settings(
    beam=Beam(1.0, 1.5, 60.0, 120.0),
    loss=0.2,
    mismatch=0.0,
    noise=-60.0,
    clutter=-60.0,
    grey=0.4,
    dynamic_range=60.0,
    looks=1,
    smoothing=0.0,
)


@pytest.fixture
def space() -> BeamSpace:
    """A linear array over the whole field."""
    radius = 60.0 * SIZE
    array = Transducer((-radius, SIZE / 2), radius, float(np.arctan(1.0 / 60)), 2.0 * SIZE)
    return sample_beams(array, *depth_and_angle(array, SIZE))


@pytest.fixture
def even(space: BeamSpace) -> Anatomy:
    rows = np.repeat(np.arange(SIZE, dtype=np.float32)[:, None], SIZE, axis=1)
    return Anatomy(
        labels=np.full((SIZE, SIZE), PARENCHYMA, dtype=np.uint8),
        echo=np.zeros((SIZE, SIZE), dtype=np.float32),
        depth=rows,
        across=rows.T,
        visible=space.inside,
        zoom=1.0,
        wall=rows,
    )


def picture(field: Anatomy, space: BeamSpace, settings: Settings = SETTINGS, bone: np.ndarray | None = None):
    hidden = np.zeros((SIZE, SIZE), dtype=bool) if bone is None else bone
    return acquire(np.random.default_rng(0), field, hidden, space, settings)


def test_decibels_are_twenty_per_tenfold_amplitude():
    found = decibels_to_amplitude(np.array([-20, 0, 20, 6.0206], dtype=np.float32))
    np.testing.assert_allclose(found, [0.1, 1, 10, 2], rtol=1e-4)


def test_sound_that_crossed_fluid_is_louder_behind_it():
    labels = np.full((100, 60), PARENCHYMA, dtype=np.uint8)
    depth = np.arange(100, dtype=np.float32)
    without = transmission(np.random.default_rng(1), labels, depth, SETTINGS)
    labels[20:50, 10:20] = FLUID
    behind = transmission(np.random.default_rng(1), labels, depth, SETTINGS) - without
    behind -= behind[:, 30:].mean()  # the overall gain
    expected = 11 * np.tanh(0.95 * SETTINGS.loss * 30 / 11)
    np.testing.assert_allclose(behind[50:, 10:20], expected, atol=0.1)
    np.testing.assert_allclose(behind[:, 20:], 0, atol=0.1)
    np.testing.assert_allclose(behind[:20], 0, atol=0.1)


def test_a_compensation_set_too_low_leaves_the_depth_darker():
    labels = np.full((100, 60), PARENCHYMA, dtype=np.uint8)
    depth = np.arange(100, dtype=np.float32)
    right = transmission(np.random.default_rng(1), labels, depth, SETTINGS)
    low = transmission(np.random.default_rng(1), labels, depth, replace(SETTINGS, mismatch=0.5))
    fall = (low - right)[0, 0] - (low - right)[-1, 0]
    assert fall == pytest.approx(0.5 * SETTINGS.loss * 99, rel=0.01)


def test_nothing_comes_back_from_behind_bone():
    bone = np.zeros((50, 40), dtype=bool)
    bone[10:14, 15:25] = True
    lost = hidden_by(bone)
    assert (lost[:10] == 0).all()
    assert (np.diff(lost, axis=0) >= 0).all()
    assert lost[14:, 18:22].min() >= 24
    assert (lost[:, :10] == 0).all()
    edge = lost[-1, 12:18]
    assert (np.diff(edge) >= 0).all()
    assert 0 < edge[1] < edge[-1]


def test_a_shadow_is_dark_and_marked(space, even):
    bone = np.zeros((SIZE, SIZE), dtype=bool)
    bone[30:34, 40:70] = True
    clear, nothing = picture(even, space)
    shaded, shadow = picture(even, space, bone=bone)
    assert not nothing.any()
    assert shadow[40:110, 45:65].all()
    assert not shadow[:28].any()
    assert not shadow[:, :36].any()
    assert shaded[50:110, 45:65].mean() < clear[50:110, 45:65].mean() - 0.3
    assert shaded[50:110, 80:115].mean() == pytest.approx(clear[50:110, 80:115].mean(), abs=0.02)


def test_a_boundary_across_the_beam_shines_and_one_along_it_does_not():
    amplitude = np.ones((40, 40), dtype=np.float32)
    across = np.full((40, 40), PARENCHYMA, dtype=np.uint8)
    across[20:] = FLUID
    found = interfaces(np.random.default_rng(0), across, amplitude)
    assert np.flatnonzero(found.any(axis=1)).tolist() == [20]
    assert found[20].min() > 0.2
    along = across.T.copy()
    assert not interfaces(np.random.default_rng(0), along, amplitude).any()


def test_log_compression_shows_decibels_over_the_dynamic_range(space, even):
    brighter = replace_echo(even, 12.0)
    first, _ = picture(even, space)
    second, _ = picture(brighter, space)
    assert (second - first)[space.inside].mean() == pytest.approx(12 / SETTINGS.dynamic_range, abs=0.01)


def test_more_looks_give_smoother_speckle(space, even):
    one, _ = picture(even, space)
    three, _ = picture(even, space, replace(SETTINGS, looks=3))
    assert three[20:100, 20:100].std() < 0.75 * one[20:100, 20:100].std()


def test_muscle_is_streaked_across_the_beam(space, even):
    even.labels[:] = WALL
    found, _ = picture(even, space)
    found = found[10:110, 10:110] - found[10:110, 10:110].mean()
    along, across = (found[:, 6:] * found[:, :-6]).mean(), (found[6:] * found[:-6]).mean()
    assert along > across + 0.1 * found.var()


def test_noise_grows_with_depth(space, even):
    silent = replace_echo(even, -90.0)
    found, _ = picture(silent, space, replace(SETTINGS, noise=-40.0))
    rows = found.mean(axis=1)
    assert rows[100:].mean() - rows[:20].mean() > 0.8 * SETTINGS.loss * 95 / SETTINGS.dynamic_range


def replace_echo(field: Anatomy, decibels: float) -> Anatomy:
    return replace(field, echo=np.full((SIZE, SIZE), decibels, dtype=np.float32))
