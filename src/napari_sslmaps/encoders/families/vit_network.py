"""Vision transformers as networks: forward pass, features of tiles, weights to start from."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from timm.layers.mlp import SwiGLUPacked
from timm.layers.norm import LayerNorm
from timm.layers.pos_embed_sincos import RotaryEmbeddingDinoV3
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from napari_sslmaps.core.results import AttentionKind
from napari_sslmaps.encoders.families.extractor import TileFeatures
from napari_sslmaps.encoders.families.family import Network
from napari_sslmaps.encoders.families.relative_positions import RelativeAttention
from napari_sslmaps.encoders.families.taps import AttentionTap, outputs_of, tap_attention, tap_blocks
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.methods.method import Method
from napari_sslmaps.encoders.spec import RelativeRule, RopeCoords


def build_vit(architecture: ViTArchitecture) -> nn.Module:
    """Build the transformer with untrained weights, open to any grid size.

    Returns
    -------
    Module
        timm's `Eva` for rotary positions (DINOv3), else `PlainViT`; no head. ``norm`` is the final norm,
        or nothing where the architecture has none.
    """
    packed = architecture.swiglu and not architecture.rope  # one layer gives gate and value
    first_layer = architecture.mlp_hidden * (2 if packed else 1)
    common: dict[str, Any] = {
        "img_size": tuple(side * architecture.patch for side in architecture.grid),
        "patch_size": architecture.patch,
        "in_chans": architecture.channels,
        "num_classes": 0,
        "embed_dim": architecture.dim,
        "depth": architecture.depth,
        "num_heads": architecture.heads,
        # timm cuts the product off to a whole number; half a channel more keeps it from falling short
        "mlp_ratio": (first_layer + 0.5) / architecture.dim,
        "qkv_bias": architecture.qkv_bias,
        "init_values": 1e-5 if architecture.layer_scale else None,
        "class_token": architecture.class_token,
        "norm_layer": partial(LayerNorm, eps=architecture.eps),
        "dynamic_img_size": True,
    }
    return _build_rotary(architecture, common) if architecture.rope else _build_plain(architecture, common)


_TEMPERATURE = 100.0


def _build_rotary(architecture: ViTArchitecture, common: dict[str, Any]) -> nn.Module:
    network: Any = Eva(
        **common,
        global_pool="",
        use_fc_norm=False,
        use_post_transformer_norm=architecture.final_norm,
        num_reg_tokens=architecture.registers,
        use_abs_pos_emb=False,
        use_rot_pos_emb=True,
        rope_type="dinov3",
        rope_temperature=_TEMPERATURE,
        rope_rotate_half=True,
        swiglu_mlp=architecture.swiglu,
        swiglu_align_to=1 if architecture.swiglu else 0,
    )
    if architecture.swiglu and architecture.gate == "gelu":
        for block in network.blocks:
            block.mlp.act = nn.GELU()
    if architecture.rope_bfloat16:
        network.rope = Bfloat16Rotary(architecture.dim // architecture.heads)
        for block in network.blocks:
            block.attn.q_norm, block.attn.k_norm = ToBfloat16(), ToBfloat16()
    else:
        network.rope = KeptRotary(architecture.dim // architecture.heads, temperature=_TEMPERATURE)
    network.rope.normalize_coords = architecture.rope_coords
    built: nn.Module = network
    return built


class ToBfloat16(nn.Module):
    """Rounds queries or keys before they are turned; timm turns them so, and returns to its own precision."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` in bfloat16."""
        return x.bfloat16()


