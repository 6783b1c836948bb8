"""Each layout of the methods' own code gives the tokens and the attention that the papers define."""

import argparse
import json

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from definitions import DEPTH, DIM, HEADS, PATCH, SIDE, forward, random_weights, vit_weights
from official import sincos_positions
from safetensors.torch import save_file

from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint, read_pretext_heads
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import CheckpointError, InvalidOptionError

SIZES = [(32, 32), (48, 48), (16, 24)]
EIGHTFOLD = pytest.mark.parametrize("size", SIZES)


def compare(path, weights, size, *, mean_query=False, options=None, **definition):
    encoder = load_encoder(path, device="cpu", precision="float32", **{"num_heads": HEADS} | (options or {}))
    torch.manual_seed(0)
    pixels = torch.randn(2, 3, *size)
    tokens, attention = forward(weights, pixels, **definition)
    with torch.inference_mode():
        found = encoder.extractor.extract(pixels)
    prefix = tokens.shape[1] - size[0] * size[1] // PATCH**2
    torch.testing.assert_close(found.tokens.flatten(1, 2), tokens[:, prefix:], atol=1e-4, rtol=1e-4)
    rows = attention.mean(dim=2) if mean_query else attention[:, :, 0]
    torch.testing.assert_close(found.attention.flatten(2), rows[..., prefix:], atol=1e-5, rtol=1e-4)
    assert attention.amax() > 0.3, "attention of these weights must be far from uniform"
    return encoder


def save(path, content):
    torch.save(content, path)
    return path


def offset(rows, cols):
    """DINO and DINOv2's hub: a scale factor that is a tenth of a token too long."""
    return {"scale_factor": ((rows + 0.1) / SIDE, (cols + 0.1) / SIDE)}


def filtered(rows, cols):
    return {"size": (rows, cols), "antialias": True}


def mae_weights(**options):
    weights = vit_weights(**options)
    return weights | {"pos_embed": sincos_positions(DIM, SIDE, class_token=True)}


def decoder_weights(width=32):
    shapes = {
        "mask_token": (1, 1, width),
        "decoder_embed.weight": (width, DIM),
        "decoder_embed.bias": (width,),
        "decoder_pos_embed": (1, SIDE * SIDE + 1, width),
        "decoder_norm.weight": (width,),
        "decoder_norm.bias": (width,),
        "decoder_pred.weight": (3 * PATCH**2, width),
        "decoder_pred.bias": (3 * PATCH**2,),
        "decoder_blocks.0.attn.qkv.weight": (3 * width, width),
    }
    return random_weights(shapes, seed=9)


@EIGHTFOLD
@pytest.mark.parametrize("form", ["encoder", "with decoder", "own training"])
def test_mae(tmp_path, size, form):
    weights = mae_weights()
    content = {"model": weights if form == "encoder" else weights | decoder_weights()}
    if form == "own training":
        options = argparse.Namespace(model="mae_vit_base_patch16", norm_pix_loss=True, mask_ratio=0.6)
        content |= {"optimizer": {"state": {}}, "epoch": 199, "scaler": {}, "args": options}
    path = save(tmp_path / "mae.pth", content)
    encoder = compare(path, weights, size)
    assert encoder.spec.method == "mae"
    report = encoder.report
    assert ("decoder" in report.companions) == (form != "encoder")
    pretext_heads = read_pretext_heads(path, Overrides(num_heads=HEADS))
    expected = set() if form == "encoder" else set(decoder_weights())
    assert set(pretext_heads.state) == expected
    assert set(expected) == {key for key, why in report.left_out.items() if why != "state of the training"}
    if form == "own training":
        assert pretext_heads.settings == {"norm_pix": True, "mask_ratio": 0.6}
        assert "norm_pix = True  (norm_pix_loss among the options in the file)" in str(report)
        assert {"optimizer", "epoch", "scaler", "args"} <= set(report.left_out)


@EIGHTFOLD
def test_fine_tuned_mae_has_no_norm_behind_its_tokens(tmp_path, size):
    weights = mae_weights(norm="fc_norm", extra={"head.weight": (10, DIM), "head.bias": (10,)})
    path = save(tmp_path / "fine.pth", {"model": weights})
    with pytest.raises(CheckpointError, match='method="mae"'):
        inspect_checkpoint(path)
    encoder = compare(path, weights, size, norm=None, options={"method": "mae"})
    assert not encoder.spec.architecture.final_norm
    assert set(encoder.report.left_out.values()) == {"norm of the pooled token", "classification head"}


