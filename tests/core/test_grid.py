import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import finite, grids, points, positive

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import InvalidAnchorError, RegionError


@given(grids(), points)
def test_pixel_and_token_coordinates_are_inverse(grid, pixel):
    np.testing.assert_allclose(grid.token_to_pixel(grid.pixel_to_token(pixel)), pixel, atol=1e-3)


@given(grids(), st.data())
def test_every_pixel_belongs_to_the_token_that_covers_it(grid, data):
    offsets = [data.draw(st.floats(0, 1, exclude_max=True)) * (extent - 1e-6) for extent in grid.extent_yx]
    pixel = np.array(grid.origin_yx) - 0.5 + offsets
    token = np.array(grid.token_at(pixel))
    centre = grid.token_to_pixel(token)
    assert (np.abs(pixel - centre) <= np.array(grid.stride_yx) / 2 + 1e-6).all()
    assert (token < grid.shape).all()


@given(grids())
def test_the_last_token_covers_the_last_pixel_and_no_token_lies_beyond(grid):
    end = np.array(grid.origin_yx) + grid.extent_yx
    first_of_last = np.array(grid.origin_yx) + (np.array(grid.shape) - 1) * grid.stride_yx
    assert (first_of_last < end).all()
    assert (np.array(grid.origin_yx) + np.array(grid.shape) * grid.stride_yx >= end - 1e-9).all()


@given(grids(), st.tuples(positive, positive), points, st.floats(-3.2, 3.2), finite)
def test_overlay_edges_land_on_the_edges_of_the_pixels_they_cover(grid, scale, translate, angle, shear):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[1, shear / 100], [0, 1]])
    placed = grid.place(scale, translate, linear)

    def to_world(data, cell, origin):
        return linear @ (np.array(cell) * data) + origin

    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        token_edge = np.array(corner) * grid.shape - 0.5
        pixel_edge = np.array(grid.origin_yx) + np.array(corner) * grid.shape * np.array(grid.stride_yx) - 0.5
        np.testing.assert_allclose(
            to_world(token_edge, placed.scale_yx, placed.translate_yx),
            to_world(pixel_edge, scale, translate),
            rtol=1e-6,
            atol=1e-4,
        )


def test_the_half_pixel_rule_by_hand():
    grid = TokenGrid.covering(Region(8, 0, 20, 33), 16)
    assert grid.shape == (2, 3)
    np.testing.assert_array_equal(grid.token_to_pixel((0, 0)), (15.5, 7.5))
    placed = grid.place((0.5, 0.5), (10, 20))
    assert placed.scale_yx == (8, 8)
    assert placed.translate_yx == (10 + 0.5 * 15.5, 20 + 0.5 * 7.5)


def test_a_disc_holds_the_centres_within_its_radius_and_always_one():
    grid = TokenGrid.covering(Region(0, 0, 80, 80), 8)
    assert grid.tokens_in_disc((20, 20), 0).tolist() == [[2, 2]]
    found = grid.tokens_in_disc((19.5, 19.5), 8).tolist()
    assert sorted(found) == [[1, 2], [2, 1], [2, 2], [2, 3], [3, 2]]


@pytest.mark.parametrize("pixel", [(-0.6, 3), (3, 20.0), (20, 3), (1e9, 0)])
def test_a_position_outside_is_refused_with_the_range(pixel):
    grid = TokenGrid.covering(Region(0, 0, 20, 20), 8)
    assert not grid.contains(pixel)
    with pytest.raises(InvalidAnchorError, match="rows 0–19 and columns 0–19"):
        grid.token_at(pixel)


@pytest.mark.parametrize("pixel", [(1, 2, 3), 5, (np.nan, 1), (np.inf, 1)])
def test_a_position_that_is_no_position_is_refused(pixel):
    grid = TokenGrid.covering(Region(0, 0, 20, 20), 8)
    with pytest.raises(InvalidAnchorError, match="two finite numbers"):
        grid.token_at(pixel)


def test_a_region_smaller_than_a_patch_is_refused():
    with pytest.raises(RegionError, match=r"at least one patch \(8 × 8 px\); got 1 × 1 px"):
        TokenGrid.covering(Region(0, 0, 1, 1), 8)


@given(grids(), st.integers(0, 4))
def test_a_coarser_grid_covers_the_same_region_from_the_same_corner(grid, level):
    coarse = grid.coarser(level)
    fine_corner = grid.token_to_pixel((-0.5, -0.5))
    np.testing.assert_allclose(coarse.token_to_pixel((-0.5, -0.5)), fine_corner, atol=1e-6)
    end = coarse.token_to_pixel(np.array(coarse.shape) - 0.5)
    fine_end = grid.token_to_pixel(np.array(grid.shape) - 0.5)
    assert (end >= fine_end - 1e-6).all()
    assert (end - fine_end < np.array(coarse.stride_yx)).all()


def test_an_edge_that_rounding_puts_outside_belongs_to_the_first_token():
    grid = TokenGrid(8, 8, (1.3, 1.3), (0.0, 6.5), (10.4, 10.4))
    assert grid.contains((0, 6))
    assert grid.token_at((0, 6)) == (0, 0)
