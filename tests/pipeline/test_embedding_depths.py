"""Embedding at any depth: one pass for several blocks, the cache, provenance."""

from dataclasses import replace

import numpy as np
import pytest
from encoders_factory import Counting, write_encoder
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_sslmaps as ssl
from napari_sslmaps.cache.store import Cache
from napari_sslmaps.encoders.families.registry import architecture_to_dict
from napari_sslmaps.encoders.families.unet import UNET_STRIDES
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.pipeline.planning import plan

IMAGE = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    return {
        method: ssl.load_encoder(
            write_encoder(folder / f"{method}.safetensors", method, depth=3),
            device="cpu",
            precision="float32",
        )
        for method in ("mae", "dinov3", "dira")
    }


@pytest.mark.parametrize("method", ["mae", "dinov3"])
def test_several_blocks_are_those_embedded_alone(encoders, method):
    encoder, tiling = encoders[method], ssl.Tiling(tile=6, overlap=2)
    together = ssl.embed(IMAGE, encoder, tiling=tiling, block=[0, -1, "block 1"])
    for block, found in zip((0, 2, 1), together, strict=True):
        alone = ssl.embed(IMAGE, encoder, tiling=tiling, block=block)
        assert np.array_equal(found.tokens, alone.tokens)
        assert found.provenance == alone.provenance
        assert np.array_equal(found.attention, alone.attention)
    names = [found.provenance.token_block for found in together]
    assert names == ["block 0", "", "block 1"]


def test_several_blocks_take_one_pass(encoders, monkeypatch):
    encoder, passes = encoders["mae"], []
    run = type(encoder.extractor).extract_at
    monkeypatch.setattr(
        type(encoder.extractor),
        "extract_at",
        lambda self, pixels, depths: passes.append(len(pixels)) or run(self, pixels, depths),
    )
    ssl.embed(IMAGE, encoder)
    once = sum(passes)
    passes.clear()
    ssl.embed(IMAGE, encoder, block=[0, 1, 2])
    assert sum(passes) == once


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(8, 90),
    width=st.integers(8, 90),
    norm=st.booleans(),
    method=st.sampled_from(["mae", "dinov3"]),
)
def test_the_last_block_is_what_no_block_gives(encoders, height, width, norm, method):
    encoder, region = encoders[method], (1, 2, height, width)
    last = ssl.embed(IMAGE, encoder, region=region, block=-1, norm=norm)
    own = ssl.embed(IMAGE, encoder, region=region, norm=norm)
    assert np.array_equal(last.tokens, own.tokens)
    assert last.provenance == own.provenance
    if norm:
        plain = ssl.embed(IMAGE, encoder, region=region)
        assert np.array_equal(last.tokens, plain.tokens)
        assert last.provenance == plain.provenance
        assert "token_block" not in plain.provenance.to_dict()
        assert "token_norm" not in plain.provenance.to_dict()
        assert architecture_to_dict(encoder.at_block(-1).spec.architecture) == architecture_to_dict(
            encoder.spec.architecture
        )
    else:
        assert last.provenance.depth == "without norm"


def test_the_cache_tells_depths_apart_and_finds_the_last_again(encoders, tmp_path):
    cache = Cache(tmp_path / "cache")
    counting = Counting(encoders["mae"])
    plain = ssl.embed(IMAGE, counting, cache=cache)
    computed = counting.tiles
    assert np.array_equal(ssl.embed(IMAGE, encoders["mae"], cache=cache, block=-1).tokens, plain.tokens)
    kept = len(list((tmp_path / "cache").rglob("tokens")))
    first, bare, last = (
        ssl.embed(IMAGE, encoders["mae"], cache=cache, block=0),
        ssl.embed(IMAGE, encoders["mae"], cache=cache, norm=False),
        ssl.embed(IMAGE, counting, cache=cache),
    )
    assert counting.tiles == computed
    assert np.array_equal(last.tokens, plain.tokens)
    assert not np.allclose(first.tokens, plain.tokens)
    assert not np.allclose(bare.tokens, plain.tokens)
    assert len(list((tmp_path / "cache").rglob("tokens"))) == 3 * kept
    again = ssl.embed(IMAGE, encoders["mae"], cache=cache, block=[0, 1, 2])
    assert np.array_equal(again[0].tokens, first.tokens)
    assert np.array_equal(again[2].tokens, plain.tokens)


