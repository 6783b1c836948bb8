"""Folders that transformers saved → our layout: ViT-MAE, I-JEPA, BEiT, DINOv3, DINOv2 and plain ViT."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from napari_sslmaps.encoders.checkpoint.transformers_names import (
    LEFT_OUT,
    PART,
    PARTS,
    find_root,
    model_type_of,
    read_facts,
    read_number,
    translate_key,
)
from napari_sslmaps.encoders.methods.beit import TABLE, check_offsets, share_tables
from napari_sslmaps.encoders.methods.method import ModelType
from napari_sslmaps.encoders.recognition import Fact, PretextHeads, Translated
from napari_sslmaps.errors import CheckpointError

_BESIDE = ("decoder_", "mask_token")


def translate_transformers(
    config: Mapping[str, Any], preprocessor: Mapping[str, Any] | None, tensors: Mapping[str, Tensor]
) -> Translated:
    """Translate the tensors of a folder that transformers saved.

    Parameters
    ----------
    config, preprocessor
        Contents of ``config.json`` and, if the folder has it, ``preprocessor_config.json``.
    tensors
        Tensors of the folder's weight files, under their keys.

    Returns
    -------
    Translated
        Tensors of the files' precision, as they came; q, k and v, where they were apart, are joined each
        time they are asked for.

    Raises
    ------
    CheckpointError
        If the ``model_type`` is not among those known, or weights are missing or of another activation.
    """
    _, usual = model_type_of(config)
    gate = _gate(config, tensors)
    root = find_root(tensors)
    held = [key for key in tensors if key.startswith(root) and tensors[key].numel()]
    _check_told(config, [key.removeprefix(root) for key in held])
    check_offsets(tensors)
    state, origins, left_out = _rename(tensors, root, rope=usual.rope)
    if config.get("use_mean_pooling") is True and f"{root}layernorm.weight" in tensors:
        for key in _take(state, ("norm.",)):
            left_out[origins[key]] = "unused, as use_mean_pooling in config.json says"
    beside = _take(state, _BESIDE)
    for key in beside:
        left_out[origins[key]] = "mask token" if key == "mask_token" else "MAE decoder"
    _check_depths(config, state, beside)
    state = share_tables(state)
    if "reg_token" in state and "pos_embed" in state and config["model_type"] != "deit":
        _move_class_position(state)
    pieces = find_pieces(state)
    buffers: dict[str, Tensor] = {}
    if usual.rope:
        pieces, buffers = _split_biases(pieces)
        buffers["rope.periods"] = _periods(config)
    facts = read_facts(config, preprocessor) | gate | _of_relative(config, state)
    layout = f"transformers {config['model_type']}"
    pretext_heads = _pretext_heads(config, usual, Joined(find_pieces(beside)), facts["eps"].value)
    return Translated(layout, Joined(pieces), buffers, left_out, pretext_heads, facts)


def _of_relative(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Fact]:
    """Return what is told of tables of relative positions, if there are any, and of the last norm.

    Raises
    ------
    CheckpointError
        If they are of images that were no squares, which transformers reads row by row as columns.
    """
    if f"blocks.0.{TABLE}" not in state:
        return {}
    sides = config.get("image_size")
    if isinstance(sides, list) and len(set(sides)) > 1:
        raise CheckpointError(
            f"Expected tables of relative positions of square images; image_size in config.json is {sides}, "
            "of which transformers itself takes rows for columns. It cannot be loaded."
        )
    facts = {"relative": Fact("bilinear", "as transformers resizes them")}
    if "norm.weight" not in state:
        facts["final_norm"] = Fact(value=False, how="the pooled token alone is normed")
    return facts


def _gate(config: Mapping[str, Any], tensors: Iterable[str]) -> dict[str, Fact]:
    """Return the activation of DINOv3's gates, if it has any; DINOv2's gated MLP is always SiLU's.

    Raises
    ------
    CheckpointError
        If the activation is one that the networks here do not have.
    """
    gated = any(".gate_proj." in key for key in tensors) and config["model_type"] == "dinov3_vit"
    known, given = ("gelu", "silu") if gated else ("gelu",), config.get("hidden_act", "gelu")
    if given not in known and not config.get("use_swiglu_ffn", False):
        raise CheckpointError(
            f"Expected a {'gated ' if gated else ''}transformer with hidden_act "
            f"{' or '.join(map(repr, known))}; config.json says {given!r}, which would give other features."
        )
    return {"gate": Fact(given, "hidden_act in config.json")} if gated else {}


_TOLD: Mapping[str, str] = {
    "qkv_bias": r".+\.attention\.(attention\.)?(query|q_proj|qkv|qkv_proj)\.bias",
    "query_bias": r".+\.q_proj\.bias",
    "key_bias": r".+\.k_proj\.bias",
    "value_bias": r".+\.v_proj\.bias",
    "proj_bias": r".+\.o_proj\.bias",
    "mlp_bias": r".+\.mlp\.down_proj\.bias",
    "use_gated_mlp": r".+\.mlp\.gate_proj\.weight",
    "use_swiglu_ffn": r".+\.mlp\.(weights_in|gate_proj)\.weight",
    "layer_scale_init_value": r".+\.lambda_1",
    "num_register_tokens": r"embeddings\.register_tokens",
    "use_absolute_position_embeddings": r"embeddings\.position_embeddings",
    "use_relative_position_bias": r".*layers?\.\d+\..+\.relative_position_bias_table",
    "use_shared_relative_position_bias": r"(encoder\.relative|shared)_position_bias\..+_table",
}
"""Fields of a config.json that say which tensors there are, and how these are called behind the root."""


def _check_told(config: Mapping[str, Any], keys: Collection[str]) -> None:
    """Refuse weights that config.json says otherwise of: transformers computes with what it says alone.

    Raises
    ------
    CheckpointError
        If a field says that there are tensors which there are not, or the other way round.
    """
    for field, pattern in _TOLD.items():
        there = any(re.fullmatch(pattern, key) for key in keys)
        if field in config and bool(config[field]) != there:
            raise CheckpointError(
                f"Expected weights such as config.json says; {field} is {config[field]!r} there, and the "
                f"files hold {'such' if there else 'no such'} weights. Correct config.json, or fetch the "
                "folder again."
            )
    if config.get("use_mean_pooling") is False and "layernorm.weight" not in keys:
        raise CheckpointError(
            "Expected a last norm, since use_mean_pooling in config.json is false; the files hold none. "
            "Correct config.json, or fetch the folder again."
        )


def _rename(
    tensors: Mapping[str, Tensor], root: str, *, rope: bool
) -> tuple[dict[str, Tensor], dict[str, str], dict[str, str]]:
    """Return tensors by our key, the files' key of each, and what is left out and why."""
    gated = any(".mlp.gate_proj." in key for key in tensors)
    state: dict[str, Tensor] = {}
    origins: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for key, tensor in tensors.items():
        name = translate_key(key.removeprefix(root), gated=gated, rope=rope)
        reason = next((why for start, why in LEFT_OUT.items() if name.startswith(start)), None)
        if reason is None and tensor.numel() == 0:
            reason = "empty"
        if name == "rope_embeddings.inv_freq":
            reason = "computed from rope_theta"
        if name.endswith("relative_position_index"):
            reason = "computed from the grid"
        if reason is not None:
            left_out[key] = reason
        elif name in state:
            raise CheckpointError(
                f"Expected each weight once; {origins[name]} and {key} are the same one in two spellings."
            )
        else:
            state[name], origins[name] = tensor, key
    return state, origins, left_out


