"""Names in a transformers folder: settings of its JSON files, and keys of every version → ours.

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

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from napari_sslmaps.encoders.methods.beit import DATA2VEC_IS_LIKE_BEIT
from napari_sslmaps.encoders.methods.dino import MSN_IS_LIKE_DINO
from napari_sslmaps.encoders.methods.method import Method, ModelType
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.recognition import Fact
from napari_sslmaps.encoders.spec import get_normalisation, spell_normalisation
from napari_sslmaps.errors import CheckpointError, InvalidOptionError

_OTHERS: Mapping[str, ModelType] = {
    "vit": ModelType(),
    "vit_msn": ModelType(eps=1e-6),
    "deit": ModelType(),
    "data2vec-vision": ModelType(),
}
"""Types that do not tell their method: DINO, supervised and other transformers."""
_LIKE: Mapping[str, Fact] = {
    "vit_msn": Fact("dino", MSN_IS_LIKE_DINO, certain=False),
    "data2vec-vision": Fact("beit", DATA2VEC_IS_LIKE_BEIT, certain=False),
}
"""What is shown as the method that it is like."""
_BRANCH = "transformers' own converter takes the context encoder; config.json does not say"


def model_type_of(config: Mapping[str, Any]) -> tuple[Method | None, ModelType]:
    """Return the method that `config` names, None where several have such folders, and what is usual for it.

    Raises
    ------
    CheckpointError
        If it names none that is known.
    """
    kind = str(config.get("model_type"))
    known: dict[str, tuple[Method | None, ModelType]] = {
        name: (method, usual) for method in METHODS.values() for name, usual in method.model_types.items()
    }
    known |= {name: (None, usual) for name, usual in _OTHERS.items()}
    if kind not in known:
        raise CheckpointError(
            f"Expected a transformers folder whose config.json has a model_type among {', '.join(known)}; "
            f"it has {kind!r}. Other networks cannot be read."
        )
    return known[kind]


def read_facts(config: Mapping[str, Any], preprocessor: Mapping[str, Any] | None) -> dict[str, Fact]:
    """Collect method, heads, eps, antialias, norm_pix, branch and normalisation, as far as they are told.

    Raises
    ------
    CheckpointError
        If a value is not what it should be.
    """
    method, usual = model_type_of(config)
    facts = {
        "heads": _number(config, "num_attention_heads", usual.heads),
        "eps": _number(config, "layer_norm_eps", usual.eps),
    }
    if config["model_type"] in _LIKE:
        facts["method"] = _LIKE[config["model_type"]]
    if method is not None:
        facts["method"] = Fact(method.name, f"model_type {config['model_type']!r} in config.json")
        if method.converted_branch:
            facts["branch"] = Fact(method.converted_branch, _BRANCH)
        if isinstance(config.get("norm_pix_loss"), bool):
            facts["norm_pix"] = Fact(config["norm_pix_loss"], "norm_pix_loss in config.json")
    if (grid := _grid(config, method)) is not None:
        facts["grid"] = grid
    if not usual.rope:
        facts["antialias"] = Fact(usual.antialias, "as transformers resamples positions")
    return facts | preprocessor_facts(preprocessor)


def _grid(config: Mapping[str, Any], method: Method | None) -> Fact | None:
    """Return the grid of positions where the images were no squares; DINOv2's are taken for a square then."""
    sides, patch = config.get("image_size"), config.get("patch_size")
    if not isinstance(sides, list) or len(sides) != 2 or sides[0] == sides[1]:
        return None
    if any(type(value) is not int or value < 1 for value in (*sides, patch)):
        return None
    rows, columns = (side // patch for side in sides)
    side = math.isqrt(rows * columns)
    if method is not None and method.name == "dinov2" and side * side == rows * columns:
        return Fact((side, side), "as transformers lays DINOv2's positions out")
    return Fact((rows, columns), "image_size and patch_size in config.json")


def preprocessor_facts(preprocessor: Mapping[str, Any] | None) -> dict[str, Fact]:
    """Return the normalisation that a ``preprocessor_config.json`` says; empty if there is none.

    Raises
    ------
    CheckpointError
        If it is none of intensities in [0, 1].
    """
    normalisation = None if preprocessor is None else _normalisation(preprocessor)
    return {} if normalisation is None else {"normalisation": normalisation}


def read_number(config: Mapping[str, Any], key: str, default: float) -> Any:
    """Return a positive number of the config, of the default's type, or the default.

    Raises
    ------
    CheckpointError
        If it is something else.
    """
    return _number(config, key, default).value


def _number(config: Mapping[str, Any], key: str, default: float) -> Fact:
    if key not in config:
        return Fact(default, f"transformers' default; config.json has no {key}")
    value = config[key]
    whole = isinstance(default, int)
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool) and value > 0
    if not fits:
        kind = "whole number" if whole else "number"
        raise CheckpointError(f"Expected {key} in config.json to be a {kind} above 0; it is {value!r}.")
    return Fact(type(default)(value), f"{key} in config.json")


