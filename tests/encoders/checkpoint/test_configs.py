"""Statistics, arguments and licences in the configs that lie beside weights."""

import json
import re

import pytest
import timm
import torch
from safetensors.torch import save_file

from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import CheckpointError

NAME = "vit_tiny_patch16_224"
SMALL = {"depth": 2, "img_size": 32}
MEAN, STD = [0.7, 0.6, 0.5], [0.3, 0.2, 0.1]
SPELLED = "0.7,0.6,0.5/0.3,0.2,0.1"
GIVEN = Overrides(method="dinov2")


def folder_of(path, config, *, name=NAME, options=None, file="config.json", prefix=""):
    options = SMALL if options is None else options
    network = timm.create_model(name, num_classes=0, **options)
    save_file(
        {f"{prefix}{key}": value for key, value in network.state_dict().items()}, path / "model.safetensors"
    )
    (path / file).write_text(json.dumps(config))
    return path


def test_the_old_flat_config_of_timm(tmp_path):
    config = {"architecture": NAME, "mean": MEAN, "std": STD, "model_args": SMALL, "license": "mit"}
    assert inspect_checkpoint(folder_of(tmp_path, config), GIVEN).normalisation == SPELLED
    assert load_encoder(tmp_path, device="cpu", method="dinov2").spec.licence == "mit"


def test_a_tag_behind_the_name(tmp_path):
    config = {
        "architecture": f"{NAME}.dino",
        "pretrained_cfg": {"mean": MEAN, "std": STD},
        "model_args": SMALL,
    }
    report = inspect_checkpoint(folder_of(tmp_path, config))
    assert (report.method, report.normalisation) == ("dino", SPELLED)


def test_the_config_of_open_clip(tmp_path):
    config = {
        "model_cfg": {"embed_dim": 512, "vision_cfg": {"timm_model_name": NAME, "image_size": 224}},
        "preprocess_cfg": {"mean": MEAN, "std": STD},
    }
    path = folder_of(tmp_path, config, options={}, file="open_clip_config.json", prefix="visual.trunk.")
    report = inspect_checkpoint(path, GIVEN)
    assert (report.normalisation, report.architecture.heads) == (SPELLED, 3)


def test_a_preprocessor_beside_any_file(tmp_path):
    preprocessor = {"image_mean": MEAN, "image_std": STD}
    path = folder_of(tmp_path, preprocessor, file="preprocessor_config.json")
    assert inspect_checkpoint(path, GIVEN).normalisation == SPELLED


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_resnet_that_timm_saved(tmp_path, name):
    config = {"architecture": name, "pretrained_cfg": {"mean": MEAN, "std": STD, "license": "other"}}
    report = inspect_checkpoint(folder_of(tmp_path, config, name=name, options={}))
    assert report.normalisation == SPELLED
    assert not any("normalisation" in sentence for sentence in report.ambiguous)


def test_a_resnet_of_other_layers_is_refused(tmp_path):
    config = {"architecture": "resnet18", "model_args": {"act_layer": "silu"}, "pretrained_cfg": {}}
    with pytest.raises(CheckpointError, match="a ResNet with other layers"):
        inspect_checkpoint(folder_of(tmp_path, config, name="resnet18", options={}))


