"""BEiT and what is built like it, USFM for one: facts, and key names of their files."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_sslmaps.encoders.methods.method import KeyLayout, Method, ModelType
from napari_sslmaps.encoders.recognition import Fact, Translated, Unwrapped, separate
from napari_sslmaps.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

TABLE = "attn.relative_position_bias_table"
_SHARED = "rel_pos_bias.relative_position_bias_table"
_INDEX = "relative_position_index"
_PREDICTED = "head of visual tokens"
_BESIDE: Mapping[str, str] = {
    "mask_token": "mask token",
    "lm_head.": _PREDICTED,
    "cls_pt_": "layers that BEiT v2 trains CLS with",
    "decoder.": "pixel decoder",
    "fpn": "pyramid of a segmentation network",
    "head.": "classification head",
    "fc_norm.": "norm of the pooled token",
}
DATA2VEC_IS_LIKE_BEIT = "it is of data2vec, which like BEiT predicts what masked patches held"
_HALVES = "0.5,0.5,0.5/0.5,0.5,0.5"
_SCALES = re.compile(r"\.gamma_([12])$")


def _is_beit(file: Unwrapped) -> bool:
    """Whether blocks have tables of relative positions, or BEiT's biases beside what it was trained with."""
    keys = file.tensors
    tables = _SHARED in keys or f"blocks.0.{TABLE}" in keys
    trained = "blocks.0.attn.q_bias" in keys and bool({"mask_token", "lm_head.weight"} & set(keys))
    return "patch_embed.proj.weight" in keys and (tables or (trained and "pos_embed" in keys))


def check_offsets(tensors: Mapping[str, Tensor]) -> None:
    """Refuse a file that says which entry of its tables is of which offset, and says it otherwise than BEiT.

    Parameters
    ----------
    tensors
        Tensors by the names that they have here, tables and their indices among them.

    Raises
    ------
    CheckpointError
        If an index of a square grid is not row by row of queries less keys, with CLS's three entries last.
    """
    import torch
    from timm.layers.pos_embed_rel import gen_relative_position_index

    for key, index in tensors.items():
        table = tensors.get(f"{key.removesuffix(_INDEX)}relative_position_bias_table")
        if not key.endswith(_INDEX) or table is None or table.ndim != 2 or not table.numel():
            continue  # what is no table is told by who reads it
        side = (math.isqrt(len(table)) + 1) // 2
        if (2 * side - 1) ** 2 + 3 != len(table):
            continue
        usual = gen_relative_position_index((side, side), class_token=True)
        if not torch.equal(index.flatten().long(), usual.flatten()):
            raise CheckpointError(
                f"Expected an index of offsets as BEiT writes it; {key} says otherwise which entry of a "
                "table is of which offset. The file is damaged or of another network."
            )


def translate_beit(file: Unwrapped) -> Translated:
    """Translate a file of BEiT's own code, or one that it is built like: timm's, USFM's."""
    check_offsets(file.tensors)
    indexed = any(key.endswith(_INDEX) for key in file.tensors)
    without = {key: value for key, value in file.tensors.items() if not key.endswith(_INDEX)}
    translated = separate(replace(file, tensors=without), "BEiT", _BESIDE)
    computed = {key: "computed from the grid" for key in file.tensors if key.endswith(_INDEX)}
    state = joined_biases(share_tables(renamed(translated.state)))
    trained = bool({"mask token", _PREDICTED} & set(translated.left_out.values()))
    if f"blocks.0.{TABLE}" not in state:
        how = "biases of queries and values apart, beside a mask token or a head of visual tokens"
        return replace(translated, state=state, facts={"method": Fact("beit", how, certain=False)})
    how = "tables of relative positions" + (", beside what BEiT is trained with" if trained else "")
    facts = {
        "method": Fact("beit", how, certain=trained),
        "relative": Fact("geometric-cubic", "as BEiT's own code resizes them")
        if indexed or trained
        else Fact("geometric-linear", "as timm resizes them; the file has no index of offsets, as timm's"),
    }
    return replace(translated, state=state, left_out=dict(translated.left_out) | computed, facts=facts)


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give layer scales the name they have here."""
    return {_SCALES.sub(r".ls\1.gamma", key): tensor for key, tensor in state.items()}


def share_tables(state: Mapping[str, Tensor], shared: str = _SHARED) -> dict[str, Tensor]:
    """Give every block the table that all blocks share, if there is one, added to its own."""
    if shared not in state:
        return dict(state)
    found = {key: tensor for key, tensor in state.items() if key != shared}
    blocks = {key.split(".")[1] for key in state if key.startswith("blocks.")}
    for number in blocks:
        key = f"blocks.{number}.{TABLE}"
        found[key] = found[key].float() + state[shared].float() if key in found else state[shared]
    return found


def joined_biases(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put the biases of queries and values into one, with zeros for the keys, which have none."""
    import torch

    found = {key: tensor for key, tensor in state.items() if not key.endswith((".q_bias", ".v_bias"))}
    for key, queries in state.items():
        stem = key.removesuffix("q_bias")
        if key != stem and f"{stem}v_bias" in state:
            found[f"{stem}qkv.bias"] = torch.cat([queries, torch.zeros_like(queries), state[f"{stem}v_bias"]])
    return found


BEIT = Method(
    name="beit",
    title="BEiT",
    objective="predicts what masked patches held: visual tokens, or, as USFM does, pixels and their spectrum",
    citation="Bao et al., BEiT: BERT Pre-Training of Image Transformers, arXiv 2106.08254",
    normalisation="imagenet",
    eps=1e-6,
    attention_note="CLS query; before fine-tuning no loss reads CLS",
    learns_from="prediction of masked patches",
    tags=("beitv2",),
    named_statistics={
        **dict.fromkeys(("beitv2", "usfm", "pt1k"), "imagenet"),
        **dict.fromkeys(("beit_base", "beit_large"), _HALVES),
    },
    antialias=False,
    beside=_BESIDE,
    pretext_parts={"mask_token": "mask token", "lm_head.": _PREDICTED, "decoder.": "pixel decoder"},
    layouts=(KeyLayout(_is_beit, translate_beit),),
    model_types={"beit": ModelType()},
    unshown="it predicts visual tokens, and what these look like is known to a tokenizer that none of its "
    "files holds; of USFM's task the decoder is not public",
)
