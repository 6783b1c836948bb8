"""Codes that match views and name their networks in their own ways: MSN, MoCo v3, iBOT."""

import argparse

import pytest
import torch
import transformers
from definitions import DIM, HEADS, forward, vit_weights
from test_native_layouts import SIZES, compare, offset

from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import CheckpointError

WIDTH = 80


def named_by_ibot(weights):
    return {
        name.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): value
        for name, value in weights.items()
    }


def before(prefix, weights):
    return {f"{prefix}{name}": value for name, value in weights.items()}


def normed_layer(name, width=WIDTH):
    return {
        **{f"{name}.{part}": torch.ones(width) for part in ("weight", "bias", "running_mean", "running_var")},
        f"{name}.num_batches_tracked": torch.tensor(3),
    }


def msn_file(*, target):
    """`msn-train`: both networks in DistributedDataParallel, three layers of a head behind each."""
    head = {f"fc.fc{number}.weight": torch.zeros(WIDTH, WIDTH) for number in (1, 2, 3)}
    head |= normed_layer("fc.bn1") | normed_layer("fc.bn2")
    networks = {"encoder": vit_weights(seed=1), "target_encoder": vit_weights(seed=2) if target else None}
    content = {
        name: None if weights is None else before("module.", weights | head)
        for name, weights in networks.items()
    }
    training = {"opt": {"state": {}, "param_groups": []}, "prototypes": torch.zeros(10, WIDTH), "epoch": 99}
    return content | training, networks


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("branch", "key"), [(None, "target_encoder"), ("encoder", "encoder")])
def test_msn(tmp_path, size, branch, key):
    content, networks = msn_file(target=True)
    torch.save(content, tmp_path / "msn-latest.pth.tar")
    encoder = compare(tmp_path / "msn-latest.pth.tar", networks[key], size, options={"branch": branch})
    assert encoder.spec.method == "dino"
    assert "The method DINO is inferred from this alone: it is of MSN" in str(encoder.report)
    assert "as MSN's own code resamples them" in str(encoder.report)
    assert set(encoder.report.left_out.values()) >= {"projection head", "state of the training"}


def test_msn_that_keeps_no_target(tmp_path):
    content, networks = msn_file(target=False)
    torch.save(content, tmp_path / "msn.pth.tar")
    compare(tmp_path / "msn.pth.tar", networks["encoder"], SIZES[0])


def moco_file(weights, average):
    head = {"head.0.weight": torch.zeros(WIDTH, DIM), "head.3.weight": torch.zeros(WIDTH, WIDTH)}
    head |= normed_layer("head.1") | normed_layer("head.4")
    state = before("module.base_encoder.", weights | head)
    state |= before("module.momentum_encoder.", average | head)
    state |= {"module.predictor.0.weight": torch.zeros(WIDTH, WIDTH)} | normed_layer("module.predictor.1")
    return {"epoch": 300, "arch": "vit_small", "state_dict": state, "optimizer": {"state": {}}, "scaler": {}}


def test_moco_v3(tmp_path):
    trained, average = vit_weights(seed=1), vit_weights(seed=2)
    torch.save(moco_file(trained, average), tmp_path / "vit-s-300ep.pth.tar")
    encoder = compare(tmp_path / "vit-s-300ep.pth.tar", trained, (32, 32))
    assert encoder.spec.method == "contrastive"
    assert "is inferred from this alone" not in str(encoder.report)
    assert encoder.report.layout == "MoCo v3"
    compare(tmp_path / "vit-s-300ep.pth.tar", average, (32, 32), options={"branch": "target"})


