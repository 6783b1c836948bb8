"""Files that hold something else: one sentence names it. Encoders of other segmentation networks load."""

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision

from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import CheckpointError

VISION = torchvision.models


def on_meta(make, *arguments, **options):
    with torch.device("meta"):
        state = make(*arguments, **options).state_dict()
    return {name: torch.zeros(1).expand(value.shape) for name, value in state.items() if value.ndim}


def smp_with(encoder, kind="Unet"):
    return on_meta(getattr(smp, kind), encoder, encoder_weights=None)


NAMED = {
    "vision transformer of torchvision's behind a stem": lambda: {
        "encoder.layers.encoder_layer_0.ln_1.weight": torch.zeros(8),
        "conv_proj.conv_bn_relu_0.0.weight": torch.zeros(8, 3, 3, 3),
    },
    "Swin transformer in torchvision's names": lambda: on_meta(VISION.swin_t),
    "a DenseNet": lambda: on_meta(VISION.densenet121),
    "a MobileNet": lambda: on_meta(VISION.mobilenet_v3_small),
    "a RegNet": lambda: on_meta(timm.create_model, "regnety_002"),
    "holds HRNet": lambda: on_meta(timm.create_model, "hrnet_w18_small"),
    "holds EdgeNeXt": lambda: on_meta(timm.create_model, "edgenext_xx_small"),
    "an SE-ResNet": lambda: on_meta(timm.create_model, "seresnet50"),
    "three convolutions as its stem": lambda: on_meta(timm.create_model, "resnet26d"),
    "norms before its convolutions": lambda: on_meta(timm.create_model, "resnetv2_50x1_bit"),
    "SegFormer's MiT": lambda: smp.Unet("mit_b0", encoder_weights=None).state_dict(),
    "DeepLab or PAN": lambda: smp_with("resnet18", "DeepLabV3Plus"),
    "DeepLab or PAN, whose encoder": lambda: smp_with("resnet18", "DeepLabV3"),
    "DeepLab or PAN, whose": lambda: smp_with("resnet18", "PAN"),
    "a ResNeXt or a wide ResNet": lambda: on_meta(VISION.resnext50_32x4d),
    "ResNeXt or a wide ResNet": lambda: on_meta(VISION.wide_resnet50_2),
    "names of MMPretrain or MMSegmentation": lambda: {
        "backbone.patch_embed.projection.weight": torch.zeros(4, 3, 2, 2)
    },
    "MONAI's vision transformer": lambda: {"patch_embedding.position_embeddings": torch.zeros(1, 4, 4)},
    "a transformer of vit-pytorch": lambda: {"encoder.to_patch_embedding.1.weight": torch.zeros(4)},
    "MONAI's U-Net": lambda: {"model.0.conv.unit0.conv.weight": torch.zeros(8, 1, 3, 3)},
    "nnU-Net's network": lambda: {"encoder.stages.0.0.convs.0.conv.weight": torch.zeros(8, 1, 3, 3)},
    "Vision Mamba": lambda: {
        "patch_embed.proj.weight": torch.zeros(4, 3, 2, 2),
        "layers.0.mixer.A_log": torch.zeros(4, 4),
    },
    "LoRA adapters": lambda: {"base_model.model.blocks.0.attn.qkv.lora_A.weight": torch.zeros(4, 64)},
    "has a head, or another part": lambda: {"dino_head.mlp.0.weight": torch.zeros(3, 3)},
    "or another part of a training": lambda: {"predictor": {"module.predictor.norm.weight": torch.zeros(3)}},
    "Load the file of its encoder": lambda: {"weight": torch.zeros(10, 64), "bias": torch.zeros(10)},
    "are empty, as DeepSpeed leaves them": lambda: {"module": {"patch_embed.proj.weight": torch.zeros(0)}},
}


@pytest.mark.parametrize("sentence", NAMED)
def test_what_came_is_named(tmp_path, sentence):
    content = NAMED[sentence]()
    torch.save(
        {
            name: value.contiguous() if isinstance(value, torch.Tensor) else value
            for name, value in content.items()
        },
        tmp_path / "other.pth",
    )
    with pytest.raises(CheckpointError, match=sentence):
        inspect_checkpoint(tmp_path / "other.pth")


@pytest.mark.parametrize("kind", ["UnetPlusPlus", "FPN", "MAnet", "Linknet", "Unet with attention"])
def test_the_encoder_of_another_segmentation_network(tmp_path, kind):
    torch.manual_seed(0)
    options = {"decoder_attention_type": "scse"} if " " in kind else {}
    network = getattr(smp, kind.split()[0])("resnet18", encoder_weights=None, **options).eval()
    torch.save(network.state_dict(), tmp_path / "segmentation.pth")
    encoder = load_encoder(tmp_path / "segmentation.pth", device="cpu", precision="float32")
    assert "decoder of another network" in encoder.report.left_out.values()
    assert not encoder.spec.architecture.decoder_channels
    pixels = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        found = encoder.extractor.extract(pixels).tokens.permute(0, 3, 1, 2)
        torch.testing.assert_close(found, network.encoder(pixels)[4])
