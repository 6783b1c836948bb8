"""timm's names, which are this package's own: nothing to rename, only to tell what is beside the encoder."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import timm
import torch

from napari_sslmaps.encoders.checkpoint.layouts import dino, dinov3, mae
from napari_sslmaps.encoders.checkpoint.layouts.common import separate
from napari_sslmaps.encoders.checkpoint.translated import Fact, Translated
from napari_sslmaps.encoders.checkpoint.unwrap import Unwrapped
from napari_sslmaps.encoders.spec import Method, spell_normalisation

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
