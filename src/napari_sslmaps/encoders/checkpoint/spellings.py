"""Transformers in the names of torchvision, MMPretrain and MONAI → timm's, wherever in a file they lie.

ResNets that were cut into a sequence of layers, which has numbers for names, get torchvision's.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from napari_sslmaps.encoders.checkpoint.open import Opened
from napari_sslmaps.encoders.checkpoint.timm_config import HEADS, OTHER_NAMES
from napari_sslmaps.encoders.families.family import prefixes_of
from napari_sslmaps.encoders.methods.contrastive import translate_moco
from napari_sslmaps.encoders.methods.mae import translate_mae
from napari_sslmaps.encoders.recognition import Fact, PretextHeads, Translated, Unwrapped, separate

Rules = tuple[tuple[str, str], ...]
_DECODER = "decoder_embed.weight"


@dataclass(frozen=True, slots=True)
class Spelling:
    """Names that a library gives the parts of a transformer.

    Parameters
    ----------
    marks
        Keys that each of its networks has; those of the first are what stands before all others is found by.
    rules
        Beginnings of its keys, and what they are here; the first that fits is taken.
    eps
        Epsilon of its norms.
    placed
        Resampling of positions in its own code, in words; none has a filter.
    beside
        Beginnings of further keys that are no part of the encoder, with what they are.
    class_placed
        Whether a class token has a position of its own, where there is one.
    """

    marks: tuple[str, ...]
    rules: Rules
    eps: float
    placed: str
    beside: Mapping[str, str] = field(default_factory=dict)
    class_placed: bool = True


_LAYER = r"encoder\.layers\.encoder_layer_(\d+)\."
SPELLINGS: Mapping[str, Spelling] = {
    "torchvision": Spelling(
        ("conv_proj.weight", "encoder.pos_embedding", "encoder.layers.encoder_layer_0.ln_1.weight"),
        (
            (r"conv_proj\.", "patch_embed.proj."),
            (r"class_token$", "cls_token"),
            (r"encoder\.pos_embedding$", "pos_embed"),
            (r"encoder\.ln\.", "norm."),
            (rf"{_LAYER}ln_([12])\.", r"blocks.\1.norm\2."),
            (rf"{_LAYER}self_attention\.in_proj_", r"blocks.\1.attn.qkv."),
            (rf"{_LAYER}self_attention\.out_proj\.", r"blocks.\1.attn.proj."),
            (rf"{_LAYER}mlp\.(0|linear_1)\.", r"blocks.\1.mlp.fc1."),
            (rf"{_LAYER}mlp\.(3|linear_2)\.", r"blocks.\1.mlp.fc2."),
            (r"heads\.", "head."),
        ),
        1e-6,
        "torchvision's network takes its own grid alone; others without a filter, as transformers does",
    ),
    "MMPretrain": Spelling(
        ("patch_embed.projection.weight", "layers.0.ln1.weight", "layers.0.attn.qkv.weight"),
        (
            (r"patch_embed\.projection\.", "patch_embed.proj."),
            (r"pre_norm\.", "norm_pre."),
            (r"ln1\.", "norm."),
            (r"ln2\.", "fc_norm."),
            (r"layers\.(\d+)\.ln([12])\.", r"blocks.\1.norm\2."),
            (r"layers\.(\d+)\.(?:attn|ffn)\.gamma([12])\.\w+$", r"blocks.\1.ls\2.gamma"),
            (r"layers\.(\d+)\.ffn\.(layers\.0\.0|w12)\.", r"blocks.\1.mlp.fc1."),
            (r"layers\.(\d+)\.ffn\.(layers\.1|w3)\.", r"blocks.\1.mlp.fc2."),
            (r"layers\.", "blocks."),
        ),
        1e-6,
        "as MMPretrain resamples positions",
    ),
    "MONAI": Spelling(
        (
            "patch_embedding.position_embeddings",
            "blocks.0.attn.qkv.weight",
            "blocks.0.mlp.linear1.weight",
        ),
        (
            (r"patch_embedding\.patch_embeddings\.(1\.)?", "patch_embed.proj."),
            (r"patch_embedding\.position_embeddings$", "pos_embed"),
            (r"patch_embedding\.cls_token$", "unused.cls_token"),
            (r"blocks\.(\d+)\.(cross_attn|norm_cross_attn)\.", r"unused.\1.\2."),
            (r"blocks\.\d+\.(?=(weight|bias)$)", "norm."),  # of its masked autoencoder, in the same sequence
            (r"blocks\.(\d+)\.mlp\.linear([12])\.", r"blocks.\1.mlp.fc\2."),
            (r"blocks\.(\d+)\.attn\.out_proj\.", r"blocks.\1.attn.proj."),
            (r"classification_head\.", "head."),
        ),
        1e-5,
        "MONAI's network takes its own grid alone; others without a filter, as transformers does",
        {
            "unused.": "built by MONAI, and used nowhere",
            "decoder_": "MONAI's decoder",
            "mask_token": "mask token",
        },
        class_placed=False,
    ),
}


_IN_SEQUENCE: Mapping[str, str] = {
    "0": "conv1",
    "1": "bn1",
    **{str(3 + stage): f"layer{stage}" for stage in range(1, 5)},
}
"""Children of a ResNet that hold weights, by their place in ``nn.Sequential(*network.children())``."""
_SEQUENCE_MARKS = ("7.0.conv1.weight", "4.0.conv1.weight", "1.running_mean", "0.weight")


def _with_named_layers(opened: Opened) -> Opened:
    """Name the layers of ResNets in a sequence, as lightly, RadImageNet and other codes keep them."""
    first, *others = _SEQUENCE_MARKS
    stems = [stem for stem in prefixes_of(opened.tensors, first) if _has(opened.tensors, stem, others)]
    if not stems:
        return opened
    return replace(opened, tensors={_layer_named(key, stems): part for key, part in opened.tensors.items()})


def _layer_named(key: str, stems: Iterable[str]) -> str:
    for stem in stems:
        place, _, inside = key.removeprefix(stem).partition(".")
        if key.startswith(stem) and place in _IN_SEQUENCE:
            return f"{stem}{_IN_SEQUENCE[place]}.{inside}"
    return key


def _has(names: Mapping[str, Tensor], stem: str, keys: Iterable[str]) -> bool:
    return all(f"{stem}{key}" in names for key in keys)


def respell(opened: Opened) -> Opened:
    """Give the networks of another library the names known here; what else a file has keeps its own.

    Parameters
    ----------
    opened
        The file's content.
    """
    for title, spelling in SPELLINGS.items():
        found = [prefix for prefix in _prefixes(opened.tensors, spelling) if _is_flat(opened.tensors, prefix)]
        if not found:
            continue
        tensors = dict[str, Tensor]()
        for key, tensor in opened.tensors.items():
            prefix = max((each for each in found if key.startswith(each)), key=len, default=None)
            if prefix is None:
                tensors[_in_neck(key, found, opened.tensors)] = tensor
            else:
                name = _respelled(key.removeprefix(prefix), spelling.rules)
                linear = name == "patch_embed.proj.weight" and tensor.ndim == 2
                tensors[f"{prefix}{name}"] = _as_convolution(tensor) if linear else tensor
        return replace(opened, tensors=tensors, spelling=title)
    return _with_named_layers(opened)


def _prefixes(names: Mapping[str, Tensor], spelling: Spelling) -> list[str]:
    """Return what stands before the keys of each network that is spelt so."""
    first, *others = spelling.marks
    return [stem for stem in prefixes_of(names, first) if _has(names, stem, others)]


def _is_flat(tensors: Mapping[str, Tensor], prefix: str) -> bool:
    """Whether a network is one of images, as far as MONAI's may be of volumes."""
    stem = f"{prefix}patch_embedding."
    if f"{stem}position_embeddings" not in tensors:
        return True
    weight = tensors.get(f"{stem}patch_embeddings.weight", tensors.get(f"{stem}patch_embeddings.1.weight"))
    if weight is None or weight.ndim != 2:
        return weight is not None and weight.ndim == 4
    tokens = tensors[f"{stem}position_embeddings"].shape[1]
    cubes = [_is_power(count, 3) for count in (weight.shape[1], weight.shape[1] / 3)]
    return not any(cubes) or (_is_power(tokens, 2) and not _is_power(tokens, 3))


