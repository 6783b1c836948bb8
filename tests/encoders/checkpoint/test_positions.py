"""Positions that are not those of a square grid and CLS, and what may be said of how they are resampled."""

import json
import math
from functools import partial

import pytest
import timm
import torch
import transformers
from definitions import HEADS, PATCH, SIDE, rotate, vit_weights
from safetensors.torch import save_file

from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint
from napari_sslmaps.encoders.families.registry import architecture_from_dict, architecture_to_dict
from napari_sslmaps.encoders.families.vit_network import sincos_positions
from napari_sslmaps.encoders.families.vit_recognition import likely_grid
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import CheckpointError, InvalidOptionError

TINY = {"img_size": 48, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 4, "num_classes": 0}
SIZES = [(48, 48), (64, 40)]


def drawn(name="vit_tiny_patch16_224", **options):
    """A network of timm, of which every weight is drawn."""
    network = timm.create_model(name, **TINY | {"dynamic_img_size": True} | options).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return network


def saved(folder, network, *, name="vit_tiny_patch16_224", config=True, **options):
    save_file(network.state_dict(), folder / "model.safetensors")
    if config:
        content = {"architecture": name, "model_args": TINY | options, "pretrained_cfg": {"tag": "x"}}
        (folder / "config.json").write_text(json.dumps(content))
    return folder / "model.safetensors"


def assert_parity(network, path, size, **given):
    given = {"method": "dinov2", "num_heads": 4} | given
    encoder = load_encoder(path, device="cpu", precision="float32", **given)
    pixels = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        found = encoder.extractor.extract(pixels).tokens.flatten(1, 2)
        expected = network.forward_features(pixels)[:, network.num_prefix_tokens :]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    return encoder


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("config", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"reg_tokens": 4},
        {"reg_tokens": 4, "no_embed_class": True},
        {"no_embed_class": True},
        {"reg_tokens": 1, "class_token": False, "global_pool": "avg", "fc_norm": False},
        {"reg_tokens": 2, "init_values": 1.0},
    ],
    ids="-".join,
)
def test_prefix_tokens_with_and_without_positions(tmp_path, options, config, size):
    network = drawn(**options)
    encoder = assert_parity(network, saved(tmp_path, network, config=config, **options), size)
    shape = encoder.spec.architecture
    assert architecture_from_dict(architecture_to_dict(shape)) == shape
    assert shape.grid == (6, 6)


@pytest.mark.parametrize("size", [(32, 64), (64, 40)])
def test_a_grid_that_is_no_square_is_given(tmp_path, size):
    network = drawn(img_size=(32, 64))
    path = saved(tmp_path, network, config=False)
    with pytest.raises(CheckpointError, match=r"the file has 33. Pass grid=\(rows, columns\)"):
        inspect_checkpoint(path, Overrides(method="dinov2"))
    with pytest.raises(InvalidOptionError, match="5 × 9 are 45, beside 1 of CLS and registers"):
        inspect_checkpoint(path, Overrides(method="dinov2", num_heads=4, grid=(5, 9)))
    encoder = assert_parity(network, path, size, grid=(4, 8))
    assert Overrides.of(json.loads(json.dumps(encoder.spec.overrides))).grid == (4, 8)


def smooth_positions(rows, columns, *, noise=0.2):
    """Positions as training gives them: waves of many directions over the grid, and noise."""
    generator = torch.Generator().manual_seed(3)
    grid = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    places = torch.stack(grid, dim=-1).reshape(-1, 2) / max(rows, columns)
    waves = places @ torch.randn(2, 64, generator=generator) * 6 + 6 * torch.rand(64, generator=generator)
    return waves.sin() + noise * torch.randn(waves.shape, generator=generator)


@pytest.mark.parametrize("grid", [(4, 9), (9, 4), (6, 6), (2, 18), (4, 8), (5, 7), (16, 16), (14, 14)])
@pytest.mark.parametrize("fixed", [True, False])
def test_neighbours_tell_the_grid(grid, fixed):
    positions = sincos_positions(64, *grid)[0] if fixed else smooth_positions(*grid)
    assert likely_grid(positions) == grid


@pytest.mark.parametrize(("count", "grid"), [(36, (6, 6)), (32, None), (7, None), (1, (1, 1)), (0, None)])
def test_positions_without_neighbours_are_of_a_square_or_unknown(count, grid):
    assert likely_grid(torch.randn(count, 64, generator=torch.Generator().manual_seed(0))) == grid


