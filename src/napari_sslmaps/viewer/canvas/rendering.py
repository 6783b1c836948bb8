"""Layers as pictures, without OpenGL: pixels as colours, and the matrix that lays them on the canvas."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray

from napari_sslmaps.viewer.canvas.image_layer import lead_index, pixel_to_world, world_to_pixel

Float = NDArray[np.float64]
Colours = NDArray[np.uint8]
_SHADES = 256
_OVERSAMPLING = 2.0
"""Pixels that are read for one on the screen, along each axis, before some are left out."""


@dataclass(frozen=True, eq=False)
class Rendered:
    """A layer's pixels as they are drawn.

    Parameters
    ----------
    colours
        (rows, cols, 4) uint8 RGBA.
    to_world
        (3, 3), takes (x, y, 1) of the array, whose first pixel covers 0 to 1, to (x, y, 1) on the canvas.
    opacity
        Opacity in [0, 1].
    smooth
        Whether pixels are interpolated.
    """

    colours: Colours
    to_world: Float
    opacity: float
    smooth: bool


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on the canvas, in world coordinates, and how many screen pixels a unit of it takes."""

    low_yx: tuple[float, float]
    high_yx: tuple[float, float]
    zoom: float


def render(viewer: ViewerModel, layer: Image | Labels) -> Rendered:
    """Draw a whole map, panel or mask: the plane that there is, in the layer's own colours."""
    plane = plane_of(layer)
    lead = (0,) * (layer.ndim - 2)
    smooth = isinstance(layer, Image) and str(layer.interpolation2d) != "nearest"
    return Rendered(
        coloured(layer, plane), _edges_to_world(viewer, layer, lead), float(layer.opacity), smooth
    )


def plane_of(layer: Image | Labels) -> NDArray[Any]:
    """Return the first plane of a layer: (rows, cols), or (rows, cols, channels)."""
    data = np.asarray(layer.data)
    return data[(0,) * (layer.ndim - 2)] if layer.ndim > 2 else data


def coloured(layer: Image | Labels, values: NDArray[Any]) -> Colours:
    """Return values in a layer's colours, transparent where they are not finite; (rows, cols, 4) uint8."""
    if isinstance(layer, Labels):
        return _bytes(np.asarray(layer.colormap.map(values)))
    if layer.rgb:
        return _with_alpha(values)
    low, high = layer.contrast_limits
    known = np.isfinite(values)
    unit = np.clip((np.where(known, values, low).astype(np.float32) - low) / (high - low), 0, 1)
    if layer.gamma != 1:
        unit **= layer.gamma
    found: Colours = shades(layer)[np.rint(unit * (_SHADES - 1)).astype(np.intp)]
    found[~known] = 0
    return found


def shades(layer: Image) -> Colours:
    """Return the colours from the lower contrast limit to the upper one, (256, 4) uint8."""
    return _bytes(np.asarray(layer.colormap.map(np.linspace(0, 1, _SHADES))))


def _bytes(colours: NDArray[Any]) -> Colours:
    found: Colours = np.rint(255 * np.clip(colours, 0, 1)).astype(np.uint8)
    return found


def _with_alpha(values: NDArray[Any]) -> Colours:
    if values.dtype != np.uint8:
        values = values >> 8 if values.dtype == np.uint16 else 255 * np.clip(np.nan_to_num(values), 0, 1)
    values = values.astype(np.uint8)
    if values.shape[-1] == 4:
        return values
    return np.concatenate([values, np.full((*values.shape[:2], 1), 255, np.uint8)], axis=-1)


def _edges_to_world(viewer: ViewerModel, layer: Layer, lead: Sequence[int]) -> Float:
    """Return the matrix of `Rendered.to_world` for an array that is the whole plane."""

    def at(y: float, x: float) -> Float:
        return pixel_to_world(viewer, layer, [*lead, y, x])[-2:][::-1]

    first, right, below = at(-0.5, -0.5), at(-0.5, 0.5), at(0.5, -0.5)
    matrix = np.eye(3)
    matrix[:2] = np.stack([right - first, below - first, first], axis=1)
    return matrix


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges between the labels of a layer.

    Parameters
    ----------
    lines
        Edges of each label: (n, 2, 2), both ends of each as (x, y) on the canvas.
    colours
        RGBA of each label in [0, 1].
    """

    lines: tuple[Float, ...]
    colours: tuple[tuple[float, ...], ...]


def edges_of(viewer: ViewerModel, layer: Labels) -> Edges:
    """Find the edges of a layer's labels: lines, which are as wide from afar as near by."""
    plane = plane_of(layer)
    to_world = _edges_to_world(viewer, layer, (0,) * (layer.ndim - 2))
    lines, colours = [], []
    for label in (int(value) for value in np.unique(plane) if value):
        inside = np.pad(plane == label, 1).astype(np.int8)
        found = []
        for axis in (0, 1):
            change = np.diff(inside, axis=axis).take(range(1, inside.shape[1 - axis] - 1), axis=1 - axis)
            at = np.argwhere(change if axis == 0 else change.T)  # (edge, along), pixels
            starts, stops = _runs(at)
            ends = np.stack(
                [np.stack([starts[:, 1], starts[:, 0]], -1), np.stack([stops, starts[:, 0]], -1)], 1
            )
            found.append(ends if axis == 0 else ends[..., ::-1])
        ends = np.concatenate(found).astype(float)
        lines.append(ends @ to_world[:2, :2].T + to_world[:2, 2])
        colours.append(tuple(float(part) for part in layer.get_color(label)))
    return Edges(tuple(lines), tuple(colours))


