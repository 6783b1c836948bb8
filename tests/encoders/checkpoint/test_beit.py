"""BEiT's transformers, in every layout that people hold, against code that is not ours."""

import json
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from encoders_factory import tiny_architecture, write_encoder
from made_transformers import edit_config, save_folder
from safetensors.torch import load_file, save_file
from scipy.interpolate import RectBivariateSpline
from timm.models.beit import Beit
from transformers import (
    BeitConfig,
    BeitForImageClassification,
    BeitForMaskedImageModeling,
    BeitModel,
    Data2VecVisionConfig,
    Data2VecVisionModel,
)
from transformers.models.beit.modeling_beit import BeitRelativePositionBias

import napari_sslmaps as ssl
from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint
from napari_sslmaps.encoders.families.relative_positions import resize_table
from napari_sslmaps.encoders.families.vit_network import ViTExtractor, build_vit
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import CheckpointError, InvalidOptionError, MapUnavailableError
from napari_sslmaps.maps.attention import attention_rollout

SIDE, PATCH = 48, 8
SHAPE = {"img_size": SIDE, "patch_size": PATCH, "embed_dim": 96, "depth": 3, "num_heads": 3}
OPTIONS = {"use_abs_pos_emb": False, "use_rel_pos_bias": True, "init_values": 0.1, "num_classes": 0}
SIZES = [(48, 48), (48, 80), (24, 32), (96, 96)]
"""The grid as stored, and others."""


def drawn(network):
    """Draw every parameter anew, so that none is trivially 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            wide = parameter.ndim > 1 and name.endswith("weight")
            parameter.copy_(noise * (1 / math.sqrt(math.prod(parameter.shape[1:])) if wide else 0.4))
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)
    return network.eval()


def timms(size=None, **options):
    network = drawn(Beit(**SHAPE | OPTIONS | options))
    return network if size is None else resized(network, size)


def resized(network, size):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm indexes by lists
        network.set_input_size(size)
    return network


def index_of_offsets(side):
    """BEiT's own files keep it."""
    return BeitRelativePositionBias.generate_relative_position_index((side, side))


def loaded(path, **overrides):
    return load_encoder(path, device="cpu", precision="float32", **overrides)


def attention_of(network, pixels, block=-1):
    """Softmax (B, heads, N, N) of a block of timm's, as it computes it unfused."""
    attention, caught = network.blocks[block].attn, []
    attention.fused_attn = False
    handle = attention.attn_drop.register_forward_pre_hook(lambda _, args: caught.append(args[0]))
    network.forward_features(pixels)
    handle.remove()
    return caught[0]


