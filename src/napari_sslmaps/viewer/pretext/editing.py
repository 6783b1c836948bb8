"""Layers with which a user changes a pretext view: a painted mask, target blocks, crops."""

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Shapes
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import ArrayLike, NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.pretext_views import (
    Bool,
    Crop,
    PredictionView,
    PretextView,
    ReconstructionView,
    TokenBlock,
    ViewsView,
)
from napari_sslmaps.core.region import Region
from napari_sslmaps.viewer.canvas.anchor_layers import placed_on
from napari_sslmaps.viewer.canvas.image_layer import OWN, lead_of_frame
from napari_sslmaps.viewer.canvas.map_layers import keeping_selection, placement, set_visible
from napari_sslmaps.viewer.pretext.job import PretextEdits
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.workspace import PretextTool

HIDDEN = "#ffb000"
_DENSE, _FAINT = 0.45, 0.12
"""Opacity of the mask while it is painted, or beside what comes back, and over that."""
EDGES = {"target": "#ff4f81", "global": "#ffffff", "local": "#4cc9f0"}
_LINE = 0.008
"""Width of an edge, as a share of the side of the part that is shown."""
Float = NDArray[np.float64]


class PretextTools:
    """Shows what a view hid or cut as layers, and reads from them what a user made of it.

    Parameters
    ----------
    viewer
        Viewer of the layers.
    edited
        Callback for when a stroke has ended or a shape was let go.
    """

    def __init__(self, viewer: ViewerModel, edited: Callable[[], None]) -> None:
        self._viewer = viewer
        self._edited = edited
        self._connections = Connections()
        self._view: PretextView | None = None
        self._image: Image | None = None
        self._drawing = False
        self._held = False
        self._resting = _DENSE
        self._seen: Bool | None = None
        self._aside: dict[str, Layer] = {}
        self.mask: Labels | None = None
        self.blocks: Shapes | None = None

    def follow(self, image: Image, view: PretextView) -> None:
        """Draw what the view hid or cut."""
        if image is not self._image:
            self.remove()
        self._image, self._view = image, view
        hidden = view.mask if isinstance(view, ReconstructionView | ViewsView) else None
        corners, kinds, labels = _shapes_of(view)
        self._drawing = True
        try:
            if not self._held:  # a stroke that goes on is not painted over; it is heard of at its end
                self._draw_mask(image, view, hidden)
                self._seen = self._painted()
            self._draw_blocks(image, view, corners, kinds, labels)
        finally:
            self._drawing = False

    def edits(self) -> PretextEdits:
        """Return what the layers say now, in terms of the view; where nothing is left, it is drawn anew."""
        view = self._view
        if view is None:
            return PretextEdits()
        mask = self._painted()
        drawn = self._corners()
        if isinstance(view, PredictionView):
            blocks = tuple(block_at(corners, view.grid) for corners, _ in drawn)
            return PretextEdits(targets=blocks or None)
        if isinstance(view, ViewsView):
            return PretextEdits(mask, crops=tuple(crop_at(*pair, view) for pair in drawn) if drawn else None)
        return PretextEdits(mask)

    def use(self, tool: PretextTool) -> None:
        """Take a tool into the hand, or lay it down."""
        for name, layer, mode in (("paint", self.mask, "paint"), ("move", self.blocks, "select")):
            if layer is None:
                continue
            if name == tool:
                self._list(layer)
                set_visible(layer, visible=True)
                self._viewer.layers.selection.active = layer
                layer.mode = mode
            else:
                layer.mode = "pan_zoom"
        if not tool and self._viewer.layers.selection.active in (self.mask, self.blocks):
            self._viewer.layers.selection.active = self._image

    def reveal(self) -> None:
        """Hide nothing any more; as after a stroke, undo brings back what was hidden."""
        if self.mask is not None:
            self.mask.data_setitem(np.nonzero(self.mask.data), 0)

    def show(self, *, shown: bool, tool: PretextTool, alone: bool = True) -> None:
        """Bring shapes into view, and the mask while it is painted.

        Parameters
        ----------
        shown
            Whether they are in view.
        tool
            Tool that a user holds.
        alone
            Whether one picture is in view, which the mask is not to hide once a stroke has ended.
        """
        self._resting = _FAINT if alone else _DENSE
        if self.mask is not None:
            set_visible(self.mask, visible=shown and tool == "paint")
            self._set_opacity()
        if self.blocks is not None:
            set_visible(self.blocks, visible=shown)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers there are, mask first."""
        return tuple(layer for layer in (self.mask, self.blocks) if layer is not None)

    def place_again(self) -> None:
        """Move the layers to where the image is now."""
        image, view = self._image, self._view
        if image is None or view is None:
            return
        places = (
            (self.mask, placement(image, view.grid, view.region.frame)),
            (self.blocks, placed_on(image)),
        )
        for layer, place in places:
            if layer is not None:
                for name, value in place.items():
                    setattr(layer, name, value)

    def forget(self, layer: Layer) -> None:
        """Take note that a layer was removed by hand."""
        if layer is self.mask:
            self.mask = None
        elif layer is self.blocks:
            self.blocks = None
        self._aside = {kind: kept for kind, kept in self._aside.items() if kept is not layer}

    def remove(self) -> None:
        """Remove the layers and undo their connections."""
        self._connections.undo()
        for layer in (self.mask, self.blocks, *self._aside.values()):
            if layer is not None:
                layer.mouse_drag_callbacks[:] = [
                    callback for callback in layer.mouse_drag_callbacks if callback != self._on_mouse_drag
                ]
                if layer in self._viewer.layers:
                    self._viewer.layers.remove(layer)
        self.mask = self.blocks = None
        self._aside = {}
        self._view = self._image = None

    def _draw_mask(self, image: Image, view: PretextView, hidden: Bool | None) -> None:
        if hidden is None:
            self._put_aside(self.mask)
            self.mask = None
            return
        values = np.asarray(hidden, np.uint8)[(None,) * (image.ndim - 2)]
        place = placement(image, view.grid, view.region.frame)
        kept = self._take_back("mask")
        if self.mask is None and isinstance(kept, Labels):
            self.mask = kept
        if self.mask is not None:
            if self.mask.data.shape != values.shape:
                mode = self.mask.mode
                self.mask.editable = False  # napari forgets its strokes, which were on another grid
                self.mask.data = values
                self.mask.editable, self.mask.mode = True, mode
            changed = np.nonzero((self.mask.data != 0) != values)
            if self.mask.visible:
                self.mask.data_setitem(changed, values[changed])  # like a stroke, so that it can be undone
            elif changed[0].size:  # napari keeps no pixels of what is hidden, and cannot change some of them
                self.mask.data = values
            for name, value in place.items():
                setattr(self.mask, name, value)
            return
        self.mask = Labels(
            values,
            name=f"{image.name} / pretext mask",
            opacity=_DENSE,
            colormap=DirectLabelColormap(color_dict={None: HIDDEN, 0: "transparent", 1: HIDDEN}),
            visible=False,
            metadata=_mark(image, "mask"),
            **place,
        )
        self.mask.brush_size = 2
        for event in (self.mask.events.paint, self.mask.events.labels_update, self.mask.events.set_data):
            self._connections.add(event, self._on_painted)
        self.mask.mouse_drag_callbacks.append(self._on_mouse_drag)

    def _draw_blocks(
        self,
        image: Image,
        view: PretextView,
        corners: Sequence[Float],
        kinds: Sequence[str],
        labels: Sequence[str],
    ) -> None:
        if self.blocks is not None and (not corners or self.blocks.metadata[OWN]["kind"] != view.method):
            self._put_aside(self.blocks)
            self.blocks = None
        if not corners:
            return
        kept = self._take_back(view.method)
        if self.blocks is None and isinstance(kept, Shapes):
            self.blocks = kept
        lead = lead_of_frame(image, view.region.frame)
        data = [np.hstack([np.tile(lead, (4, 1)), each]) for each in corners]
        if self.blocks is None:
            self.blocks = _new_shapes(image, view)
            self._connections.add(self.blocks.events.data, self._on_shapes)
            self.blocks.mouse_drag_callbacks.append(self._on_mouse_drag)
        if self._held:
            return  # the next answer will put it right; a shape in the hand is not taken away
        layer, selected = self.blocks, set(self.blocks.selected_data)
        if len(layer.data) != len(data) or not all(map(np.allclose, layer.data, data)):
            layer.selected_data = set()
            layer.data = []
            layer.add_rectangles(
                data,
                edge_width=_LINE * max(view.grid.extent_yx),
                edge_color=[EDGES[kind] for kind in kinds],
                face_color="transparent",
            )
            layer.selected_data = {index for index in selected if index < len(data)}
        layer.features = {"kind": list(kinds), "label": list(labels)}
        self._list(layer)  # with what is in it, which is quicker than to tell napari of each change

    def _put_aside(self, layer: Layer | None) -> None:
        """Hide a layer that a later view may use again; to remove one takes napari long."""
        if layer is not None:
            layer.mode = "pan_zoom"
            set_visible(layer, visible=False)
            self._aside[layer.metadata[OWN]["kind"]] = layer

    def _take_back(self, kind: str) -> Layer | None:
        """Return the layer of that kind that was put aside, unless it was removed by hand since."""
        return self._aside.pop(kind, None)

    def _list(self, layer: Layer) -> None:
        """Let a layer join the viewer's list when it is first needed there.

        A Labels layer costs napari half a second, for the brush and the polygon on the canvas.
        """
        if layer not in self._viewer.layers:
            with keeping_selection(self._viewer):
                self._viewer.layers.append(layer)

    def _corners(self) -> list[tuple[Float, str]]:
        """Corners (n, 2) and kind of each shape; one that was drawn by hand is local."""
        if self.blocks is None:
            return []
        kinds = [str(kind) for kind in self.blocks.features["kind"]]
        return [
            (np.asarray(data, float)[:, -2:], kind)
            for data, kind in zip(self.blocks.data, kinds, strict=True)
        ]

    def _painted(self) -> Bool | None:
        """Return what the mask hides now, (rows, cols)."""
        if self.mask is None or self._view is None:
            return None
        return np.array(self.mask.data, bool).reshape(self._view.grid.shape)

    def _set_opacity(self) -> None:
        if self.mask is not None:
            self.mask.opacity = _DENSE if self._held else self._resting

    def _on_painted(self) -> None:
        """Tell of a mask that has changed: after a stroke, a fill, an undo.

        While a stroke goes on, napari refreshes without having it in its history; a fill it announces
        before it is done. So the pixels decide, and a stroke is heard of when it has ended.
        """
        mask = self._painted()
        if self._drawing or self._held or mask is None or self._seen is None:
            return
        if not np.array_equal(mask, self._seen):
            self._seen = mask
            self._edited()

    def _on_shapes(self, event: Any) -> None:
        if not self._drawing and str(event.action) in {"added", "changed", "removed"}:
            self._edited()

    def _on_mouse_drag(self, _layer: Layer, event: Any) -> Generator[None, None, None]:
        self._held = True
        self._set_opacity()
        yield
        while event.type == "mouse_move":
            yield
        self._held = False
        self._set_opacity()
        self._on_painted()


def _shapes_of(view: PretextView) -> tuple[list[Float], list[str], list[str]]:
    """Corners, kind and text of each shape of a view."""
    if isinstance(view, PredictionView):
        texts, agreement = [], view.agreement if view.centred is None else view.centred
        for block in view.targets:
            inside = agreement[block.row : block.row + block.height, block.col : block.col + block.width]
            texts.append(f"{np.nanmean(inside):.2f}" if np.isfinite(inside).any() else "")
        corners = [block_corners(block, view.grid) for block in view.targets]
        return corners, ["target"] * len(corners), texts
    if isinstance(view, ViewsView):
        large = [index for index, crop in enumerate(view.crops) if crop.kind == "global"]
        texts = []
        for index, crop in enumerate(view.crops):
            others = [other for other in large if other != index]
            text = f"{view.agreement[index, others].mean():.2f}" if others else ""
            texts.append(f"global {text}".strip() if crop.kind == "global" else text)
        return (
            [crop_corners(crop, view) for crop in view.crops],
            [crop.kind for crop in view.crops],
            texts,
        )
    return [], [], []


def _new_shapes(image: Image, view: PretextView) -> Shapes:
    name = f"{image.name} / pretext {'targets' if isinstance(view, PredictionView) else 'crops'}"
    return Shapes(
        ndim=image.ndim,
        name=name,
        features={"kind": np.empty(0, object), "label": np.empty(0, object)},
        feature_defaults={"kind": "target" if isinstance(view, PredictionView) else "local", "label": ""},
        text={
            "string": "{label}",
            "size": 11,
            "color": "white",
            "anchor": "upper_left",
            "blending": "translucent_no_depth",
        },
        edge_color=EDGES["target" if isinstance(view, PredictionView) else "local"],
        face_color="transparent",
        blending="translucent_no_depth",
        metadata=_mark(image, view.method),
        **placed_on(image),
    )


def _mark(image: Image, kind: str) -> dict[str, Any]:
    return {OWN: {"role": "pretext tool", "kind": kind, "image": str(image.unique_id)}}


def block_corners(block: TokenBlock, grid: TokenGrid) -> Float:
    """Return the (4, 2) corners, in pixels of level 0, of what a token block covers."""
    low = grid.token_to_pixel((block.row - 0.5, block.col - 0.5))
    high = grid.token_to_pixel((block.row + block.height - 0.5, block.col + block.width - 0.5))
    return _rectangle(low, high)


def block_at(corners: ArrayLike, grid: TokenGrid) -> TokenBlock:
    """Return the token block nearest to a drawn shape's bounding box: on the grid, one token at least."""
    low, high = _bounds(grid.pixel_to_token(corners) + 0.5)
    size = np.clip(high - low, 1, grid.shape)
    first = np.clip(low, 0, np.array(grid.shape) - size)
    return TokenBlock(*(int(value) for value in (*first, *size)))


