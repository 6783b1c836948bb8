"""Side by side: one grid cell per encoder, each with the image, its map and the anchors."""

from dataclasses import dataclass
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer

from napari_sslmaps.viewer.image import OWN
from napari_sslmaps.viewer.layers import keeping_selection
from napari_sslmaps.viewer.marks import AnchorMarks

PER_CELL = 3
SPACING = 4


@dataclass(frozen=True, eq=False)
class _Before:
    """How the viewer was, to be put back."""

    order: list[Layer]
    visible: dict[Layer, bool]
    active: Layer | None
    grid: dict[str, Any]
    centre: Any
    zoom: float


class SideBySide:
    """Shows maps in linked grid cells, and puts the viewer back as it was.

    napari fills cells with consecutive layers, `stride` at a time, and a layer lives in one cell: so the
    bottom of the layer list becomes [copy of the image, map, anchors] per cell, the rest is hidden.

    Parameters
    ----------
    viewer
        Whose grid is used.
    marks
        Keeps the anchors of all cells in step.
    """

    def __init__(self, viewer: ViewerModel, marks: AnchorMarks) -> None:
        self._viewer = viewer
        self._marks = marks
        self._before: _Before | None = None
        self._copies: list[Layer] = []
        self._maps: list[Image] = []
        self.busy = False

    @property
    def active(self) -> bool:
        """Whether the cells are shown."""
        return self._before is not None

    def holds(self, layer: Layer) -> bool:
        """Whether the layer is in a cell."""
        return layer in self._copies or layer in self._maps

    def show(self, image: Image, maps: list[Image]) -> None:
        """Show one cell per map, in this order; called again to change them."""
        if self._before is None:
            self._before = self._remember()
        self.busy = True
        try:
            self._clear()
            for layer in self._viewer.layers:
                layer.visible = False
            with keeping_selection(self._viewer):
                for index, drawn in enumerate(maps):
                    self._fill(PER_CELL * index, image, drawn)
            grid = self._viewer.canvas.grid
            grid.stride, grid.shape, grid.spacing, grid.enabled = PER_CELL, (-1, -1), SPACING, True
            self._marks.update()
        finally:
            self.busy = False
        self._viewer.fit_to_view(layers=[image])

    def leave(self) -> None:
        """Remove the cells and put layers, grid and camera back."""
        before, self._before = self._before, None
        if before is None:
            return
        selection = self._viewer.layers.selection
        lost = selection.active in self._copies
        self.busy = True
        try:
            for name, value in before.grid.items():
                setattr(self._viewer.canvas.grid, name, value)
            self._clear()
            self._put_back(before)
            if lost and before.active in self._viewer.layers:
                selection.active = before.active
        finally:
            self.busy = False

    def _fill(self, start: int, image: Image, drawn: Image) -> None:
        layers = self._viewer.layers
        encoder = drawn.metadata[OWN]["encoder"]
        backdrop = _copy(image, f"{image.name} · {encoder}")
        layers.insert(start, backdrop)
        at = layers.index(drawn)
        if at != start + 1:
            layers.move(at, start + 1)
        anchors = self._marks.make(image, f"anchors · {encoder}")
        layers.insert(start + 2, anchors)
        self._marks.add_copy(anchors)
        self._copies += [backdrop, anchors]
        self._maps.append(drawn)
        drawn.visible = True
        drawn.name_overlay.visible = True

    def _clear(self) -> None:
        self._marks.drop_copies()
        for drawn in self._maps:
            drawn.name_overlay.visible = False
        for layer in self._copies:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self._copies, self._maps = [], []

    def _remember(self) -> _Before:
        viewer, grid = self._viewer, self._viewer.canvas.grid
        return _Before(
            order=list(viewer.layers),
            visible={layer: layer.visible for layer in viewer.layers},
            active=viewer.layers.selection.active,
            grid={name: getattr(grid, name) for name in ("enabled", "stride", "shape", "spacing")},
            centre=viewer.scene.camera.center,
            zoom=viewer.scene.camera.zoom,
        )

    def _put_back(self, before: _Before) -> None:
        layers = self._viewer.layers
        kept = [layer for layer in before.order if layer in layers]
        for index, layer in enumerate(kept):
            at = layers.index(layer)
            if at != index:
                layers.move(at, index)
            layer.visible = before.visible[layer]
        self._marks.raise_to_top()
        camera = self._viewer.scene.camera
        camera.center, camera.zoom = before.centre, before.zoom


def _copy(image: Image, name: str) -> Layer:
    """Return a layer on the same arrays: no pixel is copied."""
    data, state, kind = image.as_layer_data_tuple()
    mark = {"role": "copy", "image": str(image.unique_id)}
    return Layer.create(data, {**state, "name": name, "visible": True, "metadata": {OWN: mark}}, kind)