def test_the_small_transformer_of_moco_v3_has_twelve_heads(tmp_path):
    wide = {
        name: torch.zeros(
            [384 if side == DIM else 384 * (side // DIM) if side % DIM == 0 else side for side in value.shape]
        )
        for name, value in vit_weights().items()
    }
    torch.save(moco_file(wide, wide), tmp_path / "small.pth.tar")
    assert inspect_checkpoint(tmp_path / "small.pth.tar").architecture.heads == 12
    torch.save(wide, tmp_path / "other.pth")
    assert inspect_checkpoint(tmp_path / "other.pth", Overrides(method="dino")).architecture.heads == 6


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("branch", [None, "student"])
def test_ibot_with_layer_scale(tmp_path, size, branch):
    networks = {"teacher": vit_weights(scale=True, seed=1), "student": vit_weights(scale=True, seed=2)}
    head = {"head.last_layer.weight_g": torch.ones(3, 1), "head.last_layer2.weight_g": torch.ones(3, 1)}
    student = before("backbone.", named_by_ibot(networks["student"]) | {"masked_embed": torch.ones(1, DIM)})
    content = {
        "student": before("module.", student | head),
        "teacher": before("backbone.", named_by_ibot(networks["teacher"])) | head,
        "optimizer": {"state": {}},
        "epoch": 3,
        "args": argparse.Namespace(arch="vit_small"),
        "ibot_loss": {"center": torch.zeros(1, 3), "center2": torch.zeros(1, 1, 3)},
    }
    torch.save(content, tmp_path / "checkpoint.pth")
    encoder = compare(
        tmp_path / "checkpoint.pth",
        networks[branch or "teacher"],
        size,
        resample=offset,
        options={"branch": branch},
    )
    assert encoder.spec.method == "dino"
    assert (encoder.report.companions == ("mask token",)) == (branch == "student")


@pytest.mark.parametrize("size", SIZES)
def test_ibot_alone_is_told_by_its_mask_token(tmp_path, size):
    weights = vit_weights(scale=True, seed=1)
    content = named_by_ibot(weights) | {"masked_embed": torch.ones(1, DIM)}
    torch.save({"state_dict": content}, tmp_path / "checkpoint.pth")
    encoder = compare(tmp_path / "checkpoint.pth", weights, size, resample=offset)
    assert encoder.spec.method == "dino"
    assert any("masked_embed" in sentence for sentence in encoder.report.ambiguous)


@pytest.mark.parametrize("kind", ["ViTMSNModel", "DeiTModel", "DeiTForImageClassificationWithTeacher"])
def test_folders_of_transformers(tmp_path, kind):
    name = {"V": "ViTMSNConfig", "D": "DeiTConfig"}[kind[0]]
    shape = {"hidden_size": DIM, "num_hidden_layers": 2, "intermediate_size": 96, "patch_size": 8}
    config = getattr(transformers, name)(**shape, num_attention_heads=4, image_size=64, num_labels=3)
    torch.manual_seed(0)
    model = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    model.save_pretrained(tmp_path)
    encoder = load_encoder(
        tmp_path, device="cpu", precision="float32", method=None if kind[0] == "V" else "dino"
    )
    assert encoder.spec.method == "dino"
    pixels = torch.randn(2, 3, 48, 96)
    with torch.inference_mode():
        known = getattr(model, "deit", model)(pixels, interpolate_pos_encoding=True).last_hidden_state
        found = encoder.extractor.extract(pixels).tokens.flatten(1, 2)
    torch.testing.assert_close(found, known[:, -72:], atol=1e-5, rtol=1e-5)


def test_a_head_for_labels_beside_dinov2(tmp_path):
    weights = vit_weights(scale=True, extra={"mask_token": (1, DIM)})
    torch.save(weights | {"linear_head.weight": torch.zeros(10, 2 * DIM)}, tmp_path / "dinov2.pth")
    encoder = load_encoder(tmp_path / "dinov2.pth", num_heads=HEADS, device="cpu", precision="float32")
    assert encoder.report.left_out["linear_head.weight"] == "classification head"
    assert not any("inferred from this alone" in doubt for doubt in encoder.report.ambiguous)
    with torch.inference_mode():
        pixels = torch.randn(1, 3, 32, 32)
        found = encoder.extractor.extract(pixels).tokens.flatten(1, 2)
    torch.testing.assert_close(found, forward(weights, pixels)[0][:, 1:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["_flat_param", "_fsdp_wrapped_module.flat_param"])
def test_one_part_of_a_flattened_training_is_named(tmp_path, name):
    content = {"model": {f"teacher.backbone.blocks.0.{name}": torch.zeros(300)}}
    torch.save(content, tmp_path / "model_final.rank_0.pth")
    with pytest.raises(CheckpointError, match="FullyShardedDataParallel flattened"):
        inspect_checkpoint(tmp_path / "model_final.rank_0.pth")
