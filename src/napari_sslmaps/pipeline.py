"""The use-cases without a viewer: plan and embed a region of an image by an encoder."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.preprocess import check_window, flat_tokens, pad_by_reflection, scale_to_unit
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Float32, PixelReader, Provenance
from napari_sslmaps.core.tiling import Span, Stitcher, Tile, Tiling, plan_tiles
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import DeviceMemoryError, RegionError, UnsupportedImageError
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.scan import RegionScan, scan_region

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder
    from napari_sslmaps.encoders.protocol import TileFeatures

RegionLike = Region | Sequence[int] | Sequence[slice]
_BATCH_TOKENS = 8192
_MAX_BATCH = 16


@dataclass(frozen=True, slots=True)
class EmbeddingPlan:
    """What embedding a region will do.

    Parameters
    ----------
    region
        The rectangle, in pixels of its level.
    grid
        Where the tokens will lie.
    tiles
        What is read, in order.
    stride
        Pixels of the region's level per token.
    side
        Tokens per tile side; 0 for a single pass.
    tiling
        The options it was made with.
    spacing_um_yx
        Micrometres per pixel of the region's level, if known.
    """

    region: Region
    grid: TokenGrid
    tiles: tuple[Tile, ...]
    stride: int
    side: int
    tiling: Tiling
    spacing_um_yx: tuple[float, float] | None

    @property
    def computed_tokens(self) -> int:
        """Tokens that all tiles together compute, overlaps included."""
        return sum(rows * cols for rows, cols in (tile.shape for tile in self.tiles))

    def describe(self) -> str:
        """Say it in a line: ``2048 × 2048 px at 0.50 µm/px → 128 × 128 tokens, 4 tiles``."""
        spacing = "" if self.spacing_um_yx is None else f" at {self.spacing_um_yx[0]:.3g} µm/px"
        count = len(self.tiles)
        return (
            f"{self.region.height} × {self.region.width} px{spacing} → {self.grid.rows} × "
            f"{self.grid.cols} tokens, {count} tile{'s' if count > 1 else ''}"
        )


@dataclass(frozen=True, eq=False, slots=True)
class EmbeddingProgress:
    """How far an embedding is.

    Parameters
    ----------
    done, total
        Tiles.
    seconds
        Since the first tile was begun.
    embedding
        What there is so far, NaN elsewhere; its arrays are still being filled.
    """

    done: int
    total: int
    seconds: float
    embedding: Embedding

    @property
    def seconds_left(self) -> float:
        """Estimate from the pace so far."""
        return self.seconds / self.done * (self.total - self.done)


OnProgress = Callable[[EmbeddingProgress], None]


def plan(
    source: ImageSource,
    spec: EncoderSpec,
    region: RegionLike | None = None,
    tiling: Tiling | None = None,
) -> EmbeddingPlan:
    """Plan the embedding of a region, without torch and without reading a pixel.

    Parameters
    ----------
    source
        The image.
    spec
        The encoder.
    region
        The whole finest level if omitted.
    tiling
        How the region is cut; `Tiling()` if omitted.

    Raises
    ------
    RegionError
        If the region is not on the image or smaller than one patch.
    """
    area = Region(0, 0, *source.levels[0].shape_yx) if region is None else Region.coerce(region)
    if area.level >= len(source.levels) or area.frame >= source.frames:
        raise RegionError(
            f"Expected a level below {len(source.levels)} and a frame below {source.frames}; got level "
            f"{area.level}, frame {area.frame}."
        )
    level = source.levels[area.level]
    area.check_within(level.shape_yx)
    stride = spec.constraint.token_stride
    grid = TokenGrid.covering(area, stride, level.downsample_yx)
    options = tiling or Tiling()
    spacing = source.spacing_um_yx
    return EmbeddingPlan(
        region=area,
        grid=grid,
        tiles=tuple(plan_tiles(*grid.shape, options, max(1, spec.constraint.size_multiple // stride))),
        stride=stride,
        side=options.side_for(*grid.shape),
        tiling=options,
        spacing_um_yx=None
        if spacing is None
        else (spacing[0] * level.downsample_yx[0], spacing[1] * level.downsample_yx[1]),
    )


def embed(
    image: Any,
    encoder: "Encoder | str | Path",
    *,
    region: RegionLike | None = None,
    tiling: Tiling | None = None,
    window: tuple[float, float] | None = None,
    on_progress: OnProgress | None = None,
    allow_uniform: bool = False,
) -> Embedding:
    """Compute the tokens of an image, or of a region of it, by an encoder.

    Sides are padded by reflection, at the bottom and right, to whole tokens. Beyond about 1000 tokens
    the region is cut into overlapping tiles; attention is then the stitched attention within each tile.

    Parameters
    ----------
    image
        (H, W), (H, W, 3) or (H, W, 4) array or tensor of uint8, uint16 or floats; a path; or an
        `ImageSource`.
    encoder
        From `load_encoder`, or what `load_encoder` takes.
    region
        ``(y, x, height, width)``, two slices or a `Region`; the whole image if omitted.
    tiling
        Tile size, overlap and stitching; `Tiling()` if omitted.
    window
        Intensities that become 0 and 1. If omitted: (0, 255) for uint8, (0, 1) for floats in [0, 1], else
        the region's 0.1st and 99.9th percentile.
    on_progress
        Called after every batch of tiles, on this thread; may raise `Cancelled` to stop.
    allow_uniform
        Compute a region whose pixels are all equal, as a control for position bias, instead of refusing it.

    Returns
    -------
    Embedding
        tokens (rows, cols, dim) float32, rows = ⌈height / stride⌉.

    Raises
    ------
    UnsupportedImageError
        If the image has a shape, type or values that cannot be used.
    RegionError
        If the region is not on the image or smaller than one patch.
    DeviceMemoryError
        If not even one tile fits into the device's memory.
    """
    if isinstance(encoder, (str, Path)):
        encoder = load_encoder(encoder)
    source = open_image(image)
    with nullcontext() if source is image else source:
        planned = plan(source, encoder.spec, region, tiling)
        scan = scan_region(source, planned.region)
        if scan.low == scan.high and not allow_uniform:
            raise UnsupportedImageError(
                f"Expected a region with structure; every pixel of this one is {scan.low:g}, so its maps "
                "would show nothing but position bias. Choose another region, or pass allow_uniform=True "
                "to see that bias."
            )
        chosen = scan.window if window is None else check_window(window)
        provenance = _provenance(source, planned, encoder, scan, chosen)
        canvas = _Canvas(planned, encoder, provenance, _pixels_of(image, source))
        start, done = perf_counter(), 0
        for tiles, pixels, features in _encode(_TileReader(source, planned, chosen), planned, encoder):
            canvas.add(tiles, pixels, features)
            done += len(tiles)
            if on_progress is not None:
                seconds = perf_counter() - start
                on_progress(EmbeddingProgress(done, len(planned.tiles), seconds, canvas.embedding()))
        return canvas.embedding()


@dataclass(frozen=True, slots=True)
class _TileReader:
    source: ImageSource
    plan: EmbeddingPlan
    window: tuple[float, float]

    def read(self, tile: Tile) -> Float32:
        """Read a tile as (H, W, 3) float32 in [0, 1], as a cut of the region padded by reflection."""
        region = self.plan.region
        (y, height, top), (x, width, left) = (
            self._extent(span, size)
            for span, size in zip((tile.rows, tile.cols), region.shape_yx, strict=True)
        )
        inside = region.part(y, x, min(height, region.height - y), min(width, region.width - x))
        unit = scale_to_unit(self.source.read(inside), self.window)
        return pad_by_reflection(unit, height, width)[top:, left:]

    def _extent(self, span: Span, size: int) -> tuple[int, int, int]:
        """First pixel, length and excess at the front of what is read along an axis of `size` pixels.

        A tile that reaches beyond the region also reads what is mirrored there.
        """
        start, stop = span.start * self.plan.stride, span.stop * self.plan.stride
        excess = min(max(0, stop - size), start)
        return start - excess, stop - start + excess, excess


def _encode(
    reader: _TileReader, planned: EmbeddingPlan, encoder: "Encoder"
) -> Iterator[tuple[list[Tile], Float32, "TileFeatures"]]:
    """Yield batches of tiles, their pixels and features; halve the batch when memory runs out."""
    import torch

    remaining = list(planned.tiles)
    rows, cols = remaining[0].shape
    size = min(_MAX_BATCH, max(1, _BATCH_TOKENS // (rows * cols)))
    while remaining:
        tiles = remaining[:size]
        pixels = np.stack([reader.read(tile) for tile in tiles])
        try:
            features = encoder.encode(pixels)
        except torch.OutOfMemoryError as error:
            if size == 1:
                raise DeviceMemoryError(
                    f"One tile of {rows} × {cols} tokens does not fit into the memory of "
                    f"{encoder.device}. Choose smaller tiles, half precision or the CPU."
                ) from error
            size = max(1, size // 2)
            continue
        yield tiles, pixels, features
        remaining = remaining[size:]


class _Canvas:
    """Stitches what the tiles give into one embedding, in place."""

    def __init__(
        self, planned: EmbeddingPlan, encoder: "Encoder", provenance: Provenance, pixels: PixelReader
    ) -> None:
        self._plan = planned
        self._pixels = pixels
        self._kind = encoder.extractor.attention_kind
        self._provenance = provenance
        self._stitchers: dict[str, Stitcher] = {}
        self._prefix: list[Float32] = []

    def add(self, tiles: list[Tile], pixels: Float32, features: "TileFeatures") -> None:
        """Add a batch: (B, H, W, 3) pixels in [0, 1] and their features."""
        for index, tile in enumerate(tiles):
            self._stitch("tokens", tile, features.tokens[index].numpy())
            structured = ~flat_tokens(pixels[index], self._plan.stride)
            self._stitch("foreground", tile, structured[..., None].astype(np.float32))
            if features.attention is not None:
                self._stitch("attention", tile, features.attention[index].permute(1, 2, 0).numpy())
            if features.activation is not None:
                self._stitch("activation", tile, features.activation[index].unsqueeze(-1).numpy())
            if features.prefix_attention is not None:
                self._prefix.append(features.prefix_attention[index].numpy())

    def embedding(self) -> Embedding:
        """Wrap what has arrived; the arrays are shared, not copied."""
        values = {name: stitcher.values for name, stitcher in self._stitchers.items()}
        attention = values.get("attention")
        activation = values.get("activation")
        return Embedding(
            tokens=values["tokens"],
            grid=self._plan.grid,
            provenance=self._provenance,
            attention=None if attention is None else np.moveaxis(attention, -1, 0),
            prefix_attention=np.mean(self._prefix, axis=0) if self._prefix else None,
            attention_kind=self._kind,
            activation=None if activation is None else activation[..., 0],
            foreground=values["foreground"][..., 0] >= 0.5,
            pixels=self._pixels,
        )

    def _stitch(self, name: str, tile: Tile, values: Float32) -> None:
        if name not in self._stitchers:
            stitching = self._plan.tiling.stitching
            self._stitchers[name] = Stitcher(*self._plan.grid.shape, values.shape[-1], stitching)
        self._stitchers[name].add(tile, values)


def _pixels_of(image: Any, source: ImageSource) -> PixelReader:
    """Return what reads the image again; of a file, which is closed by then, a reader that opens it."""
    if not isinstance(image, (str, Path)):
        return source.read

    def read(region: Region) -> NDArray[Any]:
        with open_image(image) as opened:
            return opened.read(region)

    return read


def _provenance(
    source: ImageSource,
    planned: EmbeddingPlan,
    encoder: "Encoder",
    scan: RegionScan,
    window: tuple[float, float],
) -> Provenance:
    import torch

    spec = encoder.spec
    return Provenance(
        encoder=spec.name,
        method=spec.method,
        weights_sha256=spec.sha256,
        architecture=spec.architecture.summary,
        image=source.name,
        image_sha256=scan.sha256,
        region=planned.region,
        window=window,
        normalisation=spec.normalisation,
        precision=encoder.precision,
        device=encoder.device,
        tile=planned.side,
        overlap=planned.tiling.overlap,
        stitching=planned.tiling.stitching,
        package_version=version("napari-sslmaps"),
        torch_version=torch.__version__,
        overrides=dict(spec.overrides),
    )