def _is_power(count: float, exponent: int) -> bool:
    return bool(round(count ** (1 / exponent)) ** exponent == count)


def _as_convolution(weight: Tensor) -> Tensor:
    """Return the layer on pixels of a patch, in the order (y, x, channel), as the convolution that it is."""
    count = weight.shape[1]
    channels = next((each for each in (3, 1) if _is_power(count / each, 2)), 0)
    if not channels:
        return weight
    side = math.isqrt(count // channels)
    return weight.reshape(len(weight), side, side, channels).permute(0, 3, 1, 2)


def _respelled(key: str, rules: Rules) -> str:
    for pattern, ours in rules:
        if re.match(pattern, key):
            return re.sub(f"^{pattern}", ours, key)
    return key


def _in_neck(key: str, found: list[str], names: Mapping[str, Tensor]) -> str:
    """Return MAE's name of a tensor of its decoder, which MMPretrain keeps in a neck beside the backbone."""
    for prefix in found:
        neck = f"{prefix.removesuffix('backbone.')}neck."
        if prefix.endswith("backbone.") and key.startswith(neck) and f"{neck}{_DECODER}" in names:
            name = key.removeprefix(neck)
            inside = _respelled(
                f"layers.{name.removeprefix('decoder_blocks.')}", SPELLINGS["MMPretrain"].rules
            )
            block = name.startswith("decoder_blocks.")
            return f"{prefix}{f'decoder_{inside}' if block else re.sub(r'^ln1', 'decoder_norm', name)}"
    return key


def translate_respelled(file: Unwrapped) -> Translated:
    """Translate a network that `respell` gave timm's names, with what its library's code tells."""
    spelling = SPELLINGS[file.spelling]
    source = f"what {file.spelling}'s vision transformers have, unless they were configured otherwise"
    facts = {
        "eps": Fact(spelling.eps, source, certain=False),
        "antialias": Fact(value=False, how=spelling.placed),
    }
    if not spelling.class_placed:
        facts["prefix_positions"] = Fact(0, f"{file.spelling} adds positions before the class token")
    if any("momentum_encoder" in key.split(".") for key in (file.container, *file.left_out)):
        facts |= translate_moco(file).facts
    decoder = _DECODER in file.tensors
    if decoder and not spelling.beside:
        translated = translate_mae(file)
        return replace(translated, layout=f"MAE of {file.spelling}", facts=facts | dict(translated.facts))
    if decoder:
        facts["method"] = Fact("mae", "the decoder of a masked autoencoder")
    translated = separate(file, file.spelling, {"mask_token": "mask token", **spelling.beside, **HEADS})
    state = {OTHER_NAMES.get(key, key): tensor for key, tensor in translated.state.items()}
    return replace(translated, state=state, pretext_heads=PretextHeads(), facts=facts)
