"""Every transformer that timm registers, small and drawn, as timm saves it: right, or refused by name."""

import json
import math
from functools import cache

import pytest
import timm
import torch
from safetensors.torch import save_file

from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import CheckpointError, InvalidOptionError

MODULES = ("vision_transformer", "deit", "eva", "beit")
SMALLER = ({"embed_dim": 128, "num_heads": 4, "depth": 2}, {"depth": 2})


def made(name):
    """Make a small network of timm's name, None where it takes no sizes, and the arguments that made it."""
    size = {"img_size": 56 if "patch14" in name else 64, "num_classes": 0}
    for options in SMALLER:
        try:
            return timm.create_model(name, **size, **options).eval(), size | options
        except (TypeError, AssertionError):
            continue
    return None, {}


@cache
def different_names():
    """Names of networks that differ in more than sizes: of those that are alike when small, the first."""
    with torch.device("meta"):
        seen = {}
        for module in MODULES:
            for name in timm.list_models(module=module):
                network, _arguments = made(name)
                if network is None:
                    continue
                kind = str(network) + str([(k, tuple(v.shape)) for k, v in network.state_dict().items()])
                seen.setdefault(kind + str(getattr(network, "rope", "")), name)
    return sorted(seen.values())


def draw(network):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if "norm" in key and key.endswith("weight"):
                values = 1 + 0.2 * values
            elif parameter.ndim > 1 and key.endswith("weight"):
                values *= 1.2 / math.sqrt(math.prod(parameter.shape[1:]))
            else:
                values *= 0.3
            parameter.copy_(values)
    return network


def attempted(path, method):
    """Return an encoder, or None and the sentence that refuses it."""
    try:
        return load_encoder(path, device="cpu", precision="float32", method=method), ""
    except (CheckpointError, InvalidOptionError) as refusal:
        return None, str(refusal)


@pytest.mark.parametrize("name", different_names())
def test_a_network_of_timm_is_right_or_refused_by_name(tmp_path, name):
    network, arguments = made(name)
    draw(network)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    config = {"architecture": name, "model_args": arguments, "pretrained_cfg": {"tag": "x"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    encoder, refusal = attempted(tmp_path, "dinov3" if hasattr(network, "rope") and network.rope else "mae")
    if encoder is None:
        assert not name.endswith("_dinov2")
        assert "dinov3" not in name
        assert "whose tensors look alike" in refusal or "another network" in refusal
        return
    side = arguments["img_size"]
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        found = encoder.extractor.extract(pixels).tokens.flatten(1, 2)
        expected = network.forward_features(pixels)[:, network.num_prefix_tokens :]
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-4
    assert not any("was not used" in sentence for sentence in encoder.report.ambiguous)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("test_vit_relpos", "relative positions"),
        ("samvit_base_patch16_224", "SAM or MedSAM"),
        ("hiera_tiny_224", "Hiera"),
        ("swin_tiny_patch4_window7_224", "a Swin transformer"),
        ("swinv2_tiny_window8_256", "a Swin transformer"),
        ("vit_small_patch16_18x2_224", "parallel blocks"),
        ("vit_base_patch16_clip_224", "CLIP's image tower"),
        ("mvitv2_tiny", "MViT"),
        ("xcit_nano_12_p16_224", "XCiT"),
    ],
)
def test_other_networks_are_named_without_a_config(tmp_path, name, said):
    with torch.device("meta"):
        names = {key: tuple(value.shape) for key, value in timm.create_model(name).state_dict().items()}
    # the names tell, whatever the shapes
    torch.save(
        {"model": {key: torch.zeros([min(side, 2) for side in names[key]]) for key in names}},
        tmp_path / "x.pth",
    )
    for overrides in (Overrides(), Overrides(method="dinov2", num_heads=2)):
        with pytest.raises(CheckpointError, match=said):
            inspect_checkpoint(tmp_path / "x.pth", overrides)


