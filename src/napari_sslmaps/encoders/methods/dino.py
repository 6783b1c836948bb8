"""DINO and DINOv2: key names of their files."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from napari_sslmaps.encoders.recognition import Fact, Translated, Unwrapped, separate

BESIDE: Mapping[str, str] = {
    "mask_token": "mask token",
    "masked_embed": "mask token",
    "dino_head.": "projection head",
    "ibot_head.": "projection head",
    "head.": "projection head",
}
_RENAMES = ((".mlp.w12.", ".mlp.fc1."), (".mlp.w3.", ".mlp.fc2."))


def translate_dino(file: Unwrapped) -> Translated:
    """Translate a teacher or student of DINO's own training; DINOv2's register tokens and packed SwiGLU too.

    Where there are registers, the position of CLS is added to the CLS token itself, as timm keeps it:
    positions are added before the registers are put in, so the sum is the same.
    """
    layout = "DINOv2" if is_dinov2(file.tensors) else "DINO"
    translated = separate(file, layout, BESIDE)
    renamed = {_renamed(key): tensor for key, tensor in translated.state.items()}
    if "register_tokens" in renamed:
        positions = renamed["pos_embed"]
        renamed["reg_token"] = renamed.pop("register_tokens")
        renamed["cls_token"] = renamed["cls_token"] + positions[:, :1]
        renamed["pos_embed"] = positions[:, 1:]
    facts = {}
    if layout == "DINO" and file.container.split(".")[0] in {"teacher", "student"}:
        facts["method"] = Fact("dino", f"the outer key {file.container!r} and no mask token")
    return replace(translated, state=renamed, facts=facts)


def is_dinov2(keys: Mapping[str, Tensor]) -> bool:
    """Whether keys are DINOv2's: a mask token or registers beside an added position embedding."""
    special = {"register_tokens", "mask_token"} & set(keys)
    return "pos_embed" in keys and bool(special or "blocks.0.mlp.w12.weight" in keys)


def _renamed(key: str) -> str:
    for old, new in _RENAMES:
        key = key.replace(old, new)
    return key