def test_options_in_a_fine_tuned_file_tell_that_it_began_as_mae(tmp_path):
    weights = mae_weights(norm="fc_norm")
    options = argparse.Namespace(model="vit_base_patch16", finetune="runs/mae_pretrain_vit_base.pth")
    path = save(tmp_path / "fine.pth", {"model": weights, "args": options})
    report = inspect_checkpoint(path)
    assert report.method == "mae"
    assert "mae_pretrain_vit_base.pth" in str(report)


def ijepa_content(*, module, predictor=True):
    def wrapped(weights):
        return {f"module.{key}" if module else key: value for key, value in weights.items()}

    branches = {
        name: vit_weights(class_token=False, seed=seed)
        for seed, name in enumerate(("encoder", "target_encoder"))
    }
    content = {name: wrapped(weights) for name, weights in branches.items()}
    if predictor:
        shapes = {
            "predictor_embed.weight": (32, DIM),
            "mask_token": (1, 1, 32),
            "predictor_proj.bias": (DIM,),
        }
        content["predictor"] = wrapped(random_weights(shapes))
    training = {"opt": {"state": {}}, "scaler": None, "epoch": 1, "loss": 0.1, "lr": 1e-3, "world_size": 1}
    return content | training, branches


@EIGHTFOLD
@pytest.mark.parametrize("module", [True, False])
@pytest.mark.parametrize(("branch", "key"), [(None, "target_encoder"), ("encoder", "encoder")])
def test_ijepa(tmp_path, size, module, branch, key):
    content, branches = ijepa_content(module=module)
    path = save(tmp_path / "jepa-latest.pth.tar", content)
    encoder = compare(path, branches[key], size, mean_query=True, options={"branch": branch})
    assert encoder.spec.method == "ijepa"
    assert f"branch = {branch or 'target'}" in str(encoder.report)
    assert encoder.report.companions == ("predictor", "the other branch")
    pretext_heads = read_pretext_heads(path, Overrides(num_heads=HEADS, branch=branch)).state
    other = branches["encoder" if key == "target_encoder" else "target_encoder"]
    torch.testing.assert_close(pretext_heads["context.norm.bias"], other["norm.bias"])
    assert {key for key in pretext_heads if key.startswith("predictor.")} == {
        "predictor.predictor_embed.weight",
        "predictor.mask_token",
        "predictor.predictor_proj.bias",
    }


@EIGHTFOLD
@pytest.mark.parametrize(("branch", "key"), [(None, "teacher"), ("encoder", "student")])
def test_dino_training(tmp_path, size, branch, key):
    networks = {"student": vit_weights(seed=1), "teacher": vit_weights(seed=2)}
    head = {"head.mlp.0.weight": torch.zeros(3, DIM), "head.last_layer.weight_g": torch.ones(3, 1)}
    content = {
        "student": {f"module.backbone.{name}": value for name, value in networks["student"].items()}
        | {f"module.{name}": value for name, value in head.items()},
        "teacher": {f"backbone.{name}": value for name, value in networks["teacher"].items()} | head,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []},
        "epoch": 9,
        "dino_loss": {"center": torch.zeros(1, 3)},
        "args": argparse.Namespace(arch="vit_small"),
    }
    path = save(tmp_path / "checkpoint.pth", content)
    encoder = compare(path, networks[key], size, resample=offset, options={"branch": branch})
    assert encoder.spec.method == "dino"
    left_out = encoder.report.left_out
    assert left_out[f"{key}.head.mlp.0.weight"] == "projection head"
    assert left_out["optimizer"] == "state of the training"
    assert f"network = {key}.backbone  (one of several in the file" in str(encoder.report)
    assert "dino_loss.center" in left_out


@EIGHTFOLD
def test_dino_alone_does_not_tell_its_method(tmp_path, size):
    weights = vit_weights()
    path = save(tmp_path / "dino_vitbase8_pretrain.pth", weights)
    with pytest.raises(CheckpointError, match="MAE, DINO or a supervised one"):
        inspect_checkpoint(path)
    compare(path, weights, size, resample=offset, options={"method": "dino"})


def dinov2_weights(*, registers, mlp):
    extra = {"mask_token": (1, DIM)} | ({"register_tokens": (1, 4, DIM)} if registers else {})
    return vit_weights(scale=True, mlp=mlp, extra=extra)


@EIGHTFOLD
@pytest.mark.parametrize("registers", [True, False])
@pytest.mark.parametrize("mlp", ["gelu", "packed"])
def test_dinov2_hub(tmp_path, size, registers, mlp):
    weights = dinov2_weights(registers=registers, mlp=mlp)
    path = save(tmp_path / "dinov2.pth", weights)
    encoder = compare(path, weights, size, resample=filtered if registers else offset)
    assert encoder.spec.method == "dinov2"
    assert encoder.spec.architecture.registers == 4 * registers
    assert encoder.report.companions == ("mask token",)


