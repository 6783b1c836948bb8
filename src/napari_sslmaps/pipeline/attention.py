"""Attention of any block: of the output, of the token under an anchor, or followed through the blocks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from napari_sslmaps.core.preprocess import check_window
from napari_sslmaps.core.resolution import Resolution
from napari_sslmaps.core.results import AttentionKind, Embedding, Float32, Provenance
from napari_sslmaps.core.tiling import ONE_PASS, Stitcher, Tile, Tiling
from napari_sslmaps.encoders.registry import loaded
from napari_sslmaps.errors import DeviceMemoryError, InvalidAnchorError, InvalidOptionError
from napari_sslmaps.maps.attention import NO_ANCHOR, AttentionOptions, AttentionStack, attention_rollout
from napari_sslmaps.pipeline.attention_field import Anchor, AttentionField, block_number, split_prefix
from napari_sslmaps.pipeline.batches import is_out_of_memory
from napari_sslmaps.pipeline.masks import MaskLike
from napari_sslmaps.pipeline.planning import (
    EmbeddingPlan,
    RegionLike,
    at_working_resolution,
    check_whole_patches,
    plan,
    region_on,
    working_resolution,
)
from napari_sslmaps.pipeline.reading import TileReader, parts_read, read_ahead, scan_ahead
from napari_sslmaps.pipeline.region_work import check_structure, provenance_of
from napari_sslmaps.pipeline.reopened import ReopenedImage
from napari_sslmaps.sources.identity import unchanged
from napari_sslmaps.sources.open import open_image

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sslmaps.encoders.encoder import Encoder
    from napari_sslmaps.encoders.families.taps import AttentionTap

OnTiles = Callable[[int, int], None]
"""Called with tiles done and their total; may raise `Cancelled`."""
Taps = Sequence["AttentionTap"]
Result = TypeVar("Result")
_AHEAD = 2


def attend(  # noqa: PLR0913  # what users call; most of its keywords are those of `embed`
    image: Any,
    encoder: "Encoder | str | Path",
    *,
    block: int | None = None,
    anchor: Anchor | None = None,
    rollout: bool = False,
    region: RegionLike | None = None,
    tiling: Tiling | None = None,
    window: tuple[float, float] | None = None,
    allow_uniform: bool = False,
    mask: MaskLike | None = None,
    resolution: Resolution | float | str = "trained",
    on_progress: OnTiles | None = None,
) -> AttentionStack:
    """Compute the attention of one block of a transformer, per head.

    Without an anchor it is what the output reads, within each tile: the CLS query's row, or for I-JEPA the
    mean over the patch queries. With an anchor it is the row of the token under it. Then only the tile that
    keeps this token is computed, since attention does not leave a tile, and the rest is NaN.
    Prefix columns are dropped and the rest is not renormalised.

    Parameters
    ----------
    image
        Image in any form that `embed` takes; or an `Embedding` by the same encoder, whose region, tiling,
        window and mask are used.
    encoder
        Encoder from `load_encoder`, or a name or path for it.
    block
        Index from 1, the first, or from −1, the last; the last if omitted.
    anchor
        (row, column) pixel of level 0.
    rollout
        Whether to follow attention from that block down to the input, averaged over heads (Abnar & Zuidema,
        arXiv 2005.00928). It reads all rows of every block, some at a time.
    region, tiling, window, allow_uniform, mask, resolution
        Options as `embed` takes them. An anchor's tile is computed whole, whatever the mask.
    on_progress
        Callback, called after every tile, on this thread, with tiles done and their total; may raise
        `Cancelled`.

    Returns
    -------
    AttentionStack
        Attention of each head, (heads, rows, cols) float32 in [0, 1]; `attention_map` reduces it.

    Raises
    ------
    MapUnavailableError
        If the encoder is a CNN, which has no attention, or an embedding cannot read its image again.
    InvalidOptionError
        If there is no such block, or the embedding is by another encoder.
    InvalidAnchorError
        If the anchor is not on the region.

    Examples
    --------
    >>> from skimage.data import immunohistochemistry
    >>> import napari_sslmaps as ssl
    >>> image = immunohistochemistry()[:64, :64]
    >>> encoder = ssl.load_encoder("dinov3-histology", device="cpu", precision="float32")
    >>> stack = ssl.attend(image, encoder, block=1, anchor=(20, 30))
    >>> stack.heads.shape == (encoder.spec.architecture.heads, 8, 8)
    True
    >>> ssl.attention_map(stack).values.shape
    (8, 8)
    """
    where = _Where(region, tiling, window, mask, allow_uniform, resolution)
    with _attention_pass(image, encoder, where) as attention:
        number = block_number(block, attention.depth)
        if anchor is not None:
            field = attention.field(anchor, range(1, number + 1) if rollout else (number,))
            return field.at(anchor, block=number, rollout=rollout)
        return (
            attention.rollout(number, on_progress)
            if rollout
            else attention.outputs((number,), on_progress)[0]
        )


def attention_stack(
    embedding: Embedding, encoder: "Encoder", options: AttentionOptions, anchors: Sequence[Anchor]
) -> AttentionStack | None:
    """Compute attention that an embedding does not hold; None where it holds it, or of a CNN.

    Parameters
    ----------
    embedding, encoder
        The encoder is run again, on the embedding's region.
    options
        Options that choose block and query. An encoder with fewer blocks gives its last.
    anchors
        The last one asks, if it is an anchor's attention.

    Raises
    ------
    InvalidAnchorError
        If there is none to ask.
    """
    depth = encoder.spec.architecture.attention_blocks
    if not depth or options.is_kept:
        return None
    block = options.block
    if block is not None:
        block = max(-depth, min(block, depth))
    if options.query == "anchor":
        if not anchors:
            raise InvalidAnchorError(NO_ANCHOR)
        return attend(embedding, encoder, block=block, anchor=anchors[-1])
    return attend(embedding, encoder, block=block, rollout=options.query == "rollout")


def attend_blocks(  # noqa: PLR0913  # the keywords of `attend`
    image: Any,
    encoder: "Encoder | str | Path",
    blocks: Sequence[int] | None = None,
    *,
    region: RegionLike | None = None,
    tiling: Tiling | None = None,
    window: tuple[float, float] | None = None,
    allow_uniform: bool = False,
    mask: MaskLike | None = None,
    resolution: Resolution | float | str = "trained",
    on_progress: OnTiles | None = None,
) -> tuple[AttentionStack, ...]:
    """Compute what the output reads in several blocks, in one forward pass; see `attend`.

    Parameters
    ----------
    blocks
        Numbers of the blocks, each from 1, or from −1; all if omitted.
    """
    where = _Where(region, tiling, window, mask, allow_uniform, resolution)
    with _attention_pass(image, encoder, where) as attention:
        return attention.outputs(attention.numbers(blocks), on_progress)


def attention_field(  # noqa: PLR0913  # the keywords of `attend`
    image: Any,
    encoder: "Encoder | str | Path",
    anchor: Anchor,
    *,
    blocks: Sequence[int] | None = (-1,),
    region: RegionLike | None = None,
    tiling: Tiling | None = None,
    window: tuple[float, float] | None = None,
    allow_uniform: bool = False,
    resolution: Resolution | float | str = "trained",
) -> AttentionField:
    """Keep what the tile around an anchor attends with, so that the next anchor in it costs no forward pass.

    Parameters
    ----------
    anchor
        (row, column) pixel of level 0; the tile that keeps its token is computed.
    blocks
        Numbers of the blocks, each from 1, or from −1; None for all, as a rollout needs. Memory is 8 bytes ×
        width per block and token.
    """
    where = _Where(region, tiling, window, None, allow_uniform, resolution)
    with _attention_pass(image, encoder, where) as attention:
        return attention.field(anchor, attention.numbers(blocks))


class _Where(NamedTuple):
    """Part of an image to compute, as `embed` takes it."""

    region: RegionLike | None
    tiling: Tiling | None
    window: tuple[float, float] | None
    mask: MaskLike | None
    allow_uniform: bool
    resolution: Resolution | float | str


@contextmanager
def _attention_pass(image: Any, encoder: "Encoder | str | Path", where: _Where) -> Iterator["_AttentionPass"]:
    encoder = loaded(encoder)
    depth = encoder.blocks.depth
    if isinstance(image, Embedding):
        yield _pass_of_embedding(image, encoder, where)
        return
    source = open_image(image)
    with nullcontext() if source is image else source, unchanged(source):
        read, area = at_working_resolution(source, where.region, where.resolution, encoder.spec.trained)
        working = working_resolution(
            source, region_on(source, where.region), where.resolution, encoder.spec.trained
        )
        planned = plan(read, encoder.spec, area, where.tiling, mask=where.mask)
        scan = scan_ahead(read, planned.region, None if planned.mask is None else parts_read(planned))
        check_structure(scan, allow_uniform=where.allow_uniform)
        chosen = check_window(scan.window if where.window is None else where.window, flat=where.allow_uniform)
        provenance = provenance_of(read, planned, encoder, scan, chosen, working)
        yield _AttentionPass(TileReader(read, planned, chosen), encoder, depth, provenance)


def _pass_of_embedding(embedding: Embedding, encoder: "Encoder", where: _Where) -> "_AttentionPass":
    made = embedding.provenance
    if any(given is not None for given in where[:4]):
        raise InvalidOptionError(
            "Expected no region, tiling, window or mask beside an embedding, which has its own. Give the "
            "image to choose others."
        )
    if (made.encoder, made.weights_sha256) != (encoder.spec.name, encoder.spec.sha256):
        raise InvalidOptionError(
            f"Expected the encoder that made the embedding, {made.encoder}; got {encoder.spec.name}"
            f"{' with other weights' if made.encoder == encoder.spec.name else ''}. Give that encoder, or "
            "embed again."
        )
    check_whole_patches(made)
    tiling = Tiling(made.tile, made.overlap, made.stitching) if made.tile else ONE_PASS  # type: ignore[arg-type]  # written by `embed`
    source = ReopenedImage(embedding, encoder.spec.constraint.token_stride)
    planned = plan(source, encoder.spec, made.region, tiling)
    if planned.grid.shape != embedding.grid.shape or made.window is None:
        raise InvalidOptionError(
            f"Expected an embedding on the encoder's own grid {planned.grid.shape}; got one on "
            f"{embedding.grid.shape}. Use it as it was before it was brought to another grid."
        )
    if made.mask_sha256 and embedding.attention is not None:
        planned = plan(source, encoder.spec, made.region, tiling, mask=np.isfinite(embedding.attention[0]))
    reader = TileReader(source, replace(planned, grid=embedding.grid), made.window)
    return _AttentionPass(reader, encoder, encoder.blocks.depth, made)


@dataclass(frozen=True, slots=True)
class _AttentionPass:
    """A planned region and the transformer that looks at it."""

    reader: TileReader
    encoder: "Encoder"
    depth: int
    provenance: Provenance

    @property
    def plan(self) -> EmbeddingPlan:
        return self.reader.plan

    def numbers(self, blocks: Sequence[int] | None) -> Sequence[int]:
        """Return blocks as counted from 1."""
        if blocks is not None and not blocks:
            raise InvalidOptionError("Expected at least one block; got none.")
        everything = range(1, self.depth + 1)
        return everything if blocks is None else [block_number(block, self.depth) for block in blocks]

    def field(self, anchor: Anchor, blocks: Sequence[int]) -> AttentionField:
        token = self.plan.grid.token_at(anchor)
        tile = self._tile_of(token)
        projected = self._run(self.reader.read(tile), blocks, lambda taps: [tap.projected() for tap in taps])
        kept = dict(zip(blocks, projected, strict=True))
        return AttentionField(kept, tile, self.depth, self.plan.grid, self.provenance)

    def _tile_of(self, token: tuple[int, int]) -> Tile:
        """Return the tile that keeps a token; there is one, also where the mask leaves it out."""
        axes = (self.plan.tiles.rows, self.plan.tiles.cols)
        row, col = (
            next(span for span in spans if span.keep_start <= place < span.keep_stop)
            for spans, place in zip(axes, token, strict=True)
        )
        return Tile(row, col)

    def outputs(self, blocks: Sequence[int], on_progress: OnTiles | None) -> tuple[AttentionStack, ...]:
        kind = self.kind
        found = self._stitched(blocks, lambda taps: [tap.read_output(kind)[0] for tap in taps], on_progress)
        return tuple(self._stack(kind, block, *parts) for block, parts in zip(blocks, found, strict=True))

    def rollout(self, block: int, on_progress: OnTiles | None) -> AttentionStack:
        kind = self.kind
        (parts,) = self._stitched(
            range(1, block + 1), lambda taps: [_rollout_of_output(taps, kind)], on_progress
        )
        return self._stack("rollout", block, *parts)

    @property
    def kind(self) -> AttentionKind:
        """Query whose attention the output is."""
        return self.encoder.blocks.attention_kind or "mean-query"

    def _stack(self, kind: AttentionKind, block: int, heads: Float32, prefix: Float32) -> AttentionStack:
        return AttentionStack(heads, kind, block, self.depth, prefix, self.plan.grid, self.provenance)

    def _stitched(
        self, blocks: Sequence[int], read: Callable[[Taps], list["Tensor"]], on_progress: OnTiles | None
    ) -> list[tuple[Float32, Float32]]:
        """Stitch the (heads, N) rows that `read` makes of every tile: (heads, rows, cols) and mass apart."""
        tiles = self.plan.tiles
        stitchers: list[Stitcher] = []
        masses: list[list[Float32]] = []
        with closing(read_ahead(self.reader.read, tiles, _AHEAD)) as ahead:
            for done, (tile, pixels) in enumerate(zip(tiles, ahead, strict=True), start=1):
                found = [split_prefix(rows, tile) for rows in self._run(pixels, blocks, read)]
                if not stitchers:
                    stitching = self.plan.tiling.stitching
                    stitchers = [Stitcher(*self.plan.grid.shape, len(heads), stitching) for heads, _ in found]
                for stitcher, (heads, _) in zip(stitchers, found, strict=True):
                    part = stitcher.needed(tile, np.moveaxis(heads, 0, -1))
                    stitcher.put(tile, part, self.plan.mask)
                masses.append([mass for _, mass in found])
                if on_progress is not None:
                    on_progress(done, len(tiles))
        return [
            (np.ascontiguousarray(np.moveaxis(stitcher.values, -1, 0)), np.mean(mass, axis=0))
            for stitcher, mass in zip(stitchers, zip(*masses, strict=True), strict=True)
        ]

    def _run(self, pixels: Float32, blocks: Sequence[int], read: Callable[[Taps], Result]) -> Result:
        """Run one tile; memory that does not suffice for it becomes a sentence."""
        try:
            return self.encoder.attend(pixels[None], [block - 1 for block in blocks], read)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            rows, cols = (side // self.plan.stride for side in pixels.shape[:2])
            raise DeviceMemoryError(
                f"The attention of a tile of {rows} × {cols} tokens does not fit into the memory of "
                f"{self.encoder.device}. Choose smaller tiles, fewer blocks or the CPU."
            ) from error


def _rollout_of_output(taps: Taps, kind: AttentionKind) -> "Tensor":
    """(1, N) rollout of what the output reads: the CLS token, or all tokens alike."""
    blocks = (tap.projected() for tap in reversed(taps))
    count = taps[-1].length
    start = taps[-1].keys().new_zeros(1, count).float()
    start[:, : 1 if kind == "cls" else count] = 1.0 if kind == "cls" else 1.0 / count
    return attention_rollout(blocks, start)
