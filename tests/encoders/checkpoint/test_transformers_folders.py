"""Folders that transformers saved give what transformers computes from them."""

import json

import pytest
import torch
from made_transformers import IMAGENET, KINDS, edit_config, random_model, save_folder
from safetensors.torch import load_file, save_file
from transformers import ViTConfig, ViTForImageClassification

from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint, read_pretext_heads
from napari_sslmaps.encoders.checkpoint.transformers import translate_transformers
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import CheckpointError

SIZES = [(32, 32), (48, 80), (16, 24), (64, 16)]  # native, larger, smaller, as many tokens in another shape
ALWAYS_RESAMPLED = {"dinov3_vit", "dinov2", "dinov2_with_registers"}
METHODS = {
    "vit_mae": "mae",
    "ijepa": "ijepa",
    "dinov3_vit": "dinov3",
    "dinov2": "dinov2",
    "dinov2_with_registers": "dinov2",
    "vit": "dino",
}
VARIANTS = [(kind, {}) for kind in KINDS] + [
    ("dinov3_vit", {"use_gated_mlp": True, "hidden_act": "silu"}),
    ("dinov3_vit", {"use_gated_mlp": True, "hidden_act": "gelu"}),
    ("dinov3_vit", {"num_register_tokens": 0, "key_bias": True, "rope_theta": 40.0}),
    ("dinov3_vit", {"query_bias": False, "value_bias": False}),
    ("dinov2", {"use_swiglu_ffn": True}),
    ("dinov2_with_registers", {"use_swiglu_ffn": True}),
    ("vit", {"qkv_bias": False}),
]


def theirs(kind, model, pixels):
    """Return transformers' tokens after the final norm, and the last block's attention."""
    options = {} if kind in ALWAYS_RESAMPLED else {"interpolate_pos_encoding": True}
    if kind == "vit_mae":
        model = model.vit
        model.config.mask_ratio = 0.0  # nothing hidden, and, by the noise, nothing shuffled
        rows, cols = (side // 8 for side in pixels.shape[2:])
        options["noise"] = torch.arange(float(rows * cols)).repeat(len(pixels), 1)
    with torch.inference_mode():
        outputs = model(pixels, output_attentions=True, **options)
    return outputs.last_hidden_state, outputs.attentions[-1]


def load(kind, folder, **options):
    named = {"method": METHODS[kind]} if kind == "vit" else {}
    return load_encoder(folder, device="cpu", precision="float32", **named, **options)


@pytest.mark.parametrize("current", [False, True], ids=["public", "current"])
@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_tokens_and_attention_are_transformers_own(tmp_path, kind, options, current):
    model = random_model(kind, **options)
    encoder = load(kind, save_folder(model, tmp_path, current=current))
    assert encoder.spec.method == METHODS[kind]
    prefix = encoder.extractor.network.num_prefix_tokens
    for size in SIZES:
        pixels = torch.randn(2, 3, *size)
        tokens, attention = theirs(kind, model, pixels)
        with torch.inference_mode():
            found = encoder.extractor.extract(pixels)
        torch.testing.assert_close(found.tokens.flatten(1, 2), tokens[:, prefix:], atol=1e-5, rtol=1e-5)
        row = attention[:, :, 0] if prefix else attention.mean(dim=2)
        torch.testing.assert_close(found.attention.flatten(2), row[..., prefix:], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("field", "other"), [("num_heads", 2), ("eps", 0.01)])
def test_a_wrong_value_would_not_pass_as_right(tmp_path, field, other):
    folder = save_folder(random_model("vit_mae"), tmp_path)
    pixels = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        right, wrong = (
            load("vit_mae", folder, **given).extractor.extract(pixels) for given in ({}, {field: other})
        )
    assert (right.tokens - wrong.tokens).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("kind", "options", "field", "value"),
    [
        *(
            (kind, {}, "qkv_bias", False)
            for kind in ("vit_mae", "ijepa", "dinov2", "dinov2_with_registers", "vit")
        ),
        ("vit", {"qkv_bias": False}, "qkv_bias", True),
        ("dinov3_vit", {}, "query_bias", False),
        ("dinov3_vit", {}, "key_bias", True),
        ("dinov3_vit", {}, "value_bias", False),
        ("dinov3_vit", {}, "proj_bias", False),
        ("dinov3_vit", {}, "mlp_bias", False),
        ("dinov3_vit", {}, "use_gated_mlp", True),
        ("dinov3_vit", {}, "num_register_tokens", 0),
        ("dinov2", {}, "use_swiglu_ffn", True),
        ("beit", {}, "layer_scale_init_value", 0),
        ("beit", {}, "use_absolute_position_embeddings", True),
        ("beit", {}, "use_relative_position_bias", False),
        ("beit", {}, "use_shared_relative_position_bias", True),
        ("data2vec-vision", {}, "layer_scale_init_value", 0),
    ],
)
@pytest.mark.parametrize("current", [False, True], ids=["public", "current"])
def test_weights_that_the_config_contradicts_are_refused(tmp_path, kind, options, field, value, current):
    """transformers computes with what the config says, and leaves out weights that it does not name."""
    folder = save_folder(random_model(kind, **options), tmp_path, current=current)
    load(kind, folder)
    edit_config(folder, **{field: value})
    with pytest.raises(CheckpointError, match=rf"{field} is {value} there, and the files hold"):
        load(kind, folder)