def test_a_transformer_inside_another_network_of_timm_is_named(tmp_path):
    with torch.device("meta"):
        network = timm.create_model("qwen3_vit_88m", num_classes=0, depth=1)
    state = {key: torch.zeros(value.shape) for key, value in network.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    config = {"architecture": "qwen3_vit_88m", "model_args": {"depth": 1}, "pretrained_cfg": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="timm's Qwen3VitClassifier"):
        inspect_checkpoint(tmp_path, Overrides(method="mae"))


def save_alone(path, name, **options):
    """Save the tensors of a network of timm, and nothing that says what it is but the file's name."""
    network = timm.create_model(name, num_classes=0, **options)
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("name", "options", "overrides", "said"),
    [
        ("resnetaa50_a1h-4cf422b3.pth", {}, {}, "'resnetaa50', a ResNet with other layers"),
        ("resnetblur50.pth", {}, {}, "'resnetblur50', a ResNet with other layers"),
        ("vit_base_patch16_rpn_224.pth", {"depth": 1}, {"method": "ijepa", "num_heads": 12}, "ResPostBlock"),
    ],
)
def test_a_file_with_timms_name_of_a_network_that_looks_alike_is_refused(
    tmp_path, monkeypatch, name, options, overrides, said
):
    known = name.removesuffix(".pth").partition("_a1h")[0]
    path = save_alone(tmp_path / name, known, **options)
    if options:
        create = timm.create_model
        monkeypatch.setattr(timm, "create_model", lambda name, **given: create(name, **given, **options))
    with pytest.raises(CheckpointError, match=said):
        inspect_checkpoint(path, Overrides.of(overrides))
    path.rename(tmp_path / "mine.pth")
    inspect_checkpoint(tmp_path / "mine.pth", Overrides.of(overrides))


def test_what_tensors_alone_cannot_tell_is_doubted(tmp_path):
    path = save_alone(tmp_path / "a.pth", "resnetaa50", layers=(1, 1, 1, 1))
    assert any("timm's resnetaa and resnetblur" in doubt for doubt in inspect_checkpoint(path).ambiguous)
    path = save_alone(tmp_path / "b.pth", "vit_small_patch16_rope_224", depth=1)
    forced = Overrides(method="dinov3", num_heads=6)
    assert any(
        "rotary positions are DINOv3's, but you" in said
        for said in inspect_checkpoint(path, forced).ambiguous
    )
    path = save_alone(tmp_path / "c.pth", "vit_medium_patch16_rope_reg1_gap_256", depth=1)
    with pytest.raises(InvalidOptionError, match="Expected a CLS token"):
        inspect_checkpoint(path, forced)
    path = save_alone(tmp_path / "d.pth", "vit_small_patch16_rope_ape_224", depth=1)
    other = save_alone(tmp_path / "f.pth", "eva02_tiny_patch14_224", depth=1)
    for file in (path, other):
        for forced in (Overrides(), Overrides(method="beit", num_heads=6)):
            with pytest.raises(CheckpointError, match="either added or rotary"):
                inspect_checkpoint(file, forced)
    path = save_alone(tmp_path / "e.pth", "vit_base_patch16_siglip_224", depth=1)
    with pytest.raises(
        CheckpointError, match=r"without a CLS token .* I-JEPA or a supervised one\. .*method=\"ijepa\""
    ):
        inspect_checkpoint(path)


def test_rotary_positions_are_dinov3s_only_where_something_says_so(tmp_path):
    network, _ = made("vit_medium_patch16_rope_reg1_gap_256")
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="rotary positions and nothing that says whose"):
        inspect_checkpoint(tmp_path)
    with pytest.raises(InvalidOptionError, match="Of these, only DINOv3's are computed here"):
        inspect_checkpoint(tmp_path, Overrides(method="dinov2", num_heads=4))
    own, _ = made("vit_small_patch16_dinov3")
    save_file(own.state_dict(), tmp_path / "model.safetensors")
    report = inspect_checkpoint(tmp_path, Overrides(num_heads=4))
    assert report.method == "dinov3"
    assert any("inferred from this alone" in sentence for sentence in report.ambiguous)
