"""Embedding a region by a control: what every encoder has to be compared with."""

from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.cache.store import Cache
from napari_sslmaps.core.baselines import (
    colour_tokens,
    pixel_tokens,
    position_embedding,
    structured_tokens,
    unit_pixels,
)
from napari_sslmaps.core.grid import TokenGrid, patch_shifts
from napari_sslmaps.core.placed_mask import Mask
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.resolution import Resolution
from napari_sslmaps.core.results import Embedding, Float32, Provenance
from napari_sslmaps.core.tiling import Span, Tile, Tiles, Tiling
from napari_sslmaps.encoders.controls import Control
from napari_sslmaps.encoders.registry import loaded
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.masks import MaskLike, mask_hash, token_mask
from napari_sslmaps.pipeline.planning import (
    EmbeddingPlan,
    RegionLike,
    at_working_resolution,
    divisor_of,
    region_on,
    working_resolution,
)
from napari_sslmaps.pipeline.progress import OnProgress
from napari_sslmaps.pipeline.reading import TileReader, read_ahead, scan_ahead
from napari_sslmaps.sources.array import UniformSource
from napari_sslmaps.sources.base import spacing_in
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.scan import strips_of

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder

_STRIP_PIXELS = 4_000_000
_STRIPS = 16
_TOKENS: dict[str, Callable[[Float32, int], Float32]] = {"pixels": pixel_tokens, "colour": colour_tokens}


def embed_control(  # noqa: PLR0913  # the options of `embed`, as keywords
    control: Control,
    image: Any,
    encoder: "Encoder | str | Path | None" = None,
    *,
    region: RegionLike | None = None,
    tiling: Tiling | None = None,
    window: tuple[float, float] | None = None,
    cache: Cache | str | Path | bool | None = None,
    on_progress: OnProgress | None = None,
    mask: MaskLike | None = None,
    resolution: Resolution | float | str = "trained",
    stride: int | None = None,
) -> Embedding:
    """Compute a control's tokens, on the grid that the encoder's own tokens of the region have.

    Every map and every score works on them.

    Parameters
    ----------
    control
        Control to compute, one of `controls_of`.
    image, region, tiling, window, cache, on_progress, mask, resolution, stride
        Image and options as for `embed`; a control that needs no network calls nobody back and keeps nothing.
    encoder
        The encoder that the control belongs to; loaded by ``control.of`` if omitted. Only ``untrained`` and
        ``constant`` need it.

    Returns
    -------
    Embedding
        Embedding with ``control.name`` as the encoder in its provenance. Of ``constant``, the whole region
        has its mean colour: the mean of up to 16 evenly spaced strips of a large one.

    Raises
    ------
    InvalidOptionError
        If the encoder is not the one that the control belongs to.
    UnsupportedImageError, RegionError, DeviceMemoryError
        If `embed` raises them.

    Examples
    --------
    >>> from skimage.data import immunohistochemistry
    >>> import napari_sslmaps as ssl
    >>> spec = next(spec for spec in ssl.list_encoders() if spec.name == "mae-histology")
    >>> colour = next(control for control in ssl.controls_of(spec) if control.kind == "colour")
    >>> embedding = ssl.embed_control(colour, immunohistochemistry()[:64, :64])
    >>> embedding.grid.shape, embedding.provenance.encoder == colour.name
    ((8, 8), True)
    """
    rest: dict[str, Any] = {"tiling": tiling, "cache": cache, "on_progress": on_progress, "stride": stride}
    if control.kind == "untrained":
        from napari_sslmaps.encoders.untrained import untrained_twin

        twin = untrained_twin(_loaded(control, encoder))
        made: Embedding = embed(
            image, twin, region=region, window=window, mask=mask, resolution=resolution, **rest
        )
        return made
    opened = open_image(image)
    with nullcontext() if opened is image else opened:
        source, area = at_working_resolution(opened, region, resolution, control.trained)
        grid = TokenGrid.covering(
            area,
            divisor_of(stride, control.stride, control.name),
            source.levels[area.level].downsample_yx,
            patch=control.stride,
        )
        wanted = None if mask is None else token_mask(source, area, grid, mask)
        read_at = working_resolution(opened, region_on(opened, region), resolution, control.trained)
        facts: dict[str, Any] = {
            "spacing_um_yx": spacing_in(source, area),
            "resolution": "" if read_at is None else str(read_at),
        }
        if not control.needs_encoder:
            plain = _within(_embed_without_network(control, source, grid, area, window), wanted)
            return replace(plain, provenance=replace(plain.provenance, **facts))
        found: Embedding = embed(
            UniformSource(source, _mean_colour(source, area)),
            _loaded(control, encoder),
            region=area,
            window=scan_ahead(source, area).window if window is None else window,
            mask=wanted,
            allow_uniform=True,
            **rest,
        )
        # no token has structure here; all of them count, else PCA would be left with none
        provenance = replace(found.provenance, encoder=control.name, **facts)
        return replace(found, provenance=provenance, foreground=None)


