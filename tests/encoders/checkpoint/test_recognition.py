"""Official layouts are recognised, loaded whole, and reported."""

import argparse

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from official import DEPTH, DIM, dinov3_state, ijepa_file, mae_state, transformer_state
from safetensors.torch import save_file

from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import CheckpointError, InvalidOptionError


def save(path, content):
    torch.save(content, path)
    return path


def load(path, **options):
    return load_encoder(path, device="cpu", precision="float32", **options)


@pytest.mark.parametrize("decoder", [False, True])
def test_mae_official(tmp_path, decoder):
    state = mae_state(decoder=decoder)
    encoder = load(save(tmp_path / "mae_pretrain.pth", {"model": state}))
    assert encoder.spec.method == "mae"
    assert encoder.spec.architecture.class_token
    assert encoder.spec.normalisation == "imagenet"
    loaded = encoder.extractor.network.state_dict()
    for key, tensor in loaded.items():
        torch.testing.assert_close(tensor, state[key])
    assert set(loaded) | set(encoder.report.left_out) == set(state)
    assert bool(encoder.report.left_out) == decoder


def test_mae_own_training_holds_a_namespace_which_is_allowed(tmp_path):
    content = {
        "model": mae_state(decoder=True),
        "optimizer": {},
        "epoch": 199,
        "args": argparse.Namespace(lr=1e-3, mask_ratio=0.75, norm_pix_loss=True),
    }
    assert load(save(tmp_path / "checkpoint-199.pth", content)).spec.method == "mae"


def test_positions_alone_tell_mae_from_others(tmp_path):
    bare = save(tmp_path / "bare.pth", mae_state())
    assert inspect_checkpoint(bare).method == "mae"
    unclear = save(tmp_path / "unclear.pth", transformer_state())
    with pytest.raises(CheckpointError, match='method="mae"'):
        load(unclear)
    assert load(unclear, method="dino").spec.method == "dino"


def test_the_outer_key_of_maes_own_files_is_taken_for_it_with_a_doubt_but_not_beside_a_head(tmp_path):
    state = transformer_state()
    report = inspect_checkpoint(save(tmp_path / "mae_pretrain_vit.pth", {"model": state}))
    assert report.method == "mae"
    assert any("from this alone: the outer key 'model'" in doubt for doubt in report.ambiguous)
    supervised = {"model": state | {"head.weight": torch.zeros(10, DIM), "head.bias": torch.zeros(10)}}
    with pytest.raises(CheckpointError, match='method="mae"'):
        inspect_checkpoint(save(tmp_path / "deit.pth", supervised))


def test_ijepa_takes_the_target_encoder_and_the_context_encoder_on_request(tmp_path):
    content = ijepa_file()
    path = save(tmp_path / "jepa-latest.pth.tar", content)
    for branch, key in (("target", "target_encoder"), ("encoder", "encoder")):
        encoder = load(path, branch=branch)
        assert encoder.spec.method == "ijepa"
        assert not encoder.spec.architecture.class_token
        for name, tensor in encoder.extractor.network.state_dict().items():
            torch.testing.assert_close(tensor, content[key][f"module.{name}"])
    reasons = set(load(path).report.left_out.values())
    assert reasons == {"the other branch", "predictor", "state of the training"}


@pytest.mark.parametrize("swiglu", [False, True])
def test_dinov3_hub(tmp_path, swiglu):
    state = dinov3_state(swiglu=swiglu)
    encoder = load(save(tmp_path / "dinov3_vits16.pth", state))
    spec = encoder.spec
    assert spec.method == "dinov3"
    assert spec.architecture.heads == 2
    assert spec.architecture.registers == 4
    assert spec.architecture.rope
    assert spec.architecture.eps == 1e-5
    assert set(encoder.report.left_out) == {"mask_token"}
    network = encoder.extractor.network
    torch.testing.assert_close(network.rope.periods, state["rope_embed.periods"])
    torch.testing.assert_close(network.blocks[1].gamma_2, state["blocks.1.ls2.gamma"])
    last = "mlp.w3" if swiglu else "mlp.fc2"
    torch.testing.assert_close(network.blocks[0].mlp.fc2.weight, state[f"blocks.0.{last}.weight"])


def test_the_name_of_a_hub_file_tells_the_statistics_of_satellite_images(tmp_path):
    path = save(tmp_path / "dinov3_vitl16_pretrain_sat493m-eadcf0ff.pth", dinov3_state())
    report = inspect_checkpoint(path)
    assert report.normalisation == "satellite"
    assert "normalisation = satellite  ('sat493m' in the file's name)" in str(report)
    web = save(tmp_path / "dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth", dinov3_state())
    assert inspect_checkpoint(web).normalisation == "imagenet"


