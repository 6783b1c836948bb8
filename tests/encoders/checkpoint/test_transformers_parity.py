"""Files in the official layouts give what transformers' own models compute from the same weights."""

import re

import pytest
import torch
from made_transformers import random_model

from napari_sslmaps.encoders.registry import load_encoder

RENAMES = [
    (r"^((model|encoder)\.)?layers?\.", "blocks."),
    (r"attention\.o_proj", "attn.proj"),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
    (r"^layernorm\.", "norm."),
    (r"layer_scale(\d)\.lambda1", r"ls\1.gamma"),
    (r"mlp\.up_proj", "mlp.fc1"),
    (r"mlp\.down_proj", "mlp.fc2"),
    (r"^embeddings\.patch_embeddings\.(projection\.)?", "patch_embed.proj."),
    (r"^embeddings\.position_embeddings", "pos_embed"),
    (r"^embeddings\.register_tokens", "storage_tokens"),
    (r"^embeddings\.(cls_token|mask_token)", r"\1"),
]


def official_state(model):
    """Rename a transformers state to the official repositories' keys, fusing q, k and v."""
    state, parts = {}, {}
    for key, tensor in model.state_dict().items():
        name = key
        for pattern, replacement in RENAMES:
            name = re.sub(pattern, replacement, name)
        if found := re.match(r"(blocks\.\d+\.)attention\.([qkv])_proj\.(\w+)", name):
            parts.setdefault((found[1], found[3]), {})[found[2]] = tensor
        else:
            state[name] = tensor
    for (stem, kind), projections in parts.items():
        missing = torch.zeros_like(projections["q"])  # DINOv3's k has no bias
        fused = [projections.get(part, missing) for part in "qkv"]
        state[f"{stem}attn.qkv.{kind}"] = torch.cat(fused)
    return state


def compare(encoder, outputs, pixels, prefix):
    with torch.inference_mode():
        features = encoder.extractor.extract(pixels)
    expected = outputs.last_hidden_state[:, prefix:]
    torch.testing.assert_close(features.tokens.flatten(1, 2), expected, atol=1e-4, rtol=1e-4)
    full = outputs.attentions[-1]
    row = full[:, :, 0] if prefix else full.mean(dim=2)
    torch.testing.assert_close(features.attention.flatten(2), row[..., prefix:], atol=1e-5, rtol=1e-4)


SIZES = [(32, 32), (48, 80), (16, 24)]


def load(path, **options):
    return load_encoder(path, device="cpu", precision="float32", **options)


@pytest.mark.parametrize("size", SIZES)
def test_dinov3(tmp_path, size):
    model = random_model("dinov3_vit")
    state = official_state(model)
    head_width = 32
    state["rope_embed.periods"] = 100.0 ** (torch.arange(head_width // 4) / (head_width / 4))
    torch.save(state, tmp_path / "dinov3.pth")
    pixels = torch.randn(1, 3, *size)
    with torch.inference_mode():
        outputs = model(pixels, output_attentions=True)
    encoder = load(tmp_path / "dinov3.pth")
    assert encoder.spec.method == "dinov3"
    compare(encoder, outputs, pixels, prefix=5)


@pytest.mark.parametrize("size", SIZES)
def test_dinov2_with_registers(tmp_path, size):
    model = random_model("dinov2_with_registers")
    state = official_state(model)
    state["register_tokens"] = state.pop("storage_tokens")
    torch.save({"teacher": {f"backbone.{key}": value for key, value in state.items()}}, tmp_path / "2.pth")
    pixels = torch.randn(1, 3, *size)
    with torch.inference_mode():
        outputs = model(pixels, output_attentions=True)
    encoder = load(tmp_path / "2.pth", num_heads=3)
    assert encoder.spec.method == "dinov2"
    compare(encoder, outputs, pixels, prefix=5)


@pytest.mark.parametrize("size", SIZES)
def test_ijepa(tmp_path, size):
    model = random_model("ijepa", layer_norm_eps=1e-6)
    state = {f"module.{key}": value for key, value in official_state(model).items()}
    torch.save({"encoder": {}, "target_encoder": state, "predictor": {}}, tmp_path / "jepa.pth.tar")
    pixels = torch.randn(2, 3, *size)
    with torch.inference_mode():
        outputs = model(pixels, interpolate_pos_encoding=True, output_attentions=True)
    encoder = load(tmp_path / "jepa.pth.tar", num_heads=3)
    assert encoder.spec.method == "ijepa"
    compare(encoder, outputs, pixels, prefix=0)


@pytest.mark.parametrize("size", SIZES)
def test_mae(tmp_path, size):
    model = random_model("vit_mae", mask_ratio=0.0, layer_norm_eps=1e-6).vit
    torch.save({"model": official_state(model)}, tmp_path / "mae.pth")
    pixels = torch.randn(2, 3, *size)
    in_order = torch.arange(size[0] * size[1] / 64).repeat(2, 1)  # nothing is masked, and nothing is shuffled
    with torch.inference_mode():
        outputs = model(pixels, noise=in_order, interpolate_pos_encoding=True, output_attentions=True)
    encoder = load(tmp_path / "mae.pth", method="mae", num_heads=3)
    compare(encoder, outputs, pixels, prefix=1)
