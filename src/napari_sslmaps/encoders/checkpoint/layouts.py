"""Key names of each layout → ours: timm's for transformers, segmentation-models-pytorch's for U-Nets."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from napari_sslmaps.encoders.checkpoint.translated import Companions, Translated
from napari_sslmaps.encoders.checkpoint.unwrap import Unwrapped
from napari_sslmaps.errors import CheckpointError

_EXTRAS: Mapping[str, str] = {
    "decoder_": "MAE decoder",
    "predictor.": "predictor",
    "mask_token": "mask token",
    "dino_head.": "projection head",
    "ibot_head.": "projection head",
    "discriminator.": "discriminator",
    "projection.": "projection head",
    "head.": "classification head",
    "local_cls_norm.": "norm of local crops",
}
_DINOV3_RENAMES = (
    ("storage_tokens", "reg_token"),
    (".ls1.gamma", ".gamma_1"),
    (".ls2.gamma", ".gamma_2"),
    (".mlp.w1.", ".mlp.fc1_g."),
    (".mlp.w2.", ".mlp.fc1_x."),
    (".mlp.w3.", ".mlp.fc2."),
)


def translate(file: Unwrapped, name: str) -> Translated:
    """Recognise the layout of a file's tensors and rename them.

    Raises
    ------
    CheckpointError
        If the layout is none that is known; the sentence lists the first keys.
    """
    keys = set(file.tensors)
    if {"encoder.conv1.weight", "decoder.blocks.0.conv1.0.weight"} <= keys:
        layout = "segmentation-models-pytorch U-Net"
    elif "encoder.conv1.weight" in keys and "architecture" in file.header:
        layout = "U-Net's encoder"
    elif {"patch_embed.proj.weight", "blocks.0.attn.qkv.weight"} <= keys:
        layout = _transformer_layout(file)
    else:
        listed = ", ".join(sorted(keys)[:12]) or "none"
        raise CheckpointError(
            "Expected a vision transformer in timm's names or the official MAE, I-JEPA or DINOv3 layout, or "
            "a segmentation-models-pytorch U-Net with a ResNet encoder; "
            f"{name} has {len(keys)} other keys: {listed}{', …' if len(keys) > 12 else ''}."
        )
    state, left_out = _separate_extras(file.tensors)
    beside = {key: file.tensors[key] for key in left_out} | dict(file.beside)
    companions = Companions(beside, file.header.get("companions", {}))
    left_out |= file.left_out
    if layout == "DINOv3":
        return replace(_from_dinov3(state, left_out), companions=companions)
    return Translated(layout, state, left_out=left_out, companions=companions)


def _transformer_layout(file: Unwrapped) -> str:
    keys = file.tensors
    if "storage_tokens" in keys or "rope_embed.periods" in keys:
        return "DINOv3"
    if file.container in {"target_encoder", "encoder"}:
        return "I-JEPA"
    if "decoder_embed.weight" in keys or (file.container == "model" and "cls_token" in keys):
        return "MAE"
    return "timm"


def _separate_extras(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    state, left_out = {}, {}
    for key, tensor in tensors.items():
        reason = next((why for prefix, why in _EXTRAS.items() if key.startswith(prefix)), None)
        if reason is None:
            state[key] = tensor
        else:
            left_out[key] = reason
    return state, left_out


def _from_dinov3(state: dict[str, Tensor], left_out: dict[str, str]) -> Translated:
    """Rename hub keys; split q, k, v biases, of which timm keeps the k bias as a plain buffer."""
    renamed: dict[str, Tensor] = {}
    buffers: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if key.endswith(".qkv.bias_mask"):
            left_out[key] = "applied to the bias"
        elif key.endswith(".qkv.bias"):
            mask = state.get(f"{key}_mask")
            masked = tensor if mask is None else (tensor * mask).nan_to_num(0.0)
            stem = key.removesuffix("qkv.bias")
            renamed[f"{stem}q_bias"], buffers[f"{stem}k_bias"], renamed[f"{stem}v_bias"] = masked.chunk(3)
        elif key == "rope_embed.periods":
            buffers["rope.periods"] = tensor
        else:
            for old, new in _DINOV3_RENAMES:
                key = key.replace(old, new)  # noqa: PLW2901  # the key under its new name
            renamed[key] = tensor
    return Translated("DINOv3", renamed, buffers, left_out)
