import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import grids, tilings

from napari_sslmaps.core.placed_mask import PlacedMask, any_within
from napari_sslmaps.core.tiling import plan_tiles

sizes = st.integers(1, 30)


def some(shape, share, seed):
    return np.random.default_rng(seed).random(shape) < share


@settings(max_examples=30)
@given(grids(), st.integers(1, 9), st.integers(0, 20), st.integers(0, 99))
def test_a_token_is_wanted_if_a_true_cell_overlaps_it(grid, cell, origin, seed):
    mask = PlacedMask(some((12, 9), 0.1, seed), (float(cell), float(cell)), (float(origin), float(origin)))
    wanted = mask.on(grid)
    assert wanted.shape == grid.shape
    for row, col in np.ndindex(grid.shape):
        centre, half = grid.token_to_pixel((row, col)), np.asarray(grid.stride_yx) / 2
        first, last = centre - half + 0.5, centre + half + 0.5  # edges, as pixel indices
        low, high = (first - origin) / cell + 1e-4, (last - origin) / cell - 1e-4
        cells = [
            [i for i in range(count) if i < stop and i + 1 > start]
            for count, start, stop in zip(mask.values.shape, low, high, strict=True)
        ]
        assert wanted[row, col] == mask.values[np.ix_(*cells)].any()


@given(sizes, sizes, st.integers(0, 99), st.data())
def test_ranges_are_searched_as_one_by_one(rows, cols, seed, data):
    values = some((rows, cols), 0.2, seed)
    ends = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted)
    tops, lefts = (data.draw(st.lists(ends, min_size=1, max_size=5)) for _ in range(2))
    expected = [[values[a:b, c:d].any() for c, d in lefts] for a, b in tops]
    np.testing.assert_array_equal(any_within(values, tops, lefts), expected)


@given(sizes, sizes, tilings(), st.floats(0.01, 0.5), st.integers(0, 99))
def test_only_tiles_that_contribute_to_a_wanted_token_are_planned(rows, cols, tiling, share, seed):
    wanted = some((rows, cols), share, seed)
    everything, chosen = plan_tiles(rows, cols, tiling), plan_tiles(rows, cols, tiling, wanted=wanted)
    for tile in everything:
        if tiling.stitching == "drop":
            part = wanted[tile.rows.kept, tile.cols.kept]
        else:
            part = wanted[tile.rows.start : tile.rows.stop, tile.cols.start : tile.cols.stop]
        assert (tile in chosen) == part.any()
    assert list(chosen) == [tile for tile in everything if tile in chosen]
