"""Label images from files: PNG, BMP, TIFF, NPY and OME-Zarr."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import AnnotationError, UnsupportedImageError
from napari_sslmaps.sources import npy, tiff
from napari_sslmaps.sources.base import decoding

_ZIPPED = (".zarr.zip", ".ozx")
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".bmp")
_VOID = 255  # of PASCAL VOC's label images, and of most data sets since


def read_mask(path: Path | str) -> NDArray[np.integer[Any]]:
    """Read a label image.

    Parameters
    ----------
    path
        A PNG or BMP of one number per pixel or of a palette, whose indices are then the labels; a TIFF, of
        which the full size is read; an NPY file; or OME-Zarr: a label image, or an image that has one.

    Returns
    -------
    ndarray
        Labels (H, W), integers as stored. A mask of 0 and 255 alone becomes 0 and 1, and so do booleans.

    Raises
    ------
    AnnotationError
        If the file holds colours, real numbers, a stack or another format.
    UnsupportedImageError
        If it is missing or damaged.
    """
    path = Path(path)
    if path.is_dir() or path.name.lower().endswith(_ZIPPED):
        return _labels(_from_zarr(path), path.name)
    if path.suffix.lower() not in MASK_SUFFIXES:
        raise AnnotationError(
            f"Expected a mask as {', '.join(s[1:].upper() for s in MASK_SUFFIXES)}; got {path.name}. Formats "
            "such as JPEG change labels: export it as PNG."
        )
    if not path.is_file():
        raise UnsupportedImageError(f"Expected a mask file; there is none at {path}. Check its name.")
    with decoding(path.name, "a readable mask", *tiff.DAMAGE, *npy.DAMAGE):
        values = _read(path)
    values = np.squeeze(values) if values.ndim > 2 and 1 in values.shape else values
    return _labels(values, path.name)


def _from_zarr(path: Path) -> NDArray[Any]:
    from napari_sslmaps.sources.zarr import label_paths, open_zarr

    found = label_paths(path)
    if len(found) > 1:
        raise AnnotationError(
            f"Expected one label image; {path.name} has {', '.join(found)}. Give the path of one, for "
            f"example {path / found[0]}."
        )
    with open_zarr(path, *found) as source:
        if source.frames > 1 or source.channels > 1:
            raise AnnotationError(
                f"Expected a label image of one plane; {path.name} has {source.frames} planes of "
                f"{source.channels} channels. Save one plane as a label image."
            )
        return source.read(Region(0, 0, *source.levels[0].shape_yx))


def void_label(labels: NDArray[np.integer[Any]]) -> int | None:
    """Return the label that means "not annotated" by convention: 255 beside others in 8 bits, else None."""
    others = labels.dtype == np.uint8 and ((labels > 0) & (labels < _VOID)).any()
    return _VOID if others and (labels == _VOID).any() else None


def _read(path: Path) -> NDArray[Any]:
    match path.suffix.lower():
        case ".npy":
            return npy.read_npy(path)
        case ".tif" | ".tiff":
            return tiff.read_first(path)[0]
        case _:
            return _picture(path)


_GREY_STEPS = {"L;2": 85, "L;4": 17}
"""Greys of two and four bits lie so far apart once Pillow has spread them over 0 to 255."""


def _picture(path: Path) -> NDArray[Any]:
    try:
        with Image.open(path) as picture:
            if len(picture.getbands()) > 1:
                raise _of_colours(path.name)
            packed = picture.tile[0].args if picture.format == "PNG" and picture.tile else ""
            step = _GREY_STEPS.get(str(packed))
            return np.asarray(picture) if step is None else np.asarray(picture) // np.uint8(step)
    except Image.DecompressionBombError as error:
        raise UnsupportedImageError(
            f"Expected a picture that fits into memory; {path.name} is too large ({error}). "
            "Export it as TIFF, or at a coarser scale."
        ) from error


def _labels(values: NDArray[Any], name: str) -> NDArray[np.integer[Any]]:
    if values.ndim == 3 and values.shape[-1] in {2, 3, 4}:
        raise _of_colours(name)
    if values.ndim != 2 or 0 in values.shape:
        raise AnnotationError(
            f"Expected a mask of one plane (rows, columns); {name} has the shape {values.shape}. "
            "Export one plane."
        )
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    if not np.issubdtype(values.dtype, np.integer):
        raise AnnotationError(
            f"Expected whole numbers as labels; {name} holds {values.dtype}. Round or threshold it first."
        )
    if values.dtype == np.uint8 and values.max() == 255 and np.isin(values, (0, 255)).all():
        return (values // 255).astype(np.uint8)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _of_colours(name: str) -> AnnotationError:
    return AnnotationError(
        f"Expected one number per pixel; {name} holds colours, which say no class. Export it with a "
        "palette or as grey labels."
    )