def test_a_last_norm_that_is_missing_is_told(tmp_path):
    folder = edit_config(save_folder(random_model("beit"), tmp_path), use_mean_pooling=False)
    with pytest.raises(CheckpointError, match=r"Expected a last norm"):
        load("beit", folder)


def test_shards_are_read_as_one(tmp_path):
    model = random_model("dinov2")
    folder = save_folder(model, tmp_path, max_shard_size="200KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 2
    pixels = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        found = load("dinov2", folder).extractor.extract(pixels).tokens.flatten(1, 2)
    torch.testing.assert_close(found, theirs("dinov2", model, pixels)[0][:, 1:], atol=1e-5, rtol=1e-5)


def test_half_precision_folders_load_in_single(tmp_path):
    model = random_model("ijepa").to(torch.bfloat16)
    encoder = load("ijepa", save_folder(model, tmp_path))
    assert {value.dtype for value in encoder.extractor.network.state_dict().values()} == {torch.float32}


def test_the_report_says_where_each_value_stands(tmp_path):
    folder = save_folder(random_model("vit_mae", norm_pix_loss=True), tmp_path, preprocessor=IMAGENET)
    report = inspect_checkpoint(folder)
    told = {item.field: (item.value, item.how) for item in report.inferred}
    assert report.layout == "transformers vit_mae"
    assert told["method"] == ("mae", "model_type 'vit_mae' in config.json")
    assert told["heads"] == ("3", "num_attention_heads in config.json")
    assert told["eps"] == ("1e-12", "layer_norm_eps in config.json")
    assert told["normalisation"] == ("imagenet", "image_mean and image_std in preprocessor_config.json")
    assert told["norm_pix"] == ("True", "norm_pix_loss in config.json")
    assert not report.ambiguous
    assert set(report.left_out.values()) == {"MAE decoder", "mask token"}


def test_every_key_is_in_the_network_or_in_the_report(tmp_path):
    for kind in KINDS:
        folder = save_folder(random_model(kind), tmp_path / kind)
        tensors = load_file(folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_text())
        translated = translate_transformers(config, None, tensors)
        inside = [*translated.state.values(), *translated.buffers.values()]
        kept = sum(value.numel() for key, value in tensors.items() if key not in translated.left_out)
        biases = [value for key, value in translated.buffers.items() if key.endswith("k_bias")]
        added = sum(value.numel() for value in biases)  # a zero bias of k, where there is none
        added += sum(value.numel() for key, value in translated.buffers.items() if key == "rope.periods")
        class_position = 96 if kind == "dinov2_with_registers" else 0  # added to the CLS token
        assert sum(value.numel() for value in inside) == kept + added - class_position


def test_the_decoder_of_mae_is_kept(tmp_path):
    model = random_model("vit_mae", norm_pix_loss=True, mask_ratio=0.5)
    for current in (False, True):
        folder = save_folder(model, tmp_path / str(current), current=current)
        pretext_heads = read_pretext_heads(folder)
        told = {"decoder_heads": 4, "decoder_eps": 1e-12, "mask_ratio": 0.5, "norm_pix": True}
        assert pretext_heads.settings == told
        state = pretext_heads.state
        assert state["decoder_embed.weight"].shape == (64, 96)
        assert state["decoder_blocks.1.attn.qkv.weight"].shape == (192, 64)
        first = model.decoder.decoder_layers[0]
        keys = state["decoder_blocks.0.attn.qkv.bias"][64:128]
        torch.testing.assert_close(keys, first.attention.k_proj.bias)
        torch.testing.assert_close(state["decoder_blocks.0.mlp.fc2.weight"], first.mlp.fc2.weight)
        assert {key.split(".")[0] for key in state} == {
            "mask_token",
            "decoder_embed",
            "decoder_pos_embed",
            "decoder_blocks",
            "decoder_norm",
            "decoder_pred",
        }


@pytest.mark.parametrize("kind", ["dinov3_vit", "dinov2"])
def test_the_mask_token_is_kept(tmp_path, kind):
    model = random_model(kind)
    found = read_pretext_heads(save_folder(model, tmp_path)).state["mask_token"]
    torch.testing.assert_close(found, model.embeddings.mask_token.reshape(1, 96))


def test_an_encoder_without_decoder_has_no_pretext_heads(tmp_path):
    folder = save_folder(random_model("vit_mae").vit, tmp_path)
    assert not read_pretext_heads(folder).state
    assert load("vit_mae", folder).spec.method == "mae"


def test_ijepa_says_that_the_branch_is_not_told(tmp_path):
    report = inspect_checkpoint(save_folder(random_model("ijepa"), tmp_path))
    (branch,) = (item for item in report.inferred if item.field == "branch")
    assert branch.value == "encoder"
    assert "config.json does not say" in branch.how


def test_a_plain_vit_is_asked_about(tmp_path):
    folder = save_folder(random_model("vit"), tmp_path)
    with pytest.raises(CheckpointError, match=r"nothing that tells its method.*method="):
        load_encoder(folder, device="cpu")
    report = inspect_checkpoint(folder, Overrides(method="dino"))
    assert set(report.left_out.values()) == {"pooler"}


def test_a_classifier_gives_its_encoder(tmp_path):
    torch.manual_seed(0)
    model = ViTForImageClassification(
        ViTConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8)
    )
    report = inspect_checkpoint(save_folder(model, tmp_path), Overrides(method="dino"))
    assert report.left_out == {
        "classifier.weight": "classification head",
        "classifier.bias": "classification head",
    }


HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
EIGHT_BIT = {"image_mean": [127.5] * 3, "image_std": [51.0] * 3, "do_rescale": False}
SATELLITE = {"image_mean": [0.430, 0.411, 0.296], "image_std": [0.213, 0.156, 0.143]}


@pytest.mark.parametrize(
    ("preprocessor", "name"),
    [
        (IMAGENET, "imagenet"),
        (IMAGENET | {"do_rescale": True, "rescale_factor": 0.00392156862745098}, "imagenet"),
        (SATELLITE, "satellite"),
        (HALF, "0.5,0.5,0.5/0.5,0.5,0.5"),
        (HALF | {"rescale_factor": 1 / 127.5}, "0.25,0.25,0.25/0.25,0.25,0.25"),
        (
            {"image_mean": [127.5] * 3, "image_std": [51.0] * 3, "do_rescale": False},
            "0.5,0.5,0.5/0.2,0.2,0.2",
        ),
        (IMAGENET | {"do_normalize": False}, "unit"),
    ],
)
def test_statistics_come_from_the_preprocessor(tmp_path, preprocessor, name):
    folder = save_folder(random_model("dinov2"), tmp_path, preprocessor=preprocessor)
    report = inspect_checkpoint(folder)
    assert report.normalisation == name
    assert not any("normalisation" in sentence for sentence in report.ambiguous)


def test_without_preprocessor_the_usual_statistics_are_a_doubt(tmp_path):
    report = inspect_checkpoint(save_folder(random_model("dinov2"), tmp_path))
    assert report.normalisation == "imagenet"
    assert any("normalisation" in sentence for sentence in report.ambiguous)


