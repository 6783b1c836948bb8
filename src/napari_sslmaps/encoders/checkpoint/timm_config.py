"""Facts in the ``config.json`` that timm writes, checked against the tensors beside it.

The architecture's bare name says little: ``model_args`` change heads, width and layers, and cards ask to pass
more. So timm's network is built as the config says, without memory, and decides only if its tensors have the
names and shapes of the file's. Then it has to compute what the network here computes: what only looks alike,
with the same names and shapes, is refused by name.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import timm
import torch
from timm.layers.mlp import SwiGLUPacked
from timm.models.beit import Beit
from timm.models.convnext import ConvNeXt
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva
from timm.models.resnet import ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from napari_sslmaps.encoders.families.convnext import convnext_shape
from napari_sslmaps.encoders.families.convnext_network import build_convnext
from napari_sslmaps.encoders.families.family import prefixes_of
from napari_sslmaps.encoders.families.unet import unet_shape
from napari_sslmaps.encoders.families.unet_network import build_unet
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.families.vit_network import build_vit
from napari_sslmaps.encoders.methods.beit import TABLE, joined_biases, renamed, share_tables
from napari_sslmaps.encoders.methods.method import Method
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.recognition import Fact
from napari_sslmaps.encoders.spec import get_normalisation, spell_normalisation
from napari_sslmaps.errors import CheckpointError, InvalidOptionError

HEADS: Mapping[str, str] = {
    "head.": "classification head",
    "head_dist.": "classification head",
    "linear_head.": "classification head",
    "attn_pool.": "pooling by attention",
    "fc_norm.": "norm of the pooled token",
}
"""Beginnings of keys, in timm's files, of what stands behind the tokens."""
OTHER_NAMES: Mapping[str, str] = {"dist_token": "reg_token"}
"""Timm's names of what is the same here: the token of a distilled DeiT follows CLS, as registers do."""
_WHERE = "in timm's config.json"
_BRANCHES = {"target": "target encoder", "encoder": "context encoder"}
_MOST = 8192
"""The largest number passed to timm: a network of more would fill the memory before it is compared."""
_CANNOT_BUILD = (TypeError, ValueError, AssertionError, LookupError, AttributeError, RuntimeError)
_BEHIND = ("global_pool", "fc", "head.global_pool", "head.flatten", "head.fc")
_NOT_COMPUTED = (nn.Identity, nn.Dropout)
_CNNS = (ResNet, ConvNeXt)
_BIASED = {"attn.proj", "mlp.fc1", "mlp.fc1_g", "mlp.fc1_x", "mlp.fc2"}
_STEMS = ("patch_embed.proj.weight", "encoder.conv1.weight", "encoder.stem.0.weight")
"""Networks of timm that stand under ``encoder.`` here, whole."""


def timm_facts(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Fact]:
    """Collect what timm's ``config.json`` says of the tensors beside it.

    Parameters
    ----------
    config
        Content of the file, new or old (flat); or of open_clip's, which names a network of timm.
    state
        The encoder's tensors under our names.

    Returns
    -------
    dict
        Facts by name; empty if the config is not timm's; ``ignored`` alone, a sentence, if it is of another
        network.

    Raises
    ------
    CheckpointError
        If it names a network that is computed otherwise than any here.
    """
    name, arguments, pretrained = _read(config)
    if not name:
        return {}
    if not timm.is_model(name):
        sentence = (
            f"config.json names {name!r}, which timm {timm.__version__} does not know; it was not used."
        )
        return {"ignored": Fact(sentence, _WHERE)} if "pretrained_cfg" in config else {}
    network, difference = _fitting(name, arguments, state)
    if network is None:
        return {
            "ignored": Fact(f"{difference} of timm's {name!r} in config.json, which was not used.", _WHERE)
        }
    if unlike := _unlike(network, state):
        raise CheckpointError(
            f"Expected a network that this package computes; config.json says {name!r}, {unlike}, "
            "whose tensors "
            "look alike but would give other tokens. It cannot be loaded."
        )
    return _of_network(network, name, arguments) | _of_training(name, pretrained)