def apart(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("config", [True, False], ids=["folder", "bare"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pool", ["", "avg"])
def test_timms(tmp_path, config, size, pool):
    network = timms(global_pool=pool)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    if config:
        arguments = SHAPE | OPTIONS | {"global_pool": pool}
        said = {
            "architecture": "beit_base_patch16_224",
            "model_args": arguments,
            "pretrained_cfg": {"tag": "in22k_ft_in22k", "mean": [0.5] * 3, "std": [0.5] * 3},
        }
        (tmp_path / "config.json").write_text(json.dumps(said))
    encoder = loaded(tmp_path)
    report = encoder.report
    assert report.method == "beit"
    assert report.architecture.final_norm == (pool == "")
    assert report.architecture.heads == 3
    lines = {item.field: (item.value, item.how) for item in report.inferred}
    assert lines["relative positions"][0].startswith("6 × 6, for others by straight lines")
    assert "timm" in lines["relative positions"][1]
    if config:
        assert not report.ambiguous
        assert report.normalisation == "0.5,0.5,0.5/0.5,0.5,0.5"
    pixels = torch.randn(2, 3, *size)
    network = timms(size, global_pool=pool)
    with torch.inference_mode():
        found = encoder.extractor.extract(pixels)
        expected = network.forward_features(pixels)
        attention = attention_of(network, pixels)
    assert apart(found.tokens.flatten(1, 2), expected[:, 1:]) < 1e-5
    assert apart(found.attention.flatten(2), attention[:, :, 0, 1:]) < 1e-5
    torch.testing.assert_close(found.prefix_attention, attention[:, :, 0, 0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("norm", [True, False])
def test_tokens_of_each_block_are_timms_intermediates(tmp_path, norm):
    network = timms(global_pool="")
    torch.save(network.state_dict(), tmp_path / "beit.pth")
    encoder = loaded(tmp_path / "beit.pth")
    pixels = torch.randn(2, 3, SIDE, SIDE)
    shapes = [encoder.spec.architecture.at_block(block, norm=norm) for block in range(3)]
    with torch.inference_mode():
        expected = network.forward_intermediates(pixels, norm=norm, intermediates_only=True)
        found = encoder.extractor.extract_at(pixels, shapes)
    for features, maps in zip(found, expected, strict=True):
        assert apart(features.tokens, maps.permute(0, 2, 3, 1)) < 1e-5


def test_rows_of_any_block_and_rollout(tmp_path):
    network = timms((40, 56))
    torch.save(timms().state_dict(), tmp_path / "beit.pth")
    encoder = loaded(tmp_path / "beit.pth")
    pixels = torch.randn(1, 3, 40, 56)
    with torch.inference_mode():
        full = [attention_of(network, pixels, block) for block in range(3)]
        taps = encoder.extractor.tap(pixels, range(3))
        for tap, wanted in zip(taps, full, strict=True):
            projected = tap.projected()
            for rows in (slice(0, 1), slice(0, 9), slice(3, 20), slice(35, 36), slice(30, None)):
                torch.testing.assert_close(projected.rows(rows), wanted[:, :, rows], atol=1e-6, rtol=1e-4)
            torch.testing.assert_close(tap.read_output("mean-query"), wanted.mean(2), atol=1e-6, rtol=1e-4)
        start = torch.zeros(1, 36)
        start[0, 0] = 1
        found = attention_rollout([tap.projected() for tap in reversed(taps)], start, chunk=7)
    expected = start
    for wanted in reversed(full):
        expected = (expected + (expected[:, None] @ wanted.mean(1))[:, 0]) / 2
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def test_attention_of_an_anchor_and_of_tiles(tmp_path):
    torch.save(timms().state_dict(), tmp_path / "beit.pth")
    encoder = loaded(tmp_path / "beit.pth")
    image = np.random.default_rng(0).random((64, 96, 3), dtype=np.float32)
    whole = ssl.attend(image, encoder, block=2, anchor=(20, 30))
    tiles = ssl.attend(image, encoder, block=2, tiling=ssl.Tiling(tile=40, overlap=16))
    assert whole.heads.shape == tiles.heads.shape == (3, 8, 12)
    assert np.nansum(whole.heads[0]) + whole.prefix_attention[0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("length", [5, 40])
def test_queries_in_parts_give_the_same(monkeypatch, length):
    network = drawn(build_vit(replace(tiny_architecture("beit"), grid=(6, 6))))
    pixels = torch.randn(1, 3, 56, 64)
    with torch.inference_mode():
        at_once = ViTExtractor(network).extract(pixels).tokens
        module = "napari_sslmaps.encoders.families.relative_positions.queries_at_once"
        monkeypatch.setattr(module, lambda _: length)
        torch.testing.assert_close(ViTExtractor(network).extract(pixels).tokens, at_once)


def official(network, *, shared, above=None, prefix="", **beside):
    """Save tensors of timm's network as BEiT's own code names them, with what it keeps beside."""
    state = dict(network.state_dict())
    side = SIDE // PATCH
    for block in range(3):
        table = state.pop(f"blocks.{block}.attn.relative_position_bias_table")
        if not shared:
            state[f"blocks.{block}.attn.relative_position_bias_table"] = table
            state[f"blocks.{block}.attn.relative_position_index"] = index_of_offsets(side)
        elif block == 0:
            state["rel_pos_bias.relative_position_bias_table"] = table
            state["rel_pos_bias.relative_position_index"] = index_of_offsets(side)
    state |= beside
    state = {f"{prefix}{key}": value for key, value in state.items()}
    return state if above is None else {above: state}


def with_one_table(network):
    """Give all blocks the first one's table, as if it were shared."""
    with torch.no_grad():
        for block in network.blocks[1:]:
            block.attn.relative_position_bias_table.copy_(network.blocks[0].attn.relative_position_bias_table)
    return network


PRETRAINED = {
    "mask_token": torch.randn(1, 1, 96),
    "lm_head.weight": torch.randn(20, 96),
    "lm_head.bias": torch.randn(20),
}
WRITTEN = {
    "beit_base_patch16_224_pt22k.pth": {"shared": True, "above": "model", **PRETRAINED},
    "beitv2_base_patch16_224_pt1k.pth": {
        "shared": True,
        "above": "model",
        **PRETRAINED,
        "cls_pt_layers.0.norm1.weight": torch.ones(96),
    },
    "beit_large_patch16_224_pt22k_ft22k.pth": {
        "shared": False,
        "above": "model",
        "head.weight": torch.randn(5, 96),
    },
    "beitv2_large_patch16_224_pt1k_ft21k.pth": {"shared": False, "above": "module"},
    "USFM_latest.pth": {"shared": True, "mask_token": torch.randn(1, 1, 96)},
    "usfm_mim.pth": {
        "shared": True,
        "above": "model",
        "prefix": "encoder.",
        "mask_token": torch.randn(1, 1, 96),
    },
}


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("size", SIZES)
def test_beits_own_and_usfms(tmp_path, name, size):
    options = WRITTEN[name]
    network = timms(global_pool="")
    if options["shared"]:
        with_one_table(network)
    torch.save(official(network, **options), tmp_path / name)
    encoder = loaded(tmp_path / name)
    report = encoder.report
    assert report.method == "beit"
    halves = name.startswith("beit_")
    assert report.normalisation == ("0.5,0.5,0.5/0.5,0.5,0.5" if halves else "imagenet")
    assert encoder.spec.architecture.relative == "geometric-cubic"
    pixels = torch.randn(1, 3, *size)
    wanted = splined(network, size)
    with torch.inference_mode():
        expected = wanted.forward_features(pixels)[:, 1:]
        assert apart(encoder.extractor.extract(pixels).tokens.flatten(1, 2), expected) < 1e-5
    certain = "mask_token" in options
    assert any("inferred from this alone" in said for said in report.ambiguous) != certain


def splined(network, size):
    """Return timm's network for a size with its tables resized by SciPy's cubic splines, as BEiT's code does.

    Its code used ``interp2d``, for which SciPy names `RectBivariateSpline` as the successor.
    """
    stored = SIDE // PATCH
    grid = size[0] // PATCH, size[1] // PATCH
    tables = [block.attn.relative_position_bias_table.detach() for block in network.blocks]
    made = Beit(**SHAPE | OPTIONS | {"img_size": size, "global_pool": ""}).eval()
    others = {k: v for k, v in network.state_dict().items() if "table" not in k}
    made.load_state_dict(others, strict=False)
    old = 2 * stored - 1
    axes = [geometric(old, 2 * side - 1) for side in grid]
    for block, table in zip(made.blocks, tables, strict=True):
        resized = table[:-3]
        if grid != (stored, stored):
            heads = [
                RectBivariateSpline(axes[0][0], axes[1][0], table[:-3, head].reshape(old, old).numpy())(
                    axes[0][1], axes[1][1]
                )
                for head in range(3)
            ]
            resized = torch.from_numpy(np.stack(heads, -1)).float().flatten(0, 1)
        with torch.no_grad():
            block.attn.relative_position_bias_table.copy_(torch.cat([resized, table[-3:]]))
    return made


def geometric(stored, wanted):
    """Where stored offsets lie, ever farther apart so that they reach the last that is wanted; and those."""
    half, reach = stored // 2, wanted // 2
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        factor = (low + high) / 2
        too_far = sum(factor**step for step in range(half)) > reach
        low, high = (low, factor) if too_far else (factor, high)
    steps = np.cumsum([factor**step for step in range(half)])
    return np.concatenate([-steps[::-1], [0], steps]), np.arange(-reach, reach + 1.0)


CONFIG = {
    "hidden_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 160,
    "image_size": SIDE,
    "patch_size": PATCH,
    "attn_implementation": "eager",
}
KINDS = {
    "one table per block": (BeitModel, BeitConfig, {"use_relative_position_bias": True}),
    "one for all": (BeitModel, BeitConfig, {"use_shared_relative_position_bias": True}),
    "both": (
        BeitModel,
        BeitConfig,
        {"use_relative_position_bias": True, "use_shared_relative_position_bias": True},
    ),
    "added as well": (
        BeitModel,
        BeitConfig,
        {"use_relative_position_bias": True, "use_absolute_position_embeddings": True},
    ),
    "normed": (
        BeitModel,
        BeitConfig,
        {"use_relative_position_bias": True, "use_mean_pooling": False, "layer_scale_init_value": 0.0},
    ),
    "classifier": (BeitForImageClassification, BeitConfig, {"use_relative_position_bias": True}),
    "data2vec": (Data2VecVisionModel, Data2VecVisionConfig, {"use_relative_position_bias": True}),
    "data2vec, shared": (
        Data2VecVisionModel,
        Data2VecVisionConfig,
        {"use_shared_relative_position_bias": True},
    ),
}


@pytest.mark.parametrize("current", [True, False], ids=["current", "public"])
@pytest.mark.parametrize("kind", KINDS)
def test_transformers(tmp_path, kind, current):
    make, configure, options = KINDS[kind]
    model = drawn(make(configure(**CONFIG | options)))
    folder = save_folder(model, tmp_path, current=current)
    encoder = loaded(folder)
    assert encoder.report.method == "beit"
    assert encoder.spec.architecture.relative == "bilinear"
    doubted = any("data2vec, which like BEiT" in said for said in encoder.report.ambiguous)
    assert doubted == kind.startswith("data2vec")
    encoded = getattr(model, "beit", model)
    for size in SIZES:
        pixels = torch.randn(1, 3, *size)
        with torch.inference_mode():
            outputs = encoded(pixels, interpolate_pos_encoding=True, output_attentions=True)
            found = encoder.extractor.extract(pixels)
        assert apart(found.tokens.flatten(1, 2), outputs.last_hidden_state[:, 1:]) < 1e-4
        attention = outputs.attentions[-1][:, :, 0, 1:]
        assert apart(found.attention.flatten(2), attention) < 1e-4


def test_the_norm_of_masked_image_modelling_is_the_final_one(tmp_path):
    options = CONFIG | {"use_shared_relative_position_bias": True, "use_mask_token": True, "vocab_size": 32}
    model = drawn(BeitForMaskedImageModeling(BeitConfig(**options)))
    encoder = loaded(save_folder(model, tmp_path))
    pixels = torch.randn(1, 3, SIDE, SIDE)
    with torch.inference_mode():
        expected = model.layernorm(model.beit(pixels).last_hidden_state)[:, 1:]
        assert apart(encoder.extractor.extract(pixels).tokens.flatten(1, 2), expected) < 1e-5
    assert {"mask token", "head of visual tokens"} <= set(encoder.report.left_out.values())


@pytest.mark.parametrize("shared", [False, True])
def test_another_order_of_offsets_is_refused(tmp_path, shared):
    state = official(timms(global_pool=""), shared=shared)
    key = "rel_pos_bias.relative_position_index" if shared else "blocks.2.attn.relative_position_index"
    state[key] = state[key].T.contiguous()  # of keys less queries
    torch.save(state, tmp_path / "beit.pth")
    with pytest.raises(CheckpointError, match=rf"{key} says otherwise which entry of a table"):
        loaded(tmp_path / "beit.pth")
    model = drawn(BeitModel(BeitConfig(**CONFIG | {"use_relative_position_bias": True})))
    folder = save_folder(model, tmp_path / "folder")
    state = load_file(folder / "model.safetensors")
    table = next(key for key in state if key.endswith("relative_position_bias_table"))
    state[table.replace("bias_table", "index")] = index_of_offsets(SIDE // PATCH)
    save_file(state, folder / "model.safetensors")
    assert loaded(folder).report.method == "beit"
    state[table.replace("bias_table", "index")] = index_of_offsets(SIDE // PATCH).flip(0).contiguous()
    save_file(state, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="says otherwise which entry of a table"):
        loaded(folder)


def test_a_norm_that_mean_pooling_does_not_use_is_left_out(tmp_path):
    options = CONFIG | {"use_relative_position_bias": True}
    folder = save_folder(drawn(BeitModel(BeitConfig(**options, use_mean_pooling=False))), tmp_path)
    edit_config(folder, use_mean_pooling=True)
    encoder, model = loaded(folder), BeitModel.from_pretrained(folder, attn_implementation="eager").eval()
    pixels = torch.randn(1, 3, SIDE, SIDE)
    with torch.inference_mode():
        expected = model(pixels).last_hidden_state[:, 1:]
        assert apart(encoder.extractor.extract(pixels).tokens.flatten(1, 2), expected) < 1e-5
    assert encoder.report.left_out["layernorm.weight"] == "unused, as use_mean_pooling in config.json says"


def test_added_positions_with_beits_biases(tmp_path):
    network = timms(use_abs_pos_emb=True, use_rel_pos_bias=False, global_pool="", init_values=None)
    torch.save(
        {"model": network.state_dict() | PRETRAINED}, tmp_path / "beit_base_patch16_224_pt1k_800ep.pth"
    )
    encoder = loaded(tmp_path / "beit_base_patch16_224_pt1k_800ep.pth", num_heads=3)
    assert (encoder.report.method, encoder.report.normalisation) == ("beit", "imagenet")
    pixels = torch.randn(1, 3, SIDE, SIDE)
    with torch.inference_mode():
        expected = network.forward_features(pixels)[:, 1:]
        assert apart(encoder.extractor.extract(pixels).tokens.flatten(1, 2), expected) < 1e-5


def test_the_rule_can_be_given(tmp_path):
    network = timms(global_pool="")
    torch.save(official(network, shared=False), tmp_path / "beit.pth")
    encoder = loaded(tmp_path / "beit.pth", relative_rule="geometric-linear")
    assert "by straight lines between offsets that lie ever farther apart  (given)" in str(encoder.report)
    pixels = torch.randn(1, 3, 48, 80)
    with torch.inference_mode():
        expected = resized(network, (48, 80)).forward_features(pixels)[:, 1:]
        assert apart(encoder.extractor.extract(pixels).tokens.flatten(1, 2), expected) < 1e-5
    mine = loaded(write_encoder(tmp_path / "mine.safetensors", "beit"), relative_rule="bilinear")
    assert mine.spec.architecture.relative == "bilinear"
    plain = write_encoder(tmp_path / "plain.safetensors", "mae")
    assert loaded(plain, relative_rule="bilinear").spec.architecture.relative == ""
    with pytest.raises(InvalidOptionError, match=r"relative_rule among geometric-cubic, .*; got 'cubic'"):
        Overrides(relative_rule="cubic")


def test_a_grid_that_is_no_square(tmp_path):
    network = drawn(Beit(**SHAPE | OPTIONS | {"img_size": (48, 80), "global_pool": ""}))
    torch.save(network.state_dict(), tmp_path / "beit.pth")
    with pytest.raises(InvalidOptionError, match="209 offsets are between; pass grid="):
        inspect_checkpoint(tmp_path / "beit.pth")
    encoder = loaded(tmp_path / "beit.pth", grid=(6, 10))
    for size in ((48, 80), (64, 64)):
        resized(network, size)
        pixels = torch.randn(1, 3, *size)
        with torch.inference_mode():
            expected = network.forward_features(pixels)[:, 1:]
            assert apart(encoder.extractor.extract(pixels).tokens.flatten(1, 2), expected) < 1e-5


def test_what_does_not_fit_is_said(tmp_path):
    torch.save(timms().state_dict(), tmp_path / "beit.pth")
    with pytest.raises(InvalidOptionError, match=r"Expected 3 heads.*there are 6 heads"):
        inspect_checkpoint(tmp_path / "beit.pth", Overrides(num_heads=6))
    report = inspect_checkpoint(tmp_path / "beit.pth", Overrides(antialias=True))
    assert "You gave antialias, which means nothing to relative positions" in str(report)
    state = timms().state_dict()
    del state["blocks.1.attn.relative_position_bias_table"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(CheckpointError, match=r"missing blocks\.1\.attn\.relative_position_bias_table"):
        load_encoder(tmp_path / "cut.pth")
    model = BeitModel(BeitConfig(**CONFIG | {"image_size": [48, 80], "use_relative_position_bias": True}))
    with pytest.raises(CheckpointError, match="takes rows for columns"):
        inspect_checkpoint(save_folder(model, tmp_path / "folder"))


@pytest.mark.parametrize("shape", [(0, 3), (3, 3), (28, 0), (363,), ()], ids=str)
@pytest.mark.parametrize("shared", [True, False])
def test_what_is_no_table_is_said(tmp_path, shape, shared):
    state = official(timms(), shared=shared)
    changed = {name: torch.zeros(shape) for name in state if name.endswith("bias_table")}
    torch.save(state | changed, tmp_path / "beit.pth")
    with pytest.raises(CheckpointError, match=r"\(offsets \+ 3, heads\); got \("):
        inspect_checkpoint(tmp_path / "beit.pth")


@pytest.mark.parametrize("rule", ["geometric-cubic", "geometric-linear", "bilinear"])
def test_a_table_of_the_same_grid_is_left_alone(rule):
    table = torch.randn(21 * 9, 2)
    assert torch.equal(resize_table(table, (11, 5), (11, 5), rule), table.T.reshape(2, 21, 9))
    assert resize_table(table, (11, 5), (1, 30), rule).shape == (2, 1, 59)
    assert torch.isfinite(resize_table(table, (11, 5), (200, 2), rule)).all()


def test_a_file_of_this_package(tmp_path):
    path = write_encoder(tmp_path / "mine.safetensors", "beit")
    encoder = loaded(path)
    assert encoder.spec.architecture.relative == "geometric-cubic"
    assert encoder.spec.architecture.summary.endswith("patch 8")


def test_what_its_task_lacks_is_said(tmp_path):
    path = write_encoder(tmp_path / "mine.safetensors", "beit")
    image = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
    with pytest.raises(MapUnavailableError, match="cannot be shown: it predicts visual tokens"):
        ssl.pretext_view(image, path)
