import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import tilings

from napari_sslmaps.core.tiling import Stitcher, Tiling, plan_tiles, split
from napari_sslmaps.errors import InvalidOptionError

sizes = st.integers(1, 40)
long = st.integers(1, 300)


@given(sizes, sizes, tilings(), st.integers(1, 4))
def test_kept_parts_cover_each_token_exactly_once(rows, cols, tiling, multiple):
    count = np.zeros((rows, cols), int)
    for tile in plan_tiles(rows, cols, tiling, multiple):
        count[tile.rows.kept, tile.cols.kept] += 1
    assert (count == 1).all()


@given(sizes, sizes, tilings(), st.integers(1, 4))
def test_tiles_are_of_one_size_and_contain_what_they_keep(rows, cols, tiling, multiple):
    tiles = plan_tiles(rows, cols, tiling, multiple)
    assert len({tile.shape for tile in tiles}) == 1
    for tile in tiles:
        assert tile.shape[0] % multiple == tile.shape[1] % multiple == 0
        for span in (tile.rows, tile.cols):
            assert 0 <= span.start <= span.keep_start < span.keep_stop <= span.stop


@given(sizes, sizes, st.integers(3, 12), st.integers(1, 5))
def test_margins_of_overlapping_tiles_are_dropped(rows, cols, tile, half):
    overlap = min(2 * half, tile - 1)
    for planned in plan_tiles(rows, cols, Tiling(tile, overlap)):
        for span, count in ((planned.rows, rows), (planned.cols, cols)):
            if span.start > 0:
                assert span.keep_start - span.start >= overlap // 2
            if span.stop < count:
                assert span.stop - span.keep_stop >= overlap // 2


@given(sizes, sizes, tilings())
def test_stitching_what_was_split_gives_it_back(rows, cols, tiling):
    image = np.random.default_rng(0).random((rows, cols, 3), dtype=np.float32)
    tiles = plan_tiles(rows, cols, tiling)
    stitcher = Stitcher(rows, cols, 3, tiling.stitching)
    for tile, part in zip(tiles, split(image, tiles), strict=True):
        stitcher.add(tile, part)
    np.testing.assert_allclose(stitcher.values, image, rtol=1e-5)


def test_blending_averages_where_tiles_disagree_and_dropping_does_not():
    tiles = plan_tiles(4, 10, Tiling(6, 2))
    by_stitching = {}
    for stitching in ("drop", "blend"):
        stitcher = Stitcher(4, 10, 1, stitching)
        for number, tile in enumerate(tiles):
            stitcher.add(tile, np.full((*tile.shape, 1), number, np.float32))
        by_stitching[stitching] = stitcher.values[0, :, 0]
    assert set(by_stitching["drop"]) == {0, 1}
    assert np.all(np.diff(by_stitching["blend"]) >= 0)
    assert 0 < by_stitching["blend"][4] < by_stitching["blend"][5] < 1


def test_what_no_tile_has_reached_is_nan():
    tiles = plan_tiles(4, 10, Tiling(6, 2))
    stitcher = Stitcher(4, 10, 1, "drop")
    stitcher.add(tiles[0], np.ones((*tiles[0].shape, 1), np.float32))
    assert np.isfinite(stitcher.values[:, :5]).all()
    assert np.isnan(stitcher.values[:, 5:]).all()


def test_one_pass_up_to_a_thousand_tokens_was_version_0_1s_rule():
    assert len(plan_tiles(32, 32, Tiling(None))) == 1
    assert len(plan_tiles(32, 33, Tiling(None))) > 1
    assert len(plan_tiles(64, 64, Tiling(tile=64))) == 1


def transformer(width):
    """Multiply-adds of a block: 12 d² a token for its products, 2 d for every token that it attends to."""
    return lambda rows, cols: rows * cols * (12 * width**2 + 2 * width * rows * cols)


@given(long, long, st.sampled_from([64, 384, 1024]), st.integers(0, 12), st.booleans(), st.integers(1, 4))
def test_a_fitted_tile_is_hardly_dearer_than_any_other(rows, cols, width, overlap, square, multiple):
    work, tiling = transformer(width), Tiling(overlap=overlap)

    def cost(chosen):
        tiles = plan_tiles(rows, cols, chosen, multiple, square=square)
        return len(tiles) * work(*tiles[0].shape)

    fitted = tiling.fitted(rows, cols, work, multiple, square=square)
    assert fitted.overlap == overlap
    if max(rows, cols) <= 64:
        assert len(plan_tiles(rows, cols, fitted, multiple, square=square)) == 1
    else:
        assert 32 <= fitted.tile <= 48
        assert cost(fitted) <= 1.05 * min(cost(Tiling(side, overlap)) for side in range(32, 49))


def test_small_regions_have_no_borders_and_large_ones_few_needless_tokens():
    """37 × 37 tokens, a picture of 518 px for DINOv2, were four tiles: three times the tokens needed."""
    for side, most in ((37, 1.0), (64, 1.0), (74, 1.25), (147, 1.5), (256, 1.5)):
        tiles = plan_tiles(side, side, Tiling().fitted(side, side, transformer(384)))
        before = plan_tiles(side, side, Tiling(None))
        assert tiles.computed_tokens <= most * side**2
        assert len(tiles) <= len(before)


def test_where_tokens_lie_closer_all_is_as_many_times_longer():
    usual, fine = (Tiling().fitted(100 * n, 200 * n, transformer(64), 4, fine=n) for n in (1, 4))
    assert (fine.tile, fine.overlap) == (4 * usual.tile, 4 * usual.overlap)
    assert len(plan_tiles(256, 200, Tiling().fitted(256, 200, transformer(64), fine=4))) == 1


def test_a_tile_that_was_chosen_stays():
    assert Tiling(40).fitted(300, 300, transformer(64)) == Tiling(40)
    assert Tiling(None).fitted(300, 300, transformer(64)) == Tiling(None)
    with pytest.raises(InvalidOptionError, match="'fitted' or None; got 'small'"):
        Tiling("small")


@pytest.mark.parametrize(
    "options", [{"tile": 0}, {"tile": 4, "overlap": 4}, {"overlap": -1}, {"stitching": "sew"}]
)
def test_impossible_options_are_refused(options):
    with pytest.raises(InvalidOptionError, match="Expected"):
        Tiling(**options)


@given(sizes, sizes, tilings())
def test_tiles_are_counted_indexed_and_cut_like_a_tuple(rows, cols, tiling):
    tiles = plan_tiles(rows, cols, tiling)
    listed = tuple(tiles)
    assert len(tiles) == len(listed)
    assert tiles[-1] == listed[-1]
    assert tiles[1:9:3] == listed[1:9:3]
    assert tiles.computed_tokens == sum(tile.shape[0] * tile.shape[1] for tile in listed)
    with pytest.raises(IndexError):
        tiles[len(tiles)]


def test_a_plan_of_a_whole_slide_makes_no_tile_before_it_is_asked_for(monkeypatch):
    made = []
    monkeypatch.setattr("napari_sslmaps.core.tiling.Tile", lambda *spans: made.append(spans))
    tiles = plan_tiles(12_500, 10_000, Tiling(32))
    assert len(tiles) == 521 * 417
    assert tiles.computed_tokens == len(tiles) * 32 * 32
    assert not made
