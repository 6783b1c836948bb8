"""Side by side: one grid cell per encoder, each with the image, its map and the anchors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from napari.components import LayerList, ViewerModel
from napari.layers import Image, Layer, Points

from napari_sslmaps.viewer.canvas.anchor_layers import AnchorMarks
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.canvas.map_layers import Picture, keeping_selection, set_visible

PER_CELL = 3
SPACING = 4


_Cell: TypeAlias = tuple[Layer, Points]
"""What a cell has of its own: a copy of the image, and its anchors."""
_PLACE = ("scale", "translate", "rotate", "shear", "affine", "units")
_LOOKS = ("opacity", "gamma", "colormap", "contrast_limits", "interpolation2d")


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
    bottom of the layer list becomes [copy of the image, map, anchors] per cell, the rest is hidden. Copies
    are used again for whatever a cell shows next, and hidden while there are no cells: a layer costs napari
    a tenth of a second to add, and a collection of all garbage to remove.

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
        self._pool: dict[Image, list[_Cell]] = {}
        self._cells: list[_Cell] = []
        self._maps: list[Picture] = []
        self._bottom: list[Layer] = []
        self._showing: tuple[Image, tuple[Picture, ...], Layer | None] | None = None
        self._shape = (1, 1)
        self.busy = False

    @property
    def active(self) -> bool:
        """Whether the cells are shown."""
        return self._before is not None

    def holds(self, layer: Layer) -> bool:
        """Whether the layer is in a cell."""
        return layer in self._maps or any(layer in cell for cell in self._cells)

    def show(
        self, image: Image, maps: Sequence[Picture], tool: Layer | None = None, *, closely: bool = False
    ) -> None:
        """Show one cell per picture, in this order; called again to change them.

        Parameters
        ----------
        image
            Lies in each cell below.
        maps
            Maps of several encoders, or panels of one pretext view.
        tool
            Lies in the first cell on top, instead of anchors, for a user to work with.
        closely
            Whether the pictures fill the cells, rather than the image.
        """
        fresh = self._before is None
        if self._before is None:
            self._before = self._remember()
        wanted = image, tuple(maps), tool
        if fresh or wanted != self._showing or not self._stand():
            self._rebuild(image, maps, tool)
            self._showing = wanted
        self._follow_image(image)
        grid = self._viewer.canvas.grid
        _set(grid, "enabled", value=True)
        if fresh or grid.actual_shape(self._viewer.layers) != self._shape:
            self._shape = grid.actual_shape(self._viewer.layers)
            self._viewer.fit_to_view(layers=[maps[0] if closely else image])

    def leave(self) -> None:
        """Hide the cells and put layers, grid and camera back."""
        before, self._before = self._before, None
        if before is None:
            return
        selection = self._viewer.layers.selection
        lost = any(selection.active in cell for cell in self._cells)
        with self._rebuilding():
            for name, value in before.grid.items():
                if name != "enabled":
                    _set(self._viewer.canvas.grid, name, value)
            for drawn in self._maps:
                drawn.name_overlay.visible = False
            self._maps, self._bottom, self._showing = [], [], None
            self._use([])
            self._put_back(before)
            if lost and before.active in self._viewer.layers:
                selection.active = before.active
        _set(self._viewer.canvas.grid, "enabled", before.grid["enabled"])

    def forget(self, image: Image) -> None:
        """Remove the copies of an image that is gone."""
        for cell in self._pool.pop(image, []):
            for layer in cell:
                if layer in self._viewer.layers:
                    self._viewer.layers.remove(layer)

    def _stand(self) -> bool:
        """Whether the cells are at the bottom of the list, and they alone are in view."""
        layers, bottom = self._viewer.layers, self._bottom
        return list(layers)[: len(bottom)] == bottom and all(
            layer.visible == (layer in bottom) for layer in layers
        )

    def _rebuild(self, image: Image, maps: Sequence[Picture], tool: Layer | None) -> None:
        with self._rebuilding():
            with keeping_selection(self._viewer):
                cells = [self._cell(image, index, _title(drawn)) for index, drawn in enumerate(maps)]
            self._use(cells)
            bottom: list[Layer] = []
            for (backdrop, anchors), drawn in zip(cells, maps, strict=True):
                bottom += [backdrop, drawn, anchors]
            if tool is not None:
                bottom[PER_CELL - 1] = tool
            layers, grid = self._viewer.layers, self._viewer.canvas.grid
            _put_at_the_bottom(layers, bottom)
            for layer in layers:
                set_visible(layer, visible=layer in bottom)
            for name, value in (("stride", PER_CELL), ("shape", (-1, -1)), ("spacing", SPACING)):
                _set(grid, name, value)
            for layer in {*self._maps, *maps}:
                _set(layer.name_overlay, "visible", layer in maps)
            self._maps, self._bottom = list(maps), bottom
            self._marks.update()

    def _follow_image(self, image: Image) -> None:
        for backdrop, anchors in self._cells:
            _follow(image, backdrop)
            for name in _PLACE:
                _set(anchors, name, getattr(image, name))

    @contextmanager
    def _rebuilding(self) -> Iterator[None]:
        """Do without the grid meanwhile, which napari lays out again for each layer that changes.

        Its `batched_update` would collect garbage each time, which takes longer.
        """
        self.busy = True
        try:
            _set(self._viewer.canvas.grid, "enabled", value=False)
            yield
        finally:
            self.busy = False

    def _cell(self, image: Image, index: int, title: str) -> _Cell:
        """Return the copies of a cell: one that was used before, or a new one."""
        layers, pool = self._viewer.layers, self._pool.setdefault(image, [])
        names = f"{image.name} · {title}", f"anchors · {title}"
        if index == len(pool):
            pool.append((_copy(image, names[0]), self._marks.make(image, names[1])))
        backdrop, anchors = pool[index]
        if backdrop not in layers:  # new, or removed by hand
            backdrop = _copy(image, names[0])
            layers.append(backdrop)
        if anchors not in layers:
            anchors = self._marks.make(image, names[1])
            layers.append(anchors)
        pool[index] = backdrop, anchors
        for layer, name in zip(pool[index], names, strict=True):
            _set(layer, "name", name)
        return pool[index]

    def _use(self, cells: list[_Cell]) -> None:
        """Keep the anchors of these cells in step, and of no others."""
        before = [anchors for _, anchors in self._cells]
        now = [anchors for _, anchors in cells]
        for anchors in before:
            if anchors not in now:
                self._marks.drop_copy(anchors)
        for anchors in now:
            if anchors not in before:
                self._marks.add_copy(anchors)
        self._cells = cells

    def _remember(self) -> _Before:
        viewer, grid = self._viewer, self._viewer.canvas.grid
        copies = {layer for cells in self._pool.values() for cell in cells for layer in cell}
        return _Before(
            order=[layer for layer in viewer.layers if layer not in copies],
            visible={layer: layer.visible for layer in viewer.layers if layer not in copies},
            active=viewer.layers.selection.active,
            grid={name: getattr(grid, name) for name in ("enabled", "stride", "shape", "spacing")},
            centre=viewer.scene.camera.center,
            zoom=viewer.scene.camera.zoom,
        )

    def _put_back(self, before: _Before) -> None:
        """Put the layers back into their order, on top of the copies, which are hidden."""
        layers = self._viewer.layers
        kept = [layer for layer in before.order if layer in layers]
        order = [
            layer for cells in self._pool.values() for cell in cells for layer in cell if layer in layers
        ]
        _put_at_the_bottom(layers, [*order, *kept])
        for layer in order:
            set_visible(layer, visible=False)
        for layer in kept:
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


def _put_at_the_bottom(layers: LayerList, wanted: Sequence[Layer]) -> None:
    """Bring layers into this order from the bottom of the list, which is announced once."""
    with layers.events.reordered.blocker():
        for index, layer in enumerate(wanted):
            at = layers.index(layer)
            if at != index:
                layers.move(at, index)
    layers.events.reordered(value=layers)


def _follow(image: Image, copy: Layer) -> None:
    """Bring a copy to where the image is now, with its pixels and its looks."""
    theirs, ours = (list(layer.data) if image.multiscale else [layer.data] for layer in (image, copy))
    if any(mine is not level for mine, level in zip(ours, theirs, strict=True)):
        copy.data = image.data
    for name in (*_PLACE, *(_LOOKS[:1] if image.rgb else _LOOKS)):
        _set(copy, name, getattr(image, name))


def _set(owner: object, name: str, value: Any) -> None:
    """Set what is not so already; napari draws again even where nothing changes."""
    if not np.array_equal(getattr(owner, name), value):
        setattr(owner, name, value)