def _take(state: dict[str, Tensor], starts: tuple[str, ...]) -> dict[str, Tensor]:
    return {key: state.pop(key) for key in list(state) if key.startswith(starts)}


def _check_depths(
    config: Mapping[str, Any], state: Mapping[str, Tensor], decoder: Mapping[str, Tensor]
) -> None:
    """Notice a shard that is missing, which would leave a shallower network."""
    for tensors, start, key in (
        (state, "blocks.", "num_hidden_layers"),
        (decoder, "decoder_blocks.", "decoder_num_hidden_layers"),
    ):
        found = len({name.split(".")[1] for name in tensors if name.startswith(start)})
        wanted = read_number(config, key, found or 1)
        if found != wanted and (tensors is state or found):
            raise CheckpointError(
                f"Expected {wanted} blocks, as {key} in config.json says; the weights have {found}. "
                "A shard may be missing."
            )


Pieces = dict[str, tuple[Tensor, ...]]


def _split_biases(pieces: Pieces) -> tuple[Pieces, dict[str, Tensor]]:
    """Split the bias of q, k and v as timm keeps it under rotary positions: the k bias is a plain buffer."""
    renamed: Pieces = {}
    buffers: dict[str, Tensor] = {}
    for key, tensors in pieces.items():
        if key.endswith(".qkv.bias"):
            stem = key.removesuffix("qkv.bias")
            query, buffers[f"{stem}k_bias"], value = tensors if len(tensors) == 3 else tensors[0].chunk(3)
            renamed |= {f"{stem}q_bias": (query,), f"{stem}v_bias": (value,)}
        else:
            renamed[key] = tensors
    return renamed, buffers


