"""From a file's tensors to the networks of its pretext task."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from encoders_factory import TINY_VIT, write_encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.training.tiny import tiny
from torch import nn

from napari_sslmaps.encoders.families.vit_network import build_vit
from napari_sslmaps.encoders.pretext_heads.blocks import Stack, positions_for
from napari_sslmaps.encoders.pretext_heads.dinov3 import PrototypeHead, read_projection
from napari_sslmaps.encoders.pretext_heads.dira import PatchDiscriminator, read_discriminator
from napari_sslmaps.encoders.pretext_heads.ijepa import Predictor, read_predictor
from napari_sslmaps.encoders.pretext_heads.mae import MAEDecoder, from_patches, read_decoder, to_patches
from napari_sslmaps.encoders.pretext_heads.reading import Heads, pretext_heads_of
from napari_sslmaps.encoders.pretext_heads.sequence import encode, encode_seen
from napari_sslmaps.encoders.recognition import PretextHeads
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import CheckpointError, MapUnavailableError

STACK = Stack(width=64, depth=2, heads=4)


def decoder_state():
    return MAEDecoder(TINY_VIT.dim, TINY_VIT.patch, TINY_VIT.grid, STACK).state_dict()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_decoder_comes_back_in_single_precision(dtype):
    state = {key: value.to(dtype) for key, value in decoder_state().items()}
    decoder, note = read_decoder(PretextHeads(state, {"decoder_heads": 4}), TINY_VIT, TINY_VIT.grid)
    assert note == ""
    for key, value in decoder.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, state[key].float(), rtol=0, atol=0)
    assert not decoder.training
    assert not any(parameter.requires_grad for parameter in decoder.parameters())


def test_heads_that_no_file_tells_are_assumed_and_said():
    decoder, note = read_decoder(PretextHeads(decoder_state()), TINY_VIT, TINY_VIT.grid)
    assert decoder.decoder_blocks[0].attn.num_heads == 2
    assert note == "The file does not tell the heads of its decoder_blocks; 2 are assumed."


@pytest.mark.parametrize(
    ("heads", "width", "number"),
    [
        (Heads(None), 512, 16),  # MAE's decoder
        (Heads(None), 48, 3),
        (Heads(None), 10, 1),
        (Heads(None, 16), 384, 16),  # I-JEPA's ViT-H: as many as the encoder has
        (Heads(None, 5), 384, 12),
        (Heads(6, 16), 384, 6),
    ],
)
def test_heads_are_those_of_the_authors_code(heads, width, number):
    assert heads.of(width) == number


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: state.pop("decoder_norm.weight"), "decoder_norm.weight expected"),
        (lambda state: state.pop("decoder_pos_embed"), "decoder_pos_embed expected"),
        (lambda state: state.pop("decoder_blocks.0.mlp.fc1.weight"), "whole blocks decoder_blocks.0"),
        (lambda state: state.update(decoder_extra=torch.zeros(2)), "decoder_extra expected nothing"),
        (lambda state: state.update({"decoder_pred.weight": torch.zeros(7, 64)}), r"got \(7, 64\)"),
    ],
)
def test_part_of_a_decoder_is_refused_with_what_is_missing(damage, message):
    state = decoder_state()
    damage(state)
    with pytest.raises(CheckpointError, match=message):
        read_decoder(PretextHeads(state, {"decoder_heads": 4}), TINY_VIT, TINY_VIT.grid)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(CheckpointError, match="divide its width 64; got 5"):
        read_decoder(PretextHeads(decoder_state(), {"decoder_heads": 5}), TINY_VIT, TINY_VIT.grid)


def test_a_predictor_has_as_many_heads_as_its_encoder_unless_told():
    shape = replace(TINY_VIT, class_token=False)
    state = {f"predictor.{key}": value for key, value in Predictor(32, (4, 4), STACK).state_dict().items()}
    predictor, note = read_predictor(PretextHeads(state), shape, (4, 4))
    assert predictor.predictor_blocks[0].attn.num_heads == shape.heads == 2
    assert "2 are assumed" in note
    told, silent = read_predictor(PretextHeads(state, {"predictor_heads": 4}), shape, (4, 4))
    assert told.predictor_blocks[0].attn.num_heads == 4
    assert silent == ""
    with pytest.raises(MapUnavailableError, match="predictor"):
        read_predictor(PretextHeads(), shape, (4, 4))


def test_a_discriminator_of_another_make_is_left_out_and_said():
    state = {f"discriminator.{key}": value for key, value in PatchDiscriminator(8).state_dict().items()}
    judge, note = read_discriminator(PretextHeads(state))
    assert judge is not None
    assert note == ""
    del state["discriminator.6.bias"]
    assert read_discriminator(PretextHeads(state)) == (
        None,
        "The file's discriminator is built in a way that is not known here: no scores are shown.",
    )
    assert read_discriminator(PretextHeads())[0] is None


def test_a_head_is_built_of_what_it_has_up_to_its_prototypes():
    """Ours is batch-normalised, the authors' are not; either way cosines are those of the whole head."""
    head = PrototypeHead(12, 16, 8, 5).eval()
    head.mlp[1].running_mean.uniform_(-1, 1)
    state = {f"ibot_head.{key}": value for key, value in head.state_dict().items()}
    tokens = torch.randn(6, 12)
    built = read_projection(PretextHeads(state), "ibot_head.")
    torch.testing.assert_close(built(tokens), head.mlp(tokens))
    plain = nn.Sequential(nn.Linear(12, 16), nn.GELU(), nn.Linear(16, 8, bias=False))
    named = {f"dino_head.mlp.{key}": value for key, value in plain.state_dict().items()}
    torch.testing.assert_close(read_projection(PretextHeads(named), "dino_head.")(tokens), plain(tokens))
    assert read_projection(PretextHeads(named), "ibot_head.") is None


