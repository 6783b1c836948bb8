"""Contrastive learning: facts of MoCo, SwAV, RetCCL, CONCH and the like, and key names of their files.

Their task cannot be shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from napari_sslmaps.encoders.methods.method import INVARIANCE, KeyLayout, Method
from napari_sslmaps.encoders.recognition import Fact, Translated, Unwrapped, separate

_BESIDE: Mapping[str, str] = {"head.": "projection head"}
_MOCO_HEADS: Mapping[int, int] = {384: 12, 768: 12}
"""Heads of MoCo v3's transformers by token width: its small one has twice as many as others."""
_MOCO_BRANCHES = {"base_encoder", "momentum_encoder"}
_CONTRASTED: Mapping[str, str] = {
    "queue": "a queue of keys, as MoCo has it",
    "base_encoder": "names of MoCo v3",
    "momentum_encoder": "names of MoCo v3",
    "prototypes": "prototypes, as SwAV has them",
}
"""What a file of contrastive learning says, by a word in its keys."""
_OF_DIRA = "best_loss"
_MATCHED = re.compile(
    r"(^|\.)(teacher|student|projector|projection_head|predictor|momentum_\w+|online_\w+)(\.|$)"
)
"""Words in the keys of what matches views of an image without telling others apart: SimSiam, BYOL, DINO."""


def _is_moco(file: Unwrapped) -> bool:
    """Whether a transformer lay under a name that MoCo v3's code gives."""
    return bool(_MOCO_BRANCHES & set(file.container.split(".")) and "patch_embed.proj.weight" in file.tensors)


def translate_moco(file: Unwrapped) -> Translated:
    """Translate a transformer of MoCo v3 (arXiv 2104.02057)."""
    facts = {
        "method": Fact("contrastive", "names of MoCo v3"),
        "usual_heads": Fact(_MOCO_HEADS, "MoCo v3's code"),
    }
    return replace(separate(file, "MoCo v3", _BESIDE), facts=facts)


def facts_of_views(file: Unwrapped) -> Mapping[str, Fact]:
    """Return the method of a CNN that learned from views of images, if anything in its file says so.

    DiRA's code, where it only discriminates, writes MoCo's names too, and the best loss so far beside them.
    """
    names = [file.container, *file.tensors, *file.left_out, *(name for name, _ in file.outside.values())]
    words = {word for name in names for word in name.split(".")}
    if _OF_DIRA in words:
        return {}
    for word, how in _CONTRASTED.items():
        if word in words:
            return {"method": Fact("contrastive", how)}
    matched = next((found for found in map(_MATCHED.search, names) if found), None)
    if matched is None:
        return {}
    how = f"{matched[2]} in its keys, as networks have it that match views of an image"
    return {"method": Fact("contrastive", how, certain=False)}


CONTRASTIVE = Method(
    name="contrastive",
    title="Contrastive",
    objective="brings together what belongs together, views of an image or an image and its caption, and "
    "keeps the rest apart",
    citation="He et al., Momentum Contrast for Unsupervised Visual Representation Learning, arXiv 1911.05722",
    normalisation="imagenet",
    eps=1e-6,
    attention_note="CLS query; a CNN has no attention: activation is shown instead",
    learns_from=INVARIANCE,
    families=("vit", "unet"),
    tags=("simclr", "moco", "mocov1", "mocov2", "mocov3", "swav", "byol", "simsiam", "barlow", "bt"),
    layouts=(KeyLayout(_is_moco, translate_moco),),
    unshown="it tells images apart, and gives no picture back",
)
