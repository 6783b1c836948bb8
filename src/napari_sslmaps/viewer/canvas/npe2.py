"""napari's plugin contributions that need no window: the reader and the sample data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import ChannelsError, UnsupportedImageError
from napari_sslmaps.evaluation.annotation import IGNORE
from napari_sslmaps.sources.base import Contents
from napari_sslmaps.sources.channels import ChannelChoice
from napari_sslmaps.sources.coarser import CoarserLevels
from napari_sslmaps.sources.formats import ZARR_MARKERS, holds_dicom, is_url, path_in_zip
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
    """Return a reader for one or several paths or addresses, or None where one is no image's."""
    paths = [path] if isinstance(path, str) else list(path)
    return read if paths and all(_may_be_image(item) for item in paths) else None


def read(path: PathOrPaths) -> list[LayerData]:
    """Read images as napari layers, RGB together, other channels a layer each, spacing as scale in µm.

    Slides and other large images become lazy multiscale layers: their pixels are read as they are looked at.

    Raises
    ------
    UnsupportedImageError
        If a file cannot be read, or is so large that an overview of it would take minutes.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return [layer for item in paths for layer in (*_read(item), *_labels(item))]


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


def _may_be_image(item: str) -> bool:
    path = Path(item)
    if is_url(item) or path_in_zip(path) is not None or not path.is_dir():
        return is_url(item) or path_in_zip(path) is not None or path.exists()
    return any((path / marker).exists() for marker in ZARR_MARKERS) or holds_dicom(path)


def _read(item: str) -> list[LayerData]:
    try:
        return [_read_image(item)]
    except ChannelsError as several:
        return [_read_channel(item, number, said) for number, said in enumerate(several.channels)]


def _read_channel(item: str, number: int, said: str) -> LayerData:
    data, options, kind = _read_image(item, number)
    options["name"] = f"{options['name']}: {said}"
    return data, {**options, "blending": "additive"}, kind


def read_chosen(item: str, series: int | None, channel: tuple[int, ...]) -> LayerData:
    """Read another image or other channels of a file.

    Parameters
    ----------
    item
        Path or address of the file.
    series
        Number of the image among those of the file; None where it holds one.
    channel
        Numbers of channels; empty for the colours of the image, or its first channel.

    Raises
    ------
    UnsupportedImageError, InvalidOptionError
        If the file has changed, and holds no such image or channel.
    """
    try:
        data, options, kind = _read_image(item, channel or None, series)
    except ChannelsError:
        data, options, kind = _read_image(item, 0, series)
    contents = contents_of(options["metadata"])
    parts = (options["name"], contents.series_read, contents.channels_read)
    return data, {**options, "name": ": ".join(filter(None, parts))}, kind


def contents_of(metadata: Mapping[str, Any]) -> Contents:
    """Return what the file of a layer has to choose from, by the metadata that `read` gave it."""
    picked = metadata.get("channel", ())
    return Contents(
        tuple(metadata.get("images", ())),
        metadata.get("series", 0),
        tuple(metadata.get("channels", ())),
        (picked,) if isinstance(picked, int) else tuple(picked),
    )


def _labels(item: str) -> list[LayerData]:
    """Read the label images that an OME-Zarr image brings."""
    path = Path(item)
    if is_url(item) or not path.is_dir() or not (path / "labels").is_dir():
        return []
    from napari_sslmaps.sources.zarr import label_paths

    layers: list[LayerData] = []
    for way in label_paths(path):
        with open_image(path / way) as source:
            if source.channels == 1 and source.dtype.kind in "ui":
                data, options, _ = _layer(source, _whole(source), {"path": str(path / way)})
                kept: dict[str, Any] = {
                    key: options[key] for key in ("name", "metadata", "scale", "units") if key in options
                }
                layers.append((data, kept, "labels"))
    return layers


def _read_image(item: str, channel: ChannelChoice = None, series: int | None = None) -> LayerData:
    source = open_image(item, channel=channel, series=series)
    if _is_small(source):
        with source:
            return _layer(source, _whole(source), {"path": item})
    try:
        deep = CoarserLevels(source)
    except UnsupportedImageError:
        source.close()
        raise
    levels = lazy_levels(deep)
    return _layer(deep, levels if len(levels) > 1 else levels[0], {"path": item})


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
    notes, window = getattr(source, "notes", ()), getattr(source, "window", None)
    aspect = getattr(source, "aspect_yx", (1.0, 1.0))
    said: dict[str, Any] = {"notes": list(notes)} if notes else {}
    contents: Contents = getattr(source, "contents", Contents())
    if contents.series:
        said |= {"images": list(contents.series), "series": contents.shown}
    if contents.channels:
        picked = contents.picked
        said |= {"channels": list(contents.channels), "channel": picked[0] if len(picked) == 1 else picked}
    options: dict[str, Any] = {
        "name": source.name,
        "rgb": source.channels == 3,
        "multiscale": isinstance(data, list),
        "metadata": {**metadata, **said},
    }
    if source.frames > 1:
        options["axis_labels"] = ("frame", "y", "x")
    if window is not None:
        options["contrast_limits"] = window
        options["metadata"]["window"] = window
    if source.spacing_um_yx is None and aspect != (1.0, 1.0):
        options["scale"] = (*((1.0,) * (source.frames > 1)), *aspect)
    if source.spacing_um_yx is not None:
        lead = (1,) if source.frames > 1 else ()
        options["scale"] = (*map(float, lead), *source.spacing_um_yx)
        options["units"] = (*("pixel" for _ in lead), "um", "um")
    return data, options, "image"
