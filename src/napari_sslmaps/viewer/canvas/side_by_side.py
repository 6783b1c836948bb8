"""Side by side: one grid cell per encoder, each with the image, its map and the anchors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer, Points

from napari_sslmaps.viewer.canvas.anchor_layers import AnchorMarks
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.canvas.map_layers import Picture, keeping_selection, set_visible

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
        self._image: Image | None = None
        self._copies: dict[str, tuple[Layer, Points]] = {}
        self._maps: list[Picture] = []
        self._shape = (1, 1)
        self.busy = False

    @property
    def active(self) -> bool:
        """Whether the cells are shown."""
        return self._before is not None

    def holds(self, layer: Layer) -> bool:
        """Whether the layer is in a cell."""
        return layer in self._maps or any(layer in pair for pair in self._copies.values())

    def show(
        self, image: Image, maps: Sequence[Picture], tool: Layer | None = None, *, closely: bool = False
    ) -> None:
        """Show one cell per picture, in this order; called again to change them.

        Copies are kept by what the cell shows: a layer costs napari a tenth of a second to add.

        Parameters
        ----------
        image
            Lies in each cell below.
        maps
            Maps of several encoders, or panels of one pretext view.
        tool
            Lies in the first cell on top, instead of anchors, for a person to work with.
        closely
            Whether the pictures fill the cells, rather than the image.
        """
        fresh = self._before is None
        if self._before is None:
            self._before = self._remember()
        with self._rebuilding():
            titles = [_title(drawn) for drawn in maps]
            self._drop_copies(except_for=titles if image is self._image else [])
            self._image = image
            with keeping_selection(self._viewer):
                bottom = [layer for pair in zip(titles, maps, strict=True) for layer in self._cell(*pair)]
            if tool is not None:
                bottom[PER_CELL - 1] = tool
            self._put_at_the_bottom(bottom)
            for layer in self._viewer.layers:
                set_visible(layer, visible=layer in bottom)
            for layer in {*self._maps, *maps}:
                layer.name_overlay.visible = layer in maps
            self._maps = list(maps)
            grid = self._viewer.canvas.grid
            grid.stride, grid.shape, grid.spacing, grid.enabled = PER_CELL, (-1, -1), SPACING, True
            self._marks.update()
        if fresh or self._viewer.canvas.grid.actual_shape(self._viewer.layers) != self._shape:
            self._shape = self._viewer.canvas.grid.actual_shape(self._viewer.layers)
            self._viewer.fit_to_view(layers=[maps[0] if closely else image])

    def leave(self) -> None:
        """Remove the cells and put layers, grid and camera back."""
        before, self._before = self._before, None
        if before is None:
            return
        selection = self._viewer.layers.selection
        lost = any(selection.active in pair for pair in self._copies.values())
        with self._rebuilding():
            for name, value in before.grid.items():
                setattr(self._viewer.canvas.grid, name, value)
            self._clear()
            self._put_back(before)
            if lost and before.active in self._viewer.layers:
                selection.active = before.active

    @contextmanager
    def _rebuilding(self) -> Iterator[None]:
        """Do without the grid meanwhile, which napari lays out again for each layer that changes.

        Its `batched_update` would collect garbage each time, which takes longer.
        """
        self.busy = True
        try:
            self._viewer.canvas.grid.enabled = False
            yield
        finally:
            self.busy = False

    def _cell(self, title: str, drawn: Picture) -> tuple[Layer, Picture, Points]:
        """Return the layers of a cell, added to the viewer."""
        image = self._image
        if title not in self._copies and image is not None:
            backdrop = _copy(image, f"{image.name} · {title}")
            anchors = self._marks.make(image, f"anchors · {title}")
            self._viewer.layers.extend([backdrop, anchors])
            self._marks.add_copy(anchors)
            self._copies[title] = backdrop, anchors
        backdrop, anchors = self._copies[title]
        return backdrop, drawn, anchors

    def _put_at_the_bottom(self, bottom: list[Layer]) -> None:
        layers = self._viewer.layers
        for index, layer in enumerate(bottom):
            at = layers.index(layer)
            if at != index:
                layers.move(at, index)

    def _clear(self) -> None:
        for drawn in self._maps:
            drawn.name_overlay.visible = False
        self._maps = []
        self._drop_copies(except_for=[])

    def _drop_copies(self, *, except_for: list[str]) -> None:
        """Remove the copies of other cells, and those of which a part was removed by hand."""
        layers = self._viewer.layers
        for title, pair in list(self._copies.items()):
            if title in except_for and all(layer in layers for layer in pair):
                continue
            del self._copies[title]
            self._marks.drop_copy(pair[1])
            for layer in pair:
                if layer in layers:
                    layers.remove(layer)

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
            set_visible(layer, visible=before.visible[layer])
        self._marks.raise_to_top()
        camera = self._viewer.scene.camera
        camera.center, camera.zoom = before.centre, before.zoom


def _title(drawn: Picture) -> str:
    """Return what tells a cell from the others: a map's encoder, a panel's name."""
    mark = drawn.metadata[OWN]
    return str(mark["encoder"] if mark["role"] == "map" else mark["kind"])


def _copy(image: Image, name: str) -> Layer:
    """Return a layer on the same arrays: no pixel is copied."""
    data, state, kind = image.as_layer_data_tuple()
    mark = {"role": "copy", "image": str(image.unique_id)}
    return Layer.create(data, {**state, "name": name, "visible": True, "metadata": {OWN: mark}}, kind)
