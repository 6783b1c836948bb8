"""Side by side: one cell per encoder, each with the image, its map and the anchors; drawn without layers.

napari's own grid holds consecutive layers, each in one cell: every cell needed a copy of the image and of the
anchors, every layer that somebody added took a cell, and a layer costs a tenth of a second to add and another
to compile. A viewer per cell (napari's multiple-viewer example) costs the same layers and an OpenGL context
each. What cells show are pictures at one place, so they are drawn as pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Shapes
from psygnal import Signal

from napari_sslmaps.viewer.canvas.cell_camera import CellCamera, Rect, cells_of
from napari_sslmaps.viewer.canvas.image_layer import OWN, lead_index, pixel_to_world
from napari_sslmaps.viewer.canvas.map_layers import Picture, titled
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.workspace import Anchor

_LOOKS = ("opacity", "gamma", "colormap", "contrast_limits", "interpolation2d", "data")
STRIP = 22.0
"""Canvas pixels above and below each cell: what a picture is, and its colours, cover none of it."""
_PLACE = ("scale", "translate", "rotate", "shear", "affine")


@dataclass(frozen=True, slots=True)
class CellWords:
    """Words and marks of cells, where their layers and the workspace are not to tell.

    Parameters
    ----------
    titles
        Two words for each cell: one that tells it from the others, and what is said besides.
    marks
        Anchors in each cell, with colour and symbol.
    """

    titles: tuple[tuple[str, str], ...]
    marks: tuple[tuple[Anchor, str, str], ...]


@dataclass(frozen=True, eq=False)
class Cells:
    """Content of the cells side by side.

    Parameters
    ----------
    image
        Image that lies in each cell below.
    pictures
        Maps of several encoders, or panels of one pretext view, one a cell.
    tools
        Layers that lie in each cell on top, for a user to work with.
    words
        Words and marks; None for those that layers and workspace tell.
    """

    image: Image
    pictures: tuple[Picture, ...]
    tools: tuple[Layer, ...] = ()
    words: CellWords | None = None

    @property
    def titles(self) -> list[tuple[str, str]]:
        """What tells a cell from the others, and what all show: encoder and map; panel and, once, encoder."""
        if self.words is not None:
            return list(self.words.titles)
        marks = [picture.metadata[OWN] for picture in self.pictures]
        if self.are_panels:
            return [(mark["kind"], "" if place else mark["encoder"]) for place, mark in enumerate(marks)]
        return [(mark["encoder"], titled(mark)) for mark in marks]

    @property
    def are_panels(self) -> bool:
        """Whether the pictures are those of a pretext view."""
        return any(picture.metadata[OWN]["role"] == "pretext" for picture in self.pictures)


class SideBySide:
    """Content and camera of the cells; the canvas that draws them follows `changed`.

    Parameters
    ----------
    viewer
        Viewer whose slider says which frame is shown.
    """

    changed = Signal()
    """Something in the cells, or what they look at."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._connections = Connections()
        self._fitted: Layer | None = None
        self._place: tuple[Any, ...] = ()
        self._by_hand: dict[tuple[Any, ...], CellCamera] = {}
        """Where a user looks, of each image and part of it that was looked at."""
        self.cells: Cells | None = None
        self.camera = CellCamera()
        self.size = (800.0, 600.0)

    @property
    def active(self) -> bool:
        """Whether cells are shown."""
        return self.cells is not None

    def show(
        self,
        image: Image,
        pictures: Sequence[Picture],
        tools: Sequence[Layer] = (),
        *,
        closely: bool = False,
        words: CellWords | None = None,
    ) -> None:
        """Show one cell per picture, in this order; called again to change them.

        Parameters
        ----------
        image, pictures, tools, words
            Image, pictures, tools and words, as `Cells` takes them.
        closely
            Whether the pictures fill the cells, rather than the image.
        """
        self.cells = Cells(image, tuple(pictures), tuple(tools), words)
        self._connections.undo()
        for layer in (image, *pictures, *tools):
            for name in (*_LOOKS, *_PLACE):
                if hasattr(layer.events, name):
                    self._connections.add(getattr(layer.events, name), self._on_changed)
        for layer in tools:
            for name in ("set_data", "paint", "labels_update", "visible"):
                if hasattr(layer.events, name):
                    self._connections.add(getattr(layer.events, name), self._on_changed)
        self._connections.add(self._viewer.dims.events.current_step, self._on_changed)
        self._fitted = pictures[0] if closely else image
        extent = np.ravel(self._extent(self._fitted))
        self._place = (image.unique_id, *(f"{end:.6g}" for end in extent))
        self._fit()
        self.changed.emit()

    def leave(self) -> None:
        """Show no cells any more."""
        if self.cells is not None:
            self.cells = None
            self._connections.undo()
            self.changed.emit()

    def holds(self, layer: Layer) -> bool:
        """Whether the layer is in a cell."""
        return self.cells is not None and layer in self.cells.pictures

    @property
    def rects(self) -> list[Rect]:
        """Rectangles of the cells on the canvas."""
        if self.cells is None:
            return []
        return cells_of(len(self.cells.pictures), *self.size, self._aspect(), strip=STRIP)

    def resize(self, width: float, height: float) -> None:
        """Take the size of the canvas; all is fitted anew until a user has moved or zoomed."""
        if (width, height) != self.size:
            self.size = (width, height)
            self._fit()
            self.changed.emit()

    def look(self, camera: CellCamera) -> None:
        """Look where a user wants to."""
        self.camera = self._by_hand[self._place] = camera
        self.changed.emit()

    def fit(self) -> None:
        """Look at all of it again."""
        self._by_hand.pop(self._place, None)
        self._fit()
        self.changed.emit()

    def pixel_of(self, point: tuple[float, float]) -> tuple[Rect, tuple[float, float]] | None:
        """Return the cell under a canvas position (x, y), and the world's (y, x) there."""
        for rect in self.rects:
            if rect.holds(*point):
                return rect, self.camera.world_at(rect, *point)
        return None

    def _fit(self) -> None:
        """Look at all of it, or where a user wanted to look."""
        if self.cells is None or self._fitted is None:
            return
        if self._place in self._by_hand:
            self.camera = self._by_hand[self._place]
            return
        rects = self.rects
        low, high = self._extent(self._fitted)
        self.camera = CellCamera.fitting(low, high, rects[0].width, rects[0].height)

    def _aspect(self) -> float:
        low, high = self._extent(self._fitted or (self.cells.image if self.cells else self._fitted))
        size = np.maximum(high - low, 1e-12)
        return float(size[1] / size[0])

    def _extent(self, layer: Any) -> tuple[Any, Any]:
        """Return the world's first and last (y, x) that a layer covers."""
        data = layer.data[0] if layer.multiscale else layer.data
        rgb = isinstance(layer, Image) and layer.rgb
        rows, cols = data.shape[: -1 if rgb else None][-2:]
        lead = lead_index(self._viewer, layer) if isinstance(layer, Image) else (0,) * (layer.ndim - 2)
        corners = [
            pixel_to_world(self._viewer, layer, [*lead, y - 0.5, x - 0.5])[-2:]
            for y in (0, rows)
            for x in (0, cols)
        ]
        return np.min(corners, axis=0), np.max(corners, axis=0)

    def _on_changed(self) -> None:
        self.changed.emit()


def outlines(viewer: ViewerModel, shapes: Shapes) -> list[tuple[Any, Any]]:
    """Return the corners of each shape in the world, (n, 2) as (x, y), and the colour of its edge."""
    return [
        (
            np.array([pixel_to_world(viewer, shapes, vertex)[-2:][::-1] for vertex in np.asarray(data)]),
            colour,
        )
        for data, colour in zip(shapes.data, shapes.edge_color, strict=True)
    ]


def drawable(tools: Sequence[Layer]) -> list[Labels]:
    """Return the painted ones of some tools that are in view."""
    return [tool for tool in tools if isinstance(tool, Labels) and tool.visible]
