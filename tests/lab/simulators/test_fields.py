"""The strokes that simulators paint with."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sslmaps.lab.simulators.fields import (
    Ellipses,
    banded_field,
    fibre_field,
    jittered_points,
    small_product,
    smooth_field,
    stamp,
)

seeds = st.integers(0, 2**32)


def likeness(field: np.ndarray, shift: int, axis: int) -> float:
    """Correlation of a field with itself, shifted."""
    moved = np.take(field, np.arange(shift, field.shape[axis]), axis=axis)
    still = np.take(field, np.arange(field.shape[axis] - shift), axis=axis)
    return float(np.corrcoef(moved.ravel(), still.ravel())[0, 1])


@given(seed=seeds, rows=st.integers(1, 300), inner=st.integers(1, 90), columns=st.integers(1, 300))
def test_a_product_in_slices_is_the_product(seed, rows, inner, columns):
    rng = np.random.default_rng(seed)
    left = rng.standard_normal((rows, inner), dtype=np.float32)
    right = rng.standard_normal((inner, columns), dtype=np.float32)
    np.testing.assert_allclose(small_product(left, right), left @ right, rtol=1e-4, atol=1e-4)


@given(seed=seeds, size=st.integers(32, 120), wavelength=st.floats(2, 200))
def test_a_smooth_field_has_mean_0_and_deviation_1(seed, size, wavelength):
    field = smooth_field(np.random.default_rng(seed), size, wavelength)
    assert field.shape == (size, size)
    assert field.dtype == np.float32
    assert field.mean() == pytest.approx(0, abs=1e-3)
    assert field.std() == pytest.approx(1, abs=1e-3)


def test_a_longer_wavelength_is_smoother():
    short, long = (smooth_field(np.random.default_rng(0), 128, wave) for wave in (6, 40))
    assert likeness(long, 6, 0) > 0.9
    assert likeness(short, 6, 0) < 0.4


def test_bands_lie_along_the_longer_wavelength():
    field = banded_field(np.random.default_rng(0), (90, 130), (4, 40))
    assert field.shape == (90, 130)
    assert likeness(field, 4, 1) > 0.8
    assert likeness(field, 4, 0) < 0.4


@pytest.mark.parametrize(("angle", "axis"), [(0.0, 1), (np.pi / 2, 0)])
def test_fibres_run_along_their_angle(angle, axis):
    field = fibre_field(np.random.default_rng(1), np.full((128, 128), angle, dtype=np.float32), 3.0)
    assert likeness(field, 6, axis) > likeness(field, 6, 1 - axis) + 0.4


@given(seed=seeds, spacing=st.floats(5, 40))
def test_points_are_as_dense_as_their_spacing(seed, spacing):
    points = jittered_points(np.random.default_rng(seed), 100, spacing)
    assert len(points) == max(1, round(100 / spacing)) ** 2
    assert points.min() > -0.4 * spacing


@given(long=st.floats(5, 14), flat=st.floats(0.4, 1.0), angle=st.floats(0, np.pi), at=st.floats(20, 43.9))
def test_a_stamped_ellipse_has_its_area(long, flat, angle, at):
    canvas = np.zeros((64, 64), dtype=np.float32)
    parts = [np.array([value], dtype=np.float32) for value in (long, long * flat, angle)]
    stamp(canvas, Ellipses(np.array([[at, 64 - at]], dtype=np.float32), *parts), np.ones(1, dtype=np.float32))
    assert canvas.sum() == pytest.approx(np.pi * long * long * flat, rel=0.08)
    assert canvas.max() <= 1


def test_overlapping_stamps_keep_the_larger_value():
    canvas = np.zeros((32, 32), dtype=np.float32)
    one = np.ones(2, dtype=np.float32)
    both = Ellipses(np.full((2, 2), 16, dtype=np.float32), 6 * one, 6 * one, 0 * one)
    stamp(canvas, both, np.array([0.3, 0.8], dtype=np.float32))
    assert canvas[16, 16] == pytest.approx(0.8)


def test_a_stamp_over_the_border_is_cut_there():
    canvas = np.zeros((32, 32), dtype=np.float32)
    one = np.ones(1, dtype=np.float32)
    stamp(canvas, Ellipses(np.array([[0, 31]], dtype=np.float32), 8 * one, 8 * one, 0 * one), one)
    assert canvas[0, 31] == pytest.approx(1)
    assert canvas[31].max() == canvas[:, 0].max() == 0
