"""Layouts told by their key names and translated to ours; timm's names are ours already."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import timm
import torch
from torch import Tensor

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
    beside: dict[str, str] = {}
    for method in METHODS.values():
        beside |= method.beside if family.kind in method.families else {}
    translated = separate(file, "timm", {**beside, **_BESIDE})
    told = timm_facts(file.config, translated.state) if file.config else {}
    return replace(translated, facts=mae_facts(file) | told)


def timm_facts(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Fact]:
    """Collect what the ``config.json`` that timm writes beside its weights says of them.

    Heads and epsilon are those of timm's network of that name, built without memory and without weights;
    its ``model_args`` win. A config of another width or depth than the tensors have is left alone, and said.
    """
    name, pretrained = str(config.get("architecture", "")), config.get("pretrained_cfg")
    if not timm.is_model(name) or not isinstance(pretrained, Mapping):
        return {}
    with torch.device("meta"):
        network: Any = timm.create_model(name, pretrained=False, num_classes=0)
    arguments = config.get("model_args")
    given = arguments if isinstance(arguments, Mapping) else {}
    if other := _other_shape(network, given, state):
        return {"ignored": Fact(f"{other} of timm's {name!r} in config.json, which was not used.", _WHERE)}
    facts = {"antialias": Fact(value=True, how="as timm resamples positions")}
    if hasattr(network, "blocks") and hasattr(network.blocks[0], "attn"):
        heads, how = network.blocks[0].attn.num_heads, f"the architecture {name!r} {_WHERE}"
        if isinstance(given.get("num_heads"), int):
            heads, how = given["num_heads"], f"num_heads among model_args {_WHERE}"
        facts["heads"] = Fact(int(heads), how)
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
    if isinstance(pretrained.get("license"), str):
        facts["licence"] = Fact(pretrained["license"], f"license {_WHERE}")
    return facts


def _other_shape(network: Any, given: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    """Say which of width and depth differ between a transformer of timm and the tensors; empty if none."""
    patches = state.get("patch_embed.proj.weight")
    if patches is None or not hasattr(network, "blocks"):
        return ""
    blocks = len({key.split(".")[1] for key in state if key.startswith("blocks.")})
    for word, found, said in (
        ("width", len(patches), given.get("embed_dim", getattr(network, "embed_dim", len(patches)))),
        ("depth", blocks, given.get("depth", len(network.blocks))),
    ):
        if found != said:
            return f"The tensors have the {word} {found}, and not {said} as the config"
    return ""
