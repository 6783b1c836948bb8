"""A napari Image layer as an `ImageSource`, and the way between the canvas and its pixels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pint
from napari.components import ViewerModel
from napari.layers import Image, Layer
from napari.utils.transforms import Affine
from numpy.typing import ArrayLike, NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.sources.base import ImageLayout, SourceBase, levels_from_shapes
from napari_sslmaps.sources.formats import is_url
from napari_sslmaps.sources.identity import FileIdentity
from napari_sslmaps.viewer.canvas.lazy_array import LazyArray

Float = NDArray[np.float64]
_LOOKED_AT, _IN_AREAS = 64, 0.7
"""Rows that are looked at, and share of like neighbours from which pixels are areas of a mask."""
OWN = "napari_sslmaps"
"""Key in `layer.metadata` that marks the layers of this plugin."""
AREAS = "napari-sslmaps areas"
"""Key that marks a user's own layer that areas were made into: of which image, where, by which options."""

PLACES = "napari-sslmaps places"
"""Key that marks a layer of the user's own with the places most similar to anchors: of which image, by which
encoder."""


def is_found(layer: Layer) -> bool:
    """Whether a layer is a user's own that areas of a method were made into: no annotation by a person."""
    return AREAS in layer.metadata


def is_own(layer: Layer) -> bool:
    """Whether this plugin drew the layer."""
    return OWN in layer.metadata


def path_of(image: Image) -> str:
    """Return where the pixels of a layer are from, from the root; empty if it does not tell.

    napari keeps a path as it was typed, which leads nowhere from another folder.
    """
    path = str(image.metadata.get("path") or image.source.path or "")
    return path if not path or is_url(path) else str(Path(path).absolute())


def uncover(viewer: ViewerModel, image: Image) -> list[str]:
    """Show an image, and hide the user's images that lie over it; return their names."""
    image.visible = True
    layers = list(viewer.layers)
    above = layers[layers.index(image) + 1 :] if image in layers else []
    hidden = []
    for layer in above:
        user_s = isinstance(layer, Image) and not is_own(layer)
        if user_s and layer.visible and _is_opaque(layer) and overlap(layer, image):
            layer.visible = False
            hidden.append(layer.name)
    return hidden


def _is_opaque(layer: Image) -> bool:
    return bool(layer.opacity == 1 and str(layer.blending).startswith(("translucent", "opaque")))


def overlap(layer: Layer, other: Layer) -> bool:
    """Whether two layers lie over each other."""
    (low, high), (its_low, its_high) = (each.extent.world[:, -2:] for each in (layer, other))
    return bool((low < its_high).all() and (its_low < high).all())


