"""Vision transformers on timm: MAE and I-JEPA (`VisionTransformer`), DINO* (also `Eva`)."""

from functools import partial
from typing import Any

from timm.layers.norm import LayerNorm
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from napari_sslmaps.core.attention import attention_rows, mean_attention_received
from napari_sslmaps.core.results import AttentionKind
from napari_sslmaps.encoders.protocol import TileFeatures
from napari_sslmaps.encoders.spec import ViTArchitecture
from napari_sslmaps.encoders.taps import AttentionTap, tap_attention


def build_vit(architecture: ViTArchitecture) -> nn.Module:
    """Build the transformer with untrained weights, open to any grid size.

    Returns
    -------
    Module
        timm's `Eva` for rotary positions (DINOv3), else timm's `VisionTransformer`;
        no head, final norm kept.
    """
    common: dict[str, Any] = {
        "img_size": tuple(side * architecture.patch for side in architecture.grid),
        "patch_size": architecture.patch,
        "num_classes": 0,
        "embed_dim": architecture.dim,
        "depth": architecture.depth,
        "num_heads": architecture.heads,
        "mlp_ratio": architecture.mlp_hidden / architecture.dim,
        "qkv_bias": architecture.qkv_bias,
        "init_values": 1e-5 if architecture.layer_scale else None,
        "class_token": architecture.class_token,
        "norm_layer": partial(LayerNorm, eps=architecture.eps),
        "dynamic_img_size": True,
    }
    return _build_rotary(architecture, common) if architecture.rope else _build_plain(architecture, common)


def _build_rotary(architecture: ViTArchitecture, common: dict[str, Any]) -> nn.Module:
    return Eva(
        **common,
        global_pool="",
        use_fc_norm=False,
        num_reg_tokens=architecture.registers,
        use_abs_pos_emb=False,
        use_rot_pos_emb=True,
        rope_type="dinov3",
        rope_temperature=100.0,
        rope_rotate_half=True,
        swiglu_mlp=architecture.swiglu,
        swiglu_align_to=1 if architecture.swiglu else 0,
    )


def _build_plain(architecture: ViTArchitecture, common: dict[str, Any]) -> nn.Module:
    return VisionTransformer(
        **common,
        global_pool="",
        fc_norm=False,
        reg_tokens=architecture.registers,
        no_embed_class=architecture.registers > 0,
    )


class ViTExtractor:
    """Final-norm patch tokens and last-block attention of a timm transformer."""

    def __init__(self, network: nn.Module) -> None:
        self.network: Any = network
        has_class_token = self.network.cls_token is not None
        self.attention_kind: AttentionKind = "cls" if has_class_token else "mean-query"

    def extract(self, pixels: Tensor) -> TileFeatures:
        """Compute the features of (B, 3, H, W) pixels, sides multiples of the patch."""
        rows, cols = (
            side // patch
            for side, patch in zip(pixels.shape[2:], self.network.patch_embed.patch_size, strict=True)
        )
        with tap_attention(self.network.blocks[-1].attn) as tap:
            sequence: Tensor = self.network.forward_features(pixels)
        prefix = int(self.network.num_prefix_tokens)
        attention = self._attention(tap)
        return TileFeatures(
            tokens=sequence[:, prefix:].reshape(len(pixels), rows, cols, -1),
            attention=attention[..., prefix:].reshape(*attention.shape[:2], rows, cols),
            prefix_attention=attention[..., :prefix].sum(dim=-1),
        )

    def _attention(self, tap: AttentionTap) -> Tensor:
        if self.attention_kind == "cls":
            return attention_rows(tap.queries(slice(0, 1)), tap.keys(), tap.scale)[:, :, 0]
        return mean_attention_received(tap.queries(slice(None)), tap.keys(), tap.scale)
