"""DINOv3: its facts, and key names of its files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_sslmaps.encoders.methods.method import INVARIANCE, KeyLayout, Method, ModelType
from napari_sslmaps.encoders.recognition import Fact, Translated, Unwrapped, separate
from napari_sslmaps.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_BESIDE: Mapping[str, str] = {
    "mask_token": "mask token",
    "dino_head.": "projection head",
    "ibot_head.": "projection head",
    "local_cls_norm.": "norm of local crops",
    "cls_norm.": "norm of CLS and storage tokens",
    "head.": "classification head",
}
_RENAMES = (
    ("storage_tokens", "reg_token"),
    (".ls1.gamma", ".gamma_1"),
    (".ls2.gamma", ".gamma_2"),
    (".mlp.w1.", ".mlp.fc1_g."),
    (".mlp.w2.", ".mlp.fc1_x."),
    (".mlp.w3.", ".mlp.fc2."),
)


def _is_dinov3(file: Unwrapped) -> bool:
    keys = file.tensors
    return "patch_embed.proj.weight" in keys and ("storage_tokens" in keys or "rope_embed.periods" in keys)


def translate_dinov3(file: Unwrapped) -> Translated:
    """Rename the keys; split q, k, v biases, of which timm keeps that of k as a plain buffer."""
    translated = separate(file, "DINOv3", _BESIDE)
    left_out = dict(translated.left_out)
    state: dict[str, Tensor] = {}
    buffers: dict[str, Tensor] = {}
    for key, tensor in translated.state.items():
        if key.endswith(".qkv.bias_mask"):
            left_out[key] = "applied to the bias"
        elif key.endswith(".qkv.bias"):
            mask = translated.state.get(f"{key}_mask")
            # the k part of a mask may be NaN, which says that there is no such bias
            masked = tensor if mask is None else (tensor * mask).nan_to_num(0.0)
            stem = key.removesuffix("qkv.bias")
            state[f"{stem}q_bias"], buffers[f"{stem}k_bias"], state[f"{stem}v_bias"] = masked.chunk(3)
        elif key == "rope_embed.periods":
            buffers["rope.periods"] = tensor
        else:
            state[_renamed(key)] = tensor
    facts = {"method": Fact("dinov3", "storage tokens or rotary periods")}
    if "reg_token" not in state:
        facts["eps"] = Fact(1e-6, "no storage tokens: the repository's default configuration")
    return replace(translated, state=state, buffers=buffers, left_out=left_out, facts=facts)


def _renamed(key: str) -> str:
    for old, new in _RENAMES:
        key = key.replace(old, new)
    return key


CONVNEXT_OURS, CONVNEXT_OFFICIAL = "stages.0.blocks.0.conv_dw.weight", "stages.0.0.dwconv.weight"
CONVNEXT_TRANSFORMERS = "stages.0.layers.0.depthwise_conv.weight"
CONVNEXT_ROOT = "encoder."
_CONVNEXT_BESIDE: Mapping[str, str] = {
    "norms.": "norm of the last stage, kept twice",
    "dino_head.": "projection head",
    "ibot_head.": "projection head",
    **dict.fromkeys(("head.fc.", "head.weight", "head.bias", "classifier."), "classification head"),
}
_CONVNEXT_RENAMES = (
    (r"(?:model\.)?stages\.0\.downsample_layers\.", "stem."),
    (r"(?:model\.)?stages\.(\d+)\.downsample_layers\.", r"stages.\1.downsample."),
    (r"(?:model\.)?stages\.(\d+)\.layers\.(\d+)\.", r"stages.\1.blocks.\2."),
    (r"downsample_layers\.0\.", "stem."),
    (r"downsample_layers\.(\d+)\.", r"stages.\1.downsample."),
    (r"stages\.(\d+)\.(\d+)\.", r"stages.\1.blocks.\2."),
    (r"(?:layer_)?norm\.", "head.norm."),
)
_CONVNEXT_INSIDE = (
    (".depthwise_conv.", ".conv_dw."),
    (".dwconv.", ".conv_dw."),
    (".layer_norm.", ".norm."),
    (".pointwise_conv", ".mlp.fc"),
    (".pwconv", ".mlp.fc"),
)


def _is_convnext(file: Unwrapped) -> bool:
    """Whether tensors have the names of the official code, of transformers' DINOv3 or of timm, or ours."""
    keys = file.tensors
    return any(
        key in keys
        for key in (
            CONVNEXT_OFFICIAL,
            CONVNEXT_TRANSFORMERS,
            f"model.{CONVNEXT_TRANSFORMERS}",
            CONVNEXT_OURS,
            f"{CONVNEXT_ROOT}{CONVNEXT_OURS}",
        )
    )


