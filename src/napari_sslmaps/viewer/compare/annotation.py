"""`Annotation` of an image's pixels from what a user painted or drew in napari, or has in a file."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import scipy  # its subpackages are loaded when they are first used
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Shapes
from numpy.typing import NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.placed_mask import PlacedMask
from napari_sslmaps.errors import AnnotationError
from napari_sslmaps.evaluation.annotation import IGNORE, Annotation
from napari_sslmaps.viewer.canvas.image_layer import (
    OWN,
    frame_of,
    is_own,
    lead_of_frame,
    masks_among,
    pixel_to_world,
    world_to_pixel,
)

Float = NDArray[np.float64]
_AREAS = {"rectangle", "ellipse", "polygon"}
_COLUMNS = ("class", "label", "name", "kind")
"""Features of a Shapes layer, of which the first that is there tells the class of each shape."""
_LARGEST = 64_000_000
_CORNERS_OF_ELLIPSE = 64


AnnotationLayer: TypeAlias = Labels | Shapes | Image


def annotation_layers(viewer: ViewerModel) -> list[AnnotationLayer]:
    """Return the layers that can be an annotation: Labels and Shapes that a user made, topmost first.

    Then come masks that were opened as images, and labels of groups of anchors, which can be painted over.
    """
    layers = [layer for layer in reversed(viewer.layers) if isinstance(layer, Labels | Shapes)]
    groups = [layer for layer in layers if is_own(layer) and layer.metadata[OWN].get("kind") == "groups"]
    images = [layer for layer in reversed(viewer.layers) if isinstance(layer, Image) and not is_own(layer)]
    return [*(layer for layer in layers if not is_own(layer)), *masks_among(images), *groups]


def annotation_of(viewer: ViewerModel, layer: AnnotationLayer, image: Image) -> Annotation:
    """Lay what a layer says over the pixels of an image, wherever the layer lies.

    Parameters
    ----------
    viewer
        Viewer with the units of the canvas, and the frame of a stack that is shown.
    layer
        Labels, or a mask as an Image, at any scale, of which pixels beside the layer are left out; or Shapes,
        of which those with an area count. A column ``class`` (or ``label``, ``name``, ``kind``) of its
        features tells the class of each shape, else all are of class 1.
    image
        Layer of the annotated image.

    Raises
    ------
    AnnotationError
        If there is nothing drawn, or it cannot be laid over the image.
    """
    base = image.data[0] if image.multiscale else image.data
    shape = tuple(int(n) for n in base.shape[: -1 if image.rgb else None][-2:])
    if isinstance(layer, Labels | Image):
        return _from_labels(viewer, layer, image, (shape[0], shape[1]))
    return _from_shapes(viewer, layer, image, (shape[0], shape[1]))


def _from_labels(
    viewer: ViewerModel, layer: Labels | Image, image: Image, shape_yx: tuple[int, int]
) -> Annotation:
    plane = _plane(viewer, layer, image)
    ways = [_at(viewer, layer, image, pixel)[-2:] for pixel in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))]
    start = ways[0]
    matrix = np.stack([ways[1] - start, ways[2] - start], axis=1)
    scale = np.divide(plane.shape, shape_yx)
    same = np.allclose(matrix * np.array(shape_yx), np.diag(scale) * np.array(shape_yx), atol=0.5)
    if same and np.allclose(start, (scale - 1) / 2, atol=0.5):
        return Annotation.from_labels(plane, shape_yx, names=_names(layer))
    factor = max(1.0, float(np.sqrt(shape_yx[0] * shape_yx[1] / _LARGEST)))
    size = tuple(int(np.ceil(side / factor)) for side in shape_yx)
    step = np.divide(shape_yx, size)
    signed = plane.astype(np.promote_types(plane.dtype, np.int8) if plane.dtype.itemsize < 8 else np.int64)
    resampled = scipy.ndimage.affine_transform(
        signed,
        matrix * step,
        start + matrix @ ((step - 1) / 2),
        output_shape=size,
        order=0,
        mode="grid-constant",
        cval=IGNORE,
    )
    return Annotation.from_labels(resampled, shape_yx, names=_names(layer))


def _plane(viewer: ViewerModel, layer: Labels | Image, image: Image) -> NDArray[np.integer[Any]]:
    """Return the labels of the frame that is shown, (H, W)."""
    data = layer.data[0] if layer.multiscale else layer.data
    if data.ndim == 2:
        return np.asarray(data)
    index = np.floor(_at(viewer, layer, image, (0.0, 0.0))[:-2] + 0.5).astype(int)
    if (index < 0).any() or (index >= data.shape[:-2]).any():
        raise AnnotationError(
            f"{layer.name!r} has no labels for the frame that is shown. Go to one that was annotated."
        )
    return np.asarray(data[tuple(index)])


def _at(viewer: ViewerModel, layer: Layer, image: Image, pixel_yx: Sequence[float]) -> Float:
    """Return where a pixel of the image's shown frame lies in the layer's data coordinates."""
    lead = lead_of_frame(image, frame_of(viewer, image))
    world = np.array(viewer.dims.point, float)
    world[world.size - image.ndim :] = pixel_to_world(viewer, image, (*lead, *pixel_yx))
    return world_to_pixel(viewer, layer, world)


def _names(layer: Labels | Image) -> dict[int, str]:
    """Return names of classes where the layer's features have the columns ``index`` and ``name``."""
    if isinstance(layer, Image):
        return {}
    table = layer.features
    if not {"index", "name"} <= set(table.columns):
        return {}
    return {int(index): str(name) for index, name in zip(table["index"], table["name"], strict=True)}