def _runs(at: NDArray[np.int_]) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Join what lies in a row: the first (edge, along) of each run, and where along it ends."""
    if not len(at):
        return at, at[:, 1]
    new = np.ones(len(at), bool)
    new[1:] = (at[1:, 0] != at[:-1, 0]) | (at[1:, 1] != at[:-1, 1] + 1)
    last = np.roll(new, -1)
    return at[new], at[last][:, 1] + 1


class Backdrop:
    """Draws what is in view of an image, at the resolution that the screen shows; the last block is kept.

    Parameters
    ----------
    viewer
        Viewer whose slider says which frame is shown.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._key: tuple[object, ...] = ()
        self._block: NDArray[Any] = np.empty((0, 0))

    def render(self, image: Image, box: Box) -> Rendered | None:
        """Draw the part of an image that lies in a box; None if none does."""
        lead = lead_index(self._viewer, image)
        whole = _edges_to_world(self._viewer, image, lead)
        arrays: list[Any] = list(image.data) if image.multiscale else [image.data]
        shape = np.array(_plane_shape(image, arrays[0]))
        low, high = self._visible(image, box, shape)
        if (high <= low).any():
            return None
        wanted = 1 / (box.zoom * np.linalg.norm(whole[:2, :2], axis=0)[::-1].mean())
        factors = [shape / _plane_shape(image, array) for array in arrays]
        level = max((n for n, factor in enumerate(factors) if factor.max() <= max(1.0, wanted)), default=0)
        factor = factors[level]
        step = max(1, int(wanted / factor.max() / _OVERSAMPLING))
        start = (np.floor(low / factor / step) * step).astype(int)
        stop = np.minimum(np.ceil(high / factor).astype(int), _plane_shape(image, arrays[level]))
        block = self._read(arrays[level], lead, start, stop, step)
        inside = np.eye(3)
        scale, shift = (factor * step)[::-1], (start * factor)[::-1]
        inside[[0, 1], [0, 1]], inside[:2, 2] = scale, shift
        smooth = bool(str(image.interpolation2d) != "nearest" or step > 1 or level > 0 or wanted > 1)
        return Rendered(coloured(image, block), whole @ inside, float(image.opacity), smooth)

    def _visible(self, image: Image, box: Box, shape: Float) -> tuple[Float, Float]:
        """First and last pixel edges of the finest level that lie in the box, along rows and columns."""
        corners = []
        for y in (box.low_yx[0], box.high_yx[0]):
            for x in (box.low_yx[1], box.high_yx[1]):
                point = np.array(self._viewer.dims.point, float)
                point[-2:] = y, x
                corners.append(world_to_pixel(self._viewer, image, point)[-2:] + 0.5)
        edges = np.array(corners)
        return np.clip(edges.min(axis=0), 0, shape), np.clip(edges.max(axis=0), 0, shape)

    def _read(
        self, array: Any, lead: tuple[int, ...], start: NDArray[np.int_], stop: NDArray[np.int_], step: int
    ) -> NDArray[Any]:
        key = (id(array), lead, tuple(start), tuple(stop), step)
        if key != self._key:
            rows, cols = (slice(int(a), int(b), step) for a, b in zip(start, stop, strict=True))
            self._block, self._key = np.asarray(array[(*lead, rows, cols)]), key
        return self._block

    def forget(self) -> None:
        """Read anew: pixels have changed."""
        self._key = ()


def _plane_shape(image: Image, array: Any) -> tuple[int, int]:
    shape = array.shape[: -1 if image.rgb else None]
    return int(shape[-2]), int(shape[-1])


def value_at(viewer: ViewerModel, layer: Image | Labels, world_yx: Sequence[float]) -> float | None:
    """Return what a map shows at a place of the canvas; None beside it, for colours, and where nothing is."""
    if isinstance(layer, Image) and layer.rgb:
        return None
    plane = plane_of(layer)
    point = np.array(viewer.dims.point, float)
    point[-2:] = world_yx
    y, x = np.floor(world_to_pixel(viewer, layer, point)[-2:] + 0.5).astype(int)
    if not (0 <= y < plane.shape[0] and 0 <= x < plane.shape[1]):
        return None
    value = float(plane[y, x])
    return value if np.isfinite(value) else None
