"""Positions that attention adds to its logits: a table of offsets between tokens, as BEiT has one per block.

A table is of one grid; for another it is resized along each axis, by the rule of the code that wrote it. What
it adds to the logits of some queries is read off it when they are computed, so that nothing as large as
N × N is held for a large tile.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline
from timm.layers.attention import Attention
from torch import Tensor, nn
from torch.nn import functional

from napari_sslmaps.encoders.spec import RelativeRule
from napari_sslmaps.maps.attention import queries_at_once

Grid = tuple[int, int]
OF_CLASS = 3
"""Last entries of a table: what CLS adds to tokens, what tokens add to CLS, and CLS to itself."""


def offsets(grid: Grid) -> tuple[int, int]:
    """Return how many offsets there are between rows, and between columns, of a grid of tokens."""
    return 2 * grid[0] - 1, 2 * grid[1] - 1


@dataclass(frozen=True, slots=True, eq=False)
class RelativeBias:
    """Bias that the places of tokens add to the logits of attention, on one grid.

    Parameters
    ----------
    patches
        (heads, rows, cols, rows, cols) view of a table: the bias of the token that many rows and columns
        before the last, to each token.
    to_patches, to_class, of_class
        (heads,) bias of CLS to every token, of every token to CLS, and of CLS to itself.
    """

    patches: Tensor
    to_patches: Tensor
    to_class: Tensor
    of_class: Tensor

    def rows(self, rows: slice) -> Tensor:
        """Return (heads, M, N) of some queries of the sequence, whose first is CLS."""
        heads, height, width = self.patches.shape[:3]
        start, stop, _ = rows.indices(1 + height * width)
        places = torch.arange(max(start - 1, 0), max(stop - 1, 0), device=self.patches.device)
        inside = self.patches[:, height - 1 - places // width, width - 1 - places % width].flatten(2)
        found = torch.cat([self.to_class[:, None, None].expand(-1, inside.shape[1], 1), inside], dim=2)
        if start > 0 or stop <= start:
            return found
        first = torch.cat([self.of_class[:, None], self.to_patches[:, None].expand(heads, height * width)], 1)
        return torch.cat([first[:, None], found], dim=1)


class RelativeAttention(Attention):
    """timm's attention with a table of relative positions.

    Parameters
    ----------
    dim, heads
        Width of a token, number of heads.
    grid
        Rows and columns of tokens that the table is of.
    rule
        Rule by which it is resized for other grids.
    options
        Further arguments of timm's `Attention`.
    """

    relative_position_bias_table: Tensor

    def __init__(self, dim: int, heads: int, grid: Grid, rule: RelativeRule, **options: Any) -> None:
        super().__init__(dim, num_heads=heads, **options)
        rows, cols = offsets(grid)
        self.grid, self.rule = grid, rule
        self.relative_position_bias_table = nn.Parameter(torch.zeros(rows * cols + OF_CLASS, heads))

    def bias(self, grid: Grid) -> RelativeBias:
        """Return what is added to the logits on a grid of rows × cols tokens, in float32."""
        table = self.relative_position_bias_table.float()
        image = resize_table(table[:-OF_CLASS], self.grid, grid, self.rule)
        windows = image.flip(1, 2).unfold(1, grid[0], 1).unfold(2, grid[1], 1)
        return RelativeBias(windows, *table[-OF_CLASS:])

    def forward(self, x: Tensor, attn_mask: Any = None, *_args: Any, **_options: Any) -> Tensor:
        """Attend within tokens.

        Parameters
        ----------
        x
            (B, 1 + rows * cols, D) tokens, CLS first.
        attn_mask
            Rows and columns of the grid, as a pair: what timm hands down from the network under this name.
        """
        grid: Grid = attn_mask or self.grid
        batch, length, _ = x.shape
        parts = self.qkv(x).reshape(batch, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts.unbind(0)
        bias, chunk = self.bias(grid), queries_at_once(length)
        attended = [
            functional.scaled_dot_product_attention(
                queries[:, :, start : start + chunk],
                keys,
                values,
                attn_mask=bias.rows(slice(start, start + chunk)).to(queries.dtype)[None],
            )
            for start in range(0, length, chunk)
        ]
        joined = torch.cat(attended, dim=2) if len(attended) > 1 else attended[0]
        projected: Tensor = self.proj(joined.transpose(1, 2).reshape(batch, length, -1))
        return projected


def resize_table(table: Tensor, grid: Grid, wanted: Grid, rule: RelativeRule) -> Tensor:
    """Resize a table of offsets for another grid.

    Parameters
    ----------
    table
        (offsets, heads) float32 of a grid, row by row, without what concerns CLS.
    grid, wanted
        Rows and columns of tokens that it is of, and that are needed.
    rule
        Rule by which it is resized.

    Returns
    -------
    Tensor
        (heads, offsets between rows, offsets between columns) float32.
    """
    image = table.T.reshape(table.shape[1], *offsets(grid))
    if wanted == grid:
        return image
    along_rows, along_cols = (
        torch.from_numpy(_weights(old, new, rule)).to(table.device)
        for old, new in zip(offsets(grid), offsets(wanted), strict=True)
    )
    with torch.autocast(table.device.type, enabled=False):
        return along_rows @ image @ along_cols.T


@lru_cache(maxsize=64)
def _weights(stored: int, wanted: int, rule: RelativeRule) -> NDArray[np.float32]:
    """Weights (wanted, stored) of the stored offsets in those that are wanted, along one axis."""
    if rule == "bilinear":
        unit = functional.interpolate(torch.eye(stored)[None], size=wanted, mode="linear")
        return unit[0].T.contiguous().numpy()
    reach = wanted // 2
    steps = np.cumsum(_growth(stored // 2, reach) ** np.arange(stored // 2))
    places = np.concatenate([-steps[::-1], [0.0], steps])
    inside = np.clip(np.arange(-reach, reach + 1.0), places[0], places[-1])
    if rule == "geometric-linear" or stored <= _CUBIC:
        found = np.stack([np.interp(inside, places, unit) for unit in np.eye(stored)], axis=1)
    else:
        found = make_interp_spline(places, np.eye(stored), k=_CUBIC)(inside)
    return np.asarray(found, dtype=np.float32)


_CUBIC = 3
_LEAST, _MOST, _EXACT = 1.01, 1.5, 1e-6


def _growth(steps: int, reach: int) -> float:
    """Factor from one step between stored offsets to the next, so that all of them reach that far.

    Bisected as BEiT's code does it, between the same bounds and to the same precision: the last value tried.
    """
    low, high, middle = _LEAST, _MOST, _LEAST
    while high - low > _EXACT:
        middle = (low + high) / 2
        if (1 - middle**steps) / (1 - middle) > reach:
            high = middle
        else:
            low = middle
    return middle