class KeptRotary(RotaryEmbeddingDinoV3):
    """timm's rotary positions, of which inference keeps those of the last grid.

    timm makes them on the processor in every pass, and a copy to a device waits for all that the device was
    told before.
    """

    _kept: tuple[tuple[object, ...], Tensor] | None = None

    def get_embed(self, shape: list[int] | None = None, dtype: torch.dtype | None = None) -> Tensor:
        """Return sines, then cosines, (rows * cols, 2 d), of the centres of a grid of tokens."""
        if not torch.is_inference_mode_enabled():
            return super().get_embed(shape, dtype)
        key = (*(shape or ()), dtype, self.periods.device, self.periods.dtype)
        if self._kept is None or self._kept[0] != key:
            self._kept = key, super().get_embed(shape, dtype)
        return self._kept[1]


class Bfloat16Rotary(nn.Module):
    """DINOv3's rotary positions where every step is computed in bfloat16, as its default configuration asks.

    Parameters
    ----------
    head_width
        Channels of a head.
    """

    periods: Tensor
    normalize_coords: RopeCoords = "separate"
    """Name and values as in timm's class."""

    def __init__(self, head_width: int) -> None:
        super().__init__()
        empty = torch.empty(head_width // 4, dtype=torch.bfloat16)
        self.register_buffer("periods", empty, persistent=False)
        self.init_non_persistent_buffers()

    def init_non_persistent_buffers(self) -> None:
        """Compute the periods, 100^(4i/d), which a file may replace."""
        count = len(self.periods)
        self.periods.copy_(_TEMPERATURE ** (torch.arange(count) / count))

    def get_embed(self, shape: Sequence[int]) -> Tensor:
        """Return sines, then cosines, (rows * cols, 2 d) bfloat16, of the centres of a grid of tokens."""
        over = {"separate": shape, "max": [max(shape)] * 2, "min": [min(shape)] * 2}[self.normalize_coords]
        axes = [
            torch.arange(0.5, side, device=self.periods.device, dtype=torch.bfloat16) / divisor
            for side, divisor in zip(shape, over, strict=True)
        ]
        centres = 2.0 * torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 1) - 1.0
        angles = (2 * math.pi * centres[:, :, None] / self.periods).flatten(1).tile(2)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _build_plain(architecture: ViTArchitecture, common: dict[str, Any]) -> nn.Module:
    gated = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU} if architecture.swiglu else {}
    return PlainViT(
        **common,
        **gated,
        pos_embed="learn" if architecture.added else "none",
        relative=architecture.relative or None,
        antialias=architecture.antialias,
        position_offset=architecture.position_offset,
        global_pool="",
        fc_norm=False,
        final_norm=architecture.final_norm,
        reg_tokens=architecture.registers,
        no_embed_class=architecture.placed_prefix == 0,
    )


