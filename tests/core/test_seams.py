import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import tilings

from napari_sslmaps.core.diagnostics import seam_score, weave_score
from napari_sslmaps.core.tiling import Tiling, plan_tiles


def noise(rows, cols):
    return np.random.default_rng(0).normal(size=(rows, cols, 16)).astype(np.float32)


def shifted(tokens, tiles, by):
    """Add to each tile's kept tokens a vector of length `by` that alternates from tile to tile."""
    columns = sorted({tile.cols.keep_start for tile in tiles})
    rows = sorted({tile.rows.keep_start for tile in tiles})
    for tile in tiles:
        odd = (columns.index(tile.cols.keep_start) + rows.index(tile.rows.keep_start)) % 2
        tokens[tile.rows.kept, tile.cols.kept, 0] += odd * by
    return tokens


def test_where_borders_do_not_show_the_score_is_one():
    assert seam_score(noise(100, 100), plan_tiles(100, 100, Tiling(20, 4))) == pytest.approx(1, abs=0.02)


def test_the_score_is_the_ratio_of_the_differences():
    ramp = np.arange(64, dtype=np.float32)[None, :, None] * np.ones((64, 64, 1), np.float32)
    ramp = ramp + ramp.swapaxes(0, 1)  # each step in either direction is 1
    tiles = plan_tiles(64, 64, Tiling(16, 0))
    for tile in tiles:
        ramp[tile.rows.kept, tile.cols.kept] += (tile.rows.start + tile.cols.start) / 16 * 2
    assert seam_score(ramp, tiles) == pytest.approx(3)


@given(st.integers(8, 30), st.integers(8, 30), tilings())
def test_steps_between_tiles_raise_the_score(rows, cols, tiling):
    tiles = plan_tiles(rows, cols, tiling)
    plain, stepped = (
        seam_score(noise(rows, cols), tiles),
        seam_score(shifted(noise(rows, cols), tiles, 50), tiles),
    )
    assert np.isnan(plain) == np.isnan(stepped)
    assert np.isnan(plain) or stepped > plain


def test_without_borders_or_without_structure_there_is_no_score():
    assert np.isnan(seam_score(noise(8, 8), plan_tiles(8, 8, Tiling())))
    assert np.isnan(seam_score(np.ones((64, 64, 3), np.float32), plan_tiles(64, 64, Tiling(16, 0))))


def test_tokens_not_computed_yet_do_not_count():
    tokens, tiles = noise(64, 64), plan_tiles(64, 64, Tiling(16, 0))
    tokens[40:] = np.nan
    assert seam_score(tokens, tiles) == pytest.approx(1, abs=0.05)


def test_of_a_large_region_evenly_chosen_borders_tell_as_much():
    tokens = np.random.default_rng(0).normal(size=(600, 1200, 4)).astype(np.float32)
    tiles = plan_tiles(600, 1200, Tiling(8, 0))
    stepped = shifted(tokens.copy(), tiles, 3)
    across = []
    for axis, spans in enumerate((tiles.rows, tiles.cols)):
        lengths = np.linalg.norm(np.diff(stepped, axis=axis), axis=-1)
        across.append(np.take(lengths, [span.keep_start - 1 for span in spans[1:]], axis).mean())
    inside = np.linalg.norm(np.diff(tokens, axis=0), axis=-1).mean()
    assert seam_score(stepped, tiles) == pytest.approx(np.mean(across) / inside, rel=0.02)


def test_borders_are_looked_for_where_the_mask_is():
    mask = np.zeros((400, 400), bool)
    mask[300:360, 300:360] = True
    tiles = plan_tiles(400, 400, Tiling(8, 0), wanted=mask)
    tokens = shifted(
        np.where(mask[..., None], noise(400, 400), np.nan), plan_tiles(400, 400, Tiling(8, 0)), 20
    )
    assert seam_score(tokens, tiles) > 2


def test_a_woven_grid_is_smooth_or_shows_its_passes():
    rng = np.random.default_rng(0)
    ramp = np.arange(64.0)[:, None, None] + np.arange(64.0)[None, :, None]
    assert weave_score(ramp, 2) == pytest.approx(0.5)
    assert weave_score(ramp, 4) == pytest.approx(0.25)
    assert weave_score(rng.normal(size=(64, 64, 8)), 2) == pytest.approx(1, abs=0.02)
    chess = 9.0 * (np.indices((64, 64)).sum(axis=0) % 2)[..., None]
    assert weave_score(ramp + chess, 2) > 3
    assert np.isnan(weave_score(ramp, 1))
    assert np.isnan(weave_score(np.ones((8, 8, 3)), 2))
    assert np.isnan(weave_score(np.full((8, 8, 3), np.nan), 2))
    assert np.isnan(weave_score(np.ones((1, 1, 3)), 2))