def _normalisation(preprocessor: Mapping[str, Any]) -> Fact | None:
    """Statistics for intensities in [0, 1], whatever 8-bit values are multiplied by before."""
    where = "in preprocessor_config.json"
    factor = preprocessor.get("rescale_factor", 1 / 255) if preprocessor.get("do_rescale", True) else 1.0
    if not preprocessor.get("do_normalize", True):
        return Fact("unit", f"do_normalize is false {where}")
    mean: Any = preprocessor.get("image_mean")
    std: Any = preprocessor.get("image_std")
    if mean is None and std is None:
        return None
    try:
        scale = 255 * float(factor)
        three = [[value / scale for value in values] * (3 // len(values)) for values in (mean, std)]
        name = spell_normalisation(*three)
        return Fact(get_normalisation(name).name, f"image_mean and image_std {where}")
    except (TypeError, ValueError, ZeroDivisionError, InvalidOptionError) as error:
        raise CheckpointError(
            f"Expected image_mean and image_std {where} to be three means and three deviations of "
            f"intensities; they are {mean!r} and {std!r}. Correct them, or take the file away and name the "
            "normalisation."
        ) from error


_PATCHES = re.compile(r"(.*?)embeddings\.patch_embeddings\.(projection\.)?weight")
_BLOCK = re.compile(r"(decoder\.decoder_)?(?:(?:encoder|model)\.)?layers?\.(\d+)\.(.+)")
_TOP = (
    (r"embeddings\.patch_embeddings\.(projection\.)?", "patch_embed.proj."),
    (r"embeddings\.position_embeddings$", "pos_embed"),
    (r"embeddings\.(register_tokens|distillation_token)$", "reg_token"),
    (r"embeddings\.(cls_token|mask_token)$", r"\1"),
    (r"(layernorm|norm)\.", "norm."),
    (r"decoder\.(?=decoder_|mask_token$)", ""),
    (r"(encoder\.relative_position_bias|shared_position_bias)\.", "rel_pos_bias."),
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
    (r"(attention\.attention\.)?relative_position_bias\.", "attn."),
    (r"lambda_([12])$", r"ls\1.gamma"),
    (r"(output\.dense|mlp\.fc2|mlp\.down_proj|mlp\.weights_out)\.", "mlp.fc2."),
)
PARTS: Mapping[str, tuple[str, ...]] = {"qkv": ("q", "k", "v"), "fc1": ("g", "x")}
"""What our layers hold in one, in order; a gate before the value."""
PART = re.compile(r"(.+\.)(qkv|fc1)\[(\w)\](\..+)")
LEFT_OUT: Mapping[str, str] = {
    "pooler.": "pooler",
    "classifier.": "classification head",
    "cls_classifier.": "classification head",
    "distillation_classifier.": "classification head",
    "decoder.": "pixel head",
    "lm_head.": "head of visual tokens",
    "decode_head.": "segmentation head",
    "auxiliary_head.": "segmentation head",
    "fpn": "pyramid of a segmentation network",
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
        Key as in the file, without `find_root`'s prefix.
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
