"""OME-Zarr 0.1 to 0.5 in a folder, a zip file or behind a URL, and plain zarr arrays."""

import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.errors import ArrayNotFoundError, GroupNotFoundError, NodeNotFoundError

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.axes import plan_axes
from napari_sslmaps.sources.base import (
    ImageLayout,
    SourceBase,
    SpacingYX,
    decoding,
    levels_from_shapes,
    spacing_um,
    unit_um,
)
from napari_sslmaps.sources.channels import ChannelChoice, ChannelFacts, omero_facts
from napari_sslmaps.sources.claims import check_claim
from napari_sslmaps.sources.zarr_bounds import bounded
from napari_sslmaps.sources.zarr_places import ZarrPlace, place_of

_DAMAGE = (
    NodeNotFoundError,
    ArrayNotFoundError,
    GroupNotFoundError,
    OSError,
    ValueError,
    RuntimeError,  # numcodecs' errors derive from it
    KeyError,
    TypeError,
    IndexError,
    BadZipFile,
    EOFError,
    zlib.error,
)
_AXES_BEFORE_03 = "TCZYX"
_LISTED = 6
_MOST_LEVELS = 64
"""More than halvings of the largest side there is."""
_LARGE_CHUNK = 2**26
_INDEX_ENTRY = 16
"""Bytes in which a shard tells where a chunk in it lies."""


def open_zarr(where: Path | str, inside: str = "", *, channel: ChannelChoice = None) -> "ZarrSource":
    """Open an image in a folder, in a zip file, or at a URL.

    Parameters
    ----------
    where
        A path, or a URL as a string.
    inside
        Path from there to the image, with ``/`` between groups.
    channel
        Channels that are wanted, by number or name.

    Raises
    ------
    MissingExtraError, ChannelsError, UnsupportedImageError
        If the place or the image cannot be read; see `place_of` and `ZarrSource`.
    """
    return ZarrSource(place_of(where, inside), channel)


class ZarrSource(SourceBase):
    """An OME-Zarr image, or one zarr array of axes (y, x) or (y, x, colour).

    Chunks that were never written have the array's fill value.

    Parameters
    ----------
    place
        Place of the image. Of a file that Bio-Formats converted, which holds several images, the largest is
        read.
    channel
        Channels that are wanted, by number or name.

    Raises
    ------
    ChannelsError
        If it has channels that are no colour image, and none is asked for.
    UnsupportedImageError
        If it is not an image, holds several, is damaged, or cannot be reached.
    """

    def __init__(self, place: ZarrPlace, channel: ChannelChoice = None) -> None:
        self._place = place
        with (
            ExitStack() as on_error,
            decoding(place.name, "a readable OME-Zarr image", *_DAMAGE),
            place.reaching(),
        ):
            on_error.callback(place.close)
            arrays, axes, spacing, facts = _image(place)
            first = arrays[0]
            dtype = np.dtype(first.dtype)
            self._plan = plan_axes(axes, first.shape, place.name, dtype, facts=facts, channel=channel)
            shapes = [self._plan.shape_yx(array.shape) for array in arrays]
            layout = ImageLayout(
                levels=levels_from_shapes(shapes),
                channels=self._plan.channels,
                dtype=dtype,
                frames=self._plan.frames,
                notes=self._plan.notes,
                contents=self._plan.contents,
                spacing_um_yx=spacing,
            )
            on_error.pop_all()
        self._arrays: list[Any] = arrays
        super().__init__(place.title, layout)

    def _decode(self, region: Region) -> NDArray[Any]:
        with decoding(self._place.name, "a readable OME-Zarr image", *_DAMAGE), self._place.reaching():
            return self._plan.cut(self._arrays[region.level], region)

    def _release(self) -> None:
        self._arrays = []
        self._place.close()


