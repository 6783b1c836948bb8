"""Rectangles on the canvas and what they mean on the token grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pretext_kit import REGION, STRIDE, views

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.pretext_views import Crop, TokenBlock
from napari_sslmaps.core.region import Region
from napari_sslmaps.viewer.pretext.editing import block_at, block_corners, crop_at, crop_corners

GRID = TokenGrid.covering(Region(10, 20, 90, 120, 1), 16, (2.0, 2.0))


@given(st.data())
def test_a_block_comes_back_from_its_corners(data: st.DataObject) -> None:
    row, col = (data.draw(st.integers(0, count - 1)) for count in GRID.shape)
    height, width = data.draw(st.integers(1, GRID.rows - row)), data.draw(st.integers(1, GRID.cols - col))
    block = TokenBlock(row, col, height, width)
    jitter = data.draw(st.floats(-7, 7))
    assert block_at(block_corners(block, GRID) + jitter, GRID) == block


def test_a_block_covers_the_edges_of_its_pixels() -> None:
    corners = block_corners(TokenBlock(0, 1, 2, 1), GRID)
    assert corners.min(axis=0).tolist() == [20 - 0.5, 40 + 32 - 0.5]
    assert corners.max(axis=0).tolist() == [20 + 64 - 0.5, 40 + 64 - 0.5]


@given(st.lists(st.tuples(st.floats(-900, 900), st.floats(-900, 900)), min_size=1, max_size=6))
def test_any_shape_becomes_a_block_on_the_grid(corners: list[tuple[float, float]]) -> None:
    block = block_at(corners, GRID)
    assert min(block.height, block.width) >= 1
    assert 0 <= block.row <= GRID.rows - block.height
    assert 0 <= block.col <= GRID.cols - block.width


@pytest.mark.parametrize("kind", ["global", "local"])
def test_a_crop_comes_back_from_its_corners(kind: str) -> None:
    view = views()
    crop = Crop(Region(40, 50, 24, 20), kind)  # type: ignore[arg-type]  # of the two
    assert crop_at(crop_corners(crop, view), kind, view) == crop


@given(st.lists(st.tuples(st.floats(-900, 900), st.floats(-900, 900)), min_size=1, max_size=6))
def test_any_shape_becomes_a_crop_of_what_is_looked_at(corners: list[tuple[float, float]]) -> None:
    region = crop_at(corners, "target", views()).region
    assert min(region.shape_yx) >= STRIDE
    low = np.array([region.y, region.x])
    assert (low >= [REGION.y, REGION.x]).all()
    assert (low + region.shape_yx <= np.add([REGION.y, REGION.x], REGION.shape_yx)).all()