def _from_shapes(viewer: ViewerModel, layer: Shapes, image: Image, shape_yx: tuple[int, int]) -> Annotation:
    areas = [index for index, kind in enumerate(layer.shape_type) if kind in _AREAS]
    if not areas:
        raise AnnotationError(
            f"Draw rectangles, ellipses or polygons in {layer.name!r}: it has no shape with an area yet."
        )
    polygons = []
    for index in areas:
        corners = np.asarray(layer.data[index], float)
        if layer.shape_type[index] == "ellipse":
            corners = _ellipse(corners)
        polygons.append(np.array([_to_pixel(viewer, layer, image, corner) for corner in corners]))
    return Annotation.from_polygons(polygons, _kinds(layer, areas), shape_yx)


def _to_pixel(viewer: ViewerModel, layer: Shapes, image: Image, corner: Float) -> Float:
    world = np.array(viewer.dims.point, float)
    world[world.size - layer.ndim :] = pixel_to_world(viewer, layer, corner)
    return world_to_pixel(viewer, image, world)[-2:]


def _ellipse(corners: Float) -> Float:
    """Return points on the ellipse in a box of four corners, (n, ndim)."""
    angles = np.linspace(0, 2 * np.pi, _CORNERS_OF_ELLIPSE, endpoint=False)
    middle = corners.mean(axis=0)
    first, second = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    points: Float = middle + np.cos(angles)[:, None] * first + np.sin(angles)[:, None] * second
    return points


def _kinds(layer: Shapes, areas: Sequence[int]) -> list[int] | list[str]:
    """Return the class of each shape with an area, as its features tell."""
    table = layer.features
    column = next((name for name in _COLUMNS if name in table.columns), None)
    if column is None:
        return [1] * len(areas)
    values = table[column].iloc[list(areas)]
    if values.isna().any():
        raise AnnotationError(
            f"Expected a class for every shape in the column {column!r} of {layer.name!r}; "
            f"{int(values.isna().sum())} have none. Fill them in."
        )
    if values.map(lambda value: isinstance(value, int | np.integer)).all():
        return [int(value) for value in values]
    return [str(value) for value in values]


def only(annotation: Annotation, kind: int | None) -> Annotation:
    """Return an annotation with one class alone, the others being its background; None keeps all."""
    if kind is None:
        return annotation
    labels = annotation.labels
    kept = np.where((labels == kind) | (labels <= 0), labels, 0)
    return Annotation(kept, annotation.shape_yx, {kind: annotation.name_of(kind)})


def within(annotation: Annotation, mask: PlacedMask | None) -> Annotation:
    """Return an annotation that says nothing beside a mask: all methods are scored on the same pixels."""
    if mask is None:
        return annotation
    labels, (height, width) = annotation.labels, annotation.shape_yx
    rows, cols = labels.shape
    stride = height / rows, width / cols
    pixels = TokenGrid(rows, cols, stride, (0.0, 0.0), (float(height), float(width)))
    signed = labels.astype(np.promote_types(labels.dtype, np.int8))
    return Annotation(np.where(mask.on(pixels), signed, IGNORE), annotation.shape_yx, dict(annotation.names))