def label_paths(where: Path | str) -> tuple[str, ...]:
    """Return the ways to the label images inside an OME-Zarr image; none if it has none."""
    place = place_of(where)
    with closing(place), decoding(place.name, "a readable OME-Zarr image", *_DAMAGE), place.reaching():
        try:
            group = zarr.open_group(place.store, path=f"{place.inside}/labels".lstrip("/"), mode="r")
        except (GroupNotFoundError, NodeNotFoundError, FileNotFoundError):
            return ()
        return tuple(f"labels/{name}" for name in _ome(group).get("labels", ()))


def _image(place: ZarrPlace) -> tuple[list[Any], str, SpacingYX, ChannelFacts]:
    node = zarr.open(place.store, path=place.inside, mode="r")
    if isinstance(node, zarr.Array):
        _check_chunks(node, place)
        node = bounded(node)
        return _level_alone(node, place) or ([node], _plain_axes(node, place), None, ChannelFacts())
    if "bioformats2raw.layout" in _ome(node) and "multiscales" not in _ome(node):
        node = _largest(node)
    attributes = _ome(node)
    if not attributes.get("multiscales"):
        raise _several(node, place)
    arrays, axes, spacing = _multiscale(node, attributes["multiscales"][0])
    for array in arrays:
        _check_chunks(array, place)
    return [bounded(array) for array in arrays], axes, spacing, omero_facts(attributes)


def _level_alone(array: Any, place: ZarrPlace) -> tuple[list[Any], str, SpacingYX, ChannelFacts] | None:
    """Understand an array as the level of the image that its group is; None if that says nothing of it."""
    above, _, name = place.inside.rpartition("/")
    if name:
        attributes = _ome(zarr.open_group(place.store, path=above, mode="r"))
    elif place.session is not None:
        attributes, name = _beyond(place), place.name
    else:
        return None
    for image in attributes.get("multiscales", ()):
        listed = [dataset for dataset in image["datasets"] if dataset["path"] == name]
        if listed:
            axes = _axes(image, array.ndim)
            names = _letters(axes)
            spacing = _spacing({**image, "datasets": listed}, axes, names)
            return [array], names, spacing, omero_facts(attributes)
    return None


def _beyond(place: ZarrPlace) -> dict[str, Any]:
    """OME's attributes of the group that holds an address; none where that is no group, or forbidden."""
    with closing(place.above()) as above:
        nothing: tuple[type[Exception], ...] = (NodeNotFoundError, OSError, ValueError, KeyError)
        with suppress(*nothing, *above.troubles):
            return _ome(zarr.open_group(above.store, mode="r"))
    return {}


