"""Layouts told by their key names and translated to ours; timm's names are ours already."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import timm
import torch

from napari_sslmaps.encoders.methods import dino, dinov3, mae
from napari_sslmaps.encoders.methods.dino import is_dinov2, translate_dino
from napari_sslmaps.encoders.methods.dinov3 import translate_dinov3
from napari_sslmaps.encoders.methods.dira import translate_resnet, translate_unet
from napari_sslmaps.encoders.methods.ijepa import translate_ijepa
from napari_sslmaps.encoders.methods.mae import translate_mae
from napari_sslmaps.encoders.recognition import Fact, Translated, Unwrapped, separate, unchunk
from napari_sslmaps.encoders.spec import Method, spell_normalisation
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


BESIDE: Mapping[str, str] = {
    **dino.BESIDE,
    **dinov3.BESIDE,
    **mae.BESIDE,
    "head_dist.": "classification head",
    "predictor.": "predictor",
    "context.": "the other branch",
}
_METHODS: Mapping[str, Method] = {
    "mae": "mae",
    "ijepa": "ijepa",
    "dino": "dino",
    "dinov2": "dinov2",
    "dinov3": "dinov3",
}
_WHERE = "in timm's config.json"


def translate_timm(file: Unwrapped) -> Translated:
    """Translate a transformer in timm's names: timm's own files, this package's and many trainings'."""
    facts = mae.mae_facts(file) | (timm_facts(file.config) if file.config else {})
    return replace(separate(file, "timm", BESIDE), facts=facts)


def timm_facts(config: Mapping[str, Any]) -> dict[str, Fact]:
    """Collect what the ``config.json`` that timm writes beside its weights says of them.

    Heads and epsilon are those of timm's network of that name, built without memory and without weights.
    """
    name, pretrained = str(config.get("architecture", "")), config.get("pretrained_cfg")
    if not timm.is_model(name) or not isinstance(pretrained, Mapping):
        return {}
    with torch.device("meta"):
        network: Any = timm.create_model(name, pretrained=False, num_classes=0)
    facts = {"antialias": Fact(value=True, how="as timm resamples positions")}
    if hasattr(network, "blocks") and hasattr(network.blocks[0], "attn"):
        facts["heads"] = Fact(int(network.blocks[0].attn.num_heads), f"the architecture {name!r} {_WHERE}")
        facts["eps"] = Fact(float(network.blocks[0].norm1.eps), f"the architecture {name!r} {_WHERE}")
    words = f"{name}_{pretrained.get('tag', '')}".replace(".", "_").split("_")
    method = next((_METHODS[word] for word in words if word in _METHODS), None)
    if method is not None:
        facts["method"] = Fact(method, f"architecture and tag {_WHERE}")
    if method == "ijepa":
        facts["branch"] = Fact("encoder", "timm carries I-JEPA's context encoder")
    if {"mean", "std"} <= set(pretrained):
        spelled = spell_normalisation(pretrained["mean"], pretrained["std"])
        facts["normalisation"] = Fact(spelled, f"mean and std {_WHERE}")
    return facts
