"""Images and annotation that are in memory only, saved so that a record can name them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile

from napari_sslmaps.compare.request import ComparedImage, MaskFile
from napari_sslmaps.compare.results import Comparison, ScoredImage
from napari_sslmaps.compare.store import file_name
from napari_sslmaps.core.placed_mask import PlacedMask
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import ExportError
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.files import fitting, hash_path, written_whole
from napari_sslmaps.records.run import ImageRecord, MaskRecord
from napari_sslmaps.sources.open import SOURCES
from napari_sslmaps.sources.protocol import ImageSource

MOST_PIXELS = 100_000_000


def in_files(comparison: Comparison, folder: Path) -> Comparison:
    """Save images and annotation that have no file as TIFF below a folder, and return what names them.

    Raises
    ------
    ExportError
        If an image has more than 100 million pixels, is compared at a coarser level or later frame, or cannot
        be written.
    """
    pairs = [
        _saved(requested, scored, folder / SOURCES)
        for requested, scored in zip(comparison.request.images, comparison.images, strict=True)
    ]
    request = replace(comparison.request, images=tuple(requested for requested, _ in pairs))
    return replace(comparison, request=request, images=tuple(scored for _, scored in pairs))


def _saved(requested: ComparedImage, scored: ScoredImage, folder: Path) -> tuple[ComparedImage, ScoredImage]:
    stem = fitting(file_name(requested.name).replace("/", "-"))
    if not isinstance(requested.image, str):
        path = folder / f"{stem}.ome.tif"
        save_image(requested.name, requested.image, requested.region, path)
        record = ImageRecord(
            str(path.absolute()),
            hash_path(path),
            shape_yx=scored.record.shape_yx,
            spacing_um_yx=scored.record.spacing_um_yx,
        )
        requested = replace(requested, image=str(path))
        scored = replace(scored, record=record)
    if isinstance(requested.annotation, Annotation):
        path = folder / f"{stem}-mask.tif"
        with written_whole(path) as temporary:
            tifffile.imwrite(temporary, requested.annotation.labels.astype(np.int16), compression="zlib")
        requested = replace(requested, annotation=MaskFile(path, dict(requested.annotation.names)))
    if isinstance(requested.mask, PlacedMask):
        requested = replace(requested, mask=save_mask(requested.mask, folder / f"{stem}-region.tif"))
    return requested, scored


def save_mask(mask: PlacedMask, path: Path) -> MaskRecord:
    """Save which tokens are wanted, as a label image.

    Raises
    ------
    ExportError
        If it cannot be written.
    """
    path = path.absolute()
    with written_whole(path) as temporary:
        tifffile.imwrite(temporary, mask.values.astype(np.uint8), compression="zlib")
    return MaskRecord(str(path), hash_path(path), mask.cell_yx, mask.origin_yx)


def save_image(name: str, source: ImageSource, region: Region | None, path: Path, frame: int = 0) -> None:
    """Save one frame of an image that has no file as TIFF, with the size of its pixels.

    Parameters
    ----------
    name
        Name of the image in sentences.
    source
        Image to read.
    region
        Region that is compared; None for the whole image.
    path
        File to write.
    frame
        Frame to read.

    Raises
    ------
    ExportError
        If the image has more than 100 million pixels, is looked at on a coarser level or in another frame, or
        cannot be written.
    """
    shape = source.levels[0].shape_yx
    elsewhere = region is not None and (region.level, region.frame) != (0, frame)
    if shape[0] * shape[1] > MOST_PIXELS or elsewhere:
        raise ExportError(
            f"Expected an image of a file, or one of at most {MOST_PIXELS // 10**6} million pixels that is "
            f"compared at its finest level; {name} is neither. Save it as a file and open that."
        )
    pixels = source.read(Region(0, 0, *shape, 0, frame))
    colour = pixels.ndim == 3
    metadata: dict[str, object] = {"axes": "YXS" if colour else "YX"}
    if source.spacing_um_yx is not None:
        for axis, length in zip("YX", source.spacing_um_yx, strict=True):
            metadata |= {f"PhysicalSize{axis}": length, f"PhysicalSize{axis}Unit": "µm"}
    with written_whole(path) as temporary:
        tifffile.imwrite(
            temporary,
            pixels,
            ome=True,
            photometric="rgb" if colour else "minisblack",
            compression="zlib",
            metadata=metadata,
        )