class PlainViT(VisionTransformer):
    """timm's transformer, whose positions are resampled for other grids as its method's own code does.

    Parameters
    ----------
    antialias, position_offset
        Resampling of positions, as in `ViTArchitecture`.
    relative
        Rule by which tables of relative positions are resized, one of which every block has then.
    options
        Arguments of timm's `VisionTransformer`.
    """

    def __init__(
        self,
        *,
        antialias: bool,
        position_offset: float,
        relative: RelativeRule | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.antialias, self.position_offset, self.relative = antialias, position_offset, relative
        if relative is not None:
            grid: tuple[int, int] = self.patch_embed.grid_size
            for block in cast("Any", self.blocks):
                heads = block.attn.num_heads
                block.attn = RelativeAttention(
                    self.embed_dim, heads, grid, relative, qkv_bias=options["qkv_bias"]
                )

    def forward_features(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        """Compute the normed sequence of (B, C, H, W) pixels."""
        theirs: Any = super().forward_features
        sequence: Tensor = theirs(x, *args, **{"attn_mask": self._grid_of(x), **options})
        return sequence

    def forward_intermediates(self, x: Tensor, *args: Any, **options: Any) -> Any:
        """Compute what timm's function of this name gives, of (B, C, H, W) pixels."""
        theirs: Any = super().forward_intermediates
        return theirs(x, *args, **{"attn_mask": self._grid_of(x), **options})

    def _grid_of(self, pixels: Tensor) -> tuple[int, int] | None:
        """Rows and columns of tokens, which blocks ask for whose positions are relative; else None."""
        if self.relative is None:
            return None
        rows, cols = (
            side // patch for side, patch in zip(pixels.shape[2:], self.patch_embed.patch_size, strict=True)
        )
        return rows, cols

    def positions(self, rows: int, cols: int) -> Tensor:
        """Positions that are added on a grid of rows × cols tokens.

        Returns
        -------
        Tensor
            Positions (1, N, D); N is rows * cols, and before them those of prefix tokens that have positions.
        """
        stored = cast("Tensor", self.pos_embed)
        grid: tuple[int, int] = self.patch_embed.grid_size
        if (rows, cols) == grid:
            return stored
        first = stored.shape[1] - grid[0] * grid[1]
        patches = resample_positions(
            stored[:, first:], grid, (rows, cols), antialias=self.antialias, offset=self.position_offset
        )
        return torch.cat([stored[:, :first], patches], dim=1)

    def _pos_embed(self, x: Tensor) -> Tensor:
        """Put prefix tokens before (B, rows, cols, D) patches, and add positions."""
        prefix = [
            token.expand(len(x), -1, -1) for token in (self.cls_token, self.reg_token) if token is not None
        ]
        patches = x.flatten(1, 2)
        if self.pos_embed is None:
            return torch.cat([*prefix, patches], dim=1)
        positions = self.positions(x.shape[1], x.shape[2])
        if self.no_embed_class:
            return torch.cat([*prefix, patches + positions], dim=1)
        return torch.cat([*prefix, patches], dim=1) + positions


def resample_positions(
    positions: Tensor,
    grid: tuple[int, int],
    wanted: tuple[int, int],
    *,
    antialias: bool = True,
    offset: float = 0.0,
) -> Tensor:
    """Resample the positions of a grid of tokens bicubically.

    Parameters
    ----------
    positions
        (1, rows * cols, D).
    grid, wanted
        Rows and columns as stored and as needed.
    antialias, offset
        Resampling of positions, as `antialias` and `position_offset` of `ViTArchitecture`.

    Returns
    -------
    Tensor
        Positions (1, wanted rows * wanted columns, D), of the same precision; computed in float32.
    """
    image = positions.float().reshape(1, *grid, -1).permute(0, 3, 1, 2)
    scales = [(new + offset) / old for new, old in zip(wanted, grid, strict=True)]
    target: dict[str, Any] = {"scale_factor": scales} if offset else {"size": wanted}
    resampled = functional.interpolate(image, **target, mode="bicubic", antialias=antialias)
    return resampled.flatten(2).transpose(1, 2).to(positions.dtype)


class ViTExtractor:
    """Patch tokens and attention of a timm transformer's blocks."""

    def __init__(self, network: nn.Module) -> None:
        self.network: Any = network
        has_class_token = self.network.cls_token is not None
        self.attention_kind: AttentionKind = "cls" if has_class_token else "mean-query"

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.network.blocks)

    def extract(self, pixels: Tensor) -> TileFeatures:
        """Compute the features of (B, 3, H, W) pixels, sides multiples of the patch: those of the output."""
        return self._features(pixels, [(len(self.network.blocks) - 1, True)])[0]

    def extract_at(self, pixels: Tensor, depths: Sequence[ViTArchitecture]) -> list[TileFeatures]:
        """Compute the tokens of several blocks in one pass; the attention of each is the last block's."""
        return self._features(pixels, [(depth.token_place, depth.token_norm) for depth in depths])

    def _features(self, pixels: Tensor, depths: Sequence[tuple[int, bool]]) -> list[TileFeatures]:
        """Compute the features of blocks, each by its number and whether it is normed."""
        rows, cols = (
            side // patch
            for side, patch in zip(pixels.shape[2:], self.network.patch_embed.patch_size, strict=True)
        )
        blocks = self.network.blocks
        with tap_attention(blocks[-1].attn) as tap, outputs_of(blocks[at] for at, _ in depths) as outputs:
            normed: Tensor = self.network.forward_features(pixels)
        prefix = int(self.network.num_prefix_tokens)
        attention = tap.read_output(self.attention_kind)
        found = []
        for (at, norm), output in zip(depths, outputs, strict=True):
            last = at == len(blocks) - 1
            sequence = output if not norm else normed if last else self.network.norm(output)
            features = TileFeatures(
                tokens=sequence[:, prefix:].reshape(len(pixels), rows, cols, -1),
                attention=attention[..., prefix:].reshape(*attention.shape[:2], rows, cols),
                prefix_attention=attention[..., :prefix].sum(dim=-1),
            )
            found.append(features)
        return found

    def tap(self, pixels: Tensor, blocks: Sequence[int]) -> list[AttentionTap]:
        """Run (B, 3, H, W) pixels up to the last of some blocks, counted from 0, and return their taps."""
        with tap_blocks(self.network.blocks[block].attn for block in blocks) as taps:
            self.network.forward_intermediates(
                pixels, indices=[max(blocks)], stop_early=True, output_fmt="NLC", intermediates_only=True
            )
        return taps


def sincos_positions(dim: int, rows: int, columns: int) -> Tensor:
    """Return fixed two-dimensional sine-cosine positions (arXiv 2104.02057), (1, rows * columns, dim).

    The first half of the channels encodes the column, the second the row, each as sines then cosines:
    MAE's order.
    """
    quarter = dim // 4
    omega = 1.0 / 10000 ** (torch.arange(quarter, dtype=torch.float64) / quarter)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    parts = [wave(axis.reshape(-1, 1) * omega) for axis in (x, y) for wave in (torch.sin, torch.cos)]
    return torch.cat(parts, dim=1).float()[None]


def fixed_positions(dim: int, rows: int, columns: int, *, prefix: int) -> nn.Parameter:
    """Sine-cosine positions, behind zeros for prefix tokens, as a parameter that is not trained.

    Returns
    -------
    Parameter
        Positions (1, prefix + rows * columns, dim) float32.
    """
    positions = torch.cat([torch.zeros(1, prefix, dim), sincos_positions(dim, rows, columns)], dim=1)
    return nn.Parameter(positions, requires_grad=False)


def xavier(module: nn.Module) -> None:
    """Initialise every linear layer Xavier-uniform with zero bias, as MAE and I-JEPA describe."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


LAYER_SCALE = 0.1


def start_with_fixed_positions(network: Any, architecture: ViTArchitecture) -> None:
    """Fill a fresh network as MAE and I-JEPA begin: Xavier weights, sine-cosine positions."""
    xavier(network)
    placed = architecture.placed_prefix
    network.pos_embed = fixed_positions(architecture.dim, *architecture.grid, prefix=placed)
    if architecture.class_token:
        nn.init.normal_(network.cls_token, std=0.02)


def start_layer_scales(network: nn.Module) -> None:
    """Set every layer scale to the value that training begins with."""
    for name, scale in network.named_parameters():
        if name.endswith((".gamma_1", ".gamma_2", ".ls1.gamma", ".ls2.gamma")):
            nn.init.constant_(scale, LAYER_SCALE)


def start_vit(network: Any, architecture: ViTArchitecture, method: Method, gain: float | None) -> None:
    """Fill a fresh transformer with what a method's training starts from."""
    if method.fixed_positions:
        start_with_fixed_positions(network, architecture)
    else:
        start_layer_scales(network)
    with torch.no_grad():
        network.patch_embed.proj.weight.mul_(method.patch_gain if gain is None else gain)


_TEST_TOKENS = 8


def _test_side(architecture: ViTArchitecture) -> int:
    return min(_TEST_TOKENS, *architecture.grid) * architecture.patch


NETWORK = Network(build_vit, ViTExtractor, start_vit, _test_side)
