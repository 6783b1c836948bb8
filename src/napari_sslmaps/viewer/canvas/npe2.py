"""napari's plugin contributions that need no window: the reader and the sample data."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.evaluation.annotation import IGNORE
from napari_sslmaps.sources.coarser import CoarserLevels
from napari_sslmaps.sources.masks import read_mask
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.samples import SAMPLES, UNSURE
from napari_sslmaps.viewer.canvas.lazy_array import lazy_levels

LIMIT_BYTES, LIMIT_SIDE = 256e6, 8192
"""What the reader loads into memory: no more bytes, no longer side; above, pixels are read when seen."""
LayerData = tuple[Any, dict[str, Any], str]
PathOrPaths = str | Sequence[str]


def get_reader(path: PathOrPaths) -> Callable[[PathOrPaths], list[LayerData]] | None:
    """Return a reader for one or several paths, or None where none of them can be there."""
    paths = [path] if isinstance(path, str) else list(path)
    return read if paths and all(Path(item).exists() for item in paths) else None


def read(path: PathOrPaths) -> list[LayerData]:
    """Read images as napari layers, RGB kept together, spacing as scale in µm.

    Slides and other large images become lazy multiscale layers: their pixels are read as they are looked at.

    Raises
    ------
    UnsupportedImageError
        If a file cannot be read, or is so large that an overview of it would take minutes.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return [_read(Path(item)) for item in paths]


def histology() -> list[LayerData]:
    """Return the sample ``Histology (IHC)``."""
    return [_sample("histology")]


def ultrasound() -> list[LayerData]:
    """Return the sample ``Ultrasound (B-mode)``."""
    return [_sample("ultrasound")]


def annotated_histology() -> list[LayerData]:
    """Return the sample ``Histology (IHC), annotated``: the image and labels drawn on it."""
    return [_sample("histology"), _annotation("histology")]


def annotated_ultrasound() -> list[LayerData]:
    """Return the sample ``Ultrasound (B-mode), annotated``: the image and labels drawn on it."""
    return [_sample("ultrasound"), _annotation("ultrasound")]


def _read(path: Path) -> LayerData:
    source = open_image(path)
    if _is_small(source):
        with source:
            return _layer(source, _whole(source), {"path": str(path)})
    try:
        deep = CoarserLevels(source)
    except UnsupportedImageError:
        source.close()
        raise
    levels = lazy_levels(deep)
    return _layer(deep, levels if len(levels) > 1 else levels[0], {"path": str(path)})


def _sample(key: str) -> LayerData:
    sample = SAMPLES[key]
    with sample.open() as source:
        return _layer(source, _whole(source), {"title": sample.title, "licence": sample.licence})


def _annotation(key: str) -> LayerData:
    sample = SAMPLES[key]
    drawn = read_mask(sample.mask_path).astype(np.int16)
    options: dict[str, Any] = {
        "name": f"{key} annotation",
        "features": {"index": range(len(sample.classes) + 1), "name": ["background", *sample.classes]},
        "opacity": 0.35,
        "metadata": {"note": "Drawn by eye for trying out scores; nobody has checked it."},
    }
    spacing = sample.spacing_um_yx
    if spacing is not None:
        options |= {"scale": spacing, "units": ("um", "um")}
    return np.where(drawn == UNSURE, IGNORE, drawn), options, "labels"


def _is_small(source: ImageSource) -> bool:
    height, width = source.levels[0].shape_yx
    size = height * width * source.channels * source.frames * source.dtype.itemsize
    return len(source.levels) == 1 and size <= LIMIT_BYTES and max(height, width) <= LIMIT_SIDE


def _whole(source: ImageSource) -> NDArray[Any]:
    region = Region(0, 0, *source.levels[0].shape_yx)
    frames = [source.read(replace(region, frame=frame)) for frame in range(source.frames)]
    return np.stack(frames) if source.frames > 1 else frames[0]


def _layer(source: ImageSource, data: Any, metadata: dict[str, Any]) -> LayerData:
    options: dict[str, Any] = {
        "name": source.name,
        "rgb": source.channels == 3,
        "multiscale": isinstance(data, list),
        "metadata": metadata,
    }
    if source.spacing_um_yx is not None:
        lead = (1,) if source.frames > 1 else ()
        options["scale"] = (*map(float, lead), *source.spacing_um_yx)
        options["units"] = (*("pixel" for _ in lead), "um", "um")
    return data, options, "image"
