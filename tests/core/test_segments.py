"""Areas of a map above a threshold, their edges at pixels, and its peaks."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import label

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.segments import SegmentOptions, guided_filter, segments_of, top_places


def grid_of(rows: int, cols: int, stride: float = 8.0) -> TokenGrid:
    return TokenGrid(rows, cols, (stride, stride), (16, 24), (rows * stride, cols * stride))


@given(arrays(np.float32, (7, 9), elements=st.floats(-1, 1, width=32)), st.floats(-1, 1))
def test_areas_are_the_connected_parts_above_the_threshold(values: np.ndarray, threshold: float) -> None:
    options = SegmentOptions(threshold, least_px=0.0, fill_holes=False)
    found = segments_of(values, grid_of(7, 9), options)
    np.testing.assert_array_equal(found.labels > 0, values > threshold)
    assert len(found.sizes_px) == label(values > threshold, connectivity=1).max()
    assert sum(found.sizes_px) == 64 * np.count_nonzero(values > threshold)
    for number, mean in enumerate(found.means, start=1):
        np.testing.assert_allclose(mean, values[found.labels == number].mean(), atol=1e-5)


def test_small_areas_go_holes_are_filled_and_what_is_not_known_is_outside() -> None:
    values = np.zeros((8, 8), np.float32)
    values[1:6, 1:6] = 1
    values[3, 3] = 0
    values[7, 7] = 1
    values[0, 7] = np.nan
    filled = segments_of(values, grid_of(8, 8), SegmentOptions(0.5, least_px=65))
    assert filled.sizes_px == (25 * 64.0,)
    assert filled.labels[3, 3] == 1
    assert filled.labels[7, 7] == 0
    np.testing.assert_allclose(filled.centre_px(1), (16 + 3 * 8 + 3.5, 24 + 3 * 8 + 3.5))
    kept = segments_of(values, grid_of(8, 8), SegmentOptions(0.5, least_px=0.0, fill_holes=False))
    assert kept.sizes_px == (24 * 64.0, 64.0)


def test_specks_of_a_few_tokens_are_left_out_unless_asked_for() -> None:
    values = np.zeros((8, 8), np.float32)
    values[1:3, 1:3] = 1  # four tokens
    values[5, 5:8] = 1  # three
    found = segments_of(values, grid_of(8, 8), SegmentOptions(0.5))
    assert (found.sizes_px, found.left_out) == ((4 * 64.0,), 1)
    all_of_them = segments_of(values, grid_of(8, 8), SegmentOptions(0.5, least_px=0.0))
    assert (all_of_them.sizes_px, all_of_them.left_out) == ((4 * 64.0, 3 * 64.0), 0)
    guide = np.zeros((64, 64), np.float32)
    assert segments_of(values, grid_of(8, 8), SegmentOptions(0.95, guided=True), guide).sizes_px == ()


def test_guided_edges_lie_where_the_image_has_one() -> None:
    values = np.linspace(-1, 1, 8, dtype=np.float32)[None].repeat(8, axis=0)
    guide = np.zeros((64, 64), np.float32)
    guide[:, 37:] = 1
    found = segments_of(values, grid_of(8, 8), SegmentOptions(0.0, guided=True), guide)
    assert found.labels.shape == (64, 64)
    edges = np.argmax(found.labels > 0, axis=1)
    assert np.abs(edges - 37).max() <= 1
    plain = segments_of(values, grid_of(8, 8), SegmentOptions(0.0))
    assert np.argmax(plain.labels[0] > 0) * 8 == 32


def test_a_flat_guide_leaves_a_smooth_map_as_it_is() -> None:
    values = np.linspace(0, 1, 40, dtype=np.float32)[:, None].repeat(40, axis=1)
    found = guided_filter(values, np.full((40, 40), 0.5, np.float32), 2)
    np.testing.assert_allclose(found[6:-6], values[6:-6], atol=1e-4)


def test_the_highest_peaks_come_first_and_keep_apart() -> None:
    values = np.zeros((12, 12), np.float32)
    values[2, 2], values[2, 3], values[9, 9], values[0, 11] = 0.9, 0.8, 0.95, np.nan
    values += np.random.default_rng(0).random((12, 12), np.float32) * 0.01
    assert top_places(values, 2) == [(9, 9), (2, 2)]
    assert len(top_places(values, 100)) < 30
