"""Key names of transformers, of every version → ours.

transformers has renamed its layers several times and stored q, k and v together or apart; all of it is read:

==================  =============================================================================
ours                theirs, among versions
==================  =============================================================================
``blocks.N``        ``encoder.layer.N``, ``layers.N``, ``layer.N``, ``model.layer.N``
``attn.qkv``        ``attention.attention.{query,key,value}``, ``attention.{q,k,v}_proj``
``attn.proj``       ``attention.output.dense``, ``attention.o_proj``
``mlp.fc1, fc2``    ``intermediate.dense, output.dense``, ``mlp.fc1, fc2``, ``mlp.{up,down}_proj``
gated ``mlp.fc1``   ``mlp.weights_in``, of which the gate is the first half, ``mlp.{gate,up}_proj``
``decoder_blocks``  ``decoder.decoder_layers``, ``decoder.decoder_encoder.layer``
==================  =============================================================================
"""

import re
from collections.abc import Iterable, Mapping

from napari_sslmaps.errors import CheckpointError

_PATCHES = re.compile(r"(.*?)embeddings\.patch_embeddings\.(projection\.)?weight")
_BLOCK = re.compile(r"(decoder\.decoder_)?(?:(?:encoder|model)\.)?layers?\.(\d+)\.(.+)")
_TOP = (
    (r"embeddings\.patch_embeddings\.(projection\.)?", "patch_embed.proj."),
    (r"embeddings\.position_embeddings$", "pos_embed"),
    (r"embeddings\.register_tokens$", "reg_token"),
    (r"embeddings\.(cls_token|mask_token)$", r"\1"),
    (r"(layernorm|norm)\.", "norm."),
    (r"decoder\.(?=decoder_|mask_token$)", ""),
)
_INSIDE = (
    (r"(layernorm_before|norm1)\.", "norm1."),
    (r"(layernorm_after|norm2)\.", "norm2."),
    (r"attention\.(attention\.)?(query|q_proj)\.", "attn.qkv[q]."),
    (r"attention\.(attention\.)?(key|k_proj)\.", "attn.qkv[k]."),
    (r"attention\.(attention\.)?(value|v_proj)\.", "attn.qkv[v]."),
    (r"attention\.(attention\.)?qkv(_proj)?\.", "attn.qkv."),
    (r"attention\.(output\.dense|o_proj)\.", "attn.proj."),
    (r"(intermediate\.dense|mlp\.fc1|mlp\.weights_in)\.", "mlp.fc1."),
    (r"(output\.dense|mlp\.fc2|mlp\.down_proj|mlp\.weights_out)\.", "mlp.fc2."),
)
PARTS: Mapping[str, tuple[str, ...]] = {"qkv": ("q", "k", "v"), "fc1": ("g", "x")}
"""What our layers hold in one, in order; a gate before the value."""
PART = re.compile(r"(.+\.)(qkv|fc1)\[(\w)\](\..+)")
LEFT_OUT: Mapping[str, str] = {
    "pooler.": "pooler",
    "classifier.": "classification head",
    "decoder.": "pixel head",
}


def find_root(tensors: Iterable[str]) -> str:
    """Return what a head's model puts before the encoder's keys, for example ``vit.``."""
    found = next((match for key in tensors if (match := _PATCHES.fullmatch(key))), None)
    if found is None:
        raise CheckpointError(
            "Expected a transformers folder with a patch embedding; its weights have none. A shard may be "
            "missing."
        )
    return found[1]


def translate_key(key: str, *, gated: bool, rope: bool) -> str:
    """Return our name of a key without its root; what is not known keeps its own.

    Parameters
    ----------
    key
        As in the file, without `find_root`'s prefix.
    gated
        Whether the MLP has a gate apart, so that ``up_proj`` is not its only first layer.
    rope
        Whether positions are rotary: timm calls layer scales otherwise there, and keeps a gate apart.

    Returns
    -------
    str
        ``blocks.0.attn.qkv[k].weight`` for a part that a layer of ours holds together with others.
    """
    if not (found := _BLOCK.fullmatch(key)):
        return _first_rule(key, _TOP)
    decoder, index, inside = found.groups()
    scale = r"gamma_\1" if rope else r"ls\1.gamma"
    gate, up = ("mlp.fc1_g.", "mlp.fc1_x.") if rope else ("mlp.fc1[g].", "mlp.fc1[x].")
    rules = (
        *_INSIDE,
        (r"mlp\.gate_proj\.", gate),
        (r"mlp\.up_proj\.", up if gated else "mlp.fc1."),
        (r"layer_scale(\d)\.lambda1$", scale),
    )
    return f"{'decoder_' if decoder else ''}blocks.{index}.{_first_rule(inside, rules)}"


def _first_rule(key: str, rules: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        if re.match(pattern, key):
            return re.sub(f"^{pattern}", replacement, key)
    return key