def crop_corners(crop: Crop, view: PretextView) -> Float:
    """Return the (4, 2) corners, in pixels of level 0, of a crop."""
    low = np.array([crop.region.y, crop.region.x])
    factor = _factor(view)
    return _rectangle(low * factor - 0.5, (low + crop.region.shape_yx) * factor - 0.5)


def crop_at(corners: ArrayLike, kind: str, view: PretextView) -> Crop:
    """Return the crop nearest to a drawn shape's bounding box: on the shown part, one token at least."""
    whole = view.region
    low, high = _bounds((np.asarray(corners, float) + 0.5) / _factor(view))
    least = np.ceil(np.array(whole.shape_yx) / view.grid.shape)
    size = np.clip(high - low, least, whole.shape_yx).astype(int)
    start = np.array([whole.y, whole.x])
    first = np.clip(low, start, start + whole.shape_yx - size)
    y, x, height, width = (int(value) for value in (*first, *size))
    region = Region(y, x, height, width, whole.level, whole.frame)
    return Crop(region, "global" if kind == "global" else "local")


def _factor(view: PretextView) -> Float:
    """Pixels of level 0 per pixel of the view's level."""
    return np.asarray(view.grid.extent_yx, float) / view.region.shape_yx


def _bounds(corners: Float) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    return np.rint(corners.min(axis=0)).astype(int), np.rint(corners.max(axis=0)).astype(int)


def _rectangle(low: Float, high: Float) -> Float:
    return np.array([low, (low[0], high[1]), high, (high[0], low[1])], float)
