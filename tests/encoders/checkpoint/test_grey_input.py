"""Encoders that learned from grey images as such: one channel goes in, and colours are asked about."""

import json

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import save_file
from timm.models import save_for_hf
from timm.models.vision_transformer import VisionTransformer

from napari_sslmaps.encoders.checkpoint.network import check_forward
from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import CheckpointError, UnsupportedImageError
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pretext.view import pretext_view

SIZES = [(64, 64), (96, 96), (64, 128)]
CPU = {"device": "cpu", "precision": "float32"}


def drawn(network, seed=0):
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim == 1 and name.endswith("weight"):
                weight.copy_(1 + 0.2 * torch.randn(weight.shape))
            else:
                weight.copy_(torch.randn(weight.shape) / max(1, weight[0].numel()) ** 0.5)
    return network.eval()


def small_vit(**options):
    shape = {"img_size": 64, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 4}
    return drawn(VisionTransformer(**shape, in_chans=1, num_classes=0, dynamic_img_size=True, **options))


def grey(shape=(64, 64), seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def bare(folder):
    network = small_vit(init_values=0.1)
    save_file(network.state_dict(), folder / "vit.safetensors")
    return folder / "vit.safetensors", lambda pixels: network.forward_features(pixels)[:, 1:]


def timm_folder(folder):
    shape = {"in_chans": 1, "img_size": 64, "patch_size": 8, "depth": 2}
    network = drawn(timm.create_model("vit_tiny_patch16_224", dynamic_img_size=True, **shape))
    save_for_hf(network, folder, model_args=shape)
    return folder, lambda pixels: network.forward_features(pixels)[:, 1:]


def unet(folder):
    network = drawn(smp.Unet("resnet18", encoder_weights=None, in_channels=1))
    torch.save(network.state_dict(), folder / "unet.pth")
    return folder / "unet.pth", lambda pixels: network.encoder(pixels)[4].flatten(2).transpose(1, 2)


def convnext(folder):
    network = drawn(timm.models.convnext.ConvNeXt(1, 0, depths=(1, 1, 1, 1), dims=(16, 32, 48, 64)))
    torch.save(network.state_dict(), folder / "convnext.pth")
    return (
        folder / "convnext.pth",
        lambda pixels: network.head.norm(network.forward_features(pixels)).flatten(2).transpose(1, 2),
    )


FORMS = {"dinov2": bare, "dino": timm_folder, "dira": unet, "dinov3": convnext}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", FORMS)
def test_tokens_are_those_of_the_library_that_wrote_it(tmp_path, method, size):
    path, tokens_of = FORMS[method](tmp_path)
    heads = {"num_heads": 4} if method == "dinov2" else {}
    encoder = load_encoder(path, method=method, **CPU, **heads)
    pixels = torch.randn(2, 1, *size)
    with torch.inference_mode():
        found = encoder.extractor.extract(pixels).tokens.flatten(1, 2)
        torch.testing.assert_close(found, tokens_of(pixels), atol=1e-5, rtol=1e-5)
    assert encoder.spec.architecture.channels == 1
    assert not check_forward(encoder.extractor.network, encoder.spec.architecture)


@pytest.fixture
def encoder(tmp_path):
    return load_encoder(
        bare(tmp_path)[0], method="dinov2", num_heads=4, normalisation="0.2,0.2,0.2/0.3,0.3,0.3", **CPU
    )


def test_grey_goes_in_as_it_is_whether_stored_once_or_three_times(encoder):
    image = grey()
    found = embed(image, encoder).tokens
    pixels = (torch.from_numpy(image).float() / 255 - 0.2) / 0.3
    with torch.inference_mode():
        tokens = encoder.extractor.network.forward_features(pixels[None, None])[0, 1:]
    torch.testing.assert_close(
        torch.from_numpy(np.asarray(found)).flatten(0, 1), tokens, atol=1e-5, rtol=1e-5
    )
    assert np.array_equal(found, embed(np.stack([image] * 3, axis=-1), encoder).tokens)


def test_colours_are_asked_about(encoder):
    image = grey((64, 64, 3))
    with pytest.raises(UnsupportedImageError, match=r"takes one channel; array has colours\. Choose one"):
        embed(image, encoder)
    with pytest.raises(UnsupportedImageError, match="takes one channel"):
        pretext_view(image, encoder)
    assert np.array_equal(embed(image, encoder, channel=1).tokens, embed(image[..., 1], encoder).tokens)


def test_statistics_of_colours_are_averaged(encoder, tmp_path):
    assert encoder.spec.statistics == ((0.2,), (0.3,))
    usual = load_encoder(bare(tmp_path)[0], method="dinov2", num_heads=4, **CPU)
    mean, std = usual.spec.statistics
    assert mean == (pytest.approx(0.449),)
    assert std == (pytest.approx(0.226),)
    assert any("the mean of its three channels is taken" in doubt for doubt in usual.report.ambiguous)


def test_one_mean_in_a_preprocessor_file(tmp_path):
    path, _ = bare(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.2], "image_std": [0.3]}))
    assert inspect_checkpoint(path).normalisation == "0.2,0.2,0.2/0.3,0.3,0.3"


def test_a_decoder_of_grey_pixels(tmp_path):
    network = small_vit()
    decoder = {
        "mask_token": (1, 1, 32),
        "decoder_pos_embed": (1, 65, 32),
        "decoder_embed.weight": (32, 64),
        "decoder_embed.bias": (32,),
        "decoder_norm.weight": (32,),
        "decoder_norm.bias": (32,),
        "decoder_pred.weight": (64, 32),
        "decoder_pred.bias": (64,),
    }
    block = VisionTransformer(embed_dim=32, depth=1, num_heads=1).blocks[0].state_dict()
    state = network.state_dict() | {name: torch.randn(shape) for name, shape in decoder.items()}
    state |= {f"decoder_blocks.0.{name}": value for name, value in block.items()}
    torch.save({"model": state}, tmp_path / "mae.pth")
    view = pretext_view(grey(), load_encoder(tmp_path / "mae.pth", num_heads=4, **CPU))
    assert view.reconstruction.shape == (64, 64, 3)
    assert np.array_equal(view.reconstruction[..., 0], view.reconstruction[..., 2])
    assert view.error[view.error > 0].size


@pytest.mark.parametrize("channels", [2, 4])
def test_other_numbers_of_channels_are_refused(tmp_path, channels):
    path, _ = unet(tmp_path)
    content = torch.load(path) | {"encoder.conv1.weight": torch.zeros(64, channels, 7, 7)}
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=f"three input channels, or one; this one has {channels}"):
        inspect_checkpoint(path)