def refuse_by_name(name: str, state: Mapping[str, Tensor]) -> None:
    """Refuse tensors alone in a file that timm's name of another network, with the same tensors, begins.

    timm's own files are called so, ``resnetaa50_a1h-4cf422b3.pth`` for example, and nothing in them tells the
    activation, the place of norms, or what smooths before a stride.

    Parameters
    ----------
    name
        Name of the file.
    state
        The encoder's tensors under our names.

    Raises
    ------
    CheckpointError
        If the network of that name has these tensors and is computed otherwise than any here.
    """
    known = _name_of_timm(name)
    network, _ = _fitting(known, {}, state) if known else (None, "")
    if network is not None and (unlike := _unlike(network, state)):
        raise CheckpointError(
            f"Expected a network that this package computes; {name} bears timm's name {known!r}, {unlike}, "
            "whose tensors look alike but would give other tokens. If it is none, give the file another name."
        )


def _name_of_timm(name: str) -> str:
    """Return timm's name with which a file's begins; empty if there is none."""
    words = re.split(r"[-.]", name)[0].split("_")
    candidates = ("_".join(words[:count]) for count in range(len(words), 0, -1))
    return next((candidate for candidate in candidates if timm.is_model(candidate)), "")


def _read(config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any], Mapping[str, Any]]:
    """Return timm's name, arguments, and what it says of the training; an empty name if it is not timm's."""
    clip = config.get("model_cfg")
    if isinstance(clip, Mapping):
        vision = clip.get("vision_cfg")
        name = vision.get("timm_model_name", "") if isinstance(vision, Mapping) else ""
        preprocessing = config.get("preprocess_cfg")
        return str(name), {}, preprocessing if isinstance(preprocessing, Mapping) else {}
    name, pretrained = config.get("architecture"), config.get("pretrained_cfg", config)
    if not isinstance(name, str) or not isinstance(pretrained, Mapping):
        return "", {}, {}
    bare, _, tag = name.partition(".")
    arguments = config.get("model_args")
    entry = {"tag": tag, **pretrained} if tag else pretrained
    return bare, arguments if isinstance(arguments, Mapping) else {}, entry


def _fitting(
    name: str, arguments: Mapping[str, Any], state: Mapping[str, Tensor]
) -> tuple[nn.Module | None, str]:
    """Build timm's network as the config says, or as cards ask to; say how tensors differ if neither fits."""
    differences = []
    said, found = arguments.get("depth"), _depth(dict.fromkeys(state, ()))
    if said is not None and said != found:
        return None, f"The tensors have the depth {found}, and not {said} as the config"
    for given in (dict(arguments), {**arguments, **_passed_beside(state)}):
        network = _build(name, given)
        if isinstance(network, str):
            differences.append(network)
            continue
        difference = _difference(network, state)
        if not difference:
            return network, ""
        differences.append(difference)
    return None, differences[0]


