"""A network's architecture from the shapes of its tensors."""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from napari_sslmaps.encoders.checkpoint.translated import Translated
from napari_sslmaps.encoders.spec import Method, UNetArchitecture, ViTArchitecture
from napari_sslmaps.errors import CheckpointError

# antialias and position_offset of the methods' own codes; see ViTArchitecture
_RESAMPLING: Mapping[Method, tuple[bool, float]] = {
    "mae": (False, 0.0),
    "ijepa": (False, 0.0),
    "dino": (False, 0.1),
    "dinov2": (False, 0.1),
}


def unet_shape(state: Mapping[str, Tensor], token_stage: str | None) -> UNetArchitecture:
    """Read the shape of a U-Net, or of its encoder alone, off its tensors.

    Raises
    ------
    CheckpointError
        If a tensor that tells it is missing, or the input has not three channels.
    """
    stem = shape_of(state, "encoder.conv1.weight")
    if stem[1] != 3:
        raise CheckpointError(f"Expected a U-Net with three input channels; this one has {stem[1]}.")
    stages = range(1, 5)
    decoder = range(_count(state, r"decoder\.blocks\.(\d+)\."))
    options: dict[str, Any] = {"token_stage": token_stage} if token_stage else {}
    if decoder:
        options["classes"] = shape_of(state, "segmentation_head.0.weight")[0]
    return UNetArchitecture(
        block="bottleneck" if "encoder.layer1.0.conv3.weight" in state else "basic",
        layers=tuple(_count(state, rf"encoder\.layer{stage}\.(\d+)\.") for stage in stages),
        stage_channels=tuple(shape_of(state, f"encoder.layer{stage}.0.conv1.weight")[0] for stage in stages),
        decoder_channels=tuple(
            shape_of(state, f"decoder.blocks.{index}.conv1.0.weight")[0] for index in decoder
        ),
        **options,
    )


def vit_shape(translated: Translated, method: Method, heads: int, eps: float) -> ViTArchitecture:
    """Read the shape of a transformer off its tensors.

    Parameters
    ----------
    translated
        Under our key names.
    method, heads, eps
        What shapes do not tell; the method says how positions are resampled, unless the file is timm's.

    Raises
    ------
    CheckpointError
        If a tensor that tells it is missing or no transformer's.
    """
    state = translated.state
    dim, patch = vit_width(state)
    rope = "pos_embed" not in state
    gated = "blocks.0.mlp.fc1_g.weight" in state
    first = shape_of(state, f"blocks.0.mlp.{'fc1_g' if gated else 'fc1'}.weight")[0]
    hidden = shape_of(state, "blocks.0.mlp.fc2.weight")[-1]
    registers = shape_of(state, "reg_token")[1] if "reg_token" in state else 0
    class_token = "cls_token" in state
    antialias, offset = _resampling(translated, method, registers)
    return ViTArchitecture(
        patch=patch,
        dim=dim,
        depth=vit_depth(state),
        heads=heads,
        grid=(16, 16) if rope else _grid(shape_of(state, "pos_embed")[1], class_token),
        mlp_hidden=hidden,
        class_token=class_token,
        registers=registers,
        rope=rope,
        layer_scale=any(key in state for key in ("blocks.0.gamma_1", "blocks.0.ls1.gamma")),
        qkv_bias=any(key in state for key in ("blocks.0.attn.qkv.bias", "blocks.0.attn.q_bias")),
        swiglu=gated or first == 2 * hidden,
        eps=eps,
        final_norm="norm.weight" in state
        or not any(key.startswith("fc_norm.") for key in translated.left_out),
        antialias=antialias,
        position_offset=offset,
        gate=translated.facts["gate"].value if "gate" in translated.facts else "silu",
    )


def _resampling(translated: Translated, method: Method, registers: int) -> tuple[bool, float]:
    if "antialias" in translated.facts:
        return translated.facts["antialias"].value, 0.0
    timms_own = translated.layout == "timm" and method == "dinov2"  # its authors' files have a mask token
    if registers or timms_own or method not in _RESAMPLING:
        return True, 0.0
    return _RESAMPLING[method]


def vit_width(state: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return a transformer's token width and patch side."""
    kernel = shape_of(state, "patch_embed.proj.weight")
    if len(kernel) != 4 or kernel[1] != 3 or kernel[2] != kernel[3]:
        raise CheckpointError(
            "Expected a patch embedding of square patches of three channels, (width, 3, side, side); "
            f"this one is {kernel}."
        )
    return kernel[0], kernel[2]


def vit_depth(state: Mapping[str, Tensor]) -> int:
    """Return a transformer's number of blocks, all of which must be there."""
    found = {int(match[1]) for key in state if (match := re.match(r"blocks\.(\d+)\.", key))}
    lost = sorted(set(range(max(found, default=0) + 1)) - found)
    if lost:
        raise CheckpointError(
            f"Expected blocks 0 to {max(found, default=0)}; {', '.join(map(str, lost[:8]))} are missing. "
            "The file may be one of several."
        )
    return len(found)


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


def shape_of(state: Mapping[str, Tensor], key: str) -> tuple[int, ...]:
    """Return a tensor's shape, or raise `CheckpointError` that says which is missing."""
    if key not in state:
        raise CheckpointError(f"Expected a tensor {key!r}; the file has none. It may be truncated.")
    return tuple(state[key].shape)
