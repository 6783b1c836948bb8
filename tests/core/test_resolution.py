"""Which resolution is meant, and where a region lies at it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.resolution import Resolution, far_from_trained, region_at, resolution_of
from napari_sslmaps.errors import InvalidOptionError


def test_micrometres_go_by_the_image_s_own():
    assert Resolution(um_per_px=0.5).downsample_yx((100, 200), (0.25, 0.2)) == pytest.approx((2.0, 2.5))
    with pytest.raises(InvalidOptionError, match=r"0\.5 µm/px; this one does not"):
        Resolution(um_per_px=0.5).downsample_yx((100, 200), None)


def test_a_short_side_goes_by_the_size_of_the_image():
    assert Resolution(short_side=192).downsample_yx((384, 900), None) == (2.0, 2.0)
    assert str(Resolution(short_side=192)) == "192 px across"


@pytest.mark.parametrize(
    "wrong", [{}, {"um_per_px": 0.5, "short_side": 3}, {"um_per_px": 0.0}, {"short_side": -1}]
)
def test_exactly_one_way_is_taken(wrong):
    with pytest.raises(InvalidOptionError, match="one of them and above 0"):
        Resolution(**wrong)


def test_trained_is_taken_where_it_is_known_and_the_image_tells_enough():
    half, across = Resolution(um_per_px=0.5), Resolution(short_side=192)
    assert resolution_of("trained", half, (0.25, 0.25)) is half
    assert resolution_of("trained", half, None) is None
    assert resolution_of("trained", across, None) is across
    assert resolution_of("trained", None, (0.25, 0.25)) is None
    assert resolution_of("native", half, (0.25, 0.25)) is None
    assert resolution_of(1, None, None) == Resolution(um_per_px=1.0)
    with pytest.raises(InvalidOptionError, match="got 'best'"):
        resolution_of("best", None, None)


@given(st.floats(0.3, 9.0), st.integers(1, 300), st.data())
def test_a_region_is_covered_and_by_less_than_a_pixel_too_much(factor, size, data):
    cells = max(1, round(size / factor))
    down = size / cells
    start = data.draw(st.integers(0, size - 1))
    length = data.draw(st.integers(1, size - start))
    found = region_at(Region(start, 0, length, 1), 3, (down, 1.0), (cells, 1))
    first, last = found.y * down, (found.y + found.height) * down
    assert first <= start + 1e-3 < start + length <= last + 1e-3
    assert found.height == 1 or (first > start - down - 1e-3 and last < start + length + down + 1e-3)
    assert (found.level, found.x, found.width) == (3, 0, 1)


@pytest.mark.parametrize(
    ("pixel", "trained", "spacing", "said"),
    [
        (1.0, Resolution(um_per_px=0.5), (0.25, 0.25), "2 times finer"),
        (8.0, Resolution(um_per_px=0.5), (0.25, 0.25), "4 times coarser"),
        (1.0, Resolution(short_side=200), None, "5 times finer"),
        (4.0, Resolution(short_side=200), None, ""),
        (1.0, Resolution(um_per_px=0.5), None, ""),
        (1.0, None, (0.25, 0.25), ""),
    ],
)
def test_only_what_is_far_from_the_trained_resolution_is_said(pixel, trained, spacing, said):
    found = far_from_trained(pixel, trained, (1000, 2000), spacing)
    assert said in found
    assert bool(found) == bool(said)