def _passed_beside(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what cards ask to pass to timm beside config.json, as far as tensors show it."""
    given: dict[str, Any] = {}
    if "blocks.0.ls1.gamma" in state:
        given["init_values"] = 1e-5
    if any(state[key].ndim == 4 and state[key].shape[1] == 1 for key in _STEMS if key in state):
        given["in_chans"] = 1
    if "reg_token" in state:
        given["reg_tokens"] = state["reg_token"].shape[1]
    first, second = state.get("blocks.0.mlp.fc1.weight"), state.get("blocks.0.mlp.fc2.weight")
    if first is not None and second is not None and first.shape[0] == 2 * second.shape[-1]:
        given |= {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
    return given


def _build(name: str, arguments: Mapping[str, Any]) -> nn.Module | str:
    largest = max(_numbers(arguments.values()), default=0)
    if largest > _MOST:
        return f"The config asks for {largest}, more than any network has, as an argument"
    try:
        with torch.device("meta"):
            network: nn.Module = timm.create_model(name, pretrained=False, **{**arguments, "num_classes": 0})
    except _CANNOT_BUILD as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        return f"timm cannot build the network ({reason})"
    return network


def _numbers(values: Iterable[Any]) -> Iterator[float]:
    """Return all numbers among arguments, those in lists too."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _numbers(value)
        elif isinstance(value, int | float):
            yield value


def _difference(network: nn.Module, state: Mapping[str, Tensor]) -> str:
    """Say how the file's tensors differ from a network's; empty if they have its names and shapes.

    The number of positions may differ: it is that of the training's images.
    """
    stem = "encoder." if isinstance(network, _CNNS) else ""
    named = _without_stem(network.state_dict())
    if isinstance(network, Beit):
        named = joined_biases(share_tables(renamed(named)))
    theirs = {f"{stem}{OTHER_NAMES.get(key, key)}": tuple(tensor.shape) for key, tensor in named.items()}
    theirs = {key: shape for key, shape in theirs.items() if _is_encoder(key)}
    ours = {key: tuple(tensor.shape) for key, tensor in state.items() if _is_encoder(key)}
    for word, found, said in (
        ("width", _width(ours), _width(theirs)),
        ("depth", _depth(ours), _depth(theirs)),
    ):
        if found != said:
            return f"The tensors have the {word} {found}, and not {said} as the config"
    other = [key for key in sorted(theirs | ours) if theirs.get(key) != ours.get(key)]
    if not other:
        return ""
    shape, wanted = (shapes.get(other[0], "missing") for shapes in (ours, theirs))
    return f"Of the tensors {other[0]} is {shape}, and not {wanted} as in the config"


def _without_stem(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what stands before the keys of a transformer inside another network, as a file's own."""
    stem = next(iter(prefixes_of(named, "patch_embed.proj.weight")), "")
    return {key.removeprefix(stem): tensor for key, tensor in named.items()}


def _is_encoder(key: str) -> bool:
    behind = key.startswith(tuple(HEADS)) or key == "pos_embed" or key.endswith("num_batches_tracked")
    return not behind and not key.endswith(("k_bias", ".periods", TABLE))


def _width(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return shapes.get("patch_embed.proj.weight", (0,))[0]


def _depth(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return len({key.split(".")[1] for key in shapes if key.startswith("blocks.")})


def _unlike(network: Any, state: Mapping[str, Tensor]) -> str:
    """Say what a network of timm is, if it is computed otherwise than the one built here; else empty."""
    if isinstance(network, _CNNS) and any(key.startswith("encoder.") for key in state):
        return _unlike_cnn(network, state)
    if isinstance(network, Beit):
        return _unlike_beit(network, state)
    if type(network) not in {VisionTransformer, VisionTransformerDistilled, Eva}:
        return f"timm's {type(network).__name__}"
    return _unlike_plain(network, state)


def _unlike_plain(network: Any, state: Mapping[str, Tensor]) -> str:
    rotary = isinstance(network, Eva)
    if rotary and type(network.rope).__name__ != "RotaryEmbeddingDinoV3":
        return "a rotary transformer of timm's own, which is not DINOv3's"
    if not rotary and network.pos_embed is None:
        return "a transformer without positions"
    other = {type(block).__name__ for block in network.blocks} - {"Block", "EvaBlock"}
    if other:
        return f"a transformer of {', '.join(sorted(other))}"
    twin = _on_meta(lambda: build_vit(_twin_shape(network, state, rotary=rotary)))
    return _unlike_transformer(network, twin, rotary=rotary)


def _unlike_cnn(network: Any, state: Mapping[str, Tensor]) -> str:
    if isinstance(network, ResNet):
        twin: Any = _on_meta(lambda: build_unet(unet_shape(state, None)).encoder)
        return "" if _parts(network) == _parts(twin) else "a ResNet with other layers than torchvision's"
    shape = convnext_shape(state).corrected(eps=_eps(network))
    twin = _on_meta(lambda: build_convnext(shape).encoder)
    return "" if _parts(network) == _parts(twin) else "a ConvNeXt with other layers than DINOv3's"


def _unlike_beit(network: Any, state: Mapping[str, Tensor]) -> str:
    """Compare the layers of timm's BEiT, whose block and attention are classes of their own."""
    twin: Any = _on_meta(lambda: build_vit(_twin_shape(network, state, rotary=False)))
    ours = twin.blocks[0]
    for block in network.blocks:
        for part in ("norm1", "mlp", "norm2"):
            if found := _first_other(_parts(getattr(block, part)), _parts(getattr(ours, part))):
                return f"a BEiT with {found}"
        if block.attn.scale != ours.attn.scale:
            return "a BEiT with other attention logits"
    return ""


def _unlike_transformer(network: Any, twin: Any, *, rotary: bool) -> str:
    for block in network.blocks:
        if found := _first_other(_with_biases(_parts(block)), _parts(twin.blocks[0])):
            return f"a {type(block).__name__} with {found}"
        if block.attn.scale != twin.blocks[0].attn.scale:
            return "a transformer with other attention logits"
    for part in ("patch_embed", "norm_pre", "norm"):
        theirs, ours = getattr(network, part, nn.Identity()), getattr(twin, part, nn.Identity())
        found = _first_other(_parts(theirs), _parts(ours))
        if found and not (part == "norm" and isinstance(theirs, nn.Identity)):
            return f"a transformer with {found} as its {part}"
    if rotary and _rotation(network) != _rotation(twin):
        return "a transformer with other rotary positions than DINOv3's"
    return ""


def _twin_shape(network: Any, state: Mapping[str, Tensor], *, rotary: bool) -> ViTArchitecture:
    """Shape of the transformer that is built here for a network of timm, one block deep."""
    gated = "blocks.0.mlp.fc1_g.weight" in state
    fc1, fc2 = (
        tuple(state[f"blocks.0.mlp.{key}.weight"].shape) for key in ("fc1_g" if gated else "fc1", "fc2")
    )
    return ViTArchitecture(
        patch=network.patch_embed.patch_size[0],
        dim=network.embed_dim,
        depth=1,
        heads=network.blocks[0].attn.num_heads,
        grid=(4, 4),
        mlp_hidden=fc2[-1],
        class_token=network.cls_token is not None,
        registers=network.num_prefix_tokens - int(network.cls_token is not None),
        rope=rotary,
        layer_scale=any(key in state for key in ("blocks.0.ls1.gamma", "blocks.0.gamma_1")),
        qkv_bias=any(key in state for key in ("blocks.0.attn.qkv.bias", "blocks.0.attn.q_bias")),
        swiglu=gated or fc1[0] == 2 * fc2[-1],
        eps=_eps(network),
        channels=network.patch_embed.proj.in_channels,
        relative="geometric-linear" if f"blocks.0.{TABLE}" in state else "",
    )


def _on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return build()


def _parts(module: nn.Module) -> dict[str, str]:
    """Describe every layer of a module by its name, class and settings, but those that compute nothing."""
    return {
        name: f"{type(part).__name__}({part.extra_repr()})"
        for name, part in module.named_modules()
        if not isinstance(part, _NOT_COMPUTED)
        and type(part).__name__ != "DropPath"
        and name
        and not name.startswith(_BEHIND)
    } | {"": type(module).__name__}


def _with_biases(parts: Mapping[str, str]) -> dict[str, str]:
    """Describe layers without a bias as if they had one: it is zero here, which is the same."""
    return {
        name: text.replace("bias=False", "bias=True") if name in _BIASED else text
        for name, text in parts.items()
    }


def _first_other(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    other = [name for name in sorted({*theirs, *ours}) if theirs.get(name) != ours.get(name)]
    if not other:
        return ""
    name = other[0]
    return f"{theirs.get(name, 'no ' + ours.get(name, ''))}{f' at {name}' if name else ''}"


def _rotation(network: Any) -> tuple[object, ...]:
    rope, attention = network.rope, network.blocks[0].attn
    said = ("temperature", "min_period", "max_period", "normalize_coords", "grid_offset", "grid_indexing")
    return (*(getattr(rope, name) for name in said), rope.rotate_half, attention.rotate_half)


def _eps(network: Any) -> float:
    if isinstance(network, ConvNeXt):
        stem: Any = network.stem
        return float(stem[-1].eps)
    return float(network.blocks[0].norm1.eps) if hasattr(network.blocks[0].norm1, "eps") else 1e-6


def _of_network(network: Any, name: str, arguments: Mapping[str, Any]) -> dict[str, Fact]:
    """Return what tensors do not tell, as timm builds it: much of a transformer, nothing of a ResNet."""
    if isinstance(network, ResNet):
        return {}
    source, how = f"the architecture {name!r} {_WHERE}", "as timm resamples positions"
    if isinstance(network, ConvNeXt):
        return {"eps": Fact(_eps(network), source)}
    facts = {"antialias": Fact(value=True, how=how), "eps": Fact(_eps(network), source)}
    given = "num_heads" in arguments
    facts["heads"] = Fact(
        int(network.blocks[0].attn.num_heads), f"num_heads among model_args {_WHERE}" if given else source
    )
    rows, columns = network.patch_embed.grid_size
    facts["grid"] = Fact((int(rows), int(columns)), source)
    if isinstance(network, Beit):
        facts["relative"] = Fact("geometric-linear", "as timm resizes them")
    elif not isinstance(network, Eva):
        placed = 0 if network.no_embed_class else network.num_prefix_tokens
        facts["prefix_positions"] = Fact(placed, source)
    if isinstance(network.norm, nn.Identity):
        facts["final_norm"] = Fact(value=False, how=source)
    return facts


def _of_training(name: str, pretrained: Mapping[str, Any]) -> dict[str, Fact]:
    """Return method, branch, normalisation and licence, as far as the config says them."""
    facts: dict[str, Fact] = {}
    method = _method(name, str(pretrained.get("tag", "")))
    if method is not None:
        facts["method"] = Fact(method.name, f"architecture and tag {_WHERE}")
        if method.converted_branch:
            how = f"timm carries {method.title}'s {_BRANCHES[method.converted_branch]}"
            facts["branch"] = Fact(method.converted_branch, how)
    if {"mean", "std"} <= set(pretrained):
        facts["normalisation"] = Fact(
            _statistics(pretrained["mean"], pretrained["std"]), f"mean and std {_WHERE}"
        )
    if isinstance(pretrained.get("license"), str):
        facts["licence"] = Fact(pretrained["license"], f"license {_WHERE}")
    return facts


def _method(name: str, tag: str) -> Method | None:
    words = f"{name}_{tag}".replace(".", "_").split("_")
    return next(
        (method for word in words for method in METHODS.values() if word in (method.name, *method.tags)), None
    )


def _statistics(mean: Any, std: Any) -> str:
    """Spell mean and std of three channels; one number stands for all of them.

    Raises
    ------
    CheckpointError
        If they are no statistics of intensities in [0, 1].
    """
    try:
        three = [list(value) * (3 // len(value)) for value in (mean, std)]
        return get_normalisation(spell_normalisation(*three)).name
    except (TypeError, ValueError, ZeroDivisionError, InvalidOptionError) as error:
        raise CheckpointError(
            f"Expected mean and std {_WHERE} to be three means and three deviations, in [0, 1]; "
            f"they are {mean!r} and {std!r}. Correct them, or take the file away and name the normalisation."
        ) from error