def translate_convnext(file: Unwrapped) -> Translated:
    """Rename the keys of any of these layouts to ours, which are timm's.

    Raises
    ------
    CheckpointError
        If it is a ConvNeXt that is computed otherwise.
    """
    translated = separate(file, "ConvNeXt", _CONVNEXT_BESIDE)
    state = {
        f"{CONVNEXT_ROOT}{_convnext_renamed(key.removeprefix(CONVNEXT_ROOT))}": part
        for key, part in translated.state.items()
    }
    if any(".grn." in key for key in state):
        raise CheckpointError(
            "Expected a ConvNeXt as DINOv3 trains it; the file holds a ConvNeXt V2, which norms responses "
            "inside its blocks. That is another network, and cannot be loaded."
        )
    return replace(translated, state=state, facts=_convnext_facts(file))


def _convnext_renamed(key: str) -> str:
    for pattern, replacement in _CONVNEXT_RENAMES:
        if re.match(pattern, key):
            key = re.sub(f"^{pattern}", replacement, key)
            break
    for old, new in _CONVNEXT_INSIDE:
        key = key.replace(old, new)
    return key


def _convnext_facts(file: Unwrapped) -> dict[str, Fact]:
    """Collect what names tell of the method, and what transformers' ``config.json`` says."""
    keys, facts = file.tensors, {}
    if any(key in keys for key in (CONVNEXT_TRANSFORMERS, f"model.{CONVNEXT_TRANSFORMERS}")):
        facts["method"] = Fact("dinov3", "key names that only transformers' DINOv3ConvNextModel has")
    elif any(key.startswith("norms.") for key in keys):
        facts["method"] = Fact("dinov3", "a list of norms, one a stage, as only DINOv3's own code has")
    elif any(key.startswith(("dino_head.", "ibot_head.")) for key in (*keys, *file.outside)):
        facts["method"] = Fact("dinov3", "a projection head beside the encoder")
    config = file.config or {}
    if config.get("model_type") != "dinov3_convnext":
        return facts
    act, eps = config.get("hidden_act", "gelu"), config.get("layer_norm_eps")
    if act != "gelu":
        raise CheckpointError(
            f"Expected a ConvNeXt with hidden_act 'gelu'; config.json says {act!r}, which would give other "
            "features."
        )
    if eps is not None:
        if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 < eps < 1:
            raise CheckpointError(
                f"Expected layer_norm_eps in config.json to be a number between 0 and 1; it is {eps!r}."
            )
        facts["eps"] = Fact(float(eps), "layer_norm_eps in config.json")
    return facts


DINOV3 = Method(
    name="dinov3",
    title="DINOv3",
    objective="matches the views and masked patches of an image, with Gram anchoring",
    citation="Siméoni et al., DINOv3, arXiv 2508.10104",
    normalisation="imagenet",
    named_statistics={"sat493m": "satellite"},
    eps=1e-5,
    attention_note="CLS query",
    learns_from=INVARIANCE,
    families=("vit", "convnext"),
    heads_by_width={4096: 32},
    beside=_BESIDE,
    pretext_parts={
        "mask_token": "mask token",
        "dino_head.": "projection head of CLS",
        "ibot_head.": "projection head of patches",
    },
    layouts=(KeyLayout(_is_dinov3, translate_dinov3), KeyLayout(_is_convnext, translate_convnext)),
    own_names=True,
    model_types={"dinov3_vit": ModelType(heads=6, eps=1e-5, rope=True, mask_token=True)},
    file_holds="the moving-average teacher, its mask token and its two heads",
    rights="The authors' code and weights (DINOv3 License) were not used.",
    pretext="napari_sslmaps.pretext.dino:views_view",
    edits="crops",
)
