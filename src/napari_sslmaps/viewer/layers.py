"""A drawing becomes a layer; it is known by its metadata, never by its name."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.viewer.drawing import Drawing
from napari_sslmaps.viewer.image import OWN, is_own, lead_of_frame, turn_of


class LayerBoard:
    """The map layers of one viewer.

    Parameters
    ----------
    viewer
        Where layers are added, found again and updated in place.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer

    def find(self, image: Image, kind: str, encoder: str, role: str = "map") -> Image | None:
        """Return the layer of a drawing, whatever it is called by now."""
        for layer in self.layers_of(image, role):
            mark = layer.metadata[OWN]
            if mark["kind"] == kind and mark["encoder"] == encoder:
                return layer
        return None

    def layers_of(self, image: Image, *roles: str) -> list[Image]:
        """Return the layers of an image that were drawn in these roles, bottom first."""
        uid = str(image.unique_id)
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image)
            and is_own(layer)
            and layer.metadata[OWN]["role"] in roles
            and layer.metadata[OWN]["image"] == uid
        ]

    def maps_of(self, image: Image) -> list[Image]:
        """Return the map layers of an image, bottom first."""
        return self.layers_of(image, "map")

    def show(self, image: Image, drawing: Drawing, *, live: bool = False) -> Image:
        """Draw into the layer of this map or panel, or into a new one.

        Parameters
        ----------
        image
            The layer that the map lies on.
        drawing
            What to draw.
        live
            Whether another frame follows at once: then the thumbnail is left as it is.
        """
        layer = self.find(image, drawing.kind, drawing.encoder, drawing.role)
        if layer is not None and bool(layer.rgb) != drawing.rgb:
            self._viewer.layers.remove(layer)
            layer = None
        if layer is None:
            return self._add(image, drawing)
        self._update(layer, image, drawing, live=live)
        return layer

    def drop(self, layers: Iterable[Image]) -> None:
        """Remove layers that are not shown any more."""
        for layer in layers:
            self._viewer.layers.remove(layer)

    def place_again(self, image: Image) -> None:
        """Move every map and panel of an image to where the image is now."""
        for layer in self.layers_of(image, "map", "pretext"):
            mark = layer.metadata[OWN]
            grid = TokenGrid(**mark["grid"])
            for name, value in placement(image, grid, mark["frame"]).items():
                setattr(layer, name, value)

    def _add(self, image: Image, drawing: Drawing) -> Image:
        values = _with_lead(drawing.values, image)
        options: dict[str, Any] = {"rgb": True} if drawing.rgb else {"colormap": drawing.colormap}
        layer = Image(
            values.copy(),
            name=drawing.name,
            metadata={OWN: _mark(image, drawing)},
            opacity=drawing.opacity,
            interpolation2d="linear" if drawing.smooth else "nearest",
            blending="translucent_no_depth",
            visible=False,
            contrast_limits=drawing.limits or (0.0, 1.0),  # napari stretches colours, too, unless told
            **options,
            **placement(image, drawing.grid, drawing.frame),
        )
        with keeping_selection(self._viewer):
            self._viewer.layers.insert(self._below_marks(), layer)
        return layer

    def _update(self, layer: Image, image: Image, drawing: Drawing, *, live: bool) -> None:
        values = _with_lead(drawing.values, image)
        moved = layer.metadata[OWN]["grid"] != drawing.record["grid"]
        moved = moved or layer.metadata[OWN]["frame"] != drawing.frame
        layer.metadata[OWN] = _mark(image, drawing)
        if np.shape(layer.data) == values.shape:
            np.copyto(layer.data, values)
        else:
            layer.data = values.copy()
        if drawing.limits is not None and tuple(layer.contrast_limits) != drawing.limits:
            set_limits(layer, drawing.limits)
        if moved:
            for name, value in placement(image, drawing.grid, drawing.frame).items():
                setattr(layer, name, value)
        layer.refresh(thumbnail=not live, extent=False, highlight=False)

    def _below_marks(self) -> int:
        """Index under our topmost anchors and tools, so that they stay on top of pictures."""
        layers = self._viewer.layers
        index = len(layers)
        while index and not isinstance(layers[index - 1], Image) and is_own(layers[index - 1]):
            index -= 1
        return index


@contextmanager
def keeping_selection(viewer: ViewerModel) -> Iterator[None]:
    """Add layers without napari selecting them, so that a person's layer stays the active one."""
    selection = viewer.layers.selection
    before = selection.active
    yield
    if before is not None and before in viewer.layers:
        selection.active = before


def set_visible(layer: Layer, *, visible: bool) -> None:
    """Show or hide a layer; napari lays down its tool even where nothing changes."""
    if layer.visible != visible:
        layer.visible = visible


def set_limits(layer: Image, limits: tuple[float, float]) -> None:
    """Set contrast limits, widening the range of the slider where it is too narrow."""
    low, high = layer.contrast_limits_range
    if limits[0] < low or limits[1] > high:
        layer.contrast_limits_range = (min(low, limits[0]), max(high, limits[1]))
    layer.contrast_limits = limits


def placement(image: Image, grid: TokenGrid, frame: int = 0) -> dict[str, Any]:
    """Return scale, translate, rotate, shear, affine and units that lay a token grid on an image.

    On a stack the grid has one plane, which lies at the frame's place.
    """
    first = np.array([*lead_of_frame(image, frame), *grid.token_to_pixel((0, 0))], float)
    scale = np.asarray(image.scale, float)
    cell = scale.copy()
    cell[-2:] *= grid.stride_yx
    return {
        **frame_of_reference(image),
        "scale": cell,
        "translate": np.asarray(image.translate, float) + turn_of(image) @ (scale * first),
    }


def frame_of_reference(image: Layer) -> dict[str, Any]:
    """Return rotate, shear, affine and units of a layer, for one that is to lie on it."""
    return {
        "rotate": image.rotate,
        "shear": image.shear,
        "affine": image.affine,
        "units": image.units,
    }


def _with_lead(values: Any, image: Image) -> Any:
    return values[(None,) * (image.ndim - 2)]


def _mark(image: Image, drawing: Drawing) -> dict[str, Any]:
    return {
        "role": drawing.role,
        "kind": drawing.kind,
        "title": drawing.title,
        "encoder": drawing.encoder,
        "image": str(image.unique_id),
        "frame": drawing.frame,
        **drawing.record,
    }