@settings(max_examples=20)
@given(rows=st.integers(1, 6), cols=st.integers(1, 6), class_token=st.booleans())
def test_positions_keep_their_class_token_and_follow_the_grid(rows, cols, class_token):
    """A plane of values stays a plane: bicubic interpolation is exact on it, away from the border."""
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij")
    stored = torch.stack([y, x], dim=-1).reshape(1, 36, 2)
    first = torch.full((1, int(class_token), 2), -7.0)
    moved = positions_for(torch.cat([first, stored], dim=1), (6, 6), (rows, cols), class_token=class_token)
    assert moved.shape == (1, int(class_token) + rows * cols, 2)
    torch.testing.assert_close(moved[:, : int(class_token)], first)
    patches = moved[0, int(class_token) :].reshape(rows, cols, 2)
    assert (patches[1:, :, 0] > patches[:-1, :, 0]).all()
    assert (patches[:, 1:, 1] > patches[:, :-1, 1]).all()
    if (rows, cols) == (6, 6):
        torch.testing.assert_close(patches.reshape(1, 36, 2), stored)


@given(
    rows=st.integers(1, 4), cols=st.integers(1, 4), patch=st.integers(1, 5), channels=st.sampled_from([1, 3])
)
def test_patches_laid_out_again_are_the_image(rows, cols, patch, channels):
    images = torch.rand(2, channels, rows * patch, cols * patch)
    torch.testing.assert_close(from_patches(to_patches(images, patch), patch, (rows, cols)), images)


@pytest.mark.parametrize(
    "shape",
    [
        TINY_VIT,
        replace(TINY_VIT, class_token=False),
        replace(TINY_VIT, registers=3, layer_scale=True),
        replace(TINY_VIT, registers=0, rope=True, qkv_bias=False),
        replace(TINY_VIT, registers=4, rope=True),
    ],
    ids=lambda shape: f"{shape.registers} registers{', rope' * shape.rope}",
)
@pytest.mark.parametrize("size", [(32, 32), (24, 56)])
def test_nothing_hidden_is_the_networks_own_forward_pass(shape, size):
    network = build_vit(shape).eval()
    images = torch.rand(2, 3, *size)
    with torch.inference_mode():
        expected = network.forward_features(images)
        torch.testing.assert_close(encode(network, images), expected, atol=1e-5, rtol=1e-5)
        if not shape.rope:
            every = torch.arange(size[0] * size[1] // 64).expand(2, -1)
            torch.testing.assert_close(encode_seen(network, images, every), expected, atol=1e-5, rtol=1e-5)


def test_what_is_not_seen_has_no_influence():
    network = build_vit(TINY_VIT).eval()
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    encode_seen(network, images, torch.tensor([[0, 5, 6]])).square().sum().backward()
    grid = images.grad.abs().sum(dim=1).reshape(4, 8, 4, 8).sum(dim=(1, 3)).flatten()
    np.testing.assert_array_equal(np.flatnonzero(grid.numpy()), [0, 5, 6])


def test_pretext_heads_are_read_from_the_file_with_its_overrides(tmp_path):
    from napari_sslmaps.lab.training.checkpoints import save_encoder

    objective = tiny("mae")
    path = tmp_path / "own.safetensors"
    save_encoder(objective, path, provenance={})
    pretext_heads = pretext_heads_of(load_encoder(path, device="cpu", num_heads=4, precision="float32"))
    assert pretext_heads.settings["decoder_heads"] == 2
    torch.testing.assert_close(
        pretext_heads.state["decoder_pred.weight"].float(),
        objective.decoder_pred.weight,
        atol=1e-3,
        rtol=1e-3,
    )


def test_an_encoder_alone_has_none_and_a_control_no_file(tmp_path):
    alone = load_encoder(write_encoder(tmp_path / "alone.safetensors"), device="cpu", precision="float32")
    assert not pretext_heads_of(alone).state
    with pytest.raises(MapUnavailableError, match="untrained control"):
        pretext_heads_of(load_encoder("mae-untrained", device="cpu", precision="float32"))
