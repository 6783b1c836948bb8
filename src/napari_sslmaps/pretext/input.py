"""Pixels of a pretext view: the region read, and fitted to the size that the encoder was trained on."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.preprocess import check_window, scale_to_unit
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.resolution import Resolution, in_words
from napari_sslmaps.core.results import Embedding, Float32, PixelReader, Provenance
from napari_sslmaps.encoders.encoder import Encoder, prepare
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.header import read_header
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import InvalidOptionError, RegionError, UnsupportedImageError
from napari_sslmaps.pipeline.planning import (
    RegionLike,
    at_working_resolution,
    region_on,
    working_resolution,
)
from napari_sslmaps.pipeline.region_work import check_colour
from napari_sslmaps.pretext.options import Fit
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.base import spacing_in
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.scan import scan_region

_USUAL_SIDE = 224
_MOST_TOKENS = 16_384
_MOST_PIXELS = 64_000_000


@dataclass(frozen=True, eq=False, slots=True)
class PretextInput:
    """Pixels that a view is made of.

    Parameters
    ----------
    requested
        The region that was asked for.
    requested_downsample_yx
        Pixels of level 0 per pixel of its level.
    region
        Part of it that is shown to the encoder, in pixels of the level that it is read at.
    picture
        (H, W, 3) float32 in [0, 1], what the encoder is given: the pixels of `region`, resampled if asked.
    grid
        Grid that its tokens lie on.
    patch
        Pixels of `picture` per token.
    side
        Side in pixels of what the encoder was trained on.
    provenance
        Everything that decided the numbers.
    """

    requested: Region
    requested_downsample_yx: tuple[float, float]
    region: Region
    picture: Float32
    grid: TokenGrid
    patch: int
    side: int
    provenance: Provenance

    @property
    def shown_yx(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """First and last edge (row, column) of what is shown, in pixels of the level that was asked for."""
        first = np.divide(self.grid.origin_yx, self.requested_downsample_yx)
        return first, first + np.divide(self.grid.extent_yx, self.requested_downsample_yx)

    def describe_shown(self) -> str:
        """Say which pixels are shown: ``rows 16–80 and columns 24–88``."""
        (top, left), (bottom, right) = (np.rint(edge).astype(int) for edge in self.shown_yx)
        return f"rows {top}–{bottom} and columns {left}–{right}"


@dataclass(frozen=True, slots=True)
class _OpenedRegion:
    """An image opened: what is requested of it, where and by what that is read.

    Downsamplings are pixels of level 0 per pixel of the region's level.
    """

    requested: Region
    requested_downsample_yx: tuple[float, float]
    region: Region
    downsample_yx: tuple[float, float]
    read: PixelReader
    name: str
    window: tuple[float, float] | None
    resolution: str
    spacing_um_yx: tuple[float, float] | None


def read_input(
    image: Any,
    encoder: Encoder,
    *,
    region: RegionLike | None,
    fit: str,
    window: tuple[float, float] | None,
    resolution: Resolution | float | str = "trained",
) -> PretextInput:
    """Read a region and fit it to an encoder.

    Parameters
    ----------
    image
        Image in any form that `embed` takes, or an `Embedding`: then its region and window are meant if none
        are given.
    encoder
        Encoder that decides side and multiple.
    region
        The whole image if omitted.
    fit
        Fit as `pretext_view` takes it.
    window
        Window as `embed` takes it.
    resolution
        Resolution as `embed` takes it; that of an embedding is its own.

    Raises
    ------
    InvalidOptionError, RegionError, UnsupportedImageError
        If an option, the region or the pixels cannot be used.
    """
    if fit not in get_args(Fit):
        raise InvalidOptionError(f"Expected the fit {', '.join(get_args(Fit))}; got {fit!r}.")
    if isinstance(image, Embedding):
        return _fit(_of_embedding(image, region, window), encoder, fit)
    source = open_image(image)
    with nullcontext() if source is image else source:
        requested = region_on(source, region)
        read, area = at_working_resolution(source, requested, resolution, encoder.spec.trained)
        working = working_resolution(source, requested, resolution, encoder.spec.trained)
        opened = _OpenedRegion(
            requested,
            source.levels[requested.level].downsample_yx,
            area,
            read.levels[area.level].downsample_yx,
            read.read,
            source.name,
            getattr(source, "window", None) if window is None else window,
            "" if working is None else str(working),
            spacing_in(source, requested),
        )
        return _fit(opened, encoder, fit)


def _of_embedding(
    embedding: Embedding, region: RegionLike | None, window: tuple[float, float] | None
) -> _OpenedRegion:
    made = embedding.provenance
    if embedding.pixels is None or made.region is None:
        raise UnsupportedImageError(
            "Expected an embedding that knows its image; this one was made of tokens alone. Pass the image, "
            "and its region, instead."
        )
    requested = made.region if region is None else Region.coerce(region)
    if requested.level != made.region.level:
        raise RegionError(
            f"Expected a region of level {made.region.level}, of which the embedding is; got one of level "
            f"{requested.level}. Pass the image instead."
        )
    whole, extent = made.region.shape_yx, embedding.grid.extent_yx
    downsample = (extent[0] / whole[0], extent[1] / whole[1])
    return _OpenedRegion(
        requested,
        downsample,
        requested,
        downsample,
        embedding.pixels,
        made.image,
        window or made.window,
        made.resolution,
        made.spacing_um_yx,
    )


def _fit(opened: _OpenedRegion, encoder: Encoder, fit: str) -> PretextInput:
    spec, side = encoder.spec, trained_side(encoder.spec)
    region = _looked_at(opened, spec, side, fit)
    pixels = opened.read(region)
    read = ArraySource(pixels, opened.name)
    check_colour(read, spec)
    scan = scan_region(read, Region(0, 0, *region.shape_yx))
    window = scan.window if opened.window is None else check_window(opened.window)
    picture = scale_to_unit(pixels, window)
    if fit == "resize":
        picture = resample(picture, (side, side))
    patch = spec.constraint.token_stride
    rows, cols = picture.shape[0] // patch, picture.shape[1] // patch
    fy, fx = opened.downsample_yx
    extent = (region.height * fy, region.width * fx)
    grid = TokenGrid(rows, cols, (extent[0] / rows, extent[1] / cols), (region.y * fy, region.x * fx), extent)
    made = Provenance(
        image=opened.name,
        image_sha256=scan.sha256,
        region=region,
        window=window,
        device=encoder.device,
        resolution=opened.resolution,
        spacing_um_yx=opened.spacing_um_yx,
    )
    return PretextInput(
        opened.requested,
        opened.requested_downsample_yx,
        region,
        picture,
        grid,
        patch,
        side,
        _with_encoder(made, spec),
    )


def _looked_at(opened: _OpenedRegion, spec: EncoderSpec, side: int, fit: str) -> Region:
    """Return the middle of a region as `fit` says, with sides that the encoder takes."""
    area = opened.region
    multiple = 1 if fit == "resize" else spec.constraint.size_multiple
    if min(area.shape_yx) < multiple:
        read_at = f" when read at {in_words(opened.resolution)}" if opened.resolution else ""
        raise RegionError(
            f"Expected a region of at least {multiple} × {multiple} px for {spec.name}; got {area.height} × "
            f"{area.width} px{read_at}. Choose a larger region, a finer resolution, or fit='resize'."
        )
    most = {"crop": side, "resize": min(area.shape_yx)}.get(fit, max(area.shape_yx))
    height, width = (min(most, size) // multiple * multiple for size in area.shape_yx)
    pixels = side * side if fit == "resize" else height * width
    tokens = pixels // spec.constraint.token_stride**2
    if tokens > _MOST_TOKENS or height * width > _MOST_PIXELS:
        raise RegionError(
            f"Expected a region that one pass can take, of at most {_MOST_TOKENS} tokens and "
            f"{_MOST_PIXELS // 1_000_000} megapixels; got {height} × {width} px. Choose a smaller region, a "
            "coarser level, or fit='crop'."
        )
    return area.part((area.height - height) // 2, (area.width - width) // 2, height, width)


def _with_encoder(made: Provenance, spec: EncoderSpec) -> Provenance:
    return replace(
        made,
        encoder=spec.name,
        method=spec.method,
        weights_sha256=spec.sha256,
        architecture=spec.architecture.summary,
        normalisation=spec.normalisation,
        precision="float32",
        package_version=version("napari-sslmaps"),
        torch_version=torch.__version__,
        overrides=dict(spec.overrides),
    )


def resample(picture: Float32, shape: tuple[int, int]) -> Float32:
    """Bring (h, w, 3) float32 in [0, 1] to (H, W, 3), bilinearly and antialiased."""
    if picture.shape[:2] == shape:
        return picture
    batch = torch.from_numpy(picture).permute(2, 0, 1)[None]
    sampled = functional.interpolate(batch, size=shape, mode="bilinear", align_corners=False, antialias=True)
    result: NDArray[np.float32] = sampled[0].permute(1, 2, 0).clamp(0, 1).contiguous().numpy()
    return result


def trained_side(spec: EncoderSpec) -> int:
    """Side in pixels of what an encoder was trained on.

    A transformer with added positions was trained at its grid's side; any other network at that of the
    training's crops, where the file says it, or else at 224.
    """
    architecture, multiple = spec.architecture, spec.constraint.size_multiple
    if architecture.stored_side:
        return architecture.stored_side
    crop = recorded(spec).get("crop", _USUAL_SIDE)
    return max(multiple, round(int(crop) / multiple) * multiple)


def recorded(spec: EncoderSpec) -> Mapping[str, Any]:
    """Return the provenance of the training, of a file that this package wrote; else nothing."""
    if spec.path is None or not Path(spec.path).is_file() or spec.path.suffix != ".safetensors":
        return {}
    made: Mapping[str, Any] = read_header(spec.path).get("provenance", {})
    return made


def transformer(encoder: Encoder) -> tuple[Any, ViTArchitecture]:
    """Return the network and the shape of an encoder whose method has transformers alone."""
    return cast("Any", encoder.extractor).network, cast("ViTArchitecture", encoder.spec.architecture)


def as_batch(picture: Float32, encoder: Encoder) -> Tensor:
    """Return (H, W, 3) in [0, 1] as (1, C, H, W), normalised, on the encoder's device."""
    return prepare(torch.from_numpy(picture).to(encoder.device)[None], encoder.spec)
