"""Vision transformers: their architecture, known without torch."""

from dataclasses import dataclass
from typing import Literal

from napari_sslmaps.encoders.spec import InputConstraint

Gate = Literal["silu", "gelu"]


@dataclass(frozen=True, slots=True)
class ViTArchitecture:
    """Shape of a vision transformer.

    Parameters
    ----------
    patch, dim, depth, heads
        Patch side in pixels, token width, number of blocks, heads per block.
    grid
        Rows and columns of tokens of the position embedding as stored.
    mlp_hidden
        Hidden width of each block's MLP (of one branch, for SwiGLU).
    class_token, registers
        Prefix tokens, in this order.
    rope
        Rotary positions as DINOv3 has them, instead of an added position embedding.
    layer_scale, qkv_bias, swiglu
        Whether blocks have these.
    gate
        Activation of a gated MLP's gate: ``silu``, SwiGLU's own, or ``gelu``.
    eps
        LayerNorm epsilon; weight files do not tell it.
    final_norm
        Whether tokens pass a norm after the last block; a fine-tuned MAE norms its pooled token alone.
    antialias, position_offset
        How added positions are resampled, bicubically, for another grid than the stored one: with low-pass
        filter or without (the kernels differ too: Keys' a = -0.5 with it, -0.75 without), and by how many
        tokens the scale is longer than the wanted grid. Methods' own codes differ:

        - this package's own encoders and timm: filter, 0;
        - MAE and I-JEPA, and transformers' versions of these, of ViT and of DINOv2: none, 0;
        - DINO (vision_transformer.py) and DINOv2 without registers (its hub): none, 0.1;
        - DINOv2 with registers: filter, 0.

        Rotary positions (DINOv3) are computed for every grid.
    """

    patch: int
    dim: int
    depth: int
    heads: int
    grid: tuple[int, int]
    mlp_hidden: int
    class_token: bool
    registers: int = 0
    rope: bool = False
    layer_scale: bool = False
    qkv_bias: bool = True
    swiglu: bool = False
    eps: float = 1e-6
    final_norm: bool = True
    antialias: bool = True
    position_offset: float = 0.0
    gate: Gate = "silu"

    @property
    def kind(self) -> str:
        """``vit``."""
        return "vit"

    @property
    def constraint(self) -> InputConstraint:
        """What the transformer asks of its input."""
        return InputConstraint(self.patch, self.patch)

    @property
    def summary(self) -> str:
        """A short text such as ``ViT d128 × 4, 4 heads, patch 8``."""
        return f"ViT d{self.dim} × {self.depth}, {self.heads} heads, patch {self.patch}"

    @property
    def token_width(self) -> int:
        """Channels of a token."""
        return self.dim