def test_dinov3_biases_are_split_and_the_k_bias_is_kept(tmp_path):
    state = dinov3_state(bias=True)
    attention = load(save(tmp_path / "own.pth", state)).extractor.network.blocks[0].attn
    q, k, v = state["blocks.0.attn.qkv.bias"].chunk(3)
    torch.testing.assert_close(attention.q_bias.detach(), q)
    torch.testing.assert_close(attention.k_bias, k)
    torch.testing.assert_close(attention.v_bias.detach(), v)


def test_dinov3_bias_mask_is_applied(tmp_path):
    state = dinov3_state(bias=True, bias_mask=True)
    attention = load(save(tmp_path / "masked.pth", state)).extractor.network.blocks[0].attn
    assert (attention.k_bias == 0).all()
    torch.testing.assert_close(attention.q_bias.detach(), state["blocks.0.attn.qkv.bias"][:DIM])


@pytest.mark.parametrize(
    ("name", "options", "method"),
    [
        ("vit_tiny_patch16_224", {"class_token": False, "global_pool": "avg", "fc_norm": False}, None),
        ("vit_tiny_patch16_224", {}, "mae"),
        ("vit_small_patch16_dinov3", {}, None),
        ("vit_small_patch14_reg4_dinov2", {}, None),
    ],
)
def test_timm_files(tmp_path, name, options, method):
    network = timm.create_model(name, num_classes=0, **options).eval()
    path = tmp_path / "timm.safetensors"
    save_file(network.state_dict(), path)
    encoder = load(path, method=method, num_heads=network.blocks[0].attn.num_heads)
    size = network.patch_embed.img_size
    pixels = torch.randn(1, 3, *size)
    with torch.inference_mode():
        expected = network.forward_features(pixels)[:, network.num_prefix_tokens :]
        tokens = encoder.extractor.extract(pixels).tokens.flatten(1, 2)
    atol = 1e-3 if encoder.spec.method == "dinov2" else 1e-5
    torch.testing.assert_close(tokens, expected, atol=atol, rtol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_smp_unet(tmp_path, name):
    network = smp.Unet(name, encoder_weights=None, classes=2).eval()
    path = save(tmp_path / "unet.pth", network.state_dict())
    encoder = load(path)
    assert encoder.spec.method == "dira"
    assert encoder.spec.normalisation == "unit"
    assert encoder.spec.constraint.token_stride == 16
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(encoder.extractor.network(pixels), network(pixels), atol=1e-5, rtol=1e-5)
    assert load(path, token_stage="encoder.layer2").spec.constraint.token_stride == 8


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "backbone.", "model."])
def test_prefixes_of_wrappers_are_stripped(tmp_path, prefix):
    state = {f"{prefix}{key}": value for key, value in mae_state().items()}
    assert load(save(tmp_path / "wrapped.pth", {"state_dict": state})).spec.method == "mae"


def test_the_report_says_what_was_inferred_and_how(tmp_path):
    report = inspect_checkpoint(save(tmp_path / "mae.pth", {"model": mae_state(decoder=True)}))
    text = str(report)
    assert report.architecture.depth == DEPTH
    for part in ("layout: MAE", "heads = 2", "usual number for this width", "5 × ", "MAE decoder"):
        assert part in text.replace("left out: 4 × MAE decoder", "left out: 5 × MAE decoder")
    assert any("heads is not in the file" in sentence for sentence in report.ambiguous)
    assert report.to_dict()["architecture"]["kind"] == "vit"


def test_a_given_head_count_is_used_and_one_that_cannot_be_is_refused(tmp_path):
    path = save(tmp_path / "mae.pth", {"model": mae_state()})
    assert load(path, num_heads=4).spec.architecture.heads == 4
    with pytest.raises(InvalidOptionError, match="divides the width 128; got 3"):
        load(path, num_heads=3)


def test_a_given_normalisation_is_used_and_an_unknown_one_is_refused(tmp_path):
    path = save(tmp_path / "mae.pth", {"model": mae_state()})
    assert load(path, normalisation="unit").spec.normalisation == "unit"
    with pytest.raises(InvalidOptionError, match="imagenet, unit"):
        load(path, normalisation="moon")


def test_pickled_numpy_scalars_are_data(tmp_path):
    content = {"model": mae_state(), "loss": np.float64(0.5)}
    assert load(save(tmp_path / "numpy.pth", content)).spec.method == "mae"