def test_what_cards_ask_to_pass_is_seen_in_the_tensors(tmp_path):
    """UNI's config has no layer scale, Virchow's no gate: users pass them."""
    from timm.layers import SwiGLUPacked

    options = SMALL | {"init_values": 1e-5, "mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU}
    config = {"architecture": NAME, "model_args": SMALL, "pretrained_cfg": {"mean": MEAN, "std": STD}}
    report = inspect_checkpoint(folder_of(tmp_path, config, options=options))
    assert report.normalisation == SPELLED
    assert report.architecture.swiglu
    assert report.architecture.layer_scale


def test_layers_without_a_bias_are_those_whose_bias_is_zero(tmp_path):
    config = {"architecture": NAME, "model_args": SMALL | {"proj_bias": False}, "pretrained_cfg": {}}
    path = folder_of(tmp_path, config, options=SMALL | {"proj_bias": False})
    network = load_encoder(path, device="cpu", method="dino").extractor.network
    assert not any(block.attn.proj.bias.any() for block in network.blocks)


def test_an_architecture_that_timm_does_not_know_is_said(tmp_path):
    config = {"architecture": "vit_of_tomorrow", "pretrained_cfg": {"mean": MEAN, "std": STD}}
    report = inspect_checkpoint(folder_of(tmp_path, config), GIVEN)
    assert any("'vit_of_tomorrow', which timm" in sentence for sentence in report.ambiguous)


@pytest.mark.parametrize("strange", [{"depth": 10**9}, {"img_size": 10**9}, {"reg_tokens": [10**12]}])
def test_a_config_that_asks_for_too_much_is_left_alone(tmp_path, strange):
    config = {"architecture": NAME, "model_args": SMALL | strange, "pretrained_cfg": {}}
    report = inspect_checkpoint(folder_of(tmp_path, config), GIVEN)
    assert any("was not used" in sentence for sentence in report.ambiguous)


def test_statistics_that_are_none_are_refused(tmp_path):
    config = {
        "architecture": NAME,
        "pretrained_cfg": {"mean": [120, 110, 100], "std": STD},
        "model_args": SMALL,
    }
    with pytest.raises(CheckpointError, match="Expected mean and std in timm's config"):
        inspect_checkpoint(folder_of(tmp_path, config), GIVEN)


def alike_within_heads(network, heads):
    """Make rows of W_q and W_k that belong to one head alike, as training does."""
    generator = torch.Generator().manual_seed(0)
    for block in network.blocks:
        weight = block.attn.qkv.weight.data
        dim = weight.shape[1]
        for part in range(2):
            base = torch.randn(heads, 1, dim, generator=generator).expand(-1, dim // heads, -1)
            noise = torch.randn(heads, dim // heads, dim, generator=generator)
            weight[part * dim : (part + 1) * dim] = (base + noise).reshape(dim, dim)


def test_a_doubt_about_statistics_names_the_encoders_as_wide(tmp_path):
    network = timm.create_model(NAME, num_classes=0, depth=1, embed_dim=1536, num_heads=24)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    (doubt,) = (said for said in inspect_checkpoint(tmp_path, GIVEN).ambiguous if "normalisation" in said)
    assert "imagenet is assumed" in doubt
    for name in ("h-optimus-0", "uni2-h", "midnight-12k"):
        assert name in doubt
    assert re.search(r"imagenet by dinov2-vit-g14, .* and \d+ more; ", doubt)


def test_weights_that_speak_against_the_config_are_heard(tmp_path):
    network = timm.create_model(NAME, num_classes=0, **SMALL)
    alike_within_heads(network, 6)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    config = {"architecture": NAME, "model_args": SMALL, "pretrained_cfg": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    told = inspect_checkpoint(tmp_path, GIVEN)
    assert told.architecture.heads == 3
    assert any("clearly speak for 6" in sentence for sentence in told.ambiguous)
    right = inspect_checkpoint(tmp_path, Overrides(method="dinov2", num_heads=6))
    assert not any("heads" in sentence for sentence in right.ambiguous)


def test_queries_keys_and_values_apart(tmp_path):
    network = timm.create_model(NAME, num_classes=0, **SMALL).eval()
    state = {}
    for key, value in network.state_dict().items():
        if ".attn.qkv." in key:
            parts = zip(("q", "k", "v"), value.chunk(3), strict=True)
            state |= {key.replace(".qkv.", f".{part}_proj."): rows for part, rows in parts}
        else:
            state[key] = value
    torch.save(state, tmp_path / "apart.pth")
    encoder = load_encoder(tmp_path / "apart.pth", device="cpu", precision="float32", method="mae")
    pixels = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        tokens = encoder.extractor.extract(pixels).tokens.flatten(1, 2)
        torch.testing.assert_close(tokens, network.forward_features(pixels)[:, 1:], atol=1e-4, rtol=1e-4)
