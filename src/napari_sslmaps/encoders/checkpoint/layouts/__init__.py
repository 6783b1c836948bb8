"""Key names of each layout → ours: timm's for transformers, segmentation-models-pytorch's for U-Nets."""

from dataclasses import replace

from napari_sslmaps.encoders.checkpoint.layouts.common import unchunk
from napari_sslmaps.encoders.checkpoint.layouts.dino import is_dinov2, translate_dino
from napari_sslmaps.encoders.checkpoint.layouts.dinov3 import translate_dinov3
from napari_sslmaps.encoders.checkpoint.layouts.dira import translate_resnet, translate_unet
from napari_sslmaps.encoders.checkpoint.layouts.ijepa import translate_ijepa
from napari_sslmaps.encoders.checkpoint.layouts.mae import translate_mae
from napari_sslmaps.encoders.checkpoint.layouts.timm import translate_timm
from napari_sslmaps.encoders.checkpoint.translated import Translated
from napari_sslmaps.encoders.checkpoint.unwrap import Unwrapped
from napari_sslmaps.errors import CheckpointError


def translate(file: Unwrapped, name: str) -> Translated:
    """Recognise the layout of a file's tensors and rename them.

    Raises
    ------
    CheckpointError
        If the layout is none that is known; the sentence lists the first keys.
    """
    keys = file.tensors
    if "encoder.conv1.weight" in keys:
        return translate_unet(file)
    if {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight"} <= set(keys):
        return translate_resnet(file)
    if "patch_embed.proj.weight" in keys:
        return _translate_transformer(replace(file, tensors=unchunk(keys)))
    if any("patch_embeddings.projection." in key for key in keys):
        raise CheckpointError(
            f"{name} has the key names of transformers, which do not tell the network. Put config.json, and "
            "preprocessor_config.json if there is one, beside it."
        )
    listed = ", ".join(sorted(keys)[:12]) or "none"
    raise CheckpointError(
        "Expected a vision transformer in timm's names or the official MAE, I-JEPA, DINO, DINOv2 or DINOv3 "
        "layout, a folder that transformers saved, or a segmentation-models-pytorch U-Net with a ResNet "
        f"encoder; {name} has {len(keys)} other keys: {listed}{', …' if len(keys) > 12 else ''}."
    )


def _translate_transformer(file: Unwrapped) -> Translated:
    keys = file.tensors
    outer = set(file.container.split("."))
    if "storage_tokens" in keys or "rope_embed.periods" in keys:
        return translate_dinov3(file)
    if outer & {"target_encoder", "encoder"} and "cls_token" not in keys:
        return translate_ijepa(file)
    headless = outer == {"model"} and {"cls_token", "norm.weight"} <= set(keys) and "head.weight" not in keys
    if "decoder_embed.weight" in keys or (headless and "blocks.0.ls1.gamma" not in keys):
        return translate_mae(file)
    if is_dinov2(keys) or outer & {"teacher", "student"}:
        return translate_dino(file)
    return translate_timm(file)