def _periods(config: Mapping[str, Any]) -> Tensor:
    """Periods of DINOv3's rotary positions, θ^(4i/d) for i < d/4; d is the width of a head."""
    width = read_number(config, "hidden_size", 384) // read_number(config, "num_attention_heads", 6)
    exponents = torch.arange(width // 4, dtype=torch.float32) * (4 / width)
    periods: Tensor = read_number(config, "rope_theta", 100.0) ** exponents
    return periods


def _move_class_position(state: dict[str, Tensor]) -> None:
    """Add the CLS token's position to it: timm, with registers, keeps positions of patches alone."""
    positions = state["pos_embed"]
    state["cls_token"] = state["cls_token"].float() + positions[:, :1].float()
    state["pos_embed"] = positions[:, 1:]


def _pretext_heads(
    config: Mapping[str, Any], usual: ModelType, beside: Mapping[str, Tensor], eps: float
) -> PretextHeads:
    """Keep MAE's decoder with its mask token, and the mask token of DINOv2 and DINOv3, (1, D)."""
    if "decoder_embed.weight" in beside:
        heads = read_number(config, "decoder_num_attention_heads", 16)
        settings = {"mask_ratio": config.get("mask_ratio"), "norm_pix": config.get("norm_pix_loss")}
        known = {key: value for key, value in settings.items() if value is not None}
        return PretextHeads(beside, {"decoder_heads": heads, "decoder_eps": eps, **known})
    if usual.mask_token and "mask_token" in beside:
        return PretextHeads({"mask_token": beside["mask_token"].reshape(1, -1)})
    return PretextHeads()


class Joined(Mapping[str, Tensor]):
    """Tensors by name, joined along their first axis each time they are asked for.

    A large file stays where it is mapped until its weights are copied, one layer at a time.

    Parameters
    ----------
    pieces
        Pieces of each tensor, in order.
    """

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces

    def __getitem__(self, key: str) -> Tensor:
        pieces = self._pieces[key]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def __iter__(self) -> Iterator[str]:
        return iter(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)


def find_pieces(state: Mapping[str, Tensor]) -> Pieces:
    """Gather the pieces of each tensor under our name; a bias that one piece lacks is zero.

    Parameters
    ----------
    state
        Tensors by the names that `translate_key` reads.

    Raises
    ------
    CheckpointError
        If a piece of a weight is missing.
    """
    pieces: Pieces = {}
    for key, tensor in state.items():
        found = PART.fullmatch(key)
        if found is None:
            pieces[key] = (tensor,)
            continue
        stem, layer, _, kind = found.groups()
        names = [f"{stem}{layer}[{part}]{kind}" for part in PARTS[layer]]
        missing = [name for name in names if name not in state]
        if missing and kind == ".weight":
            raise CheckpointError(
                f"Expected {', '.join(names)}; the folder lacks {', '.join(missing)}. A shard may be missing."
            )
        pieces[f"{stem}{layer}{kind}"] = tuple(state.get(name, torch.zeros_like(tensor)) for name in names)
    return pieces
