"""Method and architecture from key names and shapes; what files cannot tell is said and can be overridden."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from napari_sslmaps.encoders.catalog import METHOD_INFO
from napari_sslmaps.encoders.checkpoint.report import Inference
from napari_sslmaps.encoders.checkpoint.translated import Translated
from napari_sslmaps.encoders.checkpoint.unwrap import Unwrapped
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.spec import (
    Architecture,
    Method,
    UNetArchitecture,
    ViTArchitecture,
    architecture_from_dict,
    get_normalisation,
)
from napari_sslmaps.errors import CheckpointError, InvalidOptionError

_HEAD_WIDTH = 64
_HEADS_BY_WIDTH = {1280: 16, 1408: 16}  # ViT-H and ViT-g of MAE and I-JEPA: heads of 80 and 88


@dataclass(frozen=True, slots=True)
class Identity:
    """What a file was identified as, with the evidence."""

    method: Method
    architecture: Architecture
    normalisation: str
    inferred: tuple[Inference, ...]
    ambiguous: tuple[str, ...]


def identify(file: Unwrapped, translated: Translated, overrides: Overrides, name: str) -> Identity:
    """Identify method, architecture and normalisation of a file.

    Raises
    ------
    CheckpointError
        If the file fits several methods and none was named, or its head count cannot be guessed.
    InvalidOptionError
        If an override does not fit.
    """
    notes: list[Inference] = []
    doubts: list[str] = []
    method = _method(file, translated, overrides, notes, doubts, name)
    architecture: Architecture
    if "encoder.conv1.weight" in translated.state:
        architecture = _unet(file.header, translated.state, overrides)
    else:
        architecture = _transformer(file.header, translated, overrides, method, notes, doubts)
    normalisation = overrides.normalisation or file.header.get("normalisation")
    how = "given" if overrides.normalisation else "written in the file"
    if normalisation is None:
        normalisation, how = METHOD_INFO[method].normalisation, f"what {METHOD_INFO[method].title} uses"
        doubts.append(f"The file does not tell its normalisation; {normalisation} is assumed.")
    notes.append(Inference("normalisation", get_normalisation(normalisation).name, how))
    return Identity(method, architecture, normalisation, tuple(notes), tuple(doubts))


def _method(
    file: Unwrapped,
    translated: Translated,
    overrides: Overrides,
    notes: list[Inference],
    doubts: list[str],
    name: str,
) -> Method:
    if overrides.method is not None:
        notes.append(Inference("method", overrides.method, "given"))
        return overrides.method
    if "method" in file.header:
        written: Method = file.header["method"]
        notes.append(Inference("method", written, "written in the file"))
        return written
    method, how, certain = _guess_method(file, translated)
    if method is None:
        raise CheckpointError(
            f"{name} is a vision transformer with a CLS token and nothing that tells its method: it can be "
            'MAE, DINO or a supervised one. Say which, for example load_encoder(path, method="mae").'
        )
    notes.append(Inference("method", method, how))
    if not certain:
        doubts.append(f"The method {METHOD_INFO[method].title} is inferred from this alone: {how}.")
    return method


def _guess_method(file: Unwrapped, translated: Translated) -> tuple[Method | None, str, bool]:
    state = translated.state
    rules: tuple[tuple[bool, Method, str, bool], ...] = (
        ("encoder.conv1.weight" in state, "dira", "a U-Net with a ResNet encoder", False),
        (translated.layout == "DINOv3", "dinov3", "storage tokens or rotary periods", True),
        ("pos_embed" not in state, "dinov3", "no position embedding, so rotary positions", True),
        (translated.layout == "I-JEPA", "ijepa", f"the outer key {file.container!r}", True),
        ("MAE decoder" in translated.left_out.values(), "mae", "a decoder beside the encoder", True),
        ("cls_token" not in state, "ijepa", "no CLS token", False),
        ("blocks.0.ls1.gamma" in state, "dinov2", "layer scale and an added position embedding", False),
        (_has_sincos_positions(state), "mae", "fixed sine–cosine positions and a CLS token", False),
        (_is_bare_mae(file, state), "mae", "the outer key 'model', a CLS token and no head", False),
    )
    return next(((method, how, certain) for holds, method, how, certain in rules if holds), (None, "", False))


def _is_bare_mae(file: Unwrapped, state: Mapping[str, Tensor]) -> bool:
    return (
        file.container == "model"
        and not any(key.startswith("head.") for key in file.tensors)
        and ("norm.weight" in state)
    )


def _has_sincos_positions(state: Mapping[str, Tensor]) -> bool:
    """Whether the patch positions are the fixed 2-D sine–cosine table of MAE (arXiv 2111.06377)."""
    if "pos_embed" not in state:
        return False
    stored = state["pos_embed"][0].float()
    dim = stored.shape[1]
    side = math.isqrt(len(stored))
    if dim % 4 or not side:
        return False
    frequencies = 10_000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) * 4 / dim)
    angles = torch.arange(side, dtype=torch.float64)[:, None] * frequencies
    table = torch.cat([angles.sin(), angles.cos()], dim=1).float()
    along_columns = table[None].expand(side, side, -1)
    along_rows = table[:, None].expand(side, side, -1)
    expected = torch.cat([along_columns, along_rows], dim=-1).reshape(side * side, dim)
    return torch.allclose(stored[-side * side :], expected, atol=2e-3)


def _unet(header: Mapping[str, Any], state: Mapping[str, Tensor], overrides: Overrides) -> UNetArchitecture:
    if "architecture" in header:
        written = architecture_from_dict(header["architecture"])
        if not isinstance(written, UNetArchitecture):
            raise CheckpointError("The file says it holds a transformer, but its keys are a U-Net's.")
        return replace(written, token_stage=overrides.token_stage or written.token_stage)
    if state["encoder.conv1.weight"].shape[1] != 3:
        raise CheckpointError(
            "Expected a U-Net with three input channels; this one has "
            f"{state['encoder.conv1.weight'].shape[1]}."
        )
    deep = "encoder.layer1.0.conv3.weight" in state
    return UNetArchitecture(
        block="bottleneck" if deep else "basic",
        layers=tuple(_count(state, rf"encoder\.layer{stage}\.(\d+)\.") for stage in range(1, 5)),
        stage_channels=tuple(
            _shape(state, f"encoder.layer{stage}.0.conv1.weight")[0] for stage in range(1, 5)
        ),
        decoder_channels=tuple(
            _shape(state, f"decoder.blocks.{index}.conv1.0.weight")[0] for index in range(5)
        ),
        classes=_shape(state, "segmentation_head.0.weight")[0],
        **({"token_stage": overrides.token_stage} if overrides.token_stage else {}),
    )


def _transformer(
    header: Mapping[str, Any],
    translated: Translated,
    overrides: Overrides,
    method: Method,
    notes: list[Inference],
    doubts: list[str],
) -> ViTArchitecture:
    if "architecture" in header:
        written = architecture_from_dict(header["architecture"])
        if not isinstance(written, ViTArchitecture):
            raise CheckpointError("The file says it holds a U-Net, but its keys are a transformer's.")
        return replace(written, heads=overrides.num_heads or written.heads, eps=overrides.eps or written.eps)
    state = translated.state
    dim, _, patch, _ = state["patch_embed.proj.weight"].shape
    heads = _heads(translated, dim, overrides.num_heads, notes, doubts)
    swiglu = "blocks.0.mlp.fc1_g.weight" in state
    hidden = _shape(state, f"blocks.0.mlp.{'fc1_g' if swiglu else 'fc1'}.weight")[0]
    rope = "pos_embed" not in state
    registers = _shape(state, "reg_token")[1] if "reg_token" in state else 0
    class_token = "cls_token" in state
    architecture = ViTArchitecture(
        patch=patch,
        dim=dim,
        depth=_count(state, r"blocks\.(\d+)\."),
        heads=heads,
        grid=(16, 16) if rope else _grid(state["pos_embed"].shape[1], class_token),
        mlp_hidden=hidden,
        class_token=class_token,
        registers=registers,
        rope=rope,
        layer_scale=any(key.startswith(("blocks.0.gamma_1", "blocks.0.ls1.gamma")) for key in state),
        qkv_bias=any(key in state for key in ("blocks.0.attn.qkv.bias", "blocks.0.attn.q_bias")),
        swiglu=swiglu,
        eps=overrides.eps or METHOD_INFO[method].eps,
    )
    notes.append(Inference("architecture", architecture.summary, "shapes of the tensors"))
    if overrides.eps is None:
        doubts.append(f"LayerNorm's epsilon is not in the file; {architecture.eps:g} is assumed.")
    return architecture


def _heads(
    translated: Translated, dim: int, given: int | None, notes: list[Inference], doubts: list[str]
) -> int:
    periods = translated.buffers.get("rope.periods")
    if given is not None:
        heads, how = given, "given"
    elif periods is not None:
        heads, how = dim // (4 * len(periods)), "width over four times the number of rotary periods"
    elif dim in _HEADS_BY_WIDTH or dim % _HEAD_WIDTH == 0:
        heads, how = _HEADS_BY_WIDTH.get(dim, dim // _HEAD_WIDTH), "the usual number for this width"
        doubts.append(f"The number of heads is not in the file; {heads} is assumed. Set num_heads otherwise.")
    else:
        raise CheckpointError(
            f"The file does not tell its number of heads, and a width of {dim} suggests none. "
            "Pass num_heads=."
        )
    if heads < 1 or dim % heads:
        raise InvalidOptionError(f"Expected a number of heads that divides the width {dim}; got {heads}.")
    notes.append(Inference("heads", str(heads), how))
    return heads


def _grid(positions: int, class_token: bool) -> tuple[int, int]:
    """Rows and columns of a square position grid, with or without a position for CLS."""
    for prefix in (int(class_token), 0):
        side = math.isqrt(positions - prefix)
        if side * side == positions - prefix:
            return side, side
    raise CheckpointError(f"Expected positions of a square grid of tokens; the file has {positions}.")


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    numbers = [int(found.group(1)) for key in state if (found := re.match(pattern, key))]
    return max(numbers, default=-1) + 1


def _shape(state: Mapping[str, Tensor], key: str) -> tuple[int, ...]:
    if key not in state:
        raise CheckpointError(f"Expected a tensor {key!r}; the file has none. It may be truncated.")
    return tuple(state[key].shape)
