"""Embedding a region of an image by an encoder."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

from numpy.typing import NDArray

from napari_sslmaps.cache.store import Cache
from napari_sslmaps.core.frames import FrameEmbeddings, FramesLike
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.resolution import Resolution
from napari_sslmaps.core.results import Embedding, PixelReader
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.core.whole import finite_number, whole_number
from napari_sslmaps.encoders.registry import loaded
from napari_sslmaps.encoders.spec import Block
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.pipeline.caching import chosen_cache
from napari_sslmaps.pipeline.frames import embed_each
from napari_sslmaps.pipeline.free_memory import check_own_limit
from napari_sslmaps.pipeline.masks import MaskLike
from napari_sslmaps.pipeline.planning import (
    RegionLike,
    at_working_resolution,
    region_on,
    working_resolution,
)
from napari_sslmaps.pipeline.progress import OnProgress
from napari_sslmaps.pipeline.region_work import RegionWork
from napari_sslmaps.pipeline.token_store import TokenBudget
from napari_sslmaps.sources.channels import ChannelChoice
from napari_sslmaps.sources.identity import FileIdentity, unchanged
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.resampled import ResampledLevel

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
    cache: Cache | str | Path | bool | None = ...,
    on_progress: OnProgress | None = ...,
    allow_uniform: bool = ...,
    mask: MaskLike | None = ...,
    budget: TokenBudget | None = ...,
    resolution: Resolution | float | str = ...,
    short_side: int | None = ...,
    channel: ChannelChoice = ...,
    stride: int | None = ...,
    frames: None = ...,
    block: Block | None = ...,
    norm: bool = ...,
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
    cache: Cache | str | Path | bool | None = ...,
    on_progress: OnProgress | None = ...,
    allow_uniform: bool = ...,
    mask: MaskLike | None = ...,
    budget: TokenBudget | None = ...,
    resolution: Resolution | float | str = ...,
    short_side: int | None = ...,
    channel: ChannelChoice = ...,
    stride: int | None = ...,
    frames: None = ...,
    block: list[Block] | list[int] | list[str] | tuple[Block, ...] | range,
    norm: bool = ...,
) -> tuple[Embedding, ...]: ...


@overload
def embed(
    image: Any,
    encoder: "Encoder | str | Path",
    *,
    region: RegionLike | None = ...,
    tiling: Tiling | None = ...,
    window: tuple[float, float] | None = ...,
    focus_yx: tuple[float, float] | None = ...,
    cache: Cache | str | Path | bool | None = ...,
    on_progress: OnProgress | None = ...,
    allow_uniform: bool = ...,
    mask: MaskLike | None = ...,
    budget: TokenBudget | None = ...,
    resolution: Resolution | float | str = ...,
    short_side: int | None = ...,
    channel: ChannelChoice = ...,
    stride: int | None = ...,
    frames: FramesLike,
    block: Block | None = ...,
    norm: bool = ...,
) -> FrameEmbeddings: ...


def embed(  # noqa: PLR0913  # the one call that users make; its options are keywords
    image: Any,
    encoder: "Encoder | str | Path",
    *,
    region: RegionLike | None = None,
    tiling: Tiling | None = None,
    window: tuple[float, float] | None = None,
    focus_yx: tuple[float, float] | None = None,
    cache: Cache | str | Path | bool | None = None,
    on_progress: OnProgress | None = None,
    allow_uniform: bool = False,
    mask: MaskLike | None = None,
    budget: TokenBudget | None = None,
    resolution: Resolution | float | str = "trained",
    short_side: int | None = None,
    channel: ChannelChoice = None,
    stride: int | None = None,
    frames: FramesLike | None = None,
    block: Block | Sequence[Block] | None = None,
    norm: bool = True,
) -> Embedding | FrameEmbeddings | tuple[Embedding, ...]:
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
        Encoder from `load_encoder`, or a name or path for it.
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
        Place where finished tiles are kept: a second call finds them there, and one that was stopped, or
        killed, is taken up where it was. True for the user's own cache, a path for one in that folder.
        Nothing is kept if omitted: what is only called does not fill a disk unasked.
    on_progress
        Callback, called after every batch of tiles, on this thread; may raise `Cancelled` to stop.
    allow_uniform
        Whether to compute a region whose pixels are all equal, as a control for position bias, instead of
        refusing it.
    mask
        Tokens that are wanted: an array of bools or labels on the token grid, on the pixels of any level of
        the image or on those of the region; a `PlacedMask`; or ``tissue``, ``field-of-view`` or ``auto``, to
        be found on a coarse level. Tokens that no true cell overlaps are NaN; tiles of such tokens alone are
        neither read nor computed. All are wanted if omitted.
    budget
        Bytes of tokens that are kept in single precision and in half in memory, and the place for the rest;
        `TokenBudget.from_environment` if omitted.
    resolution
        Resolution that the region is read at: ``trained``, the one that the encoder learned at, where that is
        known and the image tells what is needed for it, else native; ``native``, as stored; or micrometres
        per pixel. It is resampled, with antialiasing, from the level that is just fine enough. A region of a
        level other than 0 is read as it is.
    short_side
        Pixels along the shorter side of the whole image that it is read at, instead of `resolution`.
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
    block
        Depth whose features the tokens are: a block of a transformer or a stage of another network, from 0,
        the first, or from −1, the last; a stage also by its name. Of a list, one embedding each: those of
        equal token stride take one pass together, of a transformer all of them. The encoder's own if omitted:
        the last block, or its token stage. Attention is that of the last block, whatever the tokens.
    norm
        Whether tokens pass the encoder's final norm, where it has one; it was trained for the last block.

    Returns
    -------
    Embedding, FrameEmbeddings or tuple of Embedding
        Tokens (rows, cols, dim) float32, rows = ⌈height / stride⌉; beyond the budget `HalfTokens`, read like
        them. `FrameEmbeddings` where frames are asked for, a tuple where several blocks are.

    Raises
    ------
    UnsupportedImageError
        If the image has a shape, type or values that cannot be used.
    RegionError
        If the region is not on the image, smaller than one patch or wholly outside the mask.
    InvalidOptionError
        If the mask does not fit the image, it has no such channel, the stride does not divide the patch, the
        encoder has no such block, or several blocks are asked for of several frames.
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
    >>> first, last = ssl.embed(immunohistochemistry(), encoder, region=(128, 64, 64, 96), block=[0, -1])
    >>> first.provenance.token_block, bool((last.tokens == embedding.tokens).all())
    ('block 0', True)
    """
    check_own_limit()
    if tiling is not None and not isinstance(tiling, Tiling):
        raise InvalidOptionError(f"Expected tiling as a Tiling, such as Tiling(tile=24); got {tiling!r}.")
    if on_progress is not None and not callable(on_progress):
        raise InvalidOptionError(f"Expected on_progress as a function to call; got {on_progress!r}.")
    focus_yx = _focus(focus_yx)
    encoder = loaded(encoder)
    several = not (block is None or isinstance(block, str) or whole_number(block) is not None)
    blocks = cast("Sequence[Block]", block) if several else [cast("Block | None", block)]
    encoders = [
        encoder if each is None and norm else encoder.at_block(each, norm=norm)
        for each in _checked(blocks, frames)
    ]
    source = open_image(image, channel=channel)
    file = FileIdentity.of(source)
    requested = resolution if short_side is None else Resolution(short_side=short_side)
    if frames is not None:
        with nullcontext() if source is image else source:
            read = at_working_resolution(source, region, requested, encoder.spec.trained)[0]
            reread = _pixels_of(image, source, read, channel)

            def embed_one(
                one: Region, chosen: tuple[float, float], share: TokenBudget, report: OnProgress | None
            ) -> Embedding:
                found = embed(
                    source,
                    encoders[0],
                    region=one,
                    window=chosen,
                    budget=share,
                    on_progress=report,
                    allow_uniform=True,
                    resolution=requested,
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
        read, area = at_working_resolution(source, region, requested, encoder.spec.trained)
        working = working_resolution(source, region_on(source, region), requested, encoder.spec.trained)
        room = budget or TokenBudget.from_environment()
        work = RegionWork(
            source=read,
            region=area,
            resolution=working,
            tiling=tiling,
            mask=mask,
            stride=stride,
            window=window,
            allow_uniform=allow_uniform,
            focus_yx=focus_yx,
            cache=chosen_cache(cache),
            file=file,
            # a level that the file does not have is not known by its number
            known_by=file if read is source else None,
            pixels=_pixels_of(image, source, read, channel),
            budget=room.shared(len(encoders)),
            says_if_short=budget is None,
            on_progress=on_progress,
        )
        made = work.embed(encoders)
    return tuple(made) if several else made[0]


def _focus(focus_yx: Any) -> tuple[float, float] | None:
    if focus_yx is None:
        return None
    try:
        y, x = (None,) * 2 if isinstance(focus_yx, str) else map(finite_number, focus_yx)
    except (TypeError, ValueError):
        y = x = None
    if y is None or x is None:
        raise InvalidOptionError(f"Expected focus_yx as a position (row, column); got {focus_yx!r}.")
    return y, x


def _checked(blocks: Sequence[Block | None], frames: FramesLike | None) -> Sequence[Block | None]:
    try:
        count = len(blocks)
    except (TypeError, OverflowError) as error:
        raise InvalidOptionError(
            f"Expected a block as its number or name, or a list of them; got {blocks!r}."
        ) from error
    if not count:
        raise InvalidOptionError("Expected at least one block; got an empty list. Name one, or leave it out.")
    if count > 1 and frames is not None:
        raise InvalidOptionError(
            f"Expected one block for several frames; got {count}. Embed the frames once for each block."
        )
    return blocks


def _pixels_of(image: Any, source: ImageSource, working: ImageSource, channel: ChannelChoice) -> PixelReader:
    """Return what reads the image again; unless a source was given, it is closed by then and opened anew."""
    if image is source:
        reader: PixelReader = working.read
        return reader
    return _OpenedAgain(image, channel, None if working is source else working.levels[-1].downsample_yx)


@dataclass(frozen=True, eq=False, slots=True)
class _OpenedAgain:
    """Reads an image that is opened for each region; a copy, also in another process, does as well.

    Parameters
    ----------
    image, channel
        Image and choice of channels, as `open_image` takes them.
    down_yx
        Pixels of level 0 per pixel of a level that is added to its own; None for none.
    """

    image: Any
    channel: ChannelChoice
    down_yx: tuple[float, float] | None

    def __call__(self, region: Region) -> NDArray[Any]:
        with open_image(self.image, channel=self.channel) as opened:
            again = opened if self.down_yx is None else ResampledLevel(opened, self.down_yx)
            return again.read(region)