def test_what_the_config_leaves_out_is_transformers_default(tmp_path):
    model = random_model("dinov3_vit", num_attention_heads=6)
    folder = edit_config(
        save_folder(model, tmp_path), num_attention_heads=None, layer_norm_eps=None, rope_theta=None
    )
    told = {item.field: item for item in inspect_checkpoint(folder).inferred}
    assert told["heads"].value == "6"
    assert told["eps"].value == "1e-05"
    assert "config.json has no num_attention_heads" in told["heads"].how
    pixels = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        found = load("dinov3_vit", folder).extractor.extract(pixels).tokens.flatten(1, 2)
    torch.testing.assert_close(found, theirs("dinov3_vit", model, pixels)[0][:, 5:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model_type": "dinov3_convnext"}, "model_type among vit_mae, ijepa.*'dinov3_convnext'"),
        ({"model_type": "bert"}, "'bert'"),
        ({"hidden_act": "gelu_new"}, "hidden_act 'gelu'.*'gelu_new'"),
        ({"num_attention_heads": "12"}, "num_attention_heads in config.json to be a whole number above 0"),
        ({"num_attention_heads": 0}, "whole number above 0; it is 0"),
        ({"num_attention_heads": True}, "it is True"),
        ({"layer_norm_eps": -1}, "layer_norm_eps in config.json to be a number above 0"),
        ({"num_hidden_layers": 3}, "Expected 3 blocks.*the weights have 2"),
        ({"decoder_num_hidden_layers": 8}, "Expected 8 blocks, as decoder_num_hidden_layers.*have 2"),
    ],
)
def test_a_config_that_does_not_fit_gets_a_sentence(tmp_path, changes, sentence):
    folder = edit_config(save_folder(random_model("vit_mae"), tmp_path), **changes)
    with pytest.raises(CheckpointError, match=sentence):
        inspect_checkpoint(folder)


@pytest.mark.parametrize(
    "changes",
    [{"image_mean": [0.5, 0.4]}, {"image_mean": "grey"}, {"image_std": [0, 0, 0]}, {"rescale_factor": 0}],
)
def test_statistics_that_are_none_get_a_sentence(tmp_path, changes):
    folder = save_folder(random_model("dinov2"), tmp_path, preprocessor=IMAGENET | changes)
    with pytest.raises(CheckpointError, match="three means and three deviations"):
        inspect_checkpoint(folder)


def change_tensors(folder, change):
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path)
    return folder


def test_a_lost_part_of_attention_is_named(tmp_path):
    lost = "encoder.layer.1.attention.attention.key.weight"
    folder = change_tensors(
        save_folder(random_model("ijepa"), tmp_path),
        lambda tensors: {key: value for key, value in tensors.items() if key != lost},
    )
    with pytest.raises(CheckpointError, match=r"lacks blocks\.1\.attn\.qkv\[k\]\.weight"):
        load("ijepa", folder)


def test_weights_without_patch_embedding_are_no_encoder(tmp_path):
    folder = change_tensors(
        save_folder(random_model("ijepa"), tmp_path),
        lambda tensors: {key: value for key, value in tensors.items() if "patch" not in key},
    )
    with pytest.raises(CheckpointError, match="patch embedding; its weights have none"):
        load("ijepa", folder)


def test_a_weight_in_two_spellings_is_refused(tmp_path):
    def double(tensors):
        return tensors | {"norm.weight": tensors["layernorm.weight"].clone()}

    folder = change_tensors(save_folder(random_model("ijepa"), tmp_path), double)
    with pytest.raises(CheckpointError, match="two spellings"):
        load("ijepa", folder)


def test_a_key_that_nobody_knows_is_named(tmp_path):
    folder = change_tensors(
        save_folder(random_model("ijepa"), tmp_path),
        lambda tensors: tensors | {"adapter.weight": torch.ones(3)},
    )
    with pytest.raises(CheckpointError, match=r"not known adapter\.weight"):
        load("ijepa", folder)


def test_q_k_and_v_in_one_are_read_too(tmp_path):
    model = random_model("ijepa")

    def fuse(tensors):
        fused = {key: value for key, value in tensors.items() if ".attention.attention." not in key}
        for index in range(2):
            stem = f"encoder.layer.{index}.attention."
            for kind in ("weight", "bias"):
                parts = [tensors[f"{stem}attention.{part}.{kind}"] for part in ("query", "key", "value")]
                fused[f"{stem}qkv.{kind}"] = torch.cat(parts)
        return fused

    folder = change_tensors(save_folder(model, tmp_path), fuse)
    pixels = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        found = load("ijepa", folder).extractor.extract(pixels).tokens.flatten(1, 2)
    torch.testing.assert_close(found, theirs("ijepa", model, pixels)[0], atol=1e-5, rtol=1e-5)
