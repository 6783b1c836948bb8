"""Features of tiles assembled into the tokens of a region."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.moments import MomentAccumulator, TokenMoments
from napari_sslmaps.core.preprocess import flat_tokens
from napari_sslmaps.core.results import AttentionKind, Embedding, Float32, PixelReader, Provenance
from napari_sslmaps.core.tiling import Stitcher, Tile
from napari_sslmaps.core.tokens import HalfTokens
from napari_sslmaps.pipeline.planning import EmbeddingPlan
from napari_sslmaps.pipeline.token_store import TokenBudget

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sslmaps.encoders.families.extractor import TileFeatures

Planes = Mapping[str, Float32]
"""By name: (rows, cols, channels) values of a tile or of the grid; ``prefix_attention`` is (heads,)."""
PREFIX = "prefix_attention"
Allocate = Callable[[str, tuple[int, int, int]], Float32]


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """Facts about an embedding that are known before it is computed.

    Parameters
    ----------
    plan
        Plan of its tiles.
    provenance, attention_kind, pixels
        Fields of the embedding.
    focus_yx
        Position on the token grid where computing begins; None for the first row.
    budget
        Budget that decides how the tokens are kept.
    """

    plan: EmbeddingPlan
    provenance: Provenance
    attention_kind: AttentionKind | None
    pixels: PixelReader
    focus_yx: tuple[float, float] | None = None
    budget: TokenBudget = field(default_factory=TokenBudget)

    def embedding(self, planes: Planes, moments: TokenMoments | None = None) -> Embedding:
        """Wrap the planes of the whole grid, and the moments of its tokens, without copying them."""
        attention, activation = planes.get("attention"), planes.get("activation")
        return Embedding(
            tokens=planes["tokens"],
            grid=self.plan.grid,
            provenance=self.provenance,
            attention=None if attention is None else np.moveaxis(attention, -1, 0),
            prefix_attention=planes.get(PREFIX),
            attention_kind=self.attention_kind,
            activation=None if activation is None else activation[..., 0],
            foreground=planes["foreground"][..., 0] >= 0.5,
            pixels=self.pixels,
            moments=moments,
        )


def allocated(budget: TokenBudget) -> Allocate:
    """Return what makes planes of NaN, tokens as a budget says."""

    def allocate(name: str, shape: tuple[int, int, int]) -> Float32:
        return budget.allocate(*shape) if name == "tokens" else np.full(shape, np.nan, np.float32)

    return allocate


class Canvas:
    """The planes of an embedding as far as they are, filled in place.

    Parameters
    ----------
    planned
        Plan of the tiles.
    allocate
        Function that makes what is filled: of the plane of that name, (rows, cols, channels) of the plan's
        grid, NaN.
    """

    def __init__(self, planned: EmbeddingPlan, allocate: Allocate) -> None:
        self._plan = planned
        self._allocate = allocate
        self._stitchers: dict[str, Stitcher] = {}
        self._prefix: dict[tuple[int, int], Float32] = {}
        self._moments: MomentAccumulator | None = None

    def add(self, tiles: Sequence[Tile], pixels: Float32, features: "TileFeatures") -> Sequence[Planes]:
        """Add a batch, (B, H, W, 3) pixels in [0, 1] and their features; return what `put` takes again."""
        planes = {name: plane.numpy() for name, plane in planes_of(features).items()}
        parts = []
        for index, tile in enumerate(tiles):
            part = {
                name: plane[index].copy() if name == PREFIX else self._needed(tile, plane[index])
                for name, plane in planes.items()  # a view of the prefix would keep the batch
            }
            part["foreground"] = self._needed(tile, _structured(pixels[index], self._plan.stride))
            self.put(tile, part)
            parts.append(part)
        return parts

    def put(self, tile: Tile, part: Planes) -> None:
        """Add a tile that `add` returned, in this run or an earlier one."""
        self.place(tile, part)
        self._take_up(tile, np.asarray(part["tokens"], np.float32))

    def place(self, tile: Tile, part: Planes) -> None:
        """Add a tile as `put` does, of which the moments come by `merge`."""
        for name, values in part.items():
            if name == PREFIX:
                self._prefix[tile.place] = values
            else:
                self._stitcher(name, values.shape[-1]).put(tile, values, self._plan.mask)

    def merge(self, moments: TokenMoments) -> None:
        """Add moments of tokens that `place` added."""
        self._accumulator(len(moments.mean)).merge(moments)

    @property
    def takes_moments(self) -> bool:
        """Whether there are moments: blending changes tokens after they have come."""
        return self._plan.tiling.stitching != "blend"

    def halves(self, dim: int) -> bool:
        """Whether tokens of that width are kept in half precision."""
        return isinstance(self._stitcher("tokens", dim).values, HalfTokens)

    def shapes_of(self, tiles: Sequence[Tile]) -> list[tuple[int, ...]]:
        """Return rows and columns of what is kept of each tile."""
        return [self._needed(tile, np.empty(tile.shape, np.bool_)).shape for tile in tiles]

    def kept_of(self, tiles: Sequence[Tile]) -> NDArray[np.int64] | None:
        """Return the places of what is kept among the tokens of a batch, tile after tile; None for all."""
        if not self.takes_moments:
            return None
        rows, cols = tiles[0].shape
        places = np.arange(len(tiles) * rows * cols).reshape(len(tiles), rows, cols)
        kept = [self._needed(tile, own).reshape(-1) for tile, own in zip(tiles, places, strict=True)]
        return np.concatenate(kept)

    def moments(self) -> TokenMoments | None:
        """Return mean and covariance of the tokens; None where tiles were blended, which changes tokens."""
        return None if self._moments is None or not self._moments.count else self._moments.moments()

    @property
    def nbytes(self) -> int:
        """Bytes of all planes."""
        return sum(stitcher.values.nbytes for stitcher in self._stitchers.values())

    def planes(self) -> dict[str, Float32]:
        """Return what there is, as `Frame.embedding` takes it; the arrays are shared, not copied."""
        values = {name: stitcher.values for name, stitcher in self._stitchers.items()}
        if self._prefix:
            in_order = [self._prefix[place] for place in sorted(self._prefix)]
            values[PREFIX] = np.mean(in_order, axis=0)
        return values

    def _needed(self, tile: Tile, values: NDArray[Any]) -> NDArray[Any]:
        return tile.kept(values) if self.takes_moments else values

    def _stitcher(self, name: str, channels: int) -> Stitcher:
        if name not in self._stitchers:
            shape = (*self._plan.grid.shape, channels)
            self._stitchers[name] = Stitcher(*shape, self._plan.tiling.stitching, self._allocate(name, shape))
        return self._stitchers[name]

    def _take_up(self, tile: Tile, tokens: Float32) -> None:
        if not self.takes_moments:
            return
        mask = self._plan.mask
        wanted = np.s_[:] if mask is None else mask[tile.rows.kept, tile.cols.kept].reshape(-1)
        self._accumulator(tokens.shape[-1]).update(tokens.reshape(-1, tokens.shape[-1])[wanted])

    def _accumulator(self, dim: int) -> MomentAccumulator:
        if self._moments is None:
            self._moments = MomentAccumulator(dim)
        return self._moments


def planes_of(features: "TileFeatures") -> dict[str, "Tensor"]:
    """Return the features of B tiles by name, (B, rows, cols, channels), single precision, where they are.

    ``prefix_attention`` is (B, heads).
    """
    planes = {"tokens": features.tokens}
    if features.attention is not None:
        planes["attention"] = features.attention.permute(0, 2, 3, 1)
    if features.activation is not None:
        planes["activation"] = features.activation.unsqueeze(-1)
    if features.prefix_attention is not None:
        planes[PREFIX] = features.prefix_attention
    return {name: plane.float() for name, plane in planes.items()}


def _structured(pixels: Float32, stride: int) -> Float32:
    return (~flat_tokens(pixels, stride))[..., None].astype(np.float32)
