"""What embedding a region will do, said before a pixel is read."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.placed_mask import Mask
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.resolution import Resolution, region_at, resolution_of
from napari_sslmaps.core.tiling import Tiles, Tiling, plan_tiles
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import RegionError
from napari_sslmaps.pipeline.masks import MaskLike, mask_hash, token_mask
from napari_sslmaps.sources.base import spacing_in
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.resampled import at_resolution

RegionLike = Region | Sequence[int] | Sequence[slice]


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
        What is read, row by row; made when asked for, so that a plan of a whole slide costs nothing.
    stride
        Pixels of the region's level per token.
    side
        Tokens per tile side; 0 for a single pass.
    tiling
        The options it was made with.
    spacing_um_yx
        Micrometres per pixel of the region's level, if known.
    mask
        (rows, cols) bool, tokens that are wanted; None for all. Tiles without one are left out.
    mask_sha256
        Hash of the mask; empty for all.
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

    @property
    def computed_tokens(self) -> int:
        """Tokens that all tiles together compute, overlaps included."""
        return self.tiles.computed_tokens

    def describe(self) -> str:
        """Say it in a line: ``2048 × 2048 px at 0.50 µm/px → 128 × 128 tokens, 4 tiles``."""
        spacing = "" if self.spacing_um_yx is None else f" at {self.spacing_um_yx[0]:.3g} µm/px"
        count = len(self.tiles)
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
        How the region is cut; `Tiling()` if omitted.
    mask
        Which tokens are wanted, as in `token_mask`; all if omitted.

    Raises
    ------
    RegionError
        If the region is not on the image, smaller than one patch or wholly outside the mask.
    InvalidOptionError
        If the mask does not fit the image.
    """
    area = region_on(source, region)
    level = source.levels[area.level]
    grid = TokenGrid.covering(area, spec.constraint.token_stride, level.downsample_yx)
    options = tiling or Tiling()
    wanted = None if mask is None else token_mask(source, area, grid, mask)
    mask_sha256 = mask_hash(wanted)
    wanted = wanted if mask_sha256 else None
    spacing = spacing_in(source, area)
    return EmbeddingPlan(
        region=area,
        grid=grid,
        tiles=_tiles(grid, spec, options, wanted),
        stride=spec.constraint.token_stride,
        side=options.side_for(*grid.shape),
        tiling=options,
        spacing_um_yx=None
        if spacing is None
        else (spacing[0] * level.downsample_yx[0], spacing[1] * level.downsample_yx[1]),
        mask=wanted,
        mask_sha256=mask_sha256,
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
        In pixels of level 0; the whole image if omitted. A region of another level stays as it is, since it
        says its resolution itself.
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
    wanted = resolution_of(resolution, trained, spacing)
    if wanted is None or area.level:
        return source, area
    found, level = at_resolution(source, wanted.downsample_yx(shape, spacing))
    if level == 0:
        return source, area
    there = found.levels[level]
    return found, region_at(area, level, there.downsample_yx, there.shape_yx)


def _tiles(grid: TokenGrid, spec: EncoderSpec, tiling: Tiling, wanted: Mask | None) -> Tiles:
    constraint = spec.constraint
    multiple = max(1, constraint.size_multiple // constraint.token_stride)
    return plan_tiles(*grid.shape, tiling, multiple, square=spec.architecture.square_tiles, wanted=wanted)
