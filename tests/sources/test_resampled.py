"""A level of any resolution against torch's antialiased resampling of the whole image."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import immunohistochemistry

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import InvalidOptionError, RegionError
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.coarser import CoarserLevels
from napari_sslmaps.sources.resampled import ResampledLevel, at_resolution

FIELD = immunohistochemistry()[:300, :401]


def whole(source):
    level = len(source.levels) - 1
    return source.read(Region(0, 0, *source.levels[level].shape_yx, level))


def by_torch(pixels, shape):
    planes = torch.from_numpy(pixels.astype(np.float64)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(planes, shape, mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("factor", [(1.7, 1.7), (4.0, 2.5), (0.6, 0.6)])
def test_pixels_are_those_of_an_independent_resampling(factor):
    source = ResampledLevel(ArraySource(FIELD), factor)
    found = whole(source)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, by_torch(FIELD, found.shape[:2]), atol=1.1)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.int16, np.bool_])
def test_other_types_stay_what_they_are(dtype):
    grey = FIELD[..., 0] > 128 if dtype is np.bool_ else FIELD[..., 0].astype(dtype) * 3
    found = whole(ResampledLevel(ArraySource(grey), (2.5, 2.5)))
    assert found.dtype == dtype
    expected = by_torch(grey[..., None].astype(np.float64), found.shape)[..., 0]
    np.testing.assert_allclose(found, expected, atol=1e-3 if dtype is np.float32 else 0.51)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 9.0), st.data())
def test_a_part_is_cut_from_the_whole(factor, data):
    source = ResampledLevel(ArraySource(FIELD), (factor, factor))
    height, width = source.levels[-1].shape_yx
    y, x = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    h, w = data.draw(st.integers(1, height - y)), data.draw(st.integers(1, width - x))
    region, cut = Region(y, x, h, w, 1), np.s_[y : y + h, x : x + w]
    exact = ResampledLevel(ArraySource(FIELD.astype(np.float32)), (factor, factor))
    np.testing.assert_allclose(exact.read(region), whole(exact)[cut], atol=0.01)
    difference = np.abs(source.read(region).astype(int) - whole(source)[cut])
    assert difference.max() <= 2  # bytes are rounded along one axis, then along the other


def test_edges_lie_on_each_other():
    source = ResampledLevel(ArraySource(FIELD), (3.0, 3.0))
    (height, width), (down_y, down_x) = source.levels[-1].shape_yx, source.levels[-1].downsample_yx
    assert (height * down_y, width * down_x) == pytest.approx(FIELD.shape[:2])


def test_a_stripe_stays_where_it_was():
    stripes = np.zeros((90, 90), np.uint8)
    stripes[30:60] = 255
    found = whole(ResampledLevel(ArraySource(stripes), (3.0, 3.0)))
    centre = (np.arange(30) * found.mean(axis=1)).sum() / found.mean(axis=1).sum()
    assert centre == pytest.approx(14.5, abs=0.01)


def test_the_level_that_is_just_fine_enough_is_read():
    pyramid = CoarserLevels(ArraySource(np.zeros((4200, 4200), np.uint8)))
    assert len(pyramid.levels) == 4
    source = ResampledLevel(pyramid, (5.0, 5.0))
    watched, read = [], pyramid.read
    pyramid.read = lambda region: watched.append(region.level) or read(region)
    source.read(Region(0, 0, 10, 10, 4))
    assert watched == [2]


def test_a_level_that_is_there_is_taken_as_it_is():
    pyramid = CoarserLevels(ArraySource(np.zeros((4096, 4096), np.uint8)))
    assert at_resolution(pyramid, (2.0, 2.01)) == (pyramid, 1)
    source, level = at_resolution(pyramid, (3.0, 3.0))
    assert (source.levels[:-1], level) == (pyramid.levels, len(pyramid.levels))


def test_own_levels_and_bounds_are_the_sources():
    source = ResampledLevel(ArraySource(FIELD), (2.0, 2.0))
    np.testing.assert_array_equal(source.read(Region(3, 4, 20, 30)), FIELD[3:23, 4:34])
    with pytest.raises(RegionError):
        source.read(Region(0, 0, 151, 10, 1))
    with pytest.raises(InvalidOptionError, match="at least one pixel"):
        ResampledLevel(ArraySource(FIELD), (1000.0, 1000.0))