def _looks_like_mask(layer: Image) -> bool:
    """Whether an Image layer holds areas of whole numbers, as a mask that was opened like a picture does.

    Beside a pixel that has not the commonest value lies nearly always one of the same value, in a mask; in a
    picture hardly ever, however much of it is black.
    """
    data = layer.data
    if layer.rgb or layer.multiscale or not isinstance(data, np.ndarray) or data.dtype.kind not in "biu":
        return False
    plane = data.reshape(-1, data.shape[-1])
    rows = plane[:: max(1, len(plane) // _LOOKED_AT)]
    values, counts = np.unique(rows, return_counts=True)
    before, after = rows[:, :-1], rows[:, 1:]
    told = before != values[np.argmax(counts)]
    return bool(told.any() and np.mean((before == after)[told]) > _IN_AREAS)


def masks_among(images: Sequence[Image]) -> list[Image]:
    """Return those images that look like masks of another one there, which has their rows and columns."""
    sizes = [_shape(image)[-2:] for image in images]
    alike = [image for image, size in zip(images, sizes, strict=True) if sizes.count(size) > 1]
    found = [image for image in alike if _looks_like_mask(image)]
    pictures = {_shape(image)[-2:] for image in alike if image not in found}
    return [image for image in found if _shape(image)[-2:] in pictures]


def lay_aside_masks(image: Image, images: Sequence[Image]) -> str:
    """Hide masks that were opened as images and lie on the one they are of; say where they are of use."""
    hidden = []
    for mask in masks_among(images):
        if mask is not image and mask.visible and overlap(mask, image):
            mask.visible = False
            hidden.append(mask.name)
    if not hidden:
        return ""
    names = ", ".join(hidden)
    return (
        f"Hidden as a mask, and offered as annotation on the page Compare: {names}. To look at it as an "
        "image, choose it under Image."
    )


def unwrapped(viewer: ViewerModel) -> ViewerModel:
    """Return the viewer itself of what napari hands to a plugin.

    That is a proxy, and so is each layer that is read from it, a new one every time: a layer would never be
    the one that it was, nor would the next dock find what was done in the viewer.
    """
    found: ViewerModel = getattr(viewer, "__wrapped__", viewer)
    return found


class LayerSource(SourceBase):
    """The pixels of an Image layer; axes before rows and columns count as frames.

    Parameters
    ----------
    layer
        Grey, RGB or RGBA, one scale or several, held in memory or lazily. Its arrays are captured, the
        layer is not touched again.
    spacing_um
        Micrometres per pixel, for a layer that does not tell.
    """

    def __init__(self, layer: Image, spacing_um: float | None = None) -> None:
        arrays = list(layer.data) if layer.multiscale else [layer.data]
        self._rgb = bool(layer.rgb)
        self._arrays: list[Any] = arrays
        shapes = [tuple(int(n) for n in array.shape[: -1 if self._rgb else None]) for array in arrays]
        self._lead = [shape[:-2] for shape in shapes]
        layout = ImageLayout(
            levels=levels_from_shapes([(shape[-2], shape[-1]) for shape in shapes]),
            channels=3 if self._rgb else 1,
            dtype=np.dtype(arrays[0].dtype),
            frames=int(np.prod(self._lead[0], dtype=int)),
            spacing_um_yx=spacing_of(layer) or (None if spacing_um is None else (spacing_um, spacing_um)),
            window=layer.metadata.get("window"),
        )
        super().__init__(layer.name, layout)
        self.file = _file_of(arrays)
        self.layer_id = str(layer.unique_id)
        self.lazy = not all(isinstance(array, np.ndarray) for array in arrays)

    def _decode(self, region: Region) -> NDArray[Any]:
        lead = self._lead[region.level]
        wanted = np.unravel_index(region.frame, self._lead[0]) if lead else ()
        index: tuple[Any, ...] = (
            *(min(int(at), size - 1) for at, size in zip(wanted, lead, strict=True)),
            slice(region.y, region.y + region.height),
            slice(region.x, region.x + region.width),
        )
        block = np.asarray(self._arrays[region.level][(*index, slice(0, 3)) if self._rgb else index])
        return np.repeat(block, 3, axis=-1) if self._rgb and block.shape[-1] == 1 else block

    def _release(self) -> None:
        self._arrays = []


def _file_of(arrays: Sequence[Any]) -> FileIdentity | None:
    """Return the file that arrays are the levels of; pixels in memory may have been changed since."""
    found = [array.whole_of for array in arrays if isinstance(array, LazyArray)]
    origins = [origin for origin in found if origin is not None]
    sources = [source for source, _ in origins]
    if len(origins) < len(arrays) or any(source is not sources[0] for source in sources):
        return None
    in_order = [level for _, level in origins] == list(range(len(origins)))
    file: FileIdentity | None = getattr(sources[0], "file", None)
    return file if in_order else None


def spacing_of(layer: Image) -> tuple[float, float] | None:
    """Return micrometres per pixel along rows and columns, or None if the layer has no unit of length."""
    scale, units = layer.scale[-2:], layer.units[-2:]
    registry = _registry()
    if any(not unit.is_compatible_with(registry.micrometer) for unit in units):
        return None
    y, x = (abs(float((s * u).to("micrometer").magnitude)) for s, u in zip(scale, units, strict=True))
    return y, x


def _registry() -> Any:
    return pint.get_application_registry()  # type: ignore[no-untyped-call]  # pint does not annotate it


def turn_of(layer: Layer) -> Float:
    """Rotation times shear of a layer, (ndim, ndim): its linear transform apart from the scale."""
    return np.asarray(Affine(scale=np.ones(layer.ndim), rotate=layer.rotate, shear=layer.shear).linear_matrix)


def unit_factors(source: Sequence[pint.Unit], target: Sequence[pint.Unit]) -> Float:
    """Return by what to multiply lengths in `source` units to get them in `target` units, axis by axis."""
    registry = _registry()
    return np.array(
        [
            registry.get_base_units(a)[0] / registry.get_base_units(b)[0]
            for a, b in zip(source, target, strict=True)
        ],
        float,
    )


def world_to_pixel(viewer: ViewerModel, layer: Layer, world: ArrayLike) -> Float:
    """Map a position on the canvas to the layer's data coordinates, (ndim,).

    `layer.world_to_data` takes the position to be in the layer's units; the canvas may use others.
    """
    position = np.asarray(world, float)[-layer.ndim :]
    factors = unit_factors(_canvas_units(viewer, layer), layer.units)
    return np.asarray(layer.world_to_data(position * factors), float)


def pixel_to_world(viewer: ViewerModel, layer: Layer, pixel: ArrayLike) -> Float:
    """Map the layer's data coordinates (ndim,) to a position on the canvas."""
    world = np.asarray(layer.data_to_world(np.asarray(pixel, float)), float)
    return world * unit_factors(layer.units, _canvas_units(viewer, layer))


def _canvas_units(viewer: ViewerModel, layer: Layer) -> Sequence[pint.Unit]:
    """Return units of the canvas along the layer's axes; napari converts nothing where units do not fit."""
    units: Sequence[pint.Unit] = viewer.dims.units or layer.units
    return units[-layer.ndim :]


def shows_plane(viewer: ViewerModel, layer: Layer) -> bool:
    """Whether the canvas shows the layer's rows and columns, flat."""
    last = {viewer.dims.ndim - 2, viewer.dims.ndim - 1}
    return viewer.dims.ndisplay == 2 and set(viewer.dims.displayed) == last and layer.ndim >= 2


def lead_index(viewer: ViewerModel, layer: Image) -> tuple[int, ...]:
    """Index along the axes before rows and columns that the canvas shows."""
    if layer.ndim == 2:
        return ()
    point = np.zeros(max(layer.ndim, viewer.dims.ndim))
    point[-viewer.dims.ndim :] = viewer.dims.point
    at = np.floor(world_to_pixel(viewer, layer, point)[:-2] + 0.5).astype(int)
    sizes = _shape(layer)[:-2]
    return tuple(int(np.clip(i, 0, size - 1)) for i, size in zip(at, sizes, strict=True))


def frame_of(viewer: ViewerModel, layer: Image) -> int:
    """Return the number of the frame that the canvas shows, as `Region.frame` counts."""
    index = lead_index(viewer, layer)
    return int(np.ravel_multi_index(index, _shape(layer)[:-2])) if index else 0


def leading_shape(layer: Image) -> tuple[int, ...]:
    """Sizes of the axes before rows and columns; none of a single image."""
    return _shape(layer)[:-2]


def name_axes(image: Image) -> None:
    """Name the axes of a stack that napari's reader numbered, as the slider shows them; others stay."""
    default = tuple(str(axis) for axis in range(-image.ndim, 0))
    if len(leading_shape(image)) == 1 and tuple(image.axis_labels) == default:
        image.axis_labels = ("frame", "y", "x")


def lead_of_frame(layer: Image, frame: int) -> tuple[int, ...]:
    """Invert `frame_of`: the index along the axes before rows and columns."""
    sizes = _shape(layer)[:-2]
    return tuple(int(i) for i in np.unravel_index(frame, sizes)) if sizes else ()


def _shape(layer: Image) -> tuple[int, ...]:
    base = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(n) for n in base.shape[: -1 if layer.rgb else None])
