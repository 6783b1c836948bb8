"""The layers of a probe: scribbles that a user paints, and the classes that are made of them."""

from collections.abc import Callable, Generator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.maps.classes import CLASS_COLOURS, LabelMap
from napari_sslmaps.viewer.canvas.image_layer import OWN, is_own
from napari_sslmaps.viewer.canvas.map_layers import LayerSpec, draw, label_colours, placement, set_visible
from napari_sslmaps.viewer.compare.probe_job import Scribbled
from napari_sslmaps.viewer.state.connections import Connections

SCRIBBLES, PREDICTION = "scribbles", "prediction"
"""Roles of the layers."""
PALETTE = CLASS_COLOURS * 8
"""Colours of classes 1, 2, …; again from the seventh."""
SIDE = 4096
"""Longest side of scribbles in their own pixels; on larger images they cover the region, or are coarser."""
_BRUSH_TOKENS = 1.5


class ScribbleLayers:
    """Makes, finds and reads the layers of one viewer, each known by its metadata.

    Parameters
    ----------
    viewer
        Viewer of the layers.
    painted
        Callback for when a user has changed what is painted.
    picked
        Callback for when a user has chosen another class in napari's own controls.
    """

    def __init__(
        self, viewer: ViewerModel, painted: Callable[[], None], picked: Callable[[int], None]
    ) -> None:
        self._viewer = viewer
        self._painted = painted
        self._picked = picked
        self._connections = Connections()
        self.layer: Labels | None = None
        self.held = False
        """Whether a stroke goes on."""

    def take(self, image: Image, region: Region, token_yx: tuple[float, float]) -> Labels:
        """Return the layer in which a user paints on a region, and listen to it.

        Parameters
        ----------
        image
            Layer of the image that is painted on.
        region
            Region that is painted on, on level 0.
        token_yx
            Pixels of level 0 per token, for the size of the brush.
        """
        self.lay_down()
        found = next((layer for layer in self._of(image, SCRIBBLES) if _covers(layer, region)), None)
        layer = found or self._make(image, region, token_yx)
        self.layer = layer
        for event in (layer.events.labels_update, layer.events.paint, layer.events.set_data):
            self._connections.add(event, self._painted)
        self._connections.add(layer.events.selected_label, self._on_picked)
        layer.mouse_drag_callbacks.append(self._on_mouse_drag)
        set_visible(layer, visible=True)
        self._viewer.layers.selection.active = layer
        layer.mode = "paint"
        return layer

    def lay_down(self) -> None:
        """Listen no more, and give the mouse back."""
        layer, self.layer, self.held = self.layer, None, False
        self._connections.undo()
        if layer is None:
            return
        layer.mouse_drag_callbacks[:] = [
            callback for callback in layer.mouse_drag_callbacks if callback != self._on_mouse_drag
        ]
        if layer in self._viewer.layers:
            layer.mode = "pan_zoom"

    @property
    def lost(self) -> bool:
        """Whether the layer in the hand was removed from the viewer."""
        return self.layer is not None and self.layer not in self._viewer.layers

    def read(self) -> Scribbled | None:
        """Return a copy of what is painted; None while nothing is in the hand."""
        if self.layer is None:
            return None
        place = TokenGrid(**self.layer.metadata[OWN]["grid"])
        return Scribbled(np.array(self.layer.data, np.uint8).reshape(place.shape), place)

    def hide(self) -> None:
        """Take scribbles and predictions of all images out of sight; they are kept."""
        for layer in self._of(None, SCRIBBLES, PREDICTION):
            set_visible(layer, visible=False)

    def place_again(self, image: Image) -> None:
        """Move the layers to where the image is now."""
        for layer in self._of(image, SCRIBBLES, PREDICTION):
            mark = layer.metadata[OWN]
            for name, value in placement(image, TokenGrid(**mark["grid"]), mark["frame"]).items():
                setattr(layer, name, value)

    def _of(self, image: Image | None, *roles: str) -> list[Labels]:
        """Return the layers of an image, or of all images, in these roles."""
        uid = None if image is None else str(image.unique_id)
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Labels)
            and is_own(layer)
            and layer.metadata[OWN].get("role") in roles
            and uid in {None, layer.metadata[OWN]["image"]}
        ]

    def _make(self, image: Image, region: Region, token_yx: tuple[float, float]) -> Labels:
        whole = _whole(image, region.frame)
        covered = whole if max(whole.shape_yx) <= SIDE else region
        factor = max(1, -(-max(covered.shape_yx) // SIDE))
        grid = TokenGrid.covering(covered, factor)
        values = np.zeros(grid.shape, np.uint8)[(None,) * (image.ndim - 2)]
        mark = {
            "role": SCRIBBLES,
            "image": str(image.unique_id),
            "grid": asdict(grid),
            "frame": region.frame,
        }
        layer = Labels(
            values,
            name=f"{image.name} / scribbles",
            opacity=0.75,
            colormap=label_colours(PALETTE),
            blending="translucent_no_depth",
            metadata={OWN: mark},
            **placement(image, grid, region.frame),
        )
        layer.brush_size = max(1, round(_BRUSH_TOKENS * min(token_yx) / factor))
        self._viewer.layers.append(layer)
        return layer

    def _on_picked(self) -> None:
        if self.layer is not None:
            self._picked(int(self.layer.selected_label))

    def _on_mouse_drag(self, _layer: Layer, event: Any) -> Generator[None, None, None]:
        self.held = True
        yield
        while event.type == "mouse_move":
            yield
        self.held = False
        self._painted()


def draw_classes(found: LabelMap) -> LayerSpec:
    """Turn what a probe predicts into a drawing that lies under the scribbles."""
    return replace(draw(found), role=PREDICTION, smooth=False, palette=PALETTE)


def _whole(image: Image, frame: int) -> Region:
    base = image.data[0] if image.multiscale else image.data
    height, width = base.shape[: -1 if image.rgb else None][-2:]
    return Region(0, 0, int(height), int(width), 0, frame)


def _covers(layer: Labels, region: Region) -> bool:
    """Whether a layer of scribbles covers a region of level 0, on the same frame."""
    mark = layer.metadata[OWN]
    (y, x), (height, width) = mark["grid"]["origin_yx"], mark["grid"]["extent_yx"]
    inside = y <= region.y and x <= region.x
    inside = inside and y + height >= region.y + region.height and x + width >= region.x + region.width
    return bool(inside and mark["frame"] == region.frame)
