"""DINOv3's ConvNeXts, in every layout that people hold, against transformers and timm."""

import json
import re

import numpy as np
import pytest
import timm
import torch
import transformers
from encoders_factory import TINY_CONVNEXT, write_encoder
from safetensors.torch import save_file
from timm.models.convnext import checkpoint_filter_fn

import napari_sslmaps as ssl
from napari_sslmaps.core.pretext_views import window_of
from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint
from napari_sslmaps.encoders.families.convnext import CONVNEXT_STRIDES
from napari_sslmaps.encoders.grad_cam import CamTap
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.encoders.untrained import untrained_twin
from napari_sslmaps.errors import CheckpointError, InvalidOptionError
from napari_sslmaps.pretext.input import resample
from napari_sslmaps.pretext.view import pretext_view

SIZES = [(224, 224), (64, 96), (160, 32)]
DEPTHS, WIDTHS = [1, 1, 2, 1], [8, 16, 24, 32]
STAGES = list(CONVNEXT_STRIDES)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def drawn(model):
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.3
            parameter.copy_(noise + (1 if parameter.ndim == 1 else 0))
    return model.eval()


@pytest.fixture(scope="module")
def theirs():
    """transformers' model, small, with every weight drawn."""
    config = transformers.DINOv3ConvNextConfig(hidden_sizes=WIDTHS, depths=DEPTHS, layer_norm_eps=1e-5)
    return drawn(transformers.DINOv3ConvNextModel(config))


@pytest.fixture
def folder(theirs, tmp_path):
    theirs.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def official_names(model):
    """Rename transformers' tensors to the official code's, by rules of their own."""
    state = {}
    for key, value in model.state_dict().items():
        name = key.removeprefix("model.")
        name = re.sub(r"stages\.(\d)\.downsample_layers", r"downsample_layers.\1", name)
        name = re.sub(r"stages\.(\d)\.layers\.(\d)", r"stages.\1.\2", name)
        name = re.sub(r"^layer_norm", "norm", name).replace("layer_norm", "norm")
        name = name.replace("depthwise_conv", "dwconv").replace("pointwise_conv", "pwconv")
        state[name] = value.clone()
    for part in ("weight", "bias"):
        state[f"norms.3.{part}"] = state[f"norm.{part}"].clone()
    return state


def load(path, **given):
    return load_encoder(path, device="cpu", precision="float32", **given)


