"""DINOv3: its facts, and key names of its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_sslmaps.encoders.methods.method import INVARIANCE, KeyLayout, Method, ModelType
from napari_sslmaps.encoders.recognition import Fact, Translated, Unwrapped, separate

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
    facts = {}
    if "reg_token" not in state:
        facts["eps"] = Fact(1e-6, "no storage tokens: the repository's default configuration")
    return replace(translated, state=state, buffers=buffers, left_out=left_out, facts=facts)


def _renamed(key: str) -> str:
    for old, new in _RENAMES:
        key = key.replace(old, new)
    return key


DINOV3 = Method(
    name="dinov3",
    title="DINOv3",
    objective="matches the views and masked patches of an image, with Gram anchoring",
    citation="Siméoni et al., DINOv3, arXiv 2508.10104",
    normalisation="imagenet",
    eps=1e-5,
    attention_note="CLS query",
    learns_from=INVARIANCE,
    heads_by_width={4096: 32},
    beside=_BESIDE,
    pretext_parts={
        "mask_token": "mask token",
        "dino_head.": "projection head of CLS",
        "ibot_head.": "projection head of patches",
    },
    layouts=(KeyLayout(_is_dinov3, translate_dinov3),),
    own_names=True,
    model_types={"dinov3_vit": ModelType(heads=6, eps=1e-5, rope=True, mask_token=True)},
    file_holds="the moving-average teacher, its mask token and its two heads",
    rights="The authors' code and weights (DINOv3 License) were not used.",
    pretext="napari_sslmaps.pretext.dino:views_view",
    edits="crops",
)
