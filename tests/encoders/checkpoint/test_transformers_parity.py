"""Files in the official layouts give what transformers' own models compute from the same weights."""

import re

import pytest
import torch
from transformers import (
    DINOv3ViTConfig,
    DINOv3ViTModel,
    IJepaConfig,
    IJepaModel,
    ViTMAEConfig,
    ViTMAEModel,
)

from napari_sslmaps.encoders.registry import load_encoder

SHAPE = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "patch_size": 16,
    "image_size": 64,
    "attn_implementation": "eager",
}
RENAMES = [
    (r"^(model\.)?layers?\.", "blocks."),
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


def random_model(kind, config):
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


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


@pytest.mark.parametrize("size", [(64, 64), (96, 48)])
def test_dinov3(tmp_path, size):
    model = random_model(DINOv3ViTModel, DINOv3ViTConfig(**SHAPE, num_register_tokens=4))
    state = official_state(model)
    head_width = 32
    state["rope_embed.periods"] = 100.0 ** (torch.arange(head_width // 4) / (head_width / 4))
    torch.save(state, tmp_path / "dinov3.pth")
    pixels = torch.randn(1, 3, *size)
    with torch.inference_mode():
        outputs = model(pixels, output_attentions=True)
    encoder = load_encoder(tmp_path / "dinov3.pth", device="cpu", precision="float32")
    assert encoder.spec.method == "dinov3"
    compare(encoder, outputs, pixels, prefix=5)


def test_ijepa(tmp_path):
    model = random_model(IJepaModel, IJepaConfig(**SHAPE, layer_norm_eps=1e-6))
    state = {f"module.{key}": value for key, value in official_state(model).items()}
    torch.save({"encoder": {}, "target_encoder": state, "predictor": {}}, tmp_path / "jepa.pth.tar")
    pixels = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        outputs = model(pixels, output_attentions=True)
    encoder = load_encoder(tmp_path / "jepa.pth.tar", device="cpu", precision="float32", num_heads=2)
    assert encoder.spec.method == "ijepa"
    compare(encoder, outputs, pixels, prefix=0)


def test_mae(tmp_path):
    config = ViTMAEConfig(**SHAPE, mask_ratio=0.0, layer_norm_eps=1e-6)
    model = random_model(ViTMAEModel, config)
    torch.save({"model": official_state(model)}, tmp_path / "mae.pth")
    pixels = torch.randn(2, 3, 64, 64)
    in_order = torch.arange(16.0).repeat(2, 1)  # nothing is masked, and nothing is shuffled
    with torch.inference_mode():
        outputs = model(pixels, noise=in_order, output_attentions=True)
    encoder = load_encoder(tmp_path / "mae.pth", device="cpu", precision="float32", method="mae", num_heads=2)
    assert encoder.spec.method == "mae"
    compare(encoder, outputs, pixels, prefix=1)