def _loaded(control: Control, encoder: "Encoder | str | Path | None") -> "Encoder":
    encoder = loaded(control.of if encoder is None else encoder)
    if control.of not in {encoder.spec.name, encoder.spec.alias_of}:
        raise InvalidOptionError(
            f"Expected the encoder {control.of} for the control {control.name}; got {encoder.spec.name}."
        )
    return encoder


def _within(embedding: Embedding, wanted: Mask | None) -> Embedding:
    """Leave out the tokens that are not wanted, as `embed` does."""
    if wanted is None:
        return embedding
    return replace(
        embedding,
        tokens=np.where(wanted[..., None], embedding.tokens, np.float32(np.nan)),
        foreground=None if embedding.foreground is None else embedding.foreground & wanted,
        provenance=replace(embedding.provenance, mask_sha256=mask_hash(wanted)),
    )


def _mean_colour(source: ImageSource, area: Region) -> NDArray[np.float64]:
    strips = strips_of(area)
    chosen = strips[:: -(-len(strips) // _STRIPS)]
    with closing(read_ahead(source.read, chosen, 2)) as read:
        means = [strip.mean(axis=(0, 1), dtype=np.float64) for strip in read]
    return np.average(np.reshape(means, (len(means), -1)), axis=0, weights=[part.height for part in chosen])


def _embed_without_network(
    control: Control,
    source: ImageSource,
    grid: TokenGrid,
    area: Region,
    window: tuple[float, float] | None,
) -> Embedding:
    provenance = Provenance(
        encoder=control.name,
        method=control.kind,
        image=source.name,
        region=area,
        window=window,
        package_version=version("napari-sslmaps"),
    )
    if control.kind == "position":
        return position_embedding(grid, provenance)
    scan = scan_ahead(source, area)
    chosen = scan.window if window is None else window
    of_strip = _TOKENS[control.kind]
    apart = round(grid.stride_yx[0] / source.levels[area.level].downsample_yx[0])
    if apart < control.stride:
        reader = TileReader(source, _pass_of(control, grid, area), chosen)
        tokens, foreground = _woven(reader, patch_shifts(apart, control.stride), of_strip)
        provenance = replace(provenance, image_sha256=scan.sha256, window=chosen, stride=apart)
        return Embedding(tokens, grid, provenance, foreground=foreground)
    tokens, foreground, row = np.empty((*grid.shape, 0), np.float32), np.empty(grid.shape, bool), 0
    with closing(read_ahead(source.read, _token_strips(area, control.stride), 2)) as strips:
        for strip in strips:
            unit = unit_pixels(strip, chosen)
            part = of_strip(unit, control.stride)
            tokens = np.empty((*grid.shape, part.shape[-1]), np.float32) if row == 0 else tokens
            tokens[row : row + len(part)] = part
            foreground[row : row + len(part)] = structured_tokens(unit, control.stride)
            row += len(part)
    provenance = replace(provenance, image_sha256=scan.sha256, window=chosen)
    return Embedding(tokens, grid, provenance, foreground=foreground)


def _pass_of(control: Control, grid: TokenGrid, area: Region) -> EmbeddingPlan:
    """Return as much of a plan as a reader of its tiles asks for."""
    return EmbeddingPlan(area, grid, Tiles((), ()), control.stride, 0, Tiling(), None)


def _woven(
    reader: TileReader, shifts: Sequence[int], of_strip: Callable[[Float32, int], Float32]
) -> tuple[Float32, Mask]:
    """Tokens and structure of patches that lie closer than they are wide, as `weave` weaves them."""
    planned, grid, patch = reader.plan, reader.plan.grid, reader.plan.stride
    area, channels = planned.region, reader.source.channels
    count, tokens = len(shifts), np.empty((*grid.shape, 0), np.float32)
    foreground = np.zeros(grid.shape, bool)
    height = max(1, _STRIP_PIXELS // (area.width * patch))
    for i, j in np.ndindex(count, count):
        rows, cols = grid.every(count, (i, j)).shape
        own = replace(reader, plan=replace(planned, shift_yx=(shifts[i], shifts[j])))
        for start in range(0, rows, height):
            stop = min(start + height, rows)
            unit = own.read(Tile(Span(start, stop, start, stop), Span(0, cols, 0, cols)))
            part = of_strip(unit[..., :channels], patch)
            if not tokens.shape[-1]:
                tokens = np.empty((*grid.shape, part.shape[-1]), np.float32)
            place = np.s_[i + start * count : i + (stop - 1) * count + 1 : count, j::count]
            tokens[place] = part
            foreground[place] = structured_tokens(unit, patch)
    return tokens, foreground


def _token_strips(area: Region, stride: int) -> list[Region]:
    """Cut a region into strips of whole token rows; the last has a whole row before one to be mirrored."""
    height = max(2, _STRIP_PIXELS // (area.width * stride)) * stride
    starts = list(range(0, area.height, height))
    if len(starts) > 1 and area.height - starts[-1] < stride:
        starts.pop()
    ends = [*starts[1:], area.height]
    return [area.part(y, 0, end - y, area.width) for y, end in zip(starts, ends, strict=True)]
