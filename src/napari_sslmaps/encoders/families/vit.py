"""Vision transformers: their architecture and family, known without torch."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, Self

from napari_sslmaps.encoders.families.family import Family, prefixes_of
from napari_sslmaps.encoders.spec import (
    Block,
    InputConstraint,
    RelativeRule,
    RopeCoords,
    block_names,
    place_of,
)
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.serialise import strict

Gate = Literal["silu", "gelu"]


@strict
@dataclass(frozen=True, slots=True)
class ViTArchitecture:
    """Shape of a vision transformer.

    Parameters
    ----------
    patch, dim, depth, heads
        Patch side in pixels, token width, number of blocks, heads per block.
    grid
        Rows and columns of tokens of the position embedding as stored, or of tables of relative positions.
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
        Resampling of added positions, bicubic, for another grid than the stored one: with low-pass filter or
        without (the kernels differ too: Keys' a = -0.5 with it, -0.75 without), and by how many tokens the
        scale is longer than the wanted grid. Methods' own codes differ:

        - this package's own encoders and timm: filter, 0;
        - MAE and I-JEPA, and transformers' versions of these, of ViT and of DINOv2: none, 0;
        - DINO (vision_transformer.py) and DINOv2 without registers (its hub): none, 0.1;
        - DINOv2 with registers: filter, 0.

        Rotary positions (DINOv3) are computed for every grid.
    prefix_positions
        Number of prefix tokens that have a position of their own: 0, or all; None for CLS alone where there
        are no registers, and none with them.
    rope_coords
        Division of rotary coordinates, ``normalize_coords`` of DINOv3's code: each by its own side of the
        grid, or both by the longer or the shorter one.
    rope_bfloat16
        Whether rotary positions, and the rotation of queries and keys, are computed in bfloat16, as DINOv3's
        code does in its default configuration.
    token_block
        The block, from 0, whose output the tokens are; None for the last.
    token_norm
        Whether tokens pass the final norm, where there is one.
    channels
        Channels of its input: 3, or 1 where it learned from grey images as such.
    added
        Whether positions are added to tokens, where they are not rotary.
    relative
        Rule by which tables of relative positions, which a BEiT's blocks add to their attention logits, are
        resized for another grid than the stored one; empty where there are no such tables. Codes differ:

        - BEiT's own: stored offsets are taken to lie ever farther apart, by a constant factor, and a cubic
          spline runs through them (``geometric-cubic``);
        - timm: the same with straight lines (``geometric-linear``);
        - transformers: the table is resized as a picture, ``bilinear``.
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
    prefix_positions: int | None = None
    rope_bfloat16: bool = False
    token_block: int | None = None
    token_norm: bool = True
    channels: int = 3
    rope_coords: RopeCoords = "separate"
    added: bool = True
    relative: RelativeRule | Literal[""] = ""

    @property
    def prefix_tokens(self) -> int:
        """Number of CLS and registers."""
        return int(self.class_token) + self.registers

    @property
    def placed_prefix(self) -> int:
        """Number of prefix tokens that have a position of their own."""
        if self.prefix_positions is None:
            return 0 if self.registers else self.prefix_tokens
        return self.prefix_positions

    @property
    def kind(self) -> str:
        """``vit``."""
        return "vit"

    @property
    def constraint(self) -> InputConstraint:
        """Constraint on its input."""
        return InputConstraint(self.patch, self.patch)

    @property
    def summary(self) -> str:
        """A short text such as ``ViT d128 × 4, 4 heads, patch 8``."""
        tokens = "" if self.token_block is None else f", tokens of block {self.token_block}"
        grey = ", grey input" if self.channels == 1 else ""
        bare = "" if self.token_norm else ", without the final norm"
        return f"ViT d{self.dim} × {self.depth}, {self.heads} heads, patch {self.patch}{grey}{tokens}{bare}"

    @property
    def token_width(self) -> int:
        """Channels of a token."""
        return self.dim

    @property
    def token_stage(self) -> str:
        """Empty: its blocks are no stages that a file's correction names."""
        return ""

    @property
    def token_places(self) -> tuple[str, ...]:
        """Names of its blocks, in order."""
        return block_names(self.depth)

    @property
    def token_place(self) -> int:
        """The block, from 0, whose output the tokens are."""
        return self.depth - 1 if self.token_block is None else self.token_block

    @property
    def attention_blocks(self) -> int:
        """Number of blocks."""
        return self.depth

    @property
    def attention_heads(self) -> int:
        """Heads of a block."""
        return self.heads

    @property
    def square_tiles(self) -> bool:
        """Whether positions are rotary: DINOv3's coordinates are relative to a tile's sides."""
        return self.rope

    @property
    def stored_side(self) -> int:
        """Side in pixels of the grid of added or relative positions; 0 with rotary ones."""
        return 0 if self.rope else self.grid[0] * self.patch

    def work(self, rows: int, cols: int) -> float:
        """Count the multiply-adds of the blocks on a tile.

        Of a token 4 d² for the projections and those of its perceptron, and 2 d for every token of the tile,
        which makes one large pass dearer than tiles.
        """
        tokens = rows * cols
        mlp = (3 if self.swiglu else 2) * self.dim * self.mlp_hidden
        block = 4 * self.dim**2 + mlp + 2 * self.dim * tokens
        return float(tokens * (self.depth * block + self.channels * self.patch**2 * self.dim))

    def at_block(self, block: Block, *, norm: bool = True) -> Self:
        """Return it with tokens of a block, with the final norm or without."""
        number = place_of(block, self.token_places, f"a transformer of {self.depth} blocks")
        return replace(
            self,
            token_block=None if number == self.depth - 1 else number,
            token_norm=norm or not self.final_norm,
        )

    def corrected(
        self,
        *,
        num_heads: int | None = None,
        eps: float | None = None,
        token_stage: str | None = None,
        antialias: bool | None = None,
        offset: float | None = None,
        rope_coords: RopeCoords | None = None,
        relative_rule: RelativeRule | None = None,
    ) -> Self:
        """Return it with other heads, epsilon or positions; a token stage means nothing here."""
        del token_stage
        return replace(
            self,
            heads=self.heads if num_heads is None else check_heads(num_heads, self.dim),
            eps=eps or self.eps,
            antialias=self.antialias if antialias is None else antialias,
            position_offset=self.position_offset if offset is None else offset,
            rope_coords=rope_coords if rope_coords and self.rope else self.rope_coords,
            relative=relative_rule if relative_rule and self.relative else self.relative,
        )


def check_heads(heads: int, dim: int) -> int:
    """Return a number of heads that divides a width, or raise `InvalidOptionError`."""
    if heads < 1 or dim % heads:
        raise InvalidOptionError(f"Expected a number of heads that divides the width {dim}; got {heads}.")
    return heads


MARK = "patch_embed.proj.weight"


def _prefixes(names: Iterable[str]) -> set[str]:
    return prefixes_of(names, MARK)


VIT = Family(
    kind="vit",
    title="a transformer",
    architecture=ViTArchitecture,
    mark=MARK,
    prefixes=_prefixes,
    corrections=(
        *("num_heads", "eps", "branch", "antialias", "offset", "grid", "rope_coords"),
        "relative_rule",
    ),
    network="napari_sslmaps.encoders.families.vit_network:NETWORK",
    recognition="napari_sslmaps.encoders.families.vit_recognition:recognise_vit",
    later=(
        *("prefix_positions", "rope_bfloat16", "token_block", "token_norm", "channels", "rope_coords"),
        *("added", "relative"),
    ),
)