@pytest.mark.parametrize("size", [(32, 72), (64, 40)])
def test_a_grid_that_its_positions_tell(tmp_path, size):
    network = drawn(img_size=(32, 72))
    with torch.no_grad():
        network.pos_embed[:, 1:] = smooth_positions(4, 9)
    encoder = assert_parity(network, saved(tmp_path, network, config=False), size)
    assert encoder.spec.architecture.grid == (4, 9)
    assert any("taken for a grid of 4 × 9 tokens" in doubt for doubt in encoder.report.ambiguous)


def test_fixed_positions_of_a_grid_that_is_no_square_tell_mae(tmp_path):
    network = drawn(img_size=(32, 72))
    with torch.no_grad():
        network.pos_embed[:, 1:] = sincos_positions(64, 4, 9)
    torch.save({"model": network.state_dict()}, tmp_path / "encoder.pth")
    report = inspect_checkpoint(tmp_path / "encoder.pth", Overrides(num_heads=4))
    assert (report.method, report.architecture.grid) == ("mae", (4, 9))


@pytest.mark.parametrize(("sides", "grid"), [([32, 72], (4, 9)), ([32, 48], (4, 6)), ([48, 48], (6, 6))])
def test_transformers_says_the_grid(tmp_path, sides, grid):
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    model = transformers.ViTModel(transformers.ViTConfig(**shape, image_size=sides, patch_size=8)).eval()
    model.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path, method="dino", device="cpu", precision="float32")
    assert encoder.spec.architecture.grid == grid
    pixels = torch.randn(1, 3, *sides)
    with torch.inference_mode():
        found = encoder.extractor.extract(pixels).tokens.flatten(1, 2)
        expected = model(pixels).last_hidden_state[:, 1:]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_layers_without_bias_are_computed_without(tmp_path):
    network = drawn()
    state = network.state_dict()
    with torch.no_grad():
        for key in [key for key in state if key.startswith("blocks.") and key.endswith(".bias")]:
            if "norm" not in key and "qkv" not in key:
                state.pop(key).zero_()
    save_file(state, tmp_path / "model.safetensors")
    assert_parity(network, tmp_path / "model.safetensors", (48, 48))
    state["blocks.0.mlp.fc1.bias"] = torch.zeros(256)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"missing blocks\.1\.mlp\.fc1\.bias"):
        load_encoder(tmp_path / "model.safetensors", method="dinov2", num_heads=4, device="cpu")


@pytest.mark.parametrize(("antialias", "offset"), [(True, 0.1), (False, 0.0)])
def test_how_positions_are_resampled_is_said_and_can_be_given(tmp_path, antialias, offset):
    weights = vit_weights()
    path = tmp_path / "dino.pth"
    torch.save(weights, path)
    known = {"method": "dino", "num_heads": HEADS}
    said = str(inspect_checkpoint(path, Overrides(**known)))
    assert f"positions = {SIDE} × {SIDE}, for others without a filter, offset 0.1" in said
    assert "as DINO's own code resamples them" in said
    options = {"antialias": antialias, "offset": offset}
    encoder = load_encoder(path, device="cpu", precision="float32", **known, **options)
    shape = encoder.spec.architecture
    assert (shape.antialias, shape.position_offset) == (antialias, offset)
    assert f"offset {offset:g}  (given)" in str(encoder.report)
    with pytest.raises(InvalidOptionError, match="Expected an offset of 0 to 1 token"):
        Overrides(offset=-1)


def rotated_in_bfloat16(x, periods, rows, cols, prefix, over=None):
    """DINOv3's rotation with every operand in bfloat16."""
    half = torch.bfloat16
    high, wide = (rows, cols) if over is None else (over(rows, cols),) * 2
    y = torch.arange(0.5, rows, dtype=half) / high
    z = torch.arange(0.5, cols, dtype=half) / wide
    centres = 2.0 * torch.stack(torch.meshgrid(y, z, indexing="ij"), dim=-1).reshape(-1, 2) - 1.0
    angles = (2 * math.pi * centres[:, :, None] / periods.to(half)).reshape(rows * cols, -1)
    x = x.to(half)
    first, second = x[:, :, prefix:].chunk(2, dim=-1)
    sin, cos = angles.sin(), angles.cos()
    turned = torch.cat([first * cos + -second * sin, second * cos + first * sin], dim=-1)
    return torch.cat([x[:, :, :prefix], turned], dim=2).float()


