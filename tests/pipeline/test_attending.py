"""Attention of any block over tiles, through an embedding, and refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from encoders_factory import write_encoder

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.regrid import regrid_embedding
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.tiling import ONE_PASS, Tiling
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import (
    Cancelled,
    DeviceMemoryError,
    InvalidAnchorError,
    InvalidOptionError,
    MapUnavailableError,
    UnsupportedImageError,
)
from napari_sslmaps.maps.attention import attention_map
from napari_sslmaps.pipeline.attention import attend, attend_blocks, attention_field
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.planning import plan
from napari_sslmaps.sources.coarser import CoarserLevels
from napari_sslmaps.sources.open import open_image

TILES = Tiling(8, 2)
METHODS = ("mae", "ijepa", "dino", "dinov2", "dinov3")


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return {
        method: load_encoder(
            write_encoder(folder / f"{method}.safetensors", method), device="cpu", precision="float32"
        )
        for method in (*METHODS, "dira")
    }


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (100, 131, 3), dtype=np.uint8)


def forwards(encoder, monkeypatch):
    """Count the tiles that go through the encoder."""
    seen = []
    tap = encoder.extractor.tap
    monkeypatch.setattr(encoder.extractor, "tap", lambda *given: seen.append(1) or tap(*given))
    return seen


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tiling", [None, TILES, Tiling(8, 4, "blend"), ONE_PASS])
def test_the_last_block_is_what_the_embedding_has(encoders, image, method, tiling):
    encoder = encoders[method]
    embedding = embed(image, encoder, tiling=tiling)
    for found in (attend(image, encoder, tiling=tiling), attend(embedding, encoder)):
        np.testing.assert_allclose(found.heads, embedding.attention, atol=1e-6)
        np.testing.assert_allclose(found.prefix_attention, embedding.prefix_attention, atol=1e-6)
        assert found.grid == embedding.grid
        assert found.kind == embedding.attention_kind
        shown = attention_map(found)
        np.testing.assert_allclose(shown.values, attention_map(embedding).values, atol=1e-6)
        assert shown.block is None


def test_blocks_are_counted_from_one_and_from_the_end(encoders, image):
    encoder = encoders["mae"]
    first, last = attend_blocks(image, encoder)
    assert (first.block, last.block, first.depth) == (1, 2, 2)
    assert np.abs(first.heads - last.heads).max() > 1e-4
    np.testing.assert_array_equal(attend(image, encoder, block=-2).heads, first.heads)
    np.testing.assert_array_equal(attend_blocks(image, encoder, [-1])[0].heads, last.heads)
    assert attention_map(first).block == 1


@pytest.mark.parametrize("block", [0, 3, -3])
def test_a_block_that_is_not_there_is_refused(encoders, image, block):
    with pytest.raises(InvalidOptionError, match="block from 1 to 2"):
        attend(image, encoders["mae"], block=block)


def test_no_block_at_all_is_refused(encoders, image):
    with pytest.raises(InvalidOptionError, match="at least one block"):
        attend_blocks(image, encoders["mae"], [])


@pytest.mark.parametrize("method", ["mae", "dinov3"])
def test_an_anchor_computes_its_own_tile_and_leaves_the_rest_unknown(encoders, image, monkeypatch, method):
    encoder = encoders[method]
    seen = forwards(encoder, monkeypatch)
    anchor = (95.0, 127.0)  # the last tile, which reaches into padding
    found = attend(image, encoder, anchor=anchor, block=1, tiling=TILES)
    assert len(seen) == 1
    tile = plan(open_image(image), encoder.spec, tiling=TILES).tiles[-1]
    inside = np.zeros(found.grid.shape, bool)
    inside[tile.rows.start : tile.rows.stop, tile.cols.start : tile.cols.stop] = True
    np.testing.assert_array_equal(np.isfinite(found.heads), np.broadcast_to(inside, found.heads.shape))
    assert (found.kind, found.anchor, found.block) == ("anchor", anchor, 1)
    assert "2305.00729" in attention_map(found).caution


def test_in_one_tile_an_anchor_gives_a_distribution(encoders, image):
    part = image[:64, :96]
    found = attend(part, encoders["dinov2"], anchor=(30, 40))
    np.testing.assert_allclose(found.heads.sum(axis=(1, 2)) + found.prefix_attention, 1, atol=1e-5)
    rolled = attend(part, encoders["dinov2"], anchor=(30, 40), rollout=True)
    assert rolled.heads.shape[0] == 1
    assert rolled.heads.sum() + rolled.prefix_attention[0] == pytest.approx(1, abs=1e-5)
    assert rolled.heads[0, 3, 5] == rolled.heads.max()  # by the residual connection
    assert attention_map(rolled).kind == "rollout"


@pytest.mark.parametrize("method", ["dinov3", "ijepa"])
def test_tiles_are_rolled_out_alone_and_stitched(encoders, image, method):
    encoder = encoders[method]
    whole = attend(image, encoder, rollout=True, tiling=TILES)
    tile = plan(open_image(image), encoder.spec, tiling=TILES).tiles[0]
    corner = attend(image[:64, :64], encoder, rollout=True)
    kept = tile.rows.kept, tile.cols.kept
    np.testing.assert_allclose(whole.heads[0][kept], corner.heads[0][kept], atol=1e-6)
    assert np.isfinite(whole.heads).all()


def test_a_field_answers_for_its_tile_without_another_forward_pass(encoders, image, monkeypatch):
    encoder = encoders["dinov3"]
    embedding = embed(image, encoder, tiling=TILES)
    expected = attend(image, encoder, anchor=(20, 25), block=2, tiling=TILES)
    rolled = attend(image, encoder, anchor=(20, 25), rollout=True, tiling=TILES)
    seen = forwards(encoder, monkeypatch)
    field = attention_field(embedding, encoder, (10, 10), blocks=None)
    assert field.blocks == (1, 2)
    np.testing.assert_array_equal(field.at((20, 25)).heads, expected.heads)
    np.testing.assert_array_equal(field.at((20, 25), rollout=True).heads, rolled.heads)
    assert field.keeps((20, 25))
    assert len(seen) == 1
    assert not field.keeps((90, 90))
    with pytest.raises(InvalidAnchorError, match="another tile"):
        field.at((90, 90))
    assert not field.keeps((-40, 0))


def test_a_field_says_which_blocks_it_keeps(encoders, image):
    field = attention_field(image, encoders["mae"], (10, 10))
    assert field.at((12, 12)).block == 2
    with pytest.raises(InvalidOptionError, match=r"those kept \(2\)"):
        field.at((12, 12), block=1)
    with pytest.raises(InvalidOptionError, match=r"those kept \(2\)"):
        field.at((12, 12), rollout=True)


def test_an_embedding_gives_its_own_region_level_and_window(encoders, image):
    encoder = encoders["mae"]
    pyramid = open_image(np.repeat(np.repeat(image, 2, axis=0), 2, axis=1))
    region = Region(11, 5, 70, 90)
    embedding = embed(pyramid, encoder, region=region, window=(20, 200), tiling=TILES)
    read = []
    watched = replace(embedding, pixels=lambda part: read.append(part) or pyramid.read(part))
    found = attend(watched, encoder, anchor=(13, 7))
    expected = attend(pyramid, encoder, region=region, window=(20, 200), tiling=TILES, anchor=(13, 7))
    np.testing.assert_array_equal(found.heads, expected.heads)
    assert max(part.height for part in read) <= 64  # a tile, not the region


def test_an_embedding_of_a_coarser_level_is_looked_at_again_there(encoders):
    encoder = encoders["dinov3"]
    pyramid = CoarserLevels(open_image(np.random.default_rng(1).random((3001, 2047), dtype=np.float32)))
    region = Region(40, 20, 75, 90, level=2)
    embedding = embed(pyramid, encoder, region=region, tiling=TILES)
    anchor = tuple(embedding.grid.token_to_pixel((8, 3)))
    for options in ({"anchor": anchor}, {"block": 1}, {"rollout": True}):
        again = attend(embedding, encoder, **options)
        np.testing.assert_array_equal(
            again.heads, attend(pyramid, encoder, region=region, tiling=TILES, **options).heads
        )
        assert again.grid == embedding.grid


def test_a_mask_leaves_tiles_out_and_an_embedding_brings_its_own(encoders, image, monkeypatch):
    encoder = encoders["dinov2"]
    mask = np.zeros((13, 17), bool)
    mask[1:4, 2:5] = True
    embedding = embed(image, encoder, tiling=TILES, mask=mask)
    seen = forwards(encoder, monkeypatch)
    for found in (
        attend(image, encoder, tiling=TILES, mask=mask, block=1),
        attend(embedding, encoder, block=1),
    ):
        np.testing.assert_array_equal(np.isfinite(found.heads), np.broadcast_to(mask, found.heads.shape))
    assert len(seen) == 2
    outside = attend(embedding, encoder, anchor=(90, 100))
    assert np.isfinite(outside.heads[:, 11, 12]).all()


def test_each_tile_is_reported_and_a_stop_is_honoured(encoders, image):
    told = []
    attend(image, encoders["mae"], tiling=TILES, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 6) for done in range(1, 7)]

    def stop(_, __):
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        attend(image, encoders["mae"], tiling=TILES, rollout=True, on_progress=stop)


def test_a_cnn_has_no_attention_in_any_block(encoders, image):
    with pytest.raises(MapUnavailableError, match="is a CNN"):
        attend(image, encoders["dira"])


def test_an_embedding_must_be_by_that_encoder_whole_and_able_to_read(encoders, image):
    mae, embedding = encoders["mae"], embed(image, encoders["mae"])
    with pytest.raises(InvalidOptionError, match="encoder that made the embedding, mae; got dino"):
        attend(embedding, encoders["dino"])
    with pytest.raises(InvalidOptionError, match="no region, tiling, window or mask beside"):
        attend(embedding, mae, tiling=TILES)
    with pytest.raises(MapUnavailableError, match="read its image again"):
        attend(replace(embedding, pixels=None), mae)
    coarse = regrid_embedding(embedding, embedding.grid.coarser(1))
    with pytest.raises(InvalidOptionError, match="brought to another grid"):
        attend(coarse, mae)
    outside = Embedding.from_tokens(np.ones((3, 3, 4)))
    with pytest.raises(InvalidOptionError, match="made the embedding, external"):
        attend(outside, mae)


def test_bad_anchors_and_flat_regions_get_a_sentence(encoders, image):
    with pytest.raises(InvalidAnchorError, match="on the region"):
        attend(image, encoders["mae"], anchor=(500, 3))
    flat = np.full((32, 32, 3), 7, np.uint8)
    with pytest.raises(UnsupportedImageError, match="structure"):
        attend(flat, encoders["mae"])
    assert np.isfinite(attend(flat, encoders["mae"], allow_uniform=True).heads).all()


def test_too_little_memory_for_a_tile_becomes_a_sentence(encoders, image, monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(encoders["mae"].extractor, "tap", fail)
    with pytest.raises(DeviceMemoryError, match="13 × 17 tokens"):
        attend(image, encoders["mae"])

    def broken(*_):
        raise RuntimeError("something else")

    monkeypatch.setattr(encoders["mae"].extractor, "tap", broken)
    with pytest.raises(RuntimeError, match="something else"):
        attend(image, encoders["mae"])


def test_half_precision_gives_nearly_the_same(encoders, image):
    exact = encoders["dinov3"]
    half = replace(exact, precision="bfloat16")
    np.testing.assert_array_equal(attend(image, half).heads, embed(image, half).attention)
    for options in ({"anchor": (30, 30)}, {"rollout": True}, {"anchor": (30, 30), "rollout": True}):
        one, other = (attend(image, encoder, **options).heads for encoder in (exact, half))
        assert other.dtype == np.float32
        np.testing.assert_allclose(other, one, rtol=0.05, atol=1e-4)


def test_taps_leave_no_hooks_behind(encoders, image):
    attend_blocks(image, encoders["dinov2"])
    for block in encoders["dinov2"].extractor.network.blocks:
        assert not block.attn._forward_pre_hooks
