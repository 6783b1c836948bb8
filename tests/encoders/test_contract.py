"""One contract for every encoder: the embedded ones and a tiny one of each method."""

import numpy as np
import pytest
import torch
from encoders_factory import write_encoder

from napari_sslmaps.encoders.catalog import EMBEDDED, METHOD_INFO
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.encoders.spec import METHODS

TRANSFORMERS = [method for method in METHODS if method != "dira"]


@pytest.fixture(params=[*EMBEDDED, *METHODS])
def encoder(request, tmp_path):
    if request.param in EMBEDDED:
        return load_encoder(request.param, device="cpu", precision="float32")
    path = write_encoder(tmp_path / f"{request.param}.safetensors", request.param)
    return load_encoder(path, device="cpu", precision="float32")


@pytest.fixture
def tiles(encoder):
    constraint = encoder.spec.constraint
    side = constraint.size_multiple * -(-4 * constraint.token_stride // constraint.size_multiple)
    shape = (2, side, side + constraint.size_multiple, 3)
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def test_tokens_lie_on_the_grid_and_are_finite(encoder, tiles):
    tokens = encoder.encode(tiles).tokens
    stride = encoder.spec.constraint.token_stride
    assert tokens.shape[:3] == (2, tiles.shape[1] // stride, tiles.shape[2] // stride)
    assert tokens.dtype == torch.float32
    assert torch.isfinite(tokens).all()


def test_attention_and_prefix_mass_sum_to_one_or_there_is_activation(encoder, tiles):
    features = encoder.encode(tiles)
    if encoder.spec.method == "dira":
        assert features.attention is None
        assert features.prefix_attention is None
        assert features.activation.shape == features.tokens.shape[:3]
        assert (features.activation >= 0).all()
        return
    assert features.activation is None
    assert features.attention.shape[2:] == features.tokens.shape[1:3]
    total = features.attention.sum(dim=(2, 3)) + features.prefix_attention
    torch.testing.assert_close(total, torch.ones_like(total))


def test_float32_repeats_bit_for_bit(encoder, tiles):
    first, second = encoder.encode(tiles), encoder.encode(tiles)
    assert torch.equal(first.tokens, second.tokens)


def test_a_tile_does_not_depend_on_its_neighbours_in_the_batch(encoder, tiles):
    together = encoder.encode(tiles).tokens[1]
    alone = encoder.encode(tiles[1:]).tokens[0]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_what_is_listed_is_what_was_loaded(encoder):
    spec = encoder.spec
    assert spec.method in METHOD_INFO
    assert len(spec.sha256) == 64
    assert spec.licence
    assert spec.architecture == encoder.report.architecture
    assert spec.megabytes > 0


def test_half_precision_tokens_point_the_same_way(encoder, tiles):
    half = load_encoder(encoder.spec.path, device="cpu", precision="bfloat16")
    exact, halved = (item.encode(tiles).tokens for item in (encoder, half))
    assert halved.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(exact, halved, dim=-1).mean() > 0.99
