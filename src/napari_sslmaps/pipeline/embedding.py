"""Embedding a region of an image by an encoder."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from numpy.typing import NDArray

from napari_sslmaps.cache.store import Cache
from napari_sslmaps.core.frames import FrameEmbeddings, FramesLike
from napari_sslmaps.core.preprocess import check_window
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.resolution import Resolution
from napari_sslmaps.core.results import Embedding, PixelReader, Provenance
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.pipeline.assembly import Frame
from napari_sslmaps.pipeline.caching import chosen_cache, entry_of
from napari_sslmaps.pipeline.frames import embed_each
from napari_sslmaps.pipeline.masks import MaskLike
from napari_sslmaps.pipeline.planning import (
    EmbeddingPlan,
    RegionLike,
    at_working_resolution,
    plan,
    region_on,
    working_resolution,
)
from napari_sslmaps.pipeline.progress import OnProgress
from napari_sslmaps.pipeline.reading import TileReader, parts_read, scan_ahead
from napari_sslmaps.pipeline.streaming import recall, stream
from napari_sslmaps.pipeline.token_store import TokenBudget
from napari_sslmaps.pipeline.weaving import weave
from napari_sslmaps.sources.base import spacing_in
from napari_sslmaps.sources.channels import ChannelChoice
from napari_sslmaps.sources.identity import FileIdentity, unchanged
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.resampled import ResampledLevel
from napari_sslmaps.sources.scan import RegionScan

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder


@overload
def embed(
    image: Any,
    encoder: "Encoder | str | Path",
    *,
    region: RegionLike | None = ...,
    tiling: Tiling | None = ...,
    window: tuple[float, float] | None = ...,
    focus_yx: tuple[float, float] | None = ...,
    cache: Cache | bool | None = ...,
    on_progress: OnProgress | None = ...,
    allow_uniform: bool = ...,
    mask: MaskLike | None = ...,
    budget: TokenBudget | None = ...,
    resolution: Resolution | float | str = ...,
    short_side: int | None = ...,
    channel: ChannelChoice = ...,
    stride: int | None = ...,
    frames: None = ...,
) -> Embedding: ...


@overload
def embed(
    image: Any,
    encoder: "Encoder | str | Path",
    *,
    region: RegionLike | None = ...,
    tiling: Tiling | None = ...,
    window: tuple[float, float] | None = ...,
    focus_yx: tuple[float, float] | None = ...,
    cache: Cache | bool | None = ...,
    on_progress: OnProgress | None = ...,
    allow_uniform: bool = ...,
    mask: MaskLike | None = ...,
    budget: TokenBudget | None = ...,
    resolution: Resolution | float | str = ...,
    short_side: int | None = ...,
    channel: ChannelChoice = ...,
    stride: int | None = ...,
    frames: FramesLike,
) -> FrameEmbeddings: ...


def embed(  # noqa: PLR0913  # the one call that users make; its options are keywords
    image: Any,
    encoder: "Encoder | str | Path",
    *,
    region: RegionLike | None = None,
    tiling: Tiling | None = None,
    window: tuple[float, float] | None = None,
    focus_yx: tuple[float, float] | None = None,
    cache: Cache | bool | None = None,
    on_progress: OnProgress | None = None,
    allow_uniform: bool = False,
    mask: MaskLike | None = None,
    budget: TokenBudget | None = None,
    resolution: Resolution | float | str = "trained",
    short_side: int | None = None,
    channel: ChannelChoice = None,
    stride: int | None = None,
    frames: FramesLike | None = None,
) -> Embedding | FrameEmbeddings:
    """Compute the tokens of an image, or of a region of it, by an encoder.

    Sides are padded by reflection, at the bottom and right, to whole tokens. Beyond about 1000 tokens
    the region is cut into overlapping tiles; attention is then the stitched attention within each tile.
    Tiles are read on threads while others are computed; apart from the result, memory does not grow with
    the region.

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
    focus_yx
        Pixel position of level 0; the batches of tiles nearest to it come first. Row by row if omitted.
    cache
        Where finished tiles are kept: a second call finds them there, and one that was stopped, or killed, is
        taken up where it was. True for the user's own cache. Nothing is kept if omitted: what is only
        called does not fill a disk unasked.
    on_progress
        Called after every batch of tiles, on this thread; may raise `Cancelled` to stop.
    allow_uniform
        Compute a region whose pixels are all equal, as a control for position bias, instead of refusing it.
    mask
        Which tokens are wanted: an array of bools or labels on the token grid, on the pixels of any level of
        the image or on those of the region; a `PlacedMask`; or ``tissue``, ``field-of-view`` or ``auto``, to
        be found on a coarse level. Tokens that no true cell overlaps are NaN; tiles of such tokens alone are
        neither read nor computed. All are wanted if omitted.
    budget
        How many bytes of tokens are kept in single precision, how many in half in memory, and where the
        rest; `TokenBudget.from_environment` if omitted.
    resolution
        What the region is read at: ``trained``, what the encoder learned at, where that is known and the
        image tells what is needed for it, else native; ``native``, as stored; or micrometres per pixel. It is
        resampled, with antialiasing, from the level that is just fine enough. A region of a level other than
        0 is read as it is.
    short_side
        Instead of `resolution`: pixels along the shorter side of the whole image.
    channel
        Number, from 0, or name of the channel of an image that has several; or up to three of them, as red,
        green and blue.
    stride
        Pixels per token, of the level that is read; a divisor of the encoder's patch. The region is then
        embedded (patch / stride)² times, each time with its patches shifted by the stride, and the tokens are
        woven into one grid, each at the middle of the patch that it was computed from. Nothing is
        interpolated; it takes as many times as long. Every pass gives its patches the positions of whole
        patches, at most half a patch from where they lie. One token per patch if omitted.
    frames
        ``all`` frames of a time or z axis, a range or numbers of them, or text such as ``0:20:2``: each is
        embedded, in one window of intensities, and cached by itself. The region's own frame is embedded if
        omitted.

    Returns
    -------
    Embedding, or `FrameEmbeddings` where frames are asked for
        tokens (rows, cols, dim) float32, rows = ⌈height / stride⌉; beyond the budget `HalfTokens`, read
        like them.

    Raises
    ------
    UnsupportedImageError
        If the image has a shape, type or values that cannot be used.
    RegionError
        If the region is not on the image, smaller than one patch or wholly outside the mask.
    InvalidOptionError
        If the mask does not fit the image, it has no such channel, or the stride does not divide the patch.
    DeviceMemoryError
        If not even one tile fits into the device's memory.

    Examples
    --------
    >>> from skimage.data import immunohistochemistry
    >>> import napari_sslmaps as ssl
    >>> encoder = ssl.load_encoder("ijepa-histology", device="cpu", precision="float32")
    >>> embedding = ssl.embed(immunohistochemistry(), encoder, region=(128, 64, 64, 96))
    >>> embedding.tokens.shape, embedding.tokens.dtype
    ((8, 12, 128), dtype('float32'))
    >>> embedding.grid.origin_yx, embedding.grid.stride_yx
    ((128.0, 64.0), (8.0, 8.0))
    >>> ssl.embed(immunohistochemistry(), encoder, region=(128, 64, 64, 96), stride=4).grid.shape
    (16, 24)
    """
    if isinstance(encoder, (str, Path)):
        encoder = load_encoder(encoder)
    source = open_image(image, channel=channel)
    file = FileIdentity.of(source)
    asked = resolution if short_side is None else Resolution(short_side=short_side)
    if frames is not None:
        with nullcontext() if source is image else source:
            read = at_working_resolution(source, region, asked, encoder.spec.trained)[0]
            reread = _pixels_of(image, source, read, channel)

            def embed_one(
                one: Region, chosen: tuple[float, float], share: TokenBudget, report: OnProgress | None
            ) -> Embedding:
                found = embed(
                    source,
                    encoder,
                    region=one,
                    window=chosen,
                    budget=share,
                    on_progress=report,
                    allow_uniform=True,
                    resolution=asked,
                    tiling=tiling,
                    focus_yx=focus_yx,
                    cache=cache,
                    mask=mask,
                    stride=stride,
                )
                return replace(found, pixels=reread)

            return embed_each(
                embed_one, source, region, frames, window=window, budget=budget, on_progress=on_progress
            )
    with nullcontext() if source is image else source, unchanged(source):
        read, area = at_working_resolution(source, region, asked, encoder.spec.trained)
        working = working_resolution(source, region_on(source, region), asked, encoder.spec.trained)
        planned = plan(read, encoder.spec, area, tiling, mask=mask, stride=stride)
        room = budget or TokenBudget.from_environment()
        room.check_room(*planned.grid.shape, encoder.spec.architecture.token_width)
        if budget is None:
            room.say_if_short(*planned.grid.shape, encoder.spec.architecture.token_width)
        kept_in = chosen_cache(cache)
        parts = None if planned.mask is None else parts_read(planned)
        look = partial(scan_ahead, read, planned.region, parts)
        # a level that the file does not have is not known by its number
        known_by = file if read is source else None
        scan = look() if kept_in is None else kept_in.scan(known_by, planned.region, look, parts)
        check_structure(scan, allow_uniform=allow_uniform)
        chosen = check_window(scan.window if window is None else window, flat=allow_uniform)
        provenance = provenance_of(read, planned, encoder, scan, chosen, working)
        pixels = _pixels_of(image, source, read, channel)
        kind = encoder.extractor.attention_kind
        frame = Frame(planned, provenance, kind, pixels, _on_grid(planned, focus_yx), room)
        half = room.kept(*planned.grid.shape, encoder.spec.architecture.token_width) != "full"
        entries = [
            None if kept_in is None else entry_of(kept_in, part, encoder, provenance, file, half=half)
            for part in planned.runs
        ]
        reader = TileReader(read, planned, chosen)
        if planned.passes:
            return weave(reader, encoder, frame, entries, on_progress)
        known = None if entries[0] is None else recall(entries[0], frame, on_progress)
        return known or stream(reader, encoder, frame, entries[0], on_progress)


def _on_grid(planned: EmbeddingPlan, pixel_yx: tuple[float, float] | None) -> tuple[float, float] | None:
    if pixel_yx is None:
        return None
    row, col = planned.grid.pixel_to_token(pixel_yx)
    return float(row), float(col)


def check_structure(scan: RegionScan, *, allow_uniform: bool) -> None:
    """Refuse a region whose pixels are all equal, unless it is allowed.

    Raises
    ------
    UnsupportedImageError
        If it is one.
    """
    if scan.low == scan.high and not allow_uniform:
        raise UnsupportedImageError(
            f"Expected a region with structure; every pixel of this one is {scan.low:g}, so its maps "
            "would show nothing but position bias. Choose another region, or pass allow_uniform=True "
            "to see that bias."
        )


def _pixels_of(image: Any, source: ImageSource, working: ImageSource, channel: ChannelChoice) -> PixelReader:
    """Return what reads the image again; unless a source was given, it is closed by then and opened anew."""
    if image is source:
        reader: PixelReader = working.read
        return reader
    down_yx = working.levels[-1].downsample_yx

    def read(region: Region) -> NDArray[Any]:
        with open_image(image, channel=channel) as opened:
            again = opened if working is source else ResampledLevel(opened, down_yx)
            return again.read(region)

    return read


def provenance_of(
    source: ImageSource,
    planned: EmbeddingPlan,
    encoder: "Encoder",
    scan: RegionScan,
    window: tuple[float, float],
    resolution: Resolution | None = None,
) -> Provenance:
    """Say what decides the numbers of a region's embedding."""
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
        mask_sha256=planned.mask_sha256,
        image_notes=tuple(getattr(source, "notes", ())),
        stride=planned.stride if planned.passes else 0,
        spacing_um_yx=spacing_in(source, planned.region),
        resolution="" if resolution is None else str(resolution),
    )
