"""Tokens and attention against independent forward passes."""

from dataclasses import replace

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from encoders_factory import TINY_VIT, tiny_architecture
from timm.layers import set_fused_attn

from napari_sslmaps.encoders.families.unet import UNetArchitecture
from napari_sslmaps.encoders.families.unet_network import UNetExtractor, build_unet
from napari_sslmaps.encoders.families.vit_network import ViTExtractor, build_vit

SIZES = [(64, 64), (40, 88)]


def randomised(network, seed=0):
    """Draw every weight and statistic anew, so that no bias or scale is trivially 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if "num_batches" in name or "periods" in name:
                continue
            noise = torch.rand(tensor.shape, generator=generator)
            tensor.copy_(0.5 + noise if "running_var" in name else (noise - 0.5) * 0.4)
            if "norm" in name and name.endswith("weight"):
                tensor.add_(1)
    return network.eval()


def true_attention(network, pixels):
    """Softmax of the last block, as timm's unfused attention computes it, (B, heads, N, N)."""
    attention = network.blocks[-1].attn
    caught = []
    fused, attention.fused_attn = attention.fused_attn, False
    handle = attention.attn_drop.register_forward_pre_hook(lambda _, args: caught.append(args[0]))
    try:
        network.forward_features(pixels)
    finally:
        handle.remove()
        attention.fused_attn = fused
    return caught[0]


TIMM_MODELS = [
    ("vit_tiny_patch16_224", {}),
    ("vit_small_patch14_dinov2", {}),
    ("vit_small_patch14_reg4_dinov2", {}),
    ("vit_small_patch16_dinov3", {}),
    ("vit_small_patch16_dinov3_qkvb", {}),
    ("vit_small_plus_patch16_dinov3", {}),
    ("vit_tiny_patch16_224", {"class_token": False, "global_pool": "avg", "fc_norm": False}),
]


@pytest.mark.parametrize(("name", "options"), TIMM_MODELS)
def test_tap_equals_the_true_softmax_of_timm_models(name, options):
    network = timm.create_model(name, num_classes=0, dynamic_img_size=True, depth=2, **options)
    network = randomised(network)
    patch = network.patch_embed.patch_size[0]
    pixels = torch.randn(1, 3, 4 * patch, 6 * patch)
    with torch.inference_mode():
        full = true_attention(network, pixels)
        extractor = ViTExtractor(network)
        features = extractor.extract(pixels)
        tokens = network.forward_features(pixels)
    prefix = network.num_prefix_tokens
    expected = full[:, :, 0] if extractor.attention_kind == "cls" else full.mean(dim=2)
    torch.testing.assert_close(features.attention.flatten(2), expected[..., prefix:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        features.prefix_attention, expected[..., :prefix].sum(-1), atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(features.tokens.flatten(1, 2), tokens[:, prefix:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", ["mae", "ijepa", "dino", "dinov2", "dinov3"])
@pytest.mark.parametrize("size", SIZES)
def test_our_builds_give_timms_tokens_and_the_true_softmax(method, size):
    network = randomised(build_vit(tiny_architecture(method)))
    pixels = torch.randn(2, 3, *size)
    with torch.inference_mode():
        features = ViTExtractor(network).extract(pixels)
        sequence = network.forward_features(pixels)
        full = true_attention(network, pixels)
    prefix = network.num_prefix_tokens
    torch.testing.assert_close(features.tokens.flatten(1, 2), sequence[:, prefix:], atol=1e-5, rtol=1e-5)
    expected = full.mean(dim=2) if method == "ijepa" else full[:, :, 0]
    torch.testing.assert_close(features.attention.flatten(2), expected[..., prefix:], atol=1e-5, rtol=1e-4)


def test_any_rows_of_queries_can_be_tapped_under_rotary_positions():
    from napari_sslmaps.encoders.families.taps import tap_attention
    from napari_sslmaps.maps.attention import attention_rows

    network = randomised(build_vit(tiny_architecture("dinov3")))
    pixels = torch.randn(1, 3, 32, 48)
    with torch.inference_mode():
        full = true_attention(network, pixels)
        with tap_attention(network.blocks[-1].attn) as tap:
            network.forward_features(pixels)
        for rows in (slice(0, 1), slice(2, 9), slice(7, 8), slice(28, None), slice(None)):
            found = attention_rows(tap.queries(rows), tap.keys(), tap.scale)
            torch.testing.assert_close(found, full[:, :, rows], atol=1e-5, rtol=1e-4)


def test_a_tap_that_saw_nothing_says_so():
    from napari_sslmaps.encoders.families.taps import tap_attention

    with (
        tap_attention(build_vit(TINY_VIT).blocks[-1].attn) as tap,
        pytest.raises(LookupError, match="no forward pass"),
    ):
        tap.keys()


def test_the_model_is_left_as_it_was():
    network = build_vit(TINY_VIT)
    ViTExtractor(network).extract(torch.randn(1, 3, 32, 32))
    assert not network.blocks[-1].attn._forward_pre_hooks


UNETS = [
    ("resnet18", UNetArchitecture("basic", (2, 2, 2, 2), (64, 128, 256, 512), (256, 128, 64, 32, 16))),
    ("resnet34", UNetArchitecture("basic", (3, 4, 6, 3), (64, 128, 256, 512), (256, 128, 64, 32, 16))),
    ("resnet50", UNetArchitecture("bottleneck", (3, 4, 6, 3), (64, 128, 256, 512), (256, 128, 64, 32, 16))),
]


@pytest.mark.parametrize(("name", "architecture"), UNETS)
def test_the_unet_is_segmentation_models_pytorchs(name, architecture):
    theirs = randomised(smp.Unet(name, encoder_weights=None, classes=1))
    ours = build_unet(architecture)
    ours.load_state_dict(theirs.state_dict())
    ours.eval()
    pixels = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(ours(pixels), theirs(pixels), atol=1e-5, rtol=1e-5)
        for mine, other in zip(ours.features(pixels), theirs.encoder(pixels), strict=True):
            torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("stage", "stride"),
    [("encoder.stem", 2), ("encoder.layer3", 16), ("decoder.blocks.1", 8), ("decoder.blocks.3", 2)],
)
def test_every_stage_can_give_the_tokens(stage, stride):
    architecture = replace(tiny_architecture("dira"), token_stage=stage)
    network = build_unet(architecture).eval()
    with torch.inference_mode():
        features = UNetExtractor(network).extract(torch.rand(1, 3, 64, 96))
    assert features.tokens.shape[1:3] == (64 // stride, 96 // stride)
    assert architecture.constraint.token_stride == stride


def test_activation_is_the_channel_mean_of_rectified_features():
    network = build_unet(tiny_architecture("dira")).eval()
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        features = UNetExtractor(network).extract(pixels)
        stage = network.features(pixels)[3]
    np.testing.assert_allclose(features.activation, np.maximum(stage.numpy(), 0).mean(axis=1), atol=1e-6)


def test_timm_can_be_told_to_fuse_or_not_without_changing_the_tap():
    pixels = torch.randn(1, 3, 32, 32)
    found = []
    for fused in (True, False):
        set_fused_attn(fused)
        network = randomised(build_vit(TINY_VIT))
        with torch.inference_mode():
            found.append(ViTExtractor(network).extract(pixels).attention)
    set_fused_attn(enable=True)
    torch.testing.assert_close(*found)
