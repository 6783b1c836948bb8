"""Tokens of each block and stage against timm's and segmentation-models-pytorch's own intermediates."""

from dataclasses import replace

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from encoders_factory import tiny_architecture

from napari_sslmaps.encoders.families.convnext import ConvNeXtArchitecture
from napari_sslmaps.encoders.families.convnext_network import ConvNeXtExtractor, build_convnext
from napari_sslmaps.encoders.families.unet import UNET_STRIDES, UNetArchitecture
from napari_sslmaps.encoders.families.unet_network import UNetExtractor, build_unet
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.families.vit_network import ViTExtractor, build_vit
from napari_sslmaps.errors import InvalidOptionError

VIT = ViTArchitecture(patch=16, dim=64, depth=4, heads=2, grid=(14, 14), mlp_hidden=256, class_token=True)
MODELS = {
    "mae": (
        "vit_tiny_patch16_224",
        {"embed_dim": 64, "num_heads": 2},
        VIT,
    ),
    "dinov2": (
        "vit_small_patch14_reg4_dinov2",
        {"embed_dim": 64, "num_heads": 2, "img_size": 196},
        replace(VIT, patch=14, registers=4, layer_scale=True),
    ),
    "dinov3": (
        "vit_small_patch16_dinov3",
        {"embed_dim": 64, "num_heads": 2},
        replace(VIT, registers=4, rope=True, layer_scale=True, qkv_bias=False, eps=1e-5),
    ),
}


def randomised(network):
    """Draw every weight anew, so that no norm is trivial."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if "num_batches" not in name and "periods" not in name:
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(0.5 + noise if "running_var" in name else (noise - 0.5) * 0.4)
                tensor.add_(1 if "norm" in name and name.endswith("weight") else 0)
    return network.eval()


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("method", MODELS)
def test_tokens_of_each_block_are_timms_intermediates(method, norm):
    name, options, architecture = MODELS[method]
    theirs = randomised(
        timm.create_model(name, num_classes=0, depth=4, dynamic_img_size=True, global_pool="", **options)
    )
    ours = build_vit(architecture).eval()
    ours.load_state_dict(theirs.state_dict())
    pixels = torch.randn(2, 3, 14 * architecture.patch, 14 * architecture.patch)
    depths = [architecture.at_block(block, norm=norm) for block in range(4)]
    with torch.inference_mode():
        expected = theirs.forward_intermediates(pixels, norm=norm, intermediates_only=True)
        several = ViTExtractor(ours).extract_at(pixels, depths)
        for depth, features, maps in zip(depths, several, expected, strict=True):
            tokens = maps.permute(0, 2, 3, 1)
            assert (features.tokens - tokens).norm() / tokens.norm() < 1e-5
            (alone,) = ViTExtractor(ours).extract_at(pixels, [depth])
            assert torch.equal(alone.tokens, features.tokens)


@pytest.mark.parametrize("method", ["mae", "ijepa", "dinov2", "dinov3"])
def test_the_last_block_with_norm_is_the_output_bit_for_bit(method):
    architecture = tiny_architecture(method)
    network = randomised(build_vit(architecture))
    pixels = torch.randn(2, 3, 40, 64)
    assert architecture.at_block(-1) == architecture
    assert architecture.at_block(architecture.depth - 1) == architecture
    with torch.inference_mode():
        own = ViTExtractor(network).extract(pixels)
        _, last = ViTExtractor(network).extract_at(pixels, [architecture.at_block(0), architecture])
        sequence = network.forward_features(pixels)[:, network.num_prefix_tokens :]
    assert torch.equal(own.tokens, last.tokens)
    assert torch.equal(own.tokens.flatten(1, 2), sequence)
    assert torch.equal(own.attention, last.attention)
    assert not any(block._forward_hooks for block in network.blocks)


def test_stages_of_a_unet_are_segmentation_models_own():
    theirs = randomised(smp.Unet("resnet18", encoder_weights=None))
    architecture = UNetArchitecture("basic", (2, 2, 2, 2), (64, 128, 256, 512), (256, 128, 64, 32, 16))
    ours = build_unet(architecture).eval()
    ours.load_state_dict(theirs.state_dict())
    seen = {}
    for index, block in enumerate(theirs.decoder.blocks[:4]):
        block.register_forward_hook(
            lambda _m, _i, output, name=f"decoder.blocks.{index}": seen.update({name: output})
        )
    pixels = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        theirs(pixels)
        encoded = theirs.encoder(pixels)[1:]
        seen |= dict(zip(list(UNET_STRIDES)[:5], encoded, strict=True))
        depths = [architecture.at_block(place) for place in range(len(UNET_STRIDES))]
        found = UNetExtractor(ours).extract_at(pixels, depths)
    for depth, features in zip(depths, found, strict=True):
        tokens = seen[depth.token_stage].permute(0, 2, 3, 1)
        assert (features.tokens - tokens).norm() / tokens.norm() < 1e-5
        assert tokens.shape[-1] == depth.token_width
        assert 64 // tokens.shape[1] == depth.constraint.token_stride


@pytest.mark.parametrize("norm", [True, False])
def test_stages_of_a_convnext_are_timms_intermediates(norm):
    options = {"depths": (1, 1, 2, 1), "dims": (8, 16, 24, 32)}
    theirs = randomised(timm.models.convnext.ConvNeXt(num_classes=0, global_pool="", **options))
    architecture = ConvNeXtArchitecture((1, 1, 2, 1), (8, 16, 24, 32))
    ours = build_convnext(architecture).eval()
    ours.encoder.load_state_dict(theirs.state_dict())
    pixels = torch.randn(1, 3, 64, 96)
    depths = [architecture.at_block(place, norm=norm) for place in range(4)]
    assert architecture.at_block(-1) == architecture
    with torch.inference_mode():
        expected = theirs.forward_intermediates(pixels, intermediates_only=True)
        expected[-1] = theirs.head.norm(expected[-1]) if norm else expected[-1]
        found = ConvNeXtExtractor(ours).extract_at(pixels, depths)
        assert torch.equal(
            ConvNeXtExtractor(ours).extract_at(pixels, [architecture])[0].tokens,
            ConvNeXtExtractor(ours).extract(pixels).tokens,
        )
    for depth, features, maps in zip(depths, found, expected, strict=True):
        tokens = maps.permute(0, 2, 3, 1)
        assert (features.tokens - tokens).norm() / tokens.norm() < 1e-5
        assert tokens.shape[-1] == depth.token_width


def test_a_block_that_is_not_there_is_named_beside_those_that_are():
    vit, unet = VIT, tiny_architecture("dira")
    for bad in (4, -5, True, "encoder.layer3"):
        with pytest.raises(InvalidOptionError, match=r"of 4 blocks: from 0, .* to 3, or from -1"):
            vit.at_block(bad)
    with pytest.raises(InvalidOptionError, match=r"of 9 stages.*encoder\.stem, .*got 'encoder\.layer9'"):
        unet.at_block("encoder.layer9")
    assert unet.at_block("encoder.layer3").token_place == 3
    assert replace(unet, decoder_channels=()).at_block(-1).token_place == 4
