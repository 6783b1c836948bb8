"""Tokens beyond a budget: what is kept how, and that every map is the same."""

import gc

import numpy as np
import pytest
from encoders_factory import Counting, write_encoder

from napari_sslmaps.cache.store import Cache
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.core.tokens import HalfTokens
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import Cancelled, DeviceMemoryError, InvalidOptionError
from napari_sslmaps.maps.attention import attention_map
from napari_sslmaps.maps.pca import pca_map
from napari_sslmaps.maps.similarity import similarity_map
from napari_sslmaps.maps.similarity_pyramid import SimilarityPyramid
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.token_store import TokenBudget

TILED = Tiling(6, 2)
ANCHORS = [(20.0, 30.0), (90.0, 100.0)]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    weights = write_encoder(tmp_path_factory.mktemp("weights") / "mae.safetensors", "mae")
    return load_encoder(weights, device="cpu", precision="float32")


@pytest.fixture(params=["half", "file"])
def budget(request, tmp_path):
    return TokenBudget(0, 0 if request.param == "file" else 10**9, tmp_path / "spilled")


def image(height=130, width=170):
    y, x = np.mgrid[:height, :width]
    waves = (
        127 + 90 * np.sin(y / 9) * np.cos(x / 17) + np.random.default_rng(0).normal(0, 12, (height, width))
    )
    return waves.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("stitching", ["drop", "blend"])
def test_every_map_is_the_same_but_for_the_rounding(encoder, budget, stitching):
    tiling = Tiling(6, 2, stitching)
    whole = embed(image(), encoder, tiling=tiling)
    large = embed(image(), encoder, tiling=tiling, budget=budget)
    assert isinstance(large.tokens, HalfTokens)
    np.testing.assert_allclose(large.tokens[:], whole.tokens, rtol=2e-3, atol=2e-3)
    np.testing.assert_array_equal(attention_map(large).values, attention_map(whole).values)
    np.testing.assert_allclose(large.mean_token, whole.mean_token, atol=1e-3)
    for centred in (False, True):
        for negative in ((), [(5.0, 5.0)]):
            maps = [
                similarity_map(item, ANCHORS, negative=negative, centred=centred, combine="max").values
                for item in (large, whole)
            ]
            np.testing.assert_allclose(*maps, atol=2e-3)
        coarse = [
            SimilarityPyramid(item, centred=centred).values(ANCHORS, level=2) for item in (large, whole)
        ]
        np.testing.assert_allclose(*coarse, atol=2e-3)
    for foreground in (None, "auto", "first-component"):
        one, other = (pca_map(item, foreground=foreground) for item in (large, whole))
        np.testing.assert_allclose(one.values, other.values, atol=0.02)


def test_the_file_has_no_name_and_goes_with_its_tokens(encoder, tmp_path):
    large = embed(image(), encoder, tiling=TILED, budget=TokenBudget(0, 0, tmp_path))
    assert isinstance(large.tokens, HalfTokens)
    assert not list(tmp_path.iterdir())
    assert any("(deleted)" in line and str(tmp_path) in line for line in _maps())
    del large
    gc.collect()
    assert not any(str(tmp_path) in line for line in (*_maps(), *_open_files()))


def _open_files():
    from pathlib import Path

    return [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]


def _maps():
    from pathlib import Path

    return Path("/proc/self/maps").read_text().splitlines()


def test_budgets_decide_how_tokens_are_kept():
    budget = TokenBudget(400, 400)
    assert [budget.kept(1, count, 10) for count in (10, 11, 20, 21)] == ["full", "half", "half", "file"]


def test_the_environment_sets_the_budget(monkeypatch):
    monkeypatch.setenv("NAPARI_SSLMAPS_FULL_GB", "0.5")
    monkeypatch.setenv("NAPARI_SSLMAPS_MEMORY_GB", "0")
    assert TokenBudget.from_environment().kept(1000, 1000, 125) == "full"
    assert TokenBudget.from_environment().kept(1000, 1000, 126) == "file"
    monkeypatch.setenv("NAPARI_SSLMAPS_MEMORY_GB", "much")
    with pytest.raises(InvalidOptionError, match="NAPARI_SSLMAPS_MEMORY_GB; got 'much'"):
        TokenBudget.from_environment()


def test_a_folder_that_cannot_hold_the_tokens_is_said(encoder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceMemoryError, match=r"GB of disk in .*file for the tokens; the system says"):
        embed(image(), encoder, budget=TokenBudget(0, 0, tmp_path / "file"))


def test_the_cache_gives_the_same_tokens_and_knows_how_they_were_kept(encoder, budget, tmp_path):
    cache, counting = Cache(tmp_path / "cache", 10**9), Counting(encoder)
    options = {"tiling": TILED, "cache": cache}
    first = embed(image(), counting, budget=budget, **options)
    computed = counting.tiles
    again = embed(image(), counting, budget=budget, **options)
    assert counting.tiles == computed
    assert isinstance(again.tokens, HalfTokens)
    np.testing.assert_array_equal(again.tokens[:], first.tokens[:])
    np.testing.assert_array_equal(again.moments.covariance, first.moments.covariance)
    full = embed(image(), counting, **options)
    assert counting.tiles == 2 * computed
    assert isinstance(full.tokens, np.ndarray)


def test_a_stopped_run_is_taken_up_beyond_the_budget(encoder, budget, tmp_path):
    cache, whole = Cache(tmp_path / "cache", 10**9), embed(image(), encoder, tiling=TILED, budget=budget)

    def stop(progress):
        if progress.done >= 16:
            raise Cancelled("Stopped on request.")

    with pytest.raises(Cancelled):
        embed(image(), encoder, tiling=TILED, budget=budget, cache=cache, on_progress=stop)
    taken_up = embed(image(), encoder, tiling=TILED, budget=budget, cache=cache)
    np.testing.assert_array_equal(taken_up.tokens[:], whole.tokens[:])
    assert taken_up.moments.count == whole.moments.count == 17 * 22


@pytest.mark.parametrize("masked", [False, True])
def test_moments_taken_on_the_way_are_those_of_the_tokens(encoder, masked):
    mask = np.zeros((17, 22), bool)
    mask[2:9, 3:20] = True
    found = embed(image(), encoder, tiling=TILED, mask=mask if masked else None)
    tokens = found.flat[np.isfinite(found.flat[:, 0])].astype(np.float64)
    assert found.moments.count == len(tokens)
    np.testing.assert_allclose(found.moments.mean, tokens.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found.moments.covariance, np.cov(tokens.T, bias=True), atol=1e-5)


def test_blended_tokens_have_no_moments_on_the_way(encoder):
    assert embed(image(), encoder, tiling=Tiling(6, 2, "blend")).moments is None
