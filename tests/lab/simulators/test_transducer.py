"""Beams cross the field, and scan conversion brings their echoes back to where they came from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sslmaps.lab.simulators.fields import smooth_field
from napari_sslmaps.lab.simulators.transducer import (
    BeamSpace,
    Transducer,
    depth_and_angle,
    draw_transducer,
    sample_beams,
)


def beams(transducer: Transducer, size: int) -> BeamSpace:
    return sample_beams(transducer, *depth_and_angle(transducer, size))


CURVED = Transducer(apex_yx=(-30.0, 48.0), radius=30.0, half_angle=0.6, reach=80.0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(48, 160))
def test_what_is_sampled_and_converted_is_what_was_there(seed, size):
    rng = np.random.default_rng(seed)
    space = beams(draw_transducer(rng, size), size)
    assert space.nearest.min() >= 0
    assert space.nearest.max() < size * size
    field = smooth_field(rng, size, 16)
    back = space.convert(space.gather(field))
    inner = space.inside.copy()
    inner[[0, -1]] = inner[:, [0, -1]] = False
    if inner.any():
        assert np.sqrt(((back - field)[inner] ** 2).mean()) < 0.15


def test_depth_and_angle_are_those_of_a_fan():
    depth, angle = depth_and_angle(CURVED, 96)
    assert depth[0, 48] == pytest.approx(0)
    assert depth[60, 48] == pytest.approx(60)
    assert angle[60, 48] == pytest.approx(0)
    assert np.allclose(angle[:, ::-1][:, 1:][:, :40], -angle[:, 1:][:, :40], atol=0.2)
    assert angle[0, 95] == pytest.approx(np.arctan2(47, 30))


def test_lines_part_with_depth():
    space = beams(CURVED, 96)
    assert (np.diff(space.spacing) > 0).all()
    ratio = (space.depth[-1] + CURVED.radius) / (space.depth[0] + CURVED.radius)
    assert space.spacing[-1] / space.spacing[0] == pytest.approx(ratio, rel=1e-4)


def test_a_decision_is_converted_as_a_decision():
    space = beams(CURVED, 96)
    mask = np.zeros(space.nearest.shape, dtype=bool)
    mask[len(mask) // 2 :] = True
    depth, _ = depth_and_angle(CURVED, 96)
    found = space.convert_mask(mask)
    border = space.depth[len(mask) // 2]
    sure = space.inside & (np.abs(depth - border) > 1)
    assert np.array_equal(found[sure], (depth > border)[sure])


def test_a_transducer_that_sees_nothing_gives_no_error():
    space = beams(Transducer((-500.0, 0.0), 10.0, 0.1, 20.0), 48)
    assert not space.inside.any()
    assert np.isfinite(space.convert(space.gather(np.ones((48, 48), dtype=np.float32)))).all()
