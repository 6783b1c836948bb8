"""napari's plugin contributions that need no window: the reader and the sample data."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.samples import SAMPLES

LIMIT_BYTES = 4e9
"""What the reader loads into memory at most."""
LayerData = tuple[Any, dict[str, Any], str]
PathOrPaths = str | Sequence[str]


def get_reader(path: PathOrPaths) -> Callable[[PathOrPaths], list[LayerData]] | None:
    """Return a reader for one or several paths, or None where none of them can be there."""
    paths = [path] if isinstance(path, str) else list(path)
    return read if paths and all(Path(item).exists() for item in paths) else None


def read(path: PathOrPaths) -> list[LayerData]:
    """Read images as napari layers, RGB kept together, spacing as scale in µm.

    Raises
    ------
    UnsupportedImageError
        If a file cannot be read.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return [_read(Path(item)) for item in paths]


def histology() -> list[LayerData]:
    """Return the sample ``Histology (IHC)``."""
    return [_sample("histology")]


def ultrasound() -> list[LayerData]:
    """Return the sample ``Ultrasound (B-mode)``."""
    return [_sample("ultrasound")]


def _read(path: Path) -> LayerData:
    with open_image(path) as source:
        return _layer(source, {"path": str(path)})


def _sample(key: str) -> LayerData:
    sample = SAMPLES[key]
    with sample.open() as source:
        return _layer(source, {"title": sample.title, "licence": sample.licence})


def _check_size(source: ImageSource) -> None:
    height, width = source.levels[0].shape_yx
    size = height * width * source.channels * source.frames * source.dtype.itemsize
    if size > LIMIT_BYTES:
        raise UnsupportedImageError(
            f"Expected an image of at most {LIMIT_BYTES / 1e9:.0f} GB to open whole; {source.name} has "
            f"{size / 1e9:.1f} GB. Open a lower level or a crop of it, or embed a region from Python: "
            "napari_sslmaps.embed(path, encoder, region=(y, x, height, width))."
        )


def _layer(source: ImageSource, metadata: dict[str, Any]) -> LayerData:
    _check_size(source)
    height, width = source.levels[0].shape_yx
    frames = [source.read(Region(0, 0, height, width, 0, frame)) for frame in range(source.frames)]
    data = np.stack(frames) if source.frames > 1 else frames[0]
    options: dict[str, Any] = {"name": source.name, "rgb": source.channels == 3, "metadata": metadata}
    if source.spacing_um_yx is not None:
        lead = data.ndim - 2 - (source.channels == 3)
        options["scale"] = (1.0,) * lead + source.spacing_um_yx
        options["units"] = ("pixel",) * lead + ("um", "um")
    return data, options, "image"
