"""Scores against their definitions, on tokens of which they are known."""

import numpy as np
import pytest

from napari_sslmaps.batch.summaries import score
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.tiling import Tiling, plan_tiles
from napari_sslmaps.maps.attention import attention_map
from napari_sslmaps.maps.pca import pca_map


def scored(tokens, attention=None, foreground=None):
    made = Embedding.from_tokens(tokens)
    heads = np.full((2, *tokens.shape[:2]), 0.01, np.float32) if attention is None else attention
    embedding = Embedding(
        made.tokens,
        made.grid,
        attention=heads,
        attention_kind="cls",
        prefix_attention=np.array([0.25, 0.75], np.float32),
        foreground=foreground,
    )
    tiles = plan_tiles(*tokens.shape[:2], Tiling(tile=4, overlap=0))
    return score(embedding, {"pca": pca_map(embedding), "attention": attention_map(embedding)}, tiles)


def test_tokens_spread_evenly_over_known_directions():
    rng = np.random.default_rng(0)
    tokens = np.zeros((60, 60, 8), np.float32)
    tokens[..., :4] = rng.normal(size=(60, 60, 4))  # four directions of equal variance, mean about 0
    found = scored(tokens)
    assert found.effective_rank == pytest.approx(4, rel=0.02)
    assert found.components_share == pytest.approx(3 / 4, abs=0.03)
    assert found.common_share < 0.01
    assert found.foreground_share == 1
    assert found.prefix_attention == pytest.approx(0.5)
    assert found.seam_score == pytest.approx(1, abs=0.05)


def test_passes_that_differ_are_seen_where_tokens_were_woven():
    rng = np.random.default_rng(0)
    smooth = np.linspace(0, 1, 40)[:, None, None] * np.ones((40, 40, 4))
    woven = smooth + np.tile(rng.normal(size=(2, 2, 4)), (20, 20, 1))  # of four passes
    tiles = plan_tiles(40, 40, Tiling())
    for tokens, passes, check in ((woven, 2, lambda value: value > 2), (smooth, 2, lambda value: value < 1)):
        made = Embedding.from_tokens(tokens.astype(np.float32))
        assert check(score(made, {"pca": pca_map(made)}, tiles, passes).weave_score)
        assert score(made, {"pca": pca_map(made)}, tiles).weave_score is None


def test_a_common_part_is_seen():
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(60, 60, 4)).astype(np.float32)
    tokens[..., 0] += 10
    found = scored(tokens)
    assert found.common_share == pytest.approx(100 / 104, abs=0.01)
    assert found.components_share == pytest.approx(3 / 4, abs=0.03)


def test_equal_tokens_are_all_common():
    found = scored(np.ones((4, 4, 4), np.float32))
    assert (found.common_share, found.components_share) == (pytest.approx(1), 1.0)
    assert found.effective_rank == pytest.approx(1, abs=1e-6)
    assert found.seam_score is None


def test_attention_on_one_token_has_no_entropy_and_on_half_of_them_log_half():
    tokens = np.random.default_rng(0).normal(size=(8, 8, 4)).astype(np.float32)
    one, half = np.zeros((2, 8, 8), np.float32), np.zeros((2, 8, 8), np.float32)
    one[:, 3, 4], half[:, :4] = 0.5, 0.01
    assert scored(tokens, one).attention_entropy == pytest.approx(0, abs=1e-6)
    assert scored(tokens, half).attention_entropy == pytest.approx(np.log(32) / np.log(64))
    assert scored(tokens).attention_entropy == pytest.approx(1)


def test_tokens_outside_the_mask_do_not_count():
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(60, 60, 4)).astype(np.float32)
    tokens[..., 0] += 10
    foreground = np.ones((60, 60), bool)
    outside = tokens.copy()
    outside[:, 30:], foreground[:, 30:] = np.nan, False
    inside = scored(tokens[:, :30])
    attention = np.full((2, 60, 60), 0.01, np.float32)
    attention[..., 30:] = np.nan
    found = scored(outside, attention, foreground)
    assert found.foreground_share == 1
    for name in ("common_share", "effective_rank", "components_share", "attention_entropy"):
        assert getattr(found, name) == pytest.approx(getattr(inside, name), rel=1e-4)


def test_foreground_is_counted():
    foreground = np.zeros((4, 4), bool)
    foreground[0] = True
    tokens = np.random.default_rng(0).normal(size=(4, 4, 4)).astype(np.float32)
    assert scored(tokens, foreground=foreground).foreground_share == 0.25
