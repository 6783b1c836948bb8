"""OME-Zarr 0.4 and 0.5, and plain zarr arrays."""

from pathlib import Path
from typing import Any

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
)


class ZarrSource(SourceBase):
    """An OME-Zarr image, or one zarr array of axes (y, x) or (y, x, colour).

    Chunks that were never written have the array's fill value.

    Parameters
    ----------
    path
        Folder to read.
    channel
        Which channels are wanted.

    Raises
    ------
    ChannelsError
        If it has channels that are no colour image, and none is asked for.
    UnsupportedImageError
        If it is not an image, or is damaged.
    """

    def __init__(self, path: Path, *, channel: ChannelChoice = None) -> None:
        name = path.name.removesuffix(".zarr").removesuffix(".ome")
        with decoding(path.name, "a readable OME-Zarr image", *_DAMAGE):
            node = zarr.open(path, mode="r")
            if isinstance(node, zarr.Group) and "bioformats2raw.layout" in _ome(node):
                node = node["0"]  # of a file with several images, the first
            if isinstance(node, zarr.Array):
                arrays, axes, spacing, facts = [node], _plain_axes(node), None, ChannelFacts()
            else:
                arrays, axes, spacing = _multiscale(node, path)
                facts = omero_facts(_ome(node))
            dtype = np.dtype(arrays[0].dtype)
            self._plan = plan_axes(axes, arrays[0].shape, path.name, dtype, facts=facts, channel=channel)
            shapes = [self._plan.shape_yx(array.shape) for array in arrays]
        layout = ImageLayout(
            levels=levels_from_shapes(shapes),
            channels=self._plan.channels,
            dtype=dtype,
            frames=self._plan.frames,
            spacing_um_yx=spacing,
        )
        self._arrays: list[Any] = arrays
        self._file_name = path.name
        super().__init__(name, layout)

    def _decode(self, region: Region) -> NDArray[Any]:
        with decoding(self._file_name, "a readable OME-Zarr image", *_DAMAGE):
            return self._plan.cut(self._arrays[region.level], region)

    def _release(self) -> None:
        self._arrays = []


def _plain_axes(array: Any) -> str:
    return "YXS" if array.ndim == 3 and array.shape[-1] in (1, 3, 4) else "TYX"[-array.ndim :]


def _ome(group: Any) -> dict[str, Any]:
    """OME's attributes: in a room of their own since 0.5."""
    attributes = dict(group.attrs)
    ome: dict[str, Any] = attributes.get("ome", attributes)
    return ome


def _multiscale(group: Any, path: Path) -> tuple[list[Any], str, SpacingYX]:
    image = _ome(group).get("multiscales")
    if not image:
        raise UnsupportedImageError(
            f"Expected an OME-Zarr image; {path.name} has no multiscales. "
            "Give the folder of one image inside it."
        )
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in image[0]["axes"]]
    names = "".join(str(axis["name"])[:1].upper() for axis in axes)
    arrays = [group[dataset["path"]] for dataset in image[0]["datasets"]]
    return arrays, names, _spacing(image[0], axes, names)


def _spacing(image: dict[str, Any], axes: list[dict[str, Any]], names: str) -> SpacingYX:
    scale = np.ones(len(axes))
    finest = image["datasets"][0].get("coordinateTransformations", [])
    for transformation in [*finest, *image.get("coordinateTransformations", [])]:
        if transformation.get("type") == "scale":
            scale = scale * np.asarray(transformation["scale"], float)
    y, x = names.index("Y"), names.index("X")
    along_y = spacing_um(scale[y], 1.0, unit_um(axes[y].get("unit")))
    along_x = spacing_um(1.0, scale[x], unit_um(axes[x].get("unit")))
    return (along_y[0], along_x[1]) if along_y and along_x else None