@pytest.mark.parametrize("half", [True, False])
def test_periods_in_bfloat16_are_turned_with_in_bfloat16(tmp_path, monkeypatch, half):
    import definitions

    weights = vit_weights(positions=False, scale=True)
    weights["rope_embed.periods"] = 100.0 ** (torch.arange(8) / 8)
    if half:
        weights["rope_embed.periods"] = weights["rope_embed.periods"].bfloat16()
    path = tmp_path / "teacher.pth"
    torch.save({"teacher": {f"backbone.{name}": value for name, value in weights.items()}}, path)
    monkeypatch.setattr(definitions, "rotate", rotated_in_bfloat16 if half else rotate)
    pixels = torch.randn(1, 3, 5 * PATCH, 3 * PATCH)
    encoder = load_encoder(path, device="cpu", precision="float32")
    assert encoder.spec.architecture.rope_bfloat16 == half
    tokens, attention = definitions.forward(weights, pixels, eps=1e-6)
    with torch.inference_mode():
        found = encoder.extractor.extract(pixels)
    # a last bit of float32 can turn a rounding to bfloat16 round
    tolerance = 2e-3 if half else 1e-4
    torch.testing.assert_close(found.tokens.flatten(1, 2), tokens[:, 1:], atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(
        found.attention.flatten(2), attention[:, :, 0, 1:], atol=tolerance, rtol=tolerance
    )
    assert "normalize_coords" in str(encoder.report)


def rotary_file(path, *, half=False):
    weights = vit_weights(positions=False, scale=True)
    weights["rope_embed.periods"] = 100.0 ** (torch.arange(8) / 8)
    if half:
        weights["rope_embed.periods"] = weights["rope_embed.periods"].bfloat16()
    torch.save({"teacher": {f"backbone.{name}": value for name, value in weights.items()}}, path)
    return weights


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize(("coords", "over"), [("max", max), ("min", min), ("separate", None)])
def test_rotary_coordinates_are_divided_as_is_given(tmp_path, monkeypatch, coords, over, half):
    import definitions

    path = tmp_path / "teacher.pth"
    weights = rotary_file(path, half=half)
    turned = partial(rotated_in_bfloat16 if half else rotate, over=over)
    monkeypatch.setattr(definitions, "rotate", turned)
    pixels = torch.randn(1, 3, 5 * PATCH, 3 * PATCH)
    encoder = load_encoder(path, device="cpu", precision="float32", rope_coords=coords)
    tokens, _ = definitions.forward(weights, pixels, eps=1e-6)
    with torch.inference_mode():
        found = encoder.extractor.extract(pixels).tokens
    tolerance = 2e-3 if half else 1e-4
    torch.testing.assert_close(found.flatten(1, 2), tokens[:, 1:], atol=tolerance, rtol=tolerance)
    said = {"max": "by the longer", "min": "by the shorter", "separate": "by itself"}[coords]
    assert f"normalised {said}  (given)" in str(encoder.report)
    written = architecture_to_dict(encoder.spec.architecture)
    assert written.get("rope_coords", "separate") == coords
    assert architecture_from_dict(written) == encoder.spec.architecture


def test_a_division_of_rotary_coordinates_means_nothing_to_added_positions(tmp_path):
    path = tmp_path / "dino.pth"
    torch.save(vit_weights(), path)
    wanted = Overrides(method="dino", num_heads=HEADS, rope_coords="max")
    assert any(
        "how rotary positions are normalised" in doubt for doubt in inspect_checkpoint(path, wanted).ambiguous
    )
    with pytest.raises(InvalidOptionError, match="rope_coords among separate, max, min; got 'mean'"):
        Overrides(rope_coords="mean")


def test_files_of_bfloat16_do_not_tell_how_they_were_turned(tmp_path):
    weights = vit_weights(positions=False, scale=True)
    weights["rope_embed.periods"] = 100.0 ** (torch.arange(8) / 8)
    path = tmp_path / "half.pth"
    torch.save({name: value.bfloat16() for name, value in weights.items()}, path)
    report = inspect_checkpoint(path)
    assert not report.architecture.rope_bfloat16
    assert "rotation = float32" in str(report)
