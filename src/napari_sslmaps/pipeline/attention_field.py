"""Queries and keys of one tile, kept so that another anchor in it costs no forward pass."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import AttentionKind, Float32, Provenance
from napari_sslmaps.core.tiling import Tile
from napari_sslmaps.core.whole import whole_number
from napari_sslmaps.errors import InvalidAnchorError, InvalidOptionError
from napari_sslmaps.maps.attention import AttentionStack, QueriesKeys, attention_rollout

if TYPE_CHECKING:
    from torch import Tensor

Anchor = tuple[float, float]


def block_number(block: int | None, depth: int) -> int:
    """Return the number from 1 of a block that is counted from 1 or, if negative, from the last.

    Raises
    ------
    InvalidOptionError
        If there is no such block.
    """
    wanted = depth if block is None else whole_number(block) or 0
    number = wanted + depth + 1 if wanted < 0 else wanted
    if not 1 <= number <= depth:
        raise InvalidOptionError(
            f"Expected a block from 1 to {depth}, or from −1 (the last) to −{depth}; got {block!r}."
        )
    return number


def keeps(tile: Tile, token: tuple[int, int]) -> bool:
    """Whether a token of the grid is among those that a tile keeps."""
    rows, cols = tile.rows, tile.cols
    return rows.keep_start <= token[0] < rows.keep_stop and cols.keep_start <= token[1] < cols.keep_stop


def split_prefix(rows: "Tensor", tile: Tile) -> tuple[Float32, Float32]:
    """Turn (heads, N) attention over a tile's sequence into (heads, rows, cols) and mass on its prefix."""
    height, width = tile.shape
    values = rows.float().cpu().numpy()
    prefix = values.shape[1] - height * width
    return values[:, prefix:].reshape(-1, height, width), values[:, :prefix].sum(axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class AttentionField:
    """Queries and keys of one tile, from which the attention of any token in it is read.

    Parameters
    ----------
    projected
        Block, from 1 → what it attends with: (1, heads, N, d) queries and keys.
    tile
        The tile, on the grid.
    depth
        Blocks that the encoder has.
    grid, provenance
        Grid and provenance, as of an embedding of the region.
    """

    projected: Mapping[int, QueriesKeys]
    tile: Tile
    depth: int
    grid: TokenGrid
    provenance: Provenance

    @property
    def blocks(self) -> tuple[int, ...]:
        """The blocks that are kept, from 1."""
        return tuple(sorted(self.projected))

    def keeps(self, anchor: Anchor) -> bool:
        """Whether `at` can answer for this (row, column) pixel."""
        return self.grid.contains(anchor) and keeps(self.tile, self.grid.token_at(anchor))

    def at(self, anchor: Anchor, *, block: int | None = None, rollout: bool = False) -> AttentionStack:
        """Read the attention of the token under an anchor.

        Parameters
        ----------
        anchor
            (row, column) pixel of level 0.
        block
            Index from 1, or from −1, the last; the last that is kept if omitted.
        rollout
            Whether to follow attention from that block down to the first; all of them must be kept.

        Returns
        -------
        AttentionStack
            Attention as `attend` returns it for this anchor.

        Raises
        ------
        InvalidAnchorError
            If the anchor is not on the region, or another tile keeps its token.
        InvalidOptionError
            If the block is not kept.
        """
        token = self.grid.token_at(anchor)
        if not keeps(self.tile, token):
            raise InvalidAnchorError(
                f"Expected an anchor on tokens that this tile keeps; ({anchor[0]:g}, {anchor[1]:g}) lies on "
                "another tile. Make a field there."
            )
        number = block_number(self.blocks[-1] if block is None else block, self.depth)
        self._check_kept(range(1, number + 1) if rollout else (number,))
        rows = self._rollout(token, number) if rollout else self._row(token, number)
        heads, prefix = self._place(rows)
        kind: AttentionKind = "rollout" if rollout else "anchor"
        where = (float(anchor[0]), float(anchor[1]))
        return AttentionStack(heads, kind, number, self.depth, prefix, self.grid, self.provenance, where)

    def _check_kept(self, wanted: range | tuple[int, ...]) -> None:
        missing = [number for number in wanted if number not in self.projected]
        if missing:
            kept = ", ".join(map(str, self.blocks))
            raise InvalidOptionError(f"Expected a block among those kept ({kept}); {missing} are needed.")

    def _index(self, token: tuple[int, int]) -> int:
        """Place of a token in the tile's sequence."""
        rows, cols = self.tile.shape
        keys = next(iter(self.projected.values())).keys
        inside = (token[0] - self.tile.rows.start) * cols + token[1] - self.tile.cols.start
        return int(keys.shape[2]) - rows * cols + inside

    def _row(self, token: tuple[int, int], number: int) -> "Tensor":
        index = self._index(token)
        return self.projected[number].rows(slice(index, index + 1))[0, :, 0]

    def _rollout(self, token: tuple[int, int], number: int) -> "Tensor":
        keys = self.projected[number].keys
        start = keys.new_zeros(1, keys.shape[2]).float()
        start[0, self._index(token)] = 1
        return attention_rollout((self.projected[block] for block in range(number, 0, -1)), start)

    def _place(self, rows: "Tensor") -> tuple[Float32, Float32]:
        """Lay (heads, N) rows onto the grid; mass on prefix tokens apart."""
        patches, prefix = split_prefix(rows, self.tile)
        _, height, width = patches.shape
        heads = np.full((len(patches), *self.grid.shape), np.nan, np.float32)
        target = heads[:, self.tile.rows.start :, self.tile.cols.start :][:, :height, :width]
        target[:] = patches[:, : target.shape[1], : target.shape[2]]
        return heads, prefix