@pytest.mark.parametrize("padded", [True, False])
def test_dinov2_training_with_chunked_blocks(tmp_path, padded):
    weights = dinov2_weights(registers=True, mlp="gelu")
    chunked = {
        name.replace(f"blocks.{index}.", f"blocks.{index}.{index if padded else 0}."): value
        for name, value in weights.items()
        for index in [int(name.split(".")[1]) if name.startswith("blocks.") else -1]
    }
    assert sum(name.startswith("blocks.1.") for name in chunked) > 5
    content = {"teacher": {f"backbone.{name}": value for name, value in chunked.items()}}
    content["teacher"]["dino_head.mlp.0.weight"] = torch.zeros(3, DIM)
    path = save(tmp_path / "teacher_checkpoint.pth", content)
    encoder = compare(path, weights, SIZES[2], resample=filtered)
    assert encoder.spec.architecture.depth == DEPTH
    assert encoder.report.left_out["teacher.dino_head.mlp.0.weight"] == "projection head"


def dinov3_weights(*, registers=True, bias="none", mlp="gelu", seed=0):
    extra = {"mask_token": (1, DIM)} | ({"storage_tokens": (1, 4, DIM)} if registers else {})
    weights = vit_weights(positions=False, scale=True, mlp=mlp, bias=bias != "none", extra=extra, seed=seed)
    width = DIM // HEADS
    # other periods than θ = 100 would give: those in the file must be taken
    weights["rope_embed.periods"] = 60.0 ** (torch.arange(width // 4) * 4 / width)
    return weights


@EIGHTFOLD
@pytest.mark.parametrize("mlp", ["gelu", "apart"])
def test_dinov3_hub(tmp_path, size, mlp):
    weights = dinov3_weights(mlp=mlp)
    path = save(tmp_path / "dinov3_vits16_pretrain.pth", weights)
    encoder = compare(path, weights, size, eps=1e-5, options={"num_heads": None})
    assert encoder.spec.architecture.heads == HEADS
    assert encoder.report.companions == ("mask token",)


@pytest.mark.parametrize("nan", [True, False])
def test_dinov3_with_masked_key_bias(tmp_path, nan):
    weights = dinov3_weights(bias="masked")
    masked = dict(weights)
    for index in range(DEPTH):
        name = f"blocks.{index}.attn.qkv.bias"
        masked[name] = weights[name].clone()
        masked[name][DIM : 2 * DIM] = 0
        weights[f"{name}_mask"] = torch.ones(3 * DIM)
        weights[f"{name}_mask"][DIM : 2 * DIM] = float("nan") if nan else 0
    compare(save(tmp_path / "v3.pth", weights), masked, SIZES[2], eps=1e-5, options={"num_heads": None})


@EIGHTFOLD
def test_dinov3_training_with_the_default_configuration(tmp_path, size):
    """No storage tokens, a key bias that counts under rotary positions, eps 1e-6, untied norms."""
    weights = dinov3_weights(registers=False, bias="all")
    beside = {"local_cls_norm.weight": torch.ones(DIM), "local_cls_norm.bias": torch.zeros(DIM)}
    inner = {f"backbone.{name}": value for name, value in (weights | beside).items()}
    heads = {"dino_head.mlp.0.weight": torch.zeros(3, DIM), "ibot_head.mlp.0.weight": torch.zeros(3, DIM)}
    path = save(tmp_path / "eval.pth", {"teacher": inner | heads})
    encoder = compare(path, weights, size, options={"num_heads": None})
    assert encoder.spec.architecture.registers == 0
    assert encoder.report.companions == ("mask token", "projection head of CLS", "projection head of patches")
    assert "norm of local crops" in encoder.report.left_out.values()
    assert set(read_pretext_heads(path).state) >= {
        "dino_head.mlp.0.weight",
        "ibot_head.mlp.0.weight",
        "mask_token",
    }


@pytest.mark.parametrize(
    "wrapper", ["model.", "module.", "net.", "backbone.", "_orig_mod.", "model.backbone.module."]
)
def test_wrappers_and_what_lies_beside_the_network(tmp_path, wrapper):
    weights = mae_weights()
    content = {f"{wrapper}{name}": value for name, value in weights.items()}
    beside = wrapper not in {"module.", "_orig_mod."}
    content |= {"criterion.weight": torch.ones(3)} if beside else {}
    path = save(tmp_path / "lightning.ckpt", {"state_dict": content, "epoch": 3, "optimizer_states": []})
    encoder = compare(path, weights, SIZES[0])
    if beside:
        assert encoder.report.left_out["state_dict.criterion.weight"] == "beside the encoder"


def test_a_timm_training_gives_its_average_unless_the_trained_one_is_wanted(tmp_path):
    trained, average = mae_weights(seed=1), mae_weights(seed=2)
    path = save(tmp_path / "last.pth.tar", {"state_dict": trained, "state_dict_ema": average, "arch": "vit"})
    compare(path, average, SIZES[0])
    compare(path, trained, SIZES[0], options={"branch": "encoder"})


def test_networks_of_which_none_is_told_to_be_wanted_are_named(tmp_path):
    content = {f"{name}.{key}": value for name in ("left", "right") for key, value in mae_weights().items()}
    with pytest.raises(CheckpointError, match=r"it has left\., right\.\. Save the one"):
        inspect_checkpoint(save(tmp_path / "two.pth", content))


def test_a_branch_of_a_file_with_one_network_is_refused(tmp_path):
    path = save(tmp_path / "one.pth", {"model": mae_weights()})
    with pytest.raises(InvalidOptionError, match="Leave the branch out"):
        inspect_checkpoint(path, Overrides(branch="encoder"))
    assert inspect_checkpoint(path, Overrides(branch="target", num_heads=HEADS)).method == "mae"


@pytest.mark.parametrize(
    ("name", "tag", "method"),
    [
        ("vit_tiny_patch16_224", "mae", "mae"),
        ("vit_tiny_patch16_224", "dino", "dino"),
        ("vit_tiny_patch16_224", "", None),
    ],
)
def test_a_folder_that_timm_saved_tells_method_heads_and_statistics(tmp_path, name, tag, method):
    network = timm.create_model(name, num_classes=0).eval()
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    statistics = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    config = {"architecture": name, "pretrained_cfg": {"tag": tag} | statistics}
    (tmp_path / "config.json").write_text(json.dumps(config))
    report = inspect_checkpoint(tmp_path, Overrides(method=None if method else "mae"))
    assert report.method == (method or "mae")
    assert report.architecture.heads == 3
    assert report.normalisation == "0.5,0.5,0.5/0.25,0.25,0.25"
    assert "in timm's config.json" in str(report)
    # and another size than the trained one, positions resampled as timm does
    encoder = load_encoder(
        tmp_path / "model.safetensors", device="cpu", precision="float32", method=report.method
    )
    theirs = timm.create_model(name, num_classes=0, dynamic_img_size=True).eval()
    theirs.load_state_dict(network.state_dict())
    pixels = torch.randn(1, 3, 160, 96)
    with torch.inference_mode():
        tokens = encoder.extractor.extract(pixels).tokens.flatten(1, 2)
        torch.testing.assert_close(tokens, theirs.forward_features(pixels)[:, 1:], atol=1e-4, rtol=1e-4)


def timm_folder(folder, name, args=None, **pretrained):
    network = timm.create_model(name, num_classes=0, **(args or {})).eval()
    save_file(network.state_dict(), folder / "model.safetensors")
    config = {"architecture": name, "pretrained_cfg": {"tag": "mae"} | pretrained, "model_args": args or {}}
    (folder / "config.json").write_text(json.dumps(config))
    return config


def test_arguments_of_timms_network_win_over_its_name(tmp_path):
    timm_folder(tmp_path, "vit_tiny_patch16_224", {"embed_dim": 128, "num_heads": 8, "depth": 2})
    report = inspect_checkpoint(tmp_path)
    assert report.architecture.heads == 8
    assert "num_heads among model_args in timm's config.json" in str(report)


def test_a_config_of_timm_that_is_of_another_network_is_left_alone_and_said(tmp_path):
    config = timm_folder(tmp_path, "vit_tiny_patch16_224", {"depth": 2}, mean=[0.5] * 3, std=[0.5] * 3)
    for strange in ({"architecture": "vit_small_patch16_224"}, {"model_args": {"depth": 3}}):
        (tmp_path / "config.json").write_text(json.dumps(config | strange))
        report = inspect_checkpoint(tmp_path, Overrides(method="mae"))
        assert report.normalisation == "imagenet"
        assert any("in config.json, which was not used" in sentence for sentence in report.ambiguous)


def test_the_licence_of_a_file_is_what_it_says_and_no_others(tmp_path):
    config = timm_folder(tmp_path, "vit_tiny_patch16_224", {"depth": 2}, license="cc-by-nc-nd-4.0")
    assert load_encoder(tmp_path, device="cpu").spec.licence == "cc-by-nc-nd-4.0"
    config["pretrained_cfg"].pop("license")
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_encoder(tmp_path, device="cpu").spec.licence == "unknown"


def test_a_position_is_added_to_cls_in_full_precision(tmp_path):
    weights = dinov2_weights(registers=True, mlp="gelu")
    half = {name: value.bfloat16() for name, value in weights.items()}
    path = save(tmp_path / "dinov2_reg.pth", half)
    kept = load_encoder(path, device="cpu", precision="float32").extractor.network.cls_token
    assert torch.equal(kept, half["cls_token"].float() + half["pos_embed"][:, :1].float())


@pytest.mark.parametrize("width", [1152, 1280, 1408, 1664])
def test_wide_transformers_have_sixteen_heads_but_for_dinov3(width):
    for method in METHODS.values():
        wide = method.heads_by_width.get(width, width // 64)
        assert wide == (16 if method.name in {"mae", "ijepa", "dino", "dinov2"} else width // 64)


def test_the_config_of_another_model_beside_a_file_does_no_harm(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    path = save(tmp_path / "mae.pth", {"model": mae_weights()})
    assert inspect_checkpoint(path).method == "mae"


def unet(name="resnet18", seed=0):
    torch.manual_seed(seed)
    network = smp.Unet(name, encoder_weights=None).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 1.5)
    return network


@pytest.mark.parametrize("form", ["unet.pth", "best_checkpoint.pth", "checkpoint.pth"])
def test_dira(tmp_path, form):
    network = unet()
    content = network.state_dict()
    if form == "checkpoint.pth":
        wrapped = {f"module.encoder_q.backbone.{name}": value for name, value in content.items()}
        wrapped |= {f"module.encoder_k.backbone.{name}": value + 1 for name, value in content.items()}
        wrapped |= {f"module.encoder_q.fc.{name}": torch.ones(2) for name in ("0.weight", "2.bias")}
        wrapped |= {"module.queue": torch.zeros(8, 4), "module.queue_ptr": torch.zeros(1)}
        content = {"epoch": 3, "arch": "resnet18", "state_dict": wrapped, "optimizer": {}, "best_loss": 0.1}
    path = save(tmp_path / form, content)
    encoder = load_encoder(path, device="cpu", precision="float32")
    assert encoder.spec.method == "dira"
    pixels = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        ours, theirs = encoder.extractor.network, network
        torch.testing.assert_close(ours(pixels), theirs(pixels), atol=1e-5, rtol=1e-5)
        tokens = encoder.extractor.extract(pixels).tokens.permute(0, 3, 1, 2)
        torch.testing.assert_close(tokens, theirs.encoder(pixels)[4], atol=1e-5, rtol=1e-5)
    if form == "checkpoint.pth":
        left_out = encoder.report.left_out
        assert left_out["state_dict.queue"] == "beside the encoder"
        assert left_out["state_dict.encoder_k.backbone.encoder.conv1.weight"] == "the other branch"
        assert set(read_pretext_heads(path).state) == {"projection.0.weight", "projection.2.bias"}


@pytest.mark.parametrize("form", ["resnet50.pth", "checkpoint.pth"])
def test_dira_by_discrimination_alone_is_an_encoder_without_decoder(tmp_path, form):
    network = unet("resnet50").encoder
    content = dict(network.state_dict()) | {"fc.0.weight": torch.ones(4, 4), "fc.2.weight": torch.ones(2, 4)}
    if form == "checkpoint.pth":
        state = {f"module.encoder_{one}.{name}": value for one in "qk" for name, value in content.items()}
        state["module.queue"] = torch.ones(2, 8)
        content = {"epoch": 7, "arch": "resnet50", "state_dict": state, "best_loss": 0.5}
    path = save(tmp_path / form, content)
    encoder = load_encoder(path, device="cpu", precision="float32", token_stage="encoder.layer2")
    assert encoder.spec.method == "dira"
    assert encoder.spec.architecture.decoder_channels == ()
    assert any("ResNet encoder" in sentence for sentence in encoder.report.ambiguous)
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        tokens = encoder.extractor.extract(pixels).tokens.permute(0, 3, 1, 2)
        torch.testing.assert_close(tokens, network(pixels)[3], atol=1e-4, rtol=1e-4)
    assert set(read_pretext_heads(path).state) == {"projection.0.weight", "projection.2.weight"}


def test_a_decoder_stage_of_an_encoder_alone_is_refused(tmp_path):
    path = save(tmp_path / "resnet50.pth", unet().encoder.state_dict())
    with pytest.raises(InvalidOptionError, match="there is no decoder"):
        inspect_checkpoint(path, Overrides(token_stage="decoder.blocks.1"))
