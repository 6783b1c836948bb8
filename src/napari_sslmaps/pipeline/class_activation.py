"""Grad-CAM of a class over a region of an image, tile by tile."""

from collections.abc import Iterator
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.core.tiling import ONE_PASS, Span, Tile, Tiling
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.maps.evidence import EvidenceMap
from napari_sslmaps.pipeline.planning import EmbeddingPlan, check_whole_patches, plan, with_level_of
from napari_sslmaps.pipeline.reading import TileReader, read_ahead
from napari_sslmaps.sources.open import open_image

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder


def class_activation(
    image: Any,
    encoder: "Encoder",
    embedding: Embedding,
    weights: Float32,
    *,
    offset: float = 0.0,
    label: str = "",
    stage: str | None = None,
) -> EvidenceMap:
    """Grad-CAM of a class of a linear head on mean-pooled tokens (Selvaraju et al., arXiv 1610.02391).

    Each channel of the stage is weighed with the mean gradient of the class score by it, over all tiles, and
    the sum is rectified. On the token stage itself it is the class activation map (arXiv 1512.04150), which
    needs no gradient; on a finer stage it goes through the network between.

    Parameters
    ----------
    image
        Image that `embedding` was made of, in any form that `embed` takes.
    encoder
        A CNN such as DiRA's, that `embedding` is of. Computed in float32 on its device.
    embedding
        Embedding that says region, intensities and tiles, and which tokens the score is the mean of.
    weights, offset
        (dim,) float32 and a number: the class's row of the head.
    label
        Name of the class.
    stage
        Name of a stage at or before the token stage, and not coarser; the token stage if omitted.

    Returns
    -------
    EvidenceMap
        Map of values (rows, cols) float32, at least 0, on the stage's grid; 0 where nothing was computed.
        Tiles are joined by dropping their margins, whatever the embedding's stitching.

    Raises
    ------
    MapUnavailableError
        If the encoder is a transformer.
    InvalidOptionError
        If there is no such stage, or embedding or weights are of another encoder.

    Examples
    --------
    >>> import numpy as np
    >>> from skimage.data import immunohistochemistry
    >>> import napari_sslmaps as ssl
    >>> image = immunohistochemistry()[:64, :64]
    >>> encoder = ssl.load_encoder("dira-histology", device="cpu", precision="float32")
    >>> embedding = ssl.embed(image, encoder)
    >>> weights = np.ones(embedding.tokens.shape[-1], np.float32)
    >>> evidence = ssl.class_activation(image, encoder, embedding, weights, label="gland")
    >>> evidence.values.shape, bool(evidence.values.min() >= 0)
    ((8, 8), True)
    """
    from napari_sslmaps.encoders.grad_cam import CamTap
    from napari_sslmaps.encoders.registry import loaded

    made = embedding.provenance
    encoder = loaded(encoder).at_block(made.token_block or None)
    tap = CamTap.of(encoder, stage)
    _check(encoder, embedding, weights)
    region, window = made.region, made.window
    if region is None or window is None:
        raise InvalidOptionError(
            "Expected an embedding made by embed; this one does not say which region it is of. Embed "
            "the image."
        )
    check_whole_patches(made)
    tiling = Tiling(made.tile, made.overlap) if made.tile else ONE_PASS
    source = open_image(image)
    with nullcontext() if source is image else source:
        read = with_level_of(source, embedding, encoder.spec.constraint.token_stride)
        planned = plan(read, encoder.spec, region, tiling)
        reader = TileReader(read, planned, window)
        known = np.isfinite(embedding.tokens[:, :, 0])
        share = known.astype(np.float32) / np.float32(max(1, known.sum()))
        tiles = [tile for tile in planned.tiles if known[tile.rows.kept, tile.cols.kept].any()]
        total = sum(
            (
                tap.gradient_sum(pixels, weights, _within(tile, share))
                for tile, pixels in _read(reader, tiles)
            ),
            np.zeros(1),
        )
        factors = (total / (known.sum() * tap.finer**2)).astype(np.float32)
        grid = _grid_of(planned, region, tap.finer)
        values = np.zeros(grid.shape, np.float32)
        for tile, pixels in _read(reader, tiles):
            _paste(values, tile, tap.combine(pixels, factors), tap.finer)
    return EvidenceMap(
        values=values,
        grid=grid,
        provenance=made,
        kind="grad-cam",
        label=label,
        logit=float(embedding.mean_token @ weights + offset),
        stage=tap.stage,
    )


def _check(encoder: "Encoder", embedding: Embedding, weights: Float32) -> None:
    made, dim = embedding.provenance, embedding.tokens.shape[-1]
    if made.weights_sha256 != encoder.spec.sha256 or np.shape(weights) != (dim,):
        raise InvalidOptionError(
            f"Expected embedding and head of {encoder.spec.name!r}, with weights for {dim} channels; got an "
            f"embedding of {made.encoder!r} and weights of shape {np.shape(weights)}."
        )


def _read(reader: TileReader, tiles: list[Tile]) -> Iterator[tuple[Tile, Float32]]:
    with closing(read_ahead(reader.read, tiles, 1)) as pixels:
        yield from zip(tiles, pixels, strict=True)


def _within(tile: Tile, share: Float32) -> Float32:
    """Shares of the tokens that are kept of a tile; 0 in its margins."""
    found = np.zeros(tile.shape, np.float32)
    found[tile.rows.kept_in_tile, tile.cols.kept_in_tile] = share[tile.rows.kept, tile.cols.kept]
    return found


def _grid_of(planned: EmbeddingPlan, region: Region, finer: int) -> TokenGrid:
    stride = planned.stride
    fy, fx = (along / stride for along in planned.grid.stride_yx)
    return TokenGrid.covering(region, stride // finer, (fy, fx))


def _paste(values: Float32, tile: Tile, found: Float32, finer: int) -> None:
    rows, cols = (_scaled(span, finer) for span in (tile.rows, tile.cols))
    target = values[rows.kept, cols.kept]
    part = found[rows.kept_in_tile, cols.kept_in_tile]
    target[:] = part[: target.shape[0], : target.shape[1]]


def _scaled(span: Span, finer: int) -> Span:
    return Span(*(finer * edge for edge in (span.start, span.stop, span.keep_start, span.keep_stop)))
