"""Images of a store: where their files are, and whether they are what was embedded; what is background."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from napari_sslmaps.batch.store import About, read_about
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.inputs.images import open_named
from napari_sslmaps.pipeline.masks import find_mask
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.scan import scan_region

_HASHED_PIXELS = 32_000_000
"""Pixels that are hashed while a user waits for a picture: less than a second."""
Pixel: TypeAlias = tuple[float, float]


def image_file(name: str, image: str, roots: Sequence[Path]) -> Path | None:
    """Find an image, of which a store tells no more than a path below some folder; None if it is in none.

    What only has the same file name, in another folder than that of its name, is another image.

    Parameters
    ----------
    name, image
        Name of the item, and path of its image, as the store has them.
    roots
        Folders that it may lie in.
    """
    file, parts = Path(image).name, name.split("/")
    below = "/".join(parts[: parts.index(file) + 1]) if file in parts else file
    candidates = (root / part for part in (image, below, name) for root in roots if part)
    return next((path for path in candidates if path.exists()), None)


def check_as_embedded(name: str, path: Path, output: Path | None) -> None:
    """Refuse an image that is not the one whose tokens a store has, as far as a moment can tell.

    Its size is looked at and, of up to 32 million pixels that were read whole as they are stored, their hash.

    Parameters
    ----------
    name, path
        Name of the image in a sentence, and its file.
    output
        Folder of its tokens in the store, from `output_of`; None for nothing.

    Raises
    ------
    UnsupportedImageError
        If it is another, or cannot be read.
    """
    about = None if output is None else read_about(output)
    if about is None:
        return
    with open_named(str(path)) as source:
        is_same = _is_as_embedded(source, about)
    if not is_same:
        raise UnsupportedImageError(
            f"Expected {name} as the batch embedded it; {path} has other pixels now. Choose the folder of "
            "the images as they were, or run the batch and the index again."
        )


def _is_as_embedded(source: ImageSource, about: About) -> bool:
    made, region, row = about.provenance, about.provenance.region, about.row
    if (np.add(about.grid.origin_yx, about.grid.extent_yx) > source.levels[0].shape_yx).any():
        return False
    chosen = row.get("series") or row.get("channel")
    if region is None or not made.image_sha256 or made.mask_sha256 or chosen:
        return True
    if region.level >= len(source.levels) or region.height * region.width > _HASHED_PIXELS:
        return True
    return region.frame < source.frames and scan_region(source, region).sha256 == made.image_sha256


def is_background(path: Path, corner_yx: Pixel, size_yx: Pixel, frame: int = 0) -> bool:
    """Whether a mask that is found in an image, as a batch finds it, leaves out all of a rectangle.

    Parameters
    ----------
    path
        File of the image.
    corner_yx, size_yx
        First pixel of level 0, and height and width.
    frame
        Number of a frame of a clip.

    Raises
    ------
    UnsupportedImageError
        If the image cannot be read.
    """
    with open_named(str(path)) as source:
        mask = find_mask(source, frame=frame)
    return not mask.on(
        TokenGrid(rows=1, cols=1, stride_yx=size_yx, origin_yx=corner_yx, extent_yx=size_yx)
    ).any()
