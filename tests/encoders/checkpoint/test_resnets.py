"""ResNets as the codes of contrastive learning save them: the features of torchvision's own network."""

import json

import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision

from napari_sslmaps.encoders.registry import load_encoder

HEAD = {"0.weight": torch.ones(4, 4), "0.bias": torch.ones(4)}
PLACES = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return torchvision.models.resnet18(weights=None).eval()


def of_layers(network):
    return {key: part for key, part in network.state_dict().items() if not key.startswith("fc.")}


def numbered(weights):
    return {f"{PLACES[key.partition('.')[0]]}.{key.partition('.')[2]}": part for key, part in weights.items()}


def before(prefix, weights):
    return {f"{prefix}{key}": part for key, part in weights.items()}


@torch.inference_mode()
def check_features(path, network, **options):
    encoder = load_encoder(path, device="cpu", precision="float32", **options)
    pixels = torch.rand(1, 3, 64, 96)
    tokens = encoder.extractor.extract(pixels).tokens.permute(0, 3, 1, 2)
    stem = network.maxpool(network.relu(network.bn1(network.conv1(pixels))))
    wanted = network.layer3(network.layer2(network.layer1(stem)))
    torch.testing.assert_close(tokens, wanted, atol=1e-4, rtol=1e-4)
    return encoder.report


def forms(weights):
    other = {key: part + 1 for key, part in weights.items() if part.is_floating_point()}
    momentum = before("module.momentum_encoder.", other) | before("module.predictor.", HEAD)
    query, key = (before(f"module.encoder_{one}.", part) for one, part in (("q", weights), ("k", other)))
    return {
        "moco-v2": query | key | {"module.queue": torch.ones(4, 8), "module.queue_ptr": torch.zeros(1)},
        "moco-v3": before("module.base_encoder.", weights | before("fc.", HEAD)) | momentum,
        "simsiam": before("module.encoder.", weights | before("fc.", HEAD))
        | before("module.predictor.", HEAD),
        "swav": before(
            "module.", weights | before("projection_head.", HEAD) | {"prototypes.weight": HEAD["0.weight"]}
        ),
        "solo-learn-before-1.0.4": before("encoder.", weights) | before("projector.", HEAD),
        "lightly": before("backbone.", numbered(weights)) | before("projection_head.layers.", HEAD),
        "radimagenet": before("backbone.", numbered(weights)),
        "sequence": numbered(weights),
    }


METHODS = {
    "moco-v2": ("contrastive", True),
    "moco-v3": ("contrastive", True),
    "simsiam": ("contrastive", False),
    "swav": ("contrastive", True),
    "solo-learn-before-1.0.4": ("contrastive", False),
    "lightly": ("contrastive", False),
    "radimagenet": ("dira", False),
    "sequence": ("dira", False),
}
"""Method of each form, and whether its keys leave no doubt."""


@pytest.mark.parametrize("form", METHODS)
def test_features_are_those_of_the_network(tmp_path, network, form):
    content = forms(of_layers(network))[form]
    torch.save({"state_dict": content, "epoch": 3}, tmp_path / "training.pth")
    report = check_features(tmp_path / "training.pth", network)
    method, certain = METHODS[form]
    assert report.method == method
    assert certain is not any("is inferred from this alone" in doubt for doubt in report.ambiguous)
    assert report.normalisation == {"contrastive": "imagenet", "dira": "unit"}[method]


@pytest.mark.parametrize(
    "options",
    [{"decoder_use_norm": False}, {"encoder_depth": 4, "decoder_channels": (32, 16, 16, 8)}],
    ids=["not-normed", "four-blocks"],
)
def test_another_decoder_is_left_out_and_its_encoder_read(tmp_path, options):
    torch.manual_seed(0)
    network = smp.Unet("resnet18", encoder_weights=None, **options).eval()
    torch.save(network.state_dict(), tmp_path / "unet.pth")
    check_features(tmp_path / "unet.pth", network.encoder)
    report = load_encoder(tmp_path / "unet.pth", device="cpu").report
    assert "decoder of another network" in report.left_out.values()


@pytest.mark.parametrize("tag", ["tcga_brca_simclr", "lunit_bt", "lunit_mocov2", "lunit_swav"])
def test_the_tag_of_a_timm_folder_tells_the_method(tmp_path, network, tag):
    """As published: SimCLR on TCGA, and Lunit's three ResNets."""
    torch.save(of_layers(network), tmp_path / "pytorch_model.bin")
    config = {
        "architecture": "resnet18",
        "pretrained_cfg": {"tag": tag, "mean": [0.7, 0.6, 0.7], "std": [0.2, 0.3, 0.2]},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    report = check_features(tmp_path, network)
    assert (report.method, report.normalisation) == ("contrastive", "0.7,0.6,0.7/0.2,0.3,0.2")
    assert report.ambiguous == ()
