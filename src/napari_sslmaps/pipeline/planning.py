"""Plan of embedding a region, made before a pixel is read."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from napari_sslmaps.core.grid import TokenGrid, patch_shifts
from napari_sslmaps.core.placed_mask import Mask
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.resolution import Resolution, region_at, resolution_of
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.core.tiling import Tiles, Tiling, plan_tiles
from napari_sslmaps.core.whole import whole_number
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import InvalidOptionError, RegionError
from napari_sslmaps.pipeline.masks import MaskLike, mask_hash, token_mask
from napari_sslmaps.sources.base import spacing_in
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.resampled import ResampledLevel, at_resolution

RegionLike = Region | Sequence[int] | Sequence[slice]


@dataclass(frozen=True, slots=True)
class EmbeddingPlan:
    """Plan of embedding a region.

    Parameters
    ----------
    region
        The rectangle, in pixels of its level.
    grid
        Grid that the tokens will lie on.
    tiles
        Tiles that are read, row by row; made when asked for, so that a plan of a whole slide costs nothing.
    stride
        Pixels of the region's level per token.
    side
        Tokens per tile side; 0 for a single pass.
    tiling
        The options it was made with, its tile chosen.
    spacing_um_yx
        Micrometres per pixel of the region's level, if known.
    mask
        (rows, cols) bool, tokens that are wanted; None for all. Tiles without one are left out.
    mask_sha256
        Hash of the mask; empty for all.
    passes
        Plans of the passes over shifted patches whose tokens are woven into this grid, the first the one
        that a coarse map is shown of; empty for one token per patch.
    shift_yx
        First pixel (row, column) of the first patch of such a pass, counted from that of the region.
    first_yx
        Token (row, column) of the woven grid that the first token of such a pass is.
    """

    region: Region
    grid: TokenGrid
    tiles: Tiles
    stride: int
    side: int
    tiling: Tiling
    spacing_um_yx: tuple[float, float] | None
    mask: Mask | None = field(default=None, compare=False)  # its hash is compared
    mask_sha256: str = ""
    passes: tuple["EmbeddingPlan", ...] = ()
    shift_yx: tuple[int, int] = (0, 0)
    first_yx: tuple[int, int] = (0, 0)

    @property
    def runs(self) -> tuple["EmbeddingPlan", ...]:
        """Plans that are computed: the passes, or the plan itself where there are none."""
        return self.passes or (self,)

    @property
    def closer(self) -> int:
        """Number of tokens along each axis of a patch."""
        return self.runs[0].stride // self.stride

    @property
    def tile_count(self) -> int:
        """Tiles of all passes."""
        return sum(len(part.tiles) for part in self.runs)

    @property
    def computed_tokens(self) -> int:
        """Tokens that all tiles of all passes compute, overlaps included."""
        return sum(part.tiles.computed_tokens for part in self.runs)

    def describe(self) -> str:
        """Say it in a line: ``2048 × 2048 px at 0.50 µm/px → 128 × 128 tokens, 4 tiles``."""
        spacing = "" if self.spacing_um_yx is None else f" at {self.spacing_um_yx[0]:.3g} µm/px"
        count = self.tile_count
        inside = "" if self.mask is None else f", {self.mask.mean():.0%} of them in the mask"
        return (
            f"{self.region.height} × {self.region.width} px{spacing} → {self.grid.rows} × "
            f"{self.grid.cols} tokens{inside}, {count} tile{'s' if count > 1 else ''}"
        )


def plan(
    source: ImageSource,
    spec: EncoderSpec,
    region: RegionLike | None = None,
    tiling: Tiling | None = None,
    *,
    mask: MaskLike | None = None,
    stride: int | None = None,
) -> EmbeddingPlan:
    """Plan the embedding of a region, without torch; no pixel is read unless a mask is to be found.

    Parameters
    ----------
    source
        Image to plan for.
    spec
        The encoder. Tiles of one with rotary positions are square, also in a region narrower than a tile.
    region
        The whole finest level if omitted.
    tiling
        Tiles that the region is cut into; `Tiling()` if omitted.
    mask
        Mask of the wanted tokens, as in `token_mask`; all if omitted.
    stride
        Pixels of the region's level per token, as in `embed`; one token per patch if omitted.

    Raises
    ------
    RegionError
        If the region is not on the image, smaller than one patch or wholly outside the mask.
    InvalidOptionError
        If the mask does not fit the image, or the stride not the patch.
    """
    area = region_on(source, region)
    level = source.levels[area.level]
    patch = spec.constraint.token_stride
    apart = check_stride(stride, spec)
    grid = TokenGrid.covering(area, apart, level.downsample_yx, patch=patch)
    _check_count(grid, area)
    wanted = None if mask is None else token_mask(source, area, grid, mask)
    mask_sha256 = mask_hash(wanted)
    wanted = wanted if mask_sha256 else None
    spacing = spacing_in(source, area)
    coarse = grid.every(patch // apart, (0, 0))
    options = (tiling or Tiling()).fitted(
        *coarse.shape,
        spec.architecture.work,
        _multiple(spec),
        square=spec.architecture.square_tiles,
        fine=_fineness(spec),
    )
    planned = EmbeddingPlan(
        region=area,
        grid=grid,
        tiles=_tiles(coarse, spec, options, wanted if apart == patch else None),
        stride=apart,
        side=options.side_for(*coarse.shape),
        tiling=options,
        spacing_um_yx=None
        if spacing is None
        else (spacing[0] * level.downsample_yx[0], spacing[1] * level.downsample_yx[1]),
        mask=wanted,
        mask_sha256=mask_sha256,
    )
    return planned if apart == patch else _woven(planned, spec)


def check_stride(stride: int | None, spec: EncoderSpec) -> int:
    """Return the pixels per token that are meant.

    Parameters
    ----------
    stride
        Pixels per token; None for one token per patch.
    spec
        Encoder whose patches are asked about.

    Raises
    ------
    InvalidOptionError
        If it does not divide the encoder's patch.
    """
    return divisor_of(stride, spec.constraint.token_stride, spec.name)


def divisor_of(stride: int | None, patch: int, name: str) -> int:
    """Return the pixels per token of patches of a size; see `check_stride`."""
    if stride is None:
        return patch
    apart = whole_number(stride)
    if apart is None or apart < 1 or patch % apart:
        fitting = ", ".join(str(pixels) for pixels in range(1, patch + 1) if patch % pixels == 0)
        raise InvalidOptionError(
            f"Expected a stride that divides the patch of {name}, {patch} px: {fitting}; got {stride!r}."
        )
    return apart


def check_whole_patches(made: Provenance) -> None:
    """Refuse to run the encoder again for an embedding whose tokens were woven of several passes.

    Raises
    ------
    InvalidOptionError
        If it is one.
    """
    if made.stride:
        raise InvalidOptionError(
            f"Expected one token per patch, for what runs {made.encoder} again; got an embedding with a "
            f"stride of {made.stride} px. Embed without a stride for this."
        )


def stride_of(detail: int, patch: int) -> int | None:
    """Return the pixels per token that give a patch at most `detail` tokens along each axis; None for one."""
    count = max(number for number in range(1, max(1, detail) + 1) if patch % number == 0)
    return None if count == 1 else patch // count


def _woven(planned: EmbeddingPlan, spec: EncoderSpec) -> EmbeddingPlan:
    """Give a plan its passes over shifted patches; those without a wanted token are left out."""
    patch, grid = spec.constraint.token_stride, planned.grid
    shifts = patch_shifts(planned.stride, patch)
    count = len(shifts)
    passes = []
    offsets = product(range(count), range(count))
    for first in sorted(offsets, key=lambda at: abs(shifts[at[0]]) + abs(shifts[at[1]])):
        mask = None if planned.mask is None else planned.mask[first[0] :: count, first[1] :: count]
        coarse = grid.every(count, first)
        if 0 in coarse.shape or not (mask is None or mask.any()):
            continue
        part = replace(
            planned,
            grid=coarse,
            tiles=_tiles(coarse, spec, planned.tiling, mask),
            stride=patch,
            mask=mask,
            shift_yx=(shifts[first[0]], shifts[first[1]]),
            first_yx=first,
        )
        passes.append(part)
    return replace(planned, tiles=planned.tiles.finer(count, grid.shape), passes=tuple(passes))


_MOST_TOKENS, _LONGEST = 10**11, 10**7
"""More than a hundred of the largest slides have, together and along a side."""


def _check_count(grid: TokenGrid, area: Region) -> None:
    if max(grid.shape) > _LONGEST or grid.rows * grid.cols > _MOST_TOKENS:
        raise RegionError(
            f"Expected a region of at most {_MOST_TOKENS:,} tokens, and {_LONGEST:,} along a side; "
            f"{area.height} × {area.width} px are {grid.rows} × {grid.cols}. Choose a smaller region or a "
            "coarser level."
        )


def region_on(source: ImageSource, region: RegionLike | None) -> Region:
    """Return a region of an image; the whole finest level if none is given.

    Raises
    ------
    RegionError
        If it is not on the image.
    """
    area = Region(0, 0, *source.levels[0].shape_yx) if region is None else Region.coerce(region)
    if area.level >= len(source.levels) or area.frame >= source.frames:
        raise RegionError(
            f"Expected a level below {len(source.levels)} and a frame below {source.frames}; got level "
            f"{area.level}, frame {area.frame}."
        )
    area.check_within(source.levels[area.level].shape_yx)
    return area


def at_working_resolution(
    source: ImageSource,
    region: RegionLike | None,
    resolution: Resolution | float | str,
    trained: Resolution | None,
) -> tuple[ImageSource, Region]:
    """Return the image with a level of the resolution that it is to be read at, and the region at that level.

    Parameters
    ----------
    source
        Image to plan for.
    region
        Region in pixels of level 0; the whole image if omitted. A region of another level stays as it is,
        since it says its resolution itself.
    resolution, trained
        Resolutions as `resolution_of` takes them.

    Raises
    ------
    RegionError
        If the region is not on the image.
    InvalidOptionError
        If the resolution cannot be had of this image.
    """
    area = region_on(source, region)
    shape, spacing = source.levels[0].shape_yx, spacing_in(source, area)
    wanted = working_resolution(source, area, resolution, trained)
    if wanted is None:
        return source, area
    found, level = at_resolution(source, wanted.downsample_yx(shape, spacing))
    if level == 0:
        return source, area
    there = found.levels[level]
    return found, region_at(area, level, there.downsample_yx, there.shape_yx)


def plan_at(
    source: ImageSource,
    spec: EncoderSpec,
    region: RegionLike | None,
    tiling: Tiling | None = None,
    *,
    resolution: Resolution | float | str,
    mask: MaskLike | None = None,
    stride: int | None = None,
) -> EmbeddingPlan:
    """Plan what `embed` does with a region at a resolution; see `plan` and `at_working_resolution`."""
    read, area = at_working_resolution(source, region, resolution, spec.trained)
    return plan(read, spec, area, tiling, mask=mask, stride=stride)


def with_level_of(source: ImageSource, embedding: Embedding, stride: int) -> ImageSource:
    """Return an image with the level that an embedding of it, by an encoder of this stride, was read at."""
    region = embedding.provenance.region
    if region is None or region.level < len(source.levels):
        return source
    down_y, down_x = (side / stride for side in embedding.grid.stride_yx)
    return ResampledLevel(source, (down_y, down_x))


def working_resolution(
    source: ImageSource, area: Region, resolution: Resolution | float | str, trained: Resolution | None
) -> Resolution | None:
    """Return the resolution that a region is read at; None for that of its level, as it is stored."""
    return None if area.level else resolution_of(resolution, trained, spacing_in(source, area))


def _tiles(grid: TokenGrid, spec: EncoderSpec, tiling: Tiling, wanted: Mask | None) -> Tiles:
    square = spec.architecture.square_tiles
    return plan_tiles(*grid.shape, tiling, _multiple(spec), square=square, wanted=wanted)


_USUAL_STRIDE = 8
"""Pixels between tokens at which tiles of the usual number of tokens are wide enough."""


def _fineness(spec: EncoderSpec) -> int:
    """Return how many times as many tokens a tile needs along a side as usually.

    Tokens of a U-Net's decoder or of an early stage lie as close as every second pixel, and those of the
    decoder see as far as those of the deepest stage: counted in tokens, tiles would end before what they see.
    """
    stride = spec.constraint.token_stride
    return max(1, _USUAL_STRIDE // stride) if spec.constraint.size_multiple > stride else 1


def _multiple(spec: EncoderSpec) -> int:
    """Return of how many tokens a tile's side has to be a multiple."""
    return max(1, spec.constraint.size_multiple // spec.constraint.token_stride)
