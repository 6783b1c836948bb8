"""DINO and DINOv2: their facts, and key names of their files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from napari_sslmaps.encoders.methods.method import HEADS_OF_WIDE, INVARIANCE, KeyLayout, Method, ModelType
from napari_sslmaps.encoders.recognition import Fact, PretextHeads, Translated, Unwrapped, separate

_IBOT_MASK = "masked_embed"
_BESIDE: Mapping[str, str] = {
    "mask_token": "mask token",
    _IBOT_MASK: "mask token",
    "dino_head.": "projection head",
    "ibot_head.": "projection head",
    "head.": "projection head",
    "linear_head.": "classification head",
}
_RENAMES = (
    *((".mlp.w12.", ".mlp.fc1."), (".mlp.w3.", ".mlp.fc2.")),
    *((".gamma_1", ".ls1.gamma"), (".gamma_2", ".ls2.gamma")),  # iBOT
)
_PARTS: Mapping[str, str] = {
    "mask_token": "mask token",
    "dino_head.": "projection head of CLS",
    "ibot_head.": "projection head of patches",
}


def _is_dino(file: Unwrapped) -> bool:
    """Whether a teacher or student with added positions lay under that name, or iBOT's mask token beside."""
    return {"patch_embed.proj.weight", "pos_embed"} <= set(file.tensors) and bool(
        {"teacher", "student"} & set(file.container.split(".")) or _IBOT_MASK in file.tensors
    )


def _is_dinov2(file: Unwrapped) -> bool:
    """Whether keys are DINOv2's: a mask token or registers beside an added position embedding."""
    keys = file.tensors
    special = {"register_tokens", "mask_token"} & set(keys)
    return {"patch_embed.proj.weight", "pos_embed"} <= set(keys) and bool(
        special or "blocks.0.mlp.w12.weight" in keys
    )


def _is_msn(file: Unwrapped) -> bool:
    """Whether the head of MSN's own code stands behind a transformer with a CLS token."""
    return {"fc.fc1.weight", "patch_embed.proj.weight", "cls_token"} <= set(file.tensors)


def translate_msn(file: Unwrapped) -> Translated:
    """Translate a branch of MSN (arXiv 2204.07141), which is shown as DINO: both match views."""
    translated = separate(file, "MSN", {**_BESIDE, "fc.": "projection head", "pred.": "projection head"})
    facts = {
        "method": Fact("dino", MSN_IS_LIKE_DINO, certain=False),
        "antialias": Fact(value=False, how="as MSN's own code resamples them"),
    }
    return replace(translated, facts=facts)


MSN_IS_LIKE_DINO = "it is of MSN, which like DINO matches views of an image"


def translate_dino(file: Unwrapped) -> Translated:
    """Translate a teacher or student of DINO's own training; DINOv2's register tokens and packed SwiGLU too.

    Where there are registers, the position of CLS is added to the CLS token itself, as timm keeps it:
    positions are added before the registers are put in, so the sum is the same.
    """
    layout = "DINOv2" if _is_dinov2(file) else "DINO"
    translated = separate(file, layout, _BESIDE)
    renamed = {_renamed(key): tensor for key, tensor in translated.state.items()}
    if "register_tokens" in renamed:
        positions = renamed["pos_embed"]
        renamed["reg_token"] = renamed.pop("register_tokens")
        renamed["cls_token"] = renamed["cls_token"].float() + positions[:, :1].float()
        renamed["pos_embed"] = positions[:, 1:]
    facts = {}
    if layout == "DINOv2":
        facts["method"] = Fact("dinov2", "mask token or registers in its own names")
    elif file.container.split(".")[0] in {"teacher", "student"}:
        facts["method"] = Fact("dino", f"the outer key {file.container!r} and no mask token")
    elif _IBOT_MASK in file.tensors:
        facts["method"] = Fact("dino", f"{_IBOT_MASK}, the mask token of iBOT, shown as DINO", certain=False)
    beside = translated.pretext_heads
    pretext_heads = {_OTHER_SPELLINGS.sub(_respelled, key): part for key, part in beside.state.items()}
    return replace(
        translated, state=renamed, facts=facts, pretext_heads=PretextHeads(pretext_heads, beside.settings)
    )


_OTHER_SPELLINGS = re.compile(r"^(masked_embed$|head\.(?=mlp\.))")
"""iBOT's name of the mask token, and DINO's of the head that CLS tokens are matched by."""


def _respelled(found: re.Match[str]) -> str:
    return "mask_token" if found[0] == "masked_embed" else "dino_head."


def _renamed(key: str) -> str:
    for old, new in _RENAMES:
        key = key.replace(old, new)
    return key


DINO = Method(
    name="dino",
    title="DINO",
    objective="matches the views of an image",
    citation="Caron et al., Emerging Properties in Self-Supervised Vision Transformers, arXiv 2104.14294",
    normalisation="imagenet",
    eps=1e-6,
    attention_note="CLS query",
    learns_from=INVARIANCE,
    heads_by_width=HEADS_OF_WIDE,
    antialias=False,
    position_offset=0.1,
    beside=_BESIDE,
    pretext_parts=_PARTS,
    layouts=(
        KeyLayout(_is_dino, translate_dino),
        KeyLayout(_is_msn, translate_msn),
    ),
    pretext="napari_sslmaps.pretext.dino:views_view",
    edits="crops",
)
DINOV2 = Method(
    name="dinov2",
    title="DINOv2",
    objective="matches the views and masked patches of an image",
    citation="Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, arXiv 2304.07193",
    normalisation="imagenet",
    eps=1e-6,
    attention_note="CLS query",
    learns_from=INVARIANCE,
    heads_by_width=HEADS_OF_WIDE,
    antialias=False,
    position_offset=0.1,
    beside=_BESIDE,
    pretext_parts=_PARTS,
    layouts=(KeyLayout(_is_dinov2, translate_dino),),
    own_names=True,
    model_types={
        "dinov2": ModelType(eps=1e-6, mask_token=True),
        "dinov2_with_registers": ModelType(eps=1e-6, antialias=True, mask_token=True),
    },
    pretext="napari_sslmaps.pretext.dino:views_view",
    edits="crops",
)