def _check_chunks(array: Any, place: ZarrPlace) -> None:
    """Refuse chunks without pixels, and those that no stored byte can be of: one is read at a time."""
    if min(array.chunks, default=1) < 1:
        raise ValueError(f"its chunks are of {array.chunks} pixels")
    if array.shards is not None:
        inner = prod(-(-shard // side) for shard, side in zip(array.shards, array.chunks, strict=True))
        if inner * _INDEX_ENTRY > max(_LARGE_CHUNK, place.stored_bytes(array.path)):
            raise ValueError(f"its shards are said to hold {inner:,} chunks, and no index is as long")
    size = prod(min(sides) for sides in zip(array.chunks, array.shape, strict=True)) * array.dtype.itemsize
    if size > _LARGE_CHUNK:
        check_claim(size, place.stored_bytes(array.path), place.name)


def _plain_axes(array: Any, place: ZarrPlace) -> str:
    """One letter per axis: by the names that zarr 3 or xarray give them, else by the shape."""
    said = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or ()
    names = "".join(str(name or "?")[0].upper() for name in said)
    if len(set(names)) == array.ndim and {"Y", "X"} <= set(names):
        return names
    if not 2 <= array.ndim <= len(_AXES_BEFORE_03):
        raise UnsupportedImageError(
            f"Expected a zarr array of 2 to {len(_AXES_BEFORE_03)} axes; {place.name} has {array.ndim}. "
            "Open a part of it: zarr.open(…)[…], and pass that."
        )
    if array.ndim > 2 and array.shape[-1] in (1, 3, 4):
        return "TZYXS"[-array.ndim :]
    return "TYX" if array.ndim == 3 else _AXES_BEFORE_03[-array.ndim :]


def _ome(group: Any) -> dict[str, Any]:
    """OME's attributes: under a key of their own since 0.5."""
    attributes = dict(group.attrs)
    ome: dict[str, Any] = attributes.get("ome", attributes)
    return ome


def _largest(group: Any) -> Any:
    """Return the numbered image with the most pixels; what Bio-Formats converts may begin with a label."""
    images, number = [], 0
    while str(number) in group:
        images.append(group[str(number)])
        number += 1
    if not images:
        raise KeyError("it has no image 0")
    return max(images, key=lambda image: image[_ome(image)["multiscales"][0]["datasets"][0]["path"]].size)


def _several(group: Any, place: ZarrPlace) -> UnsupportedImageError:
    """Return the error of a group that is no image: with the paths of those inside, where there are some."""
    found = list(islice(_images_inside(group), _LISTED + 1))
    if not found:
        return UnsupportedImageError(
            f"Expected an OME-Zarr image; {place.name} has no multiscales, and none of its groups has. Give "
            "the path of a group or array that is an image."
        )
    more = " and more" if len(found) > _LISTED else ""
    return UnsupportedImageError(
        f"Expected one OME-Zarr image; {place.name} holds {', '.join(found[:_LISTED])}{more}. Give the path "
        f"of one of them, for example {place.address}/{found[0]}."
    )


def _images_inside(group: Any) -> Iterator[str]:
    attributes = _ome(group)
    if "plate" in attributes:
        for well in attributes["plate"].get("wells", ()):
            path = well["path"]
            yield from (f"{path}/{image}" for image in _well_images(group[path]))
    elif "well" in attributes:
        yield from _well_images(group)
    else:
        for name, child in sorted(group.groups()):
            inner = _ome(child)
            if "multiscales" in inner:
                yield name
            elif {"plate", "well"} & set(inner):
                yield from (f"{name}/{path}" for path in _images_inside(child))
        yield from sorted(name for name, array in group.arrays() if array.ndim >= 2)


def _well_images(well: Any) -> list[str]:
    return [str(image["path"]) for image in _ome(well).get("well", {}).get("images", ())]


def _multiscale(group: Any, image: Mapping[str, Any]) -> tuple[list[Any], str, SpacingYX]:
    if len(image["datasets"]) > _MOST_LEVELS:
        raise ValueError(f"it says {len(image['datasets']):,} levels")
    arrays = [group[dataset["path"]] for dataset in image["datasets"]]
    axes = _axes(image, arrays[0].ndim)
    return arrays, _letters(axes), _spacing(image, axes, _letters(axes))


def _axes(image: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    said = image.get("axes") or list(_AXES_BEFORE_03[-count:])
    return [axis if isinstance(axis, dict) else {"name": axis} for axis in said]


def _letters(axes: list[dict[str, Any]]) -> str:
    return "".join(str(axis["name"])[:1].upper() for axis in axes)


def _spacing(image: Mapping[str, Any], axes: list[dict[str, Any]], names: str) -> SpacingYX:
    scale = np.ones(len(axes))
    finest = image["datasets"][0].get("coordinateTransformations", [])
    for transformation in [*finest, *image.get("coordinateTransformations", [])]:
        if transformation.get("type") == "scale":
            scale = scale * np.asarray(transformation["scale"], float)
    y, x = names.index("Y"), names.index("X")
    along_y = spacing_um(scale[y], 1.0, unit_um(axes[y].get("unit")))
    along_x = spacing_um(1.0, scale[x], unit_um(axes[x].get("unit")))
    return (along_y[0], along_x[1]) if along_y and along_x else None
