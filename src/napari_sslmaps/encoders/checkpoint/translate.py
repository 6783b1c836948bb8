"""Layouts told by their key names and translated to ours; timm's names are ours already."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import timm
import torch

from napari_sslmaps.encoders.families.family import Family
from napari_sslmaps.encoders.families.registry import FAMILIES
from napari_sslmaps.encoders.methods.mae import mae_facts
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.recognition import Fact, Translated, Unwrapped, separate, unchunk
from napari_sslmaps.encoders.spec import spell_normalisation
from napari_sslmaps.errors import CheckpointError


def translate(file: Unwrapped, name: str) -> Translated:
    """Recognise the layout of a file's tensors and rename them.

    Raises
    ------
    CheckpointError
        If the layout is none that is known; the sentence lists the first keys.
    """
    keys = file.tensors
    numbered = replace(file, tensors=unchunk(keys))
    for method in METHODS.values():
        for layout in method.layouts:
            if layout.fits(numbered):
                return layout.translate(numbered)
    family = next((family for family in FAMILIES.values() if family.mark in keys), None)
    if family is not None:
        return translate_timm(numbered, family)
    if any("patch_embeddings.projection." in key for key in keys):
        raise CheckpointError(
            f"{name} has the key names of transformers, which do not tell the network. Put config.json, and "
            "preprocessor_config.json if there is one, beside it."
        )
    listed = ", ".join(sorted(keys)[:12]) or "none"
    official = ", ".join(method.title for method in METHODS.values() if method.layouts)
    raise CheckpointError(
        f"Expected a vision transformer in timm's names, a network in those of the official code of "
        f"{official}, a folder that transformers saved, or a segmentation-models-pytorch U-Net with a ResNet "
        f"encoder; {name} has {len(keys)} other keys: {listed}{', …' if len(keys) > 12 else ''}."
    )


_BESIDE: Mapping[str, str] = {
    "head.": "classification head",
    "head_dist.": "classification head",
}
_BRANCHES = {"target": "target encoder", "encoder": "context encoder"}
_WHERE = "in timm's config.json"


def translate_timm(file: Unwrapped, family: Family) -> Translated:
    """Translate a network in timm's names, which are ours: timm's files, this package's, many trainings'."""
    facts = mae_facts(file) | (timm_facts(file.config) if file.config else {})
    beside: dict[str, str] = {}
    for method in METHODS.values():
        beside |= method.beside if family.kind in method.families else {}
    return replace(separate(file, "timm", {**beside, **_BESIDE}), facts=facts)


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
    method = next((METHODS[word] for word in words if word in METHODS), None)
    if method is not None:
        facts["method"] = Fact(method.name, f"architecture and tag {_WHERE}")
        if method.converted_branch:
            how = f"timm carries {method.title}'s {_BRANCHES[method.converted_branch]}"
            facts["branch"] = Fact(method.converted_branch, how)
    if {"mean", "std"} <= set(pretrained):
        spelled = spell_normalisation(pretrained["mean"], pretrained["std"])
        facts["normalisation"] = Fact(spelled, f"mean and std {_WHERE}")
    return facts
