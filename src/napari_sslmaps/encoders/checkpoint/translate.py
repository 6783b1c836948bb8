"""Layouts told by their key names and translated to ours; timm's names are ours already."""

import re
from dataclasses import replace

from napari_sslmaps.encoders.checkpoint.others import refuse_others
from napari_sslmaps.encoders.checkpoint.spellings import translate_respelled
from napari_sslmaps.encoders.checkpoint.timm_config import HEADS, OTHER_NAMES, refuse_by_name, timm_facts
from napari_sslmaps.encoders.checkpoint.transformers import Joined, find_pieces
from napari_sslmaps.encoders.families.family import Family
from napari_sslmaps.encoders.families.registry import FAMILIES
from napari_sslmaps.encoders.methods.mae import mae_facts
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.recognition import Translated, Unwrapped, separate, unchunk
from napari_sslmaps.errors import CheckpointError

_OF_EVA = frozenset({"blocks.0.gamma_1", "blocks.0.attn.q_bias"})
"""Names that stay where a transformer of added positions is none whose code is known, BEiT's or iBOT's."""


def translate(file: Unwrapped, name: str) -> Translated:
    """Recognise the layout of a file's tensors and rename them.

    Raises
    ------
    CheckpointError
        If the layout is none that is known; the sentence lists the first keys.
    """
    keys = file.tensors
    if not file.header:
        refuse_others(keys, name)
    translated = _translated(file, name)
    if "pos_embed" in translated.state and _OF_EVA & translated.state.keys():
        raise CheckpointError(
            f"Expected positions that are either added or rotary; tensors in {name} have the names of timm's "
            "EVA, which may have both. It cannot be loaded."
        )
    if file.config is None and not file.header:
        refuse_by_name(name, translated.state)
    return translated


def _translated(file: Unwrapped, name: str) -> Translated:
    keys = file.tensors
    if file.spelling:
        return _with_config(file, translate_respelled(file))
    numbered = replace(file, tensors=unchunk(keys))
    for method in METHODS.values():
        for layout in method.layouts:
            if layout.fits(numbered):
                return _with_config(file, layout.translate(numbered))
    family = next((family for family in FAMILIES.values() if family.mark in keys), None)
    if family is not None:
        return _with_config(file, translate_timm(numbered, family))
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


def _with_config(file: Unwrapped, translated: Translated) -> Translated:
    """Add what timm's config.json says, if it lies beside; what the file itself says for certain wins."""
    if file.config is None or file.header:
        return translated
    told = timm_facts(file.config, translated.state)
    own = {name: fact for name, fact in translated.facts.items() if fact.certain or name not in told}
    return replace(translated, facts=told | own)


def translate_timm(file: Unwrapped, family: Family) -> Translated:
    """Translate a network in timm's names, which are ours: timm's files, this package's, many trainings'."""
    beside: dict[str, str] = {}
    for method in METHODS.values():
        beside |= method.beside if family.kind in method.families else {}
    translated = separate(file, "timm", {**beside, **HEADS})
    state = {OTHER_NAMES.get(key, _joined(key)): tensor for key, tensor in translated.state.items()}
    pieces = find_pieces(state)
    joined = state if len(pieces) == len(state) else Joined(pieces)
    return replace(translated, state=joined, facts=mae_facts(file))


_APART = re.compile(r"(blocks\.\d+\.attn\.)([qkv])(?:_proj)?(\.(?:weight|bias))")


def _joined(key: str) -> str:
    """Return the key of the layer that holds q, k and v together, with the part that this one is."""
    found = _APART.fullmatch(key)
    return key if found is None else f"{found[1]}qkv[{found[2]}]{found[3]}"