def check_parity(encoder, expected, pixels):
    with torch.inference_mode():
        found = encoder.extractor.extract(pixels).tokens
    bound = 1e-4 * float(expected.abs().max())
    assert expected.std() > 1e-3
    assert float((found - expected).abs().max()) <= bound


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layout", ["folder", "bare", "old names", "hub", "teacher"])
def test_tokens_are_those_of_transformers(theirs, folder, tmp_path, layout, size):
    path, given = folder, {"eps": 1e-5}
    if layout == "folder":
        given = {}
    elif layout == "bare":
        path = folder / "model.safetensors"
    elif layout == "old names":
        path = tmp_path / "model.safetensors"
        old = {key.removeprefix("model."): value for key, value in theirs.state_dict().items()}
        save_file(old, path)
    else:
        path, state = tmp_path / "weights.pth", official_names(theirs)
        if layout == "teacher":
            heads = {"dino_head.mlp.0.weight": torch.zeros(4, 32)}
            state = {f"backbone.{key}": value for key, value in state.items()} | heads
            state = {"teacher": state}
        torch.save(state, path)
    encoder = load(path, **given)
    assert (encoder.spec.method, encoder.spec.architecture.kind) == ("dinov3", "convnext")
    pixels = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        output = theirs(pixels)
    expected = output.last_hidden_state[:, 1:].reshape(1, size[0] // 32, size[1] // 32, -1)
    check_parity(encoder, expected, pixels)
    with torch.inference_mode():
        summary = encoder.extractor.network.summarise(pixels)
    torch.testing.assert_close(summary, output.pooler_output, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stage", STAGES[:-1])
def test_tokens_of_an_earlier_stage(theirs, folder, stage, size):
    encoder = load(folder, token_stage=stage)
    pixels = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        hidden = theirs(pixels, output_hidden_states=True).hidden_states
    wanted = (encoder.spec.architecture.token_width, size[0] // CONVNEXT_STRIDES[stage])
    (expected,) = (one for one in hidden[-4:] if one.shape[1:3] == wanted)
    check_parity(encoder, expected.permute(0, 2, 3, 1), pixels)


@pytest.mark.parametrize("size", SIZES)
def test_names_and_tokens_of_timm(theirs, tmp_path, size):
    options = {"depths": DEPTHS, "dims": WIDTHS, "num_classes": 0}
    network = timm.create_model("convnext_tiny", **options).eval()
    network.load_state_dict(checkpoint_filter_fn(official_names(theirs), network))
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    statistics = {"mean": [0.43, 0.411, 0.296], "std": [0.213, 0.156, 0.143]}
    config = {
        "architecture": "convnext_tiny",
        "model_args": options,
        "pretrained_cfg": {"tag": "dinov3_lvd1689m", **statistics},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    encoder = load(tmp_path)
    assert (encoder.spec.method, encoder.spec.normalisation) == ("dinov3", "satellite")
    pixels = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network.head.norm(network.forward_features(pixels)).permute(0, 2, 3, 1)
    check_parity(encoder, expected, pixels)


def test_one_trained_with_labels_is_asked_about(theirs, tmp_path):
    state = {key: value for key, value in official_names(theirs).items() if not key.startswith("norms.")}
    state |= {"head.weight": torch.zeros(10, 32), "head.bias": torch.zeros(10)}
    torch.save({"model": state}, tmp_path / "convnext_tiny_1k_224.pth")
    path = tmp_path / "convnext_tiny_1k_224.pth"
    with pytest.raises(CheckpointError, match=r"nothing that tells its method.*method=\"dinov3\""):
        inspect_checkpoint(path)
    report = inspect_checkpoint(path, Overrides(method="dinov3"))
    assert report.left_out["head.weight"] == "classification head"


def test_a_config_that_names_no_method_is_asked_about(tmp_path):
    options = {"depths": DEPTHS, "dims": WIDTHS, "num_classes": 0}
    network = timm.create_model("convnext_tiny", **options)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    config = {"architecture": "convnext_tiny", "model_args": options, "pretrained_cfg": {"tag": "in12k"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="nothing that tells its method"):
        inspect_checkpoint(tmp_path)


def test_other_convnexts_are_refused_by_name(folder, tmp_path):
    network = timm.create_model("convnextv2_atto", num_classes=0)
    save_file(network.state_dict(), tmp_path / "v2.safetensors")
    with pytest.raises(CheckpointError, match="ConvNeXt V2"):
        inspect_checkpoint(tmp_path / "v2.safetensors", Overrides(method="dinov3"))
    torch.save({"features.1.0.layer_scale": torch.zeros(8, 1, 1)}, tmp_path / "convnext_tiny.pth")
    with pytest.raises(CheckpointError, match="ConvNeXt in torchvision's names"):
        inspect_checkpoint(tmp_path / "convnext_tiny.pth")
    config = json.loads((folder / "config.json").read_text())
    for changed, sentence in (
        ({"hidden_act": "relu"}, "hidden_act 'gelu'"),
        ({"layer_norm_eps": True}, "it is True"),
    ):
        (folder / "config.json").write_text(json.dumps(config | changed))
        with pytest.raises(CheckpointError, match=sentence):
            inspect_checkpoint(folder)


def test_a_stage_that_it_does_not_have(folder):
    with pytest.raises(InvalidOptionError, match=r"a token stage among stages\.0.*got 'encoder\.layer3'"):
        load(folder, token_stage="encoder.layer3")


def test_maps_twin_and_file_of_this_package(tmp_path):
    path = write_encoder(tmp_path / "mine.safetensors", "dinov3", architecture=TINY_CONVNEXT)
    encoder = load(path, token_stage="stages.1")
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    embedding = ssl.embed(image, encoder)
    assert embedding.tokens.shape == (8, 12, 16)
    assert ssl.activation_map(embedding).values.shape == (8, 12)
    weights = np.ones(16, np.float32)
    assert ssl.class_activation(image, encoder, embedding, weights).values.shape == (8, 12)
    assert CamTap.of(encoder, "stages.0").finer == 2
    assert ssl.embed(image, untrained_twin(encoder)).tokens.shape == (8, 12, 16)


@pytest.mark.parametrize("stage", ["stages.3", "stages.1"])
def test_crops_are_compared_by_what_stands_for_cls(theirs, folder, stage):
    image = np.random.default_rng(1).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    view = pretext_view(image, load(folder, token_stage=stage))
    assert view.mask is None
    assert len(view.agreement) == len(view.crops)
    shape = view.picture.shape[:2]
    tokens = []
    for crop in view.crops:
        side = 224 if crop.kind == "global" else 96  # as in training, where no file says otherwise
        piece = resample(view.picture[window_of(crop.region, view.region, shape)], (side, side))
        pixels = (piece - np.float32(MEAN)) / np.float32(STD)
        with torch.inference_mode():
            tokens.append(theirs(torch.from_numpy(pixels).permute(2, 0, 1)[None]).pooler_output)
    unit = torch.nn.functional.normalize(torch.cat(tokens), dim=1)
    np.testing.assert_allclose(view.agreement, (unit @ unit.T).numpy(), atol=1e-5)