def test_stages_of_a_unet_lie_on_grids_of_their_own(encoders):
    found = ssl.embed(IMAGE, encoders["dira"], block=["encoder.stem", "encoder.layer3", -1])
    assert [one.grid.stride_yx[0] for one in found] == [2, 16, 2]
    assert [one.tokens.shape[:2] for one in found] == [(48, 64), (6, 8), (48, 64)]
    assert found[1].provenance.token_block in UNET_STRIDES  # a stage, no password
    assert ssl.embed(IMAGE, encoders["dira"], block=2).provenance.token_block == ""


def test_woven_and_framed_embeddings_take_a_block_too(encoders):
    woven = ssl.embed(IMAGE, encoders["mae"], block=[0, 1], stride=4)
    assert [one.grid.shape for one in woven] == [(24, 32), (24, 32)]
    assert np.array_equal(woven[0].tokens, ssl.embed(IMAGE, encoders["mae"], block=0, stride=4).tokens)


def test_bad_blocks_end_in_a_sentence(encoders):
    with pytest.raises(InvalidOptionError, match="Expected a block of a transformer of 3 blocks"):
        ssl.embed(IMAGE, encoders["mae"], block=3)
    with pytest.raises(InvalidOptionError, match="at least one block; got an empty list"):
        ssl.embed(IMAGE, encoders["mae"], block=[])
    with pytest.raises(InvalidOptionError, match="one block for several frames; got 2"):
        ssl.embed(IMAGE, encoders["mae"], block=[0, 1], frames="all")


def test_every_map_works_on_an_earlier_block(encoders):
    embedding = ssl.embed(IMAGE, encoders["mae"], block=0)
    assert ssl.pca_map(embedding).provenance.depth == "block 0"  # a block, no password
    assert np.isfinite(ssl.similarity_map(embedding, [(20, 20)]).values).all()
    assert ssl.attention_map(embedding).values.shape == embedding.grid.shape
    stack = ssl.attend(embedding, encoders["mae"].at_block(0), block=-1)
    assert np.allclose(ssl.attention_map(stack).values, ssl.attention_map(embedding).values, atol=1e-6)


@pytest.mark.parametrize("stage", ["encoder.stem", "decoder.blocks.1", "decoder.blocks.3"])
def test_close_tokens_of_a_region_that_is_not_large_are_those_of_one_pass(encoders, stage):
    """48 × 80 tokens, of 96 × 160 px, were cut into tiles of 64 px; the decoder sees farther than that."""
    encoder = encoders["dira"]
    image = np.random.default_rng(1).random((96, 160, 3), np.float32)
    found = ssl.embed(image, encoder, block=stage)
    architecture = encoder.spec.architecture.at_block(stage)
    bare = encoder.encode_at(image[None], [architecture])[0]
    np.testing.assert_array_equal(found.tokens, bare.tokens[0])


def test_tiles_of_close_tokens_are_as_wide_as_those_of_the_usual_ones(encoders):
    spec, sides = encoders["dira"].spec, {}
    with ssl.open_image(np.zeros((900, 1500, 3), np.uint8)) as source:
        for stage in ("encoder.layer2", "decoder.blocks.3"):
            there = replace(spec, architecture=spec.architecture.at_block(stage))
            sides[stage] = plan(source, there).side * there.constraint.token_stride
            assert plan(source, there).tiling.overlap == (32 if stage == "decoder.blocks.3" else 8)
    assert min(sides.values()) >= 256
