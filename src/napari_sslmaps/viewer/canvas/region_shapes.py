"""Rectangles that choose a region: a layer to draw them in, and word of every change."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer, Shapes
from psygnal import Signal

from napari_sslmaps.viewer.canvas.anchor_layers import placed_on
from napari_sslmaps.viewer.canvas.image_layer import frame_of, is_own, lead_of_frame
from napari_sslmaps.viewer.canvas.region_selection import region_mark
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.workspace import Task, WorkspaceModel

_EDGE, _SHARE = "#00e5ff", 0.006
"""Colour of an outline, and its width as a share of the image's longer side."""
_CLICK = 6.0
"""Canvas pixels along a side below which a press was a click, and no rectangle was dragged."""

_BUTTONS: Mapping[Task, str] = {
    "maps": "Run",
    "pretext": "Show pretext",
    "compare": "Compare",
    "readers": "Run",
    "search": "Search",
}
"""Name of the button that each page goes on with."""


class RegionShapes:
    """Lets a user draw a rectangle as the region, and follows what is drawn in any Shapes layer.

    Parameters
    ----------
    viewer
        Viewer of the layers.
    workspace
        Workspace whose region is chosen.
    """

    changed = Signal()
    """A shape came, went, was moved or was selected."""

    def __init__(self, viewer: ViewerModel, workspace: WorkspaceModel) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._drawing: Shapes | None = None
        self._followed: dict[Layer, Connections] = {}
        self._connections = Connections()
        self._connections.add(viewer.layers.events.inserted, self._follow_all)
        self._connections.add(viewer.layers.events.removed, self._on_removed)
        self._follow_all()

    def draw(self) -> None:
        """Give a user the tool to draw a rectangle, which becomes the region."""
        image = self._workspace.image
        if image is None:
            self._workspace.say("Open or select an image first.")
            return
        layer = self._layer_of(image)
        layer.visible = True
        self._viewer.layers.selection.active = layer
        layer.mode = "add_rectangle"
        self._drawing = layer
        self._workspace.side_by_side = self._workspace.panels_side_by_side = False
        self._workspace.say("Drag a rectangle on the image.")

    def restore(self, image: Image, rectangles: Sequence[Sequence[tuple[float, float]]]) -> None:
        """Lay rectangles on an image, all chosen, instead of those that were drawn before."""
        layer = self._layer_of(image)
        lead = lead_of_frame(image, frame_of(self._viewer, image))
        layer.data = []
        layer.add_rectangles([[(*lead, *corner) for corner in corners] for corners in rectangles])
        layer.selected_data = set(range(len(rectangles)))

    def close(self) -> None:
        """Undo every connection."""
        self._connections.undo()
        for connections in self._followed.values():
            connections.undo()
        self._followed.clear()

    def _layer_of(self, image: Image) -> Shapes:
        """Return the layer in which regions of an image are drawn, made if there is none."""
        name = f"{image.name} / region"
        found = [layer for layer in self._viewer.layers if isinstance(layer, Shapes) and layer.name == name]
        layer = found[0] if found else self._add(image, name)
        layer.metadata.update(region_mark(image))
        return layer

    def _add(self, image: Image, name: str) -> Shapes:
        finest = image.data[0] if image.multiscale else image.data
        longer = max(finest.shape[: -1 if image.rgb else None][-2:])
        layer = Shapes(
            ndim=image.ndim,
            name=name,
            edge_color=_EDGE,
            face_color="transparent",
            edge_width=_SHARE * longer,
            **placed_on(image),
        )
        self._viewer.add_layer(layer)
        return layer

    def _follow_all(self) -> None:
        for layer in self._viewer.layers:
            if isinstance(layer, Shapes) and not is_own(layer) and layer not in self._followed:
                connections = self._followed[layer] = Connections()
                connections.add(layer.events.data, self._on_data)

    def _on_removed(self, event: Any) -> None:
        connections = self._followed.pop(event.value, None)
        if connections is not None:
            connections.undo()

    def _is_click(self, layer: Shapes) -> bool:
        """Whether the last shape is smaller on the canvas than a hand can mean."""
        corners = np.asarray(layer.data[-1], float)[:, -2:]
        sides = np.ptp(corners, axis=0) * np.abs(layer.scale[-2:]) * self._viewer.scene.camera.zoom
        return bool(sides.min() < _CLICK)

    def _on_data(self, event: Any) -> None:
        if str(event.action) not in {"added", "changed", "removed"}:
            return
        drawn = self._drawing
        if drawn is not None and event.source is drawn and str(event.action) == "added":
            drawn.selected_data = {len(drawn.data) - 1}
            if self._is_click(drawn):
                drawn.remove_selected()
                self._workspace.say("Drag a rectangle on the image: press, move, let go.")
                return
            self._drawing = None
            self._workspace.say(f"The rectangle is the region. Press {_BUTTONS[self._workspace.task]}.")
            drawn.mode = "pan_zoom"
            self._workspace.region = "rectangle"
            if self._workspace.image in self._viewer.layers:
                self._viewer.layers.selection.active = self._workspace.image
        self.changed.emit()
