"""Layers of maps: data, colours and record of each, found by metadata and never by name."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray
from psygnal import Signal

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Float32, TokenMap
from napari_sslmaps.maps.contrast import Limits, limits_of, rule_of
from napari_sslmaps.maps.map_type import Display, MapType
from napari_sslmaps.maps.registry import map_type_of, stored_values
from napari_sslmaps.viewer.canvas.image_layer import (
    OWN,
    is_own,
    lead_of_frame,
    leading_shape,
    overlap,
    turn_of,
)

Picture: TypeAlias = Image | Labels
"""A layer that shows a drawing."""
FRAMES = "frames"
"""Role of a layer of the maps of all frames of a clip."""
ANNOTATION = "annotation"
"""Role of the outline of the mask that a comparison is scored against."""
_PICTURES = ("map", "pretext", "difference", "areas", FRAMES)
_LISTED_WHEN_SEEN = ("map", "pretext", "areas", ANNOTATION)
AGREEMENT, EVIDENCE = "agreement", "evidence"
_DRAWN = (*_PICTURES, "heads", "prediction", AGREEMENT, EVIDENCE, ANNOTATION)
_PLACED = (*_PICTURES, "prediction", AGREEMENT, "mask", ANNOTATION)
_HEIGHTS = {"areas": 2, "prediction": 2, ANNOTATION: 3, "mask": 3, "anchors": 4, "pretext tool": 4}
"""How high our layers lie by role: the user's images at 0, maps at 1, and what a user drew or keeps at 4."""
COMPARISON_ROLES = (AGREEMENT, EVIDENCE)
"""Roles of the layers that a comparison adds; each takes the place of the other."""


@dataclass(frozen=True, eq=False)
class LayerSpec:
    """A map or a panel of a pretext view, ready to become a layer.

    Parameters
    ----------
    kind
        Key of the map, where an activation takes the place of an attention; or the panel's name.
    title
        Word for layer names: attention, activation, pca or similarity; or the panel's name.
    encoder
        Name of the encoder.
    values
        (rows, cols) float32, NaN transparent; (rows, cols, 4) float32 RGBA; or (rows, cols) int32 labels. In
        the role ``frames`` with an axis of all frames before these.
    grid
        Grid that the tokens lie on.
    limits
        Contrast limits; None for RGBA.
    record
        JSON-ready account of how it was made, for the layer's metadata.
    frame
        Frame of the image it belongs to.
    role
        ``map`` or ``pretext``; with kind and encoder it tells one layer of an image from another.
    colormap
        Colormap of values that are no colours.
    opacity
        Opacity in [0, 1].
    smooth
        Whether values are interpolated on the canvas.
    result
        The map itself; None for a panel of a pretext view.
    palette
        Colours of the labels 1, 2, …; values are then integers, and 0 is transparent. Empty for other maps.
    depth
        Depth whose features the tokens are, where it is not the encoder's own.
    """

    kind: str
    title: str
    encoder: str
    values: Float32 | NDArray[np.int32]
    grid: TokenGrid
    limits: Limits | None
    record: dict[str, Any]
    frame: int = 0
    role: str = "map"
    colormap: str = "viridis"
    opacity: float = 0.65
    smooth: bool = True
    result: TokenMap | None = None
    palette: tuple[str, ...] = ()
    depth: str = ""

    @property
    def name(self) -> str:
        """Name of the layer, behind the name of its image."""
        return " / ".join(filter(None, (self.title, self.encoder, self.depth)))

    @property
    def rgb(self) -> bool:
        """Whether the values are colours."""
        return self.values.ndim - (self.role == FRAMES) == 3


class LayerManager:
    """The map layers of one viewer.

    A map or a panel is a layer that joins the viewer's list when it is first looked at: to add one costs
    napari a tenth of a second, and nobody looks at all of them.

    Parameters
    ----------
    viewer
        Viewer in which layers are added, found again and updated in place.
    """

    added = Signal(object, object)
    """A picture of an image came: the image, and its layer."""
    dropped = Signal(object)
    """A picture that was not in the list is gone: its layer."""
    drawn = Signal(object)
    """A picture changed: its layer."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self.busy = self.listing = False
        self._waiting: list[Picture] = []
        self._results: WeakKeyDictionary[Layer, TokenMap] = WeakKeyDictionary()

    def result_of(self, layer: Layer) -> TokenMap | None:
        """Return the map that a layer shows at this moment; None for a panel of a pretext view."""
        return self._results.get(layer)

    def find(self, image: Image, kind: str, encoder: str, role: str = "map") -> Picture | None:
        """Return the layer of a drawing, whatever it is called by now."""
        for layer in self.layers_of(image, role):
            mark = layer.metadata[OWN]
            if mark["kind"] == kind and mark["encoder"] == encoder:
                return layer
        return None

    def layers_of(self, image: Image, *roles: str) -> list[Picture]:
        """Return the layers of an image drawn in these roles, bottom first, then those not listed."""
        uid = str(image.unique_id)
        return [
            layer
            for layer in (*self._viewer.layers, *self._waiting)
            if isinstance(layer, (Image, Labels))
            and is_own(layer)
            and layer.metadata[OWN]["role"] in roles
            and layer.metadata[OWN]["image"] == uid
        ]

    def maps_of(self, image: Image) -> list[Picture]:
        """Return the map layers of an image, bottom first."""
        return self.layers_of(image, "map")

    def of_others_over(self, image: Image, *roles: str) -> list[Picture]:
        """Return the listed layers, drawn in these roles, of other images where this image lies."""
        uid = str(image.unique_id)
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, (Image, Labels))
            and is_own(layer)
            and layer.metadata[OWN]["role"] in roles
            and layer.metadata[OWN]["image"] != uid
            and overlap(layer, image)
        ]

    def show(self, image: Image, drawing: LayerSpec, *, live: bool = False) -> Picture:
        """Draw into the layer of this map or panel, or into a new one.

        Parameters
        ----------
        image
            The layer that the map lies on.
        drawing
            Map or panel to draw.
        live
            Whether another frame follows at once: then the thumbnail is left as it is.
        """
        self.busy = True
        try:
            return self._show(image, drawing, live=live)
        finally:
            self.busy = False

    def _show(self, image: Image, drawing: LayerSpec, *, live: bool) -> Picture:
        layer = self.find(image, drawing.kind, drawing.encoder, drawing.role)
        if isinstance(layer, Image) and bool(layer.rgb) != drawing.rgb:
            self.drop([layer])
            layer = None
        if layer is None:
            layer = self._made(image, drawing)
            self._waiting.append(layer)
            self.added.emit(image, layer)
            if drawing.role not in _LISTED_WHEN_SEEN:
                self.list_layer(layer)
        else:
            self._update(layer, image, drawing, live=live)
        if drawing.result is not None:
            self._results[layer] = drawing.result
        self.drawn.emit(layer)
        return layer

    def list_layer(self, layer: Picture) -> None:
        """Let a layer join the viewer's list, at its kind's height, if it has not."""
        if layer in self._waiting:
            self._waiting.remove(layer)
            self.listing = True
            try:
                with keeping_selection(self._viewer):
                    self._viewer.layers.insert(self.place_of(layer), layer)
            finally:
                self.listing = False

    def bring(self, layer: Picture, *, visible: bool) -> None:
        """Show a layer, which joins the list then, or hide it."""
        if visible:
            self.list_layer(layer)
        set_visible(layer, visible=visible)

    def show_alone(self, image: Image, drawing: LayerSpec, *roles: str) -> Picture:
        """Draw into a layer that takes the place of all others in these roles, and hide the maps."""
        drawn = self.show(image, drawing)
        self.drop(layer for layer in self.layers_of(image, *roles) if layer is not drawn)
        for layer in self.maps_of(image):
            set_visible(layer, visible=False)
        self.bring(drawn, visible=True)
        return drawn

    def drop(self, layers: Iterable[Picture]) -> None:
        """Remove layers that are not shown any more."""
        for layer in list(layers):
            if layer in self._waiting:
                self._waiting.remove(layer)
                self.dropped.emit(layer)
            else:
                self._viewer.layers.remove(layer)

    def forget(self, image: Image) -> None:
        """Drop what was drawn of an image that is gone; what a user painted stays."""
        self.drop(self.layers_of(image, *_DRAWN))

    def place_again(self, image: Image) -> None:
        """Move every map and panel of an image to where the image is now."""
        for layer in self.layers_of(image, *_PLACED):
            mark = layer.metadata[OWN]
            _place(layer, placement(image, TokenGrid(**mark["grid"]), mark["frame"]))

    def _made(self, image: Image, drawing: LayerSpec) -> Picture:
        values = _with_lead(drawing, image).copy()
        common: dict[str, Any] = {
            "name": f"{image.name} / {drawing.name}",
            "metadata": {OWN: _mark(image, drawing)},
            "opacity": drawing.opacity,
            "blending": "translucent_no_depth",
            "visible": False,
            **placement(image, drawing.grid, drawing.frame),
        }
        if drawing.palette:
            return Labels(values, colormap=label_colours(drawing.palette), **common)
        colours: dict[str, Any] = {"rgb": True} if drawing.rgb else {"colormap": drawing.colormap}
        return Image(
            values,
            interpolation2d="linear" if drawing.smooth else "nearest",
            contrast_limits=drawing.limits or (0.0, 1.0),  # napari stretches colours, too, unless told
            **colours,
            **common,
        )

    def _update(self, layer: Picture, image: Image, drawing: LayerSpec, *, live: bool) -> None:
        values = _with_lead(drawing, image)
        moved = layer.metadata[OWN]["grid"] != drawing.record["grid"]
        moved = moved or layer.metadata[OWN]["frame"] != drawing.frame
        if isinstance(layer, Labels) and layer.metadata[OWN].get("palette") != drawing.palette:
            layer.colormap = label_colours(drawing.palette)
        if layer.metadata[OWN].get("depth", "") != drawing.depth and drawing.role != FRAMES:
            layer.name = f"{image.name} / {drawing.name}"
        layer.metadata[OWN] = _mark(image, drawing)
        if np.shape(layer.data) == values.shape:
            np.copyto(layer.data, values)
        else:
            layer.data = values.copy()
        limits = drawing.limits
        if isinstance(layer, Image) and limits is not None and tuple(layer.contrast_limits) != limits:
            set_limits(layer, limits)
        if moved:
            _place(layer, placement(image, drawing.grid, drawing.frame))
        layer.refresh(thumbnail=not live, extent=False, highlight=False)

    def place_of(self, layer: Layer) -> int:
        """Return the index at which a layer lies over its like and below all that is to be seen over it.

        Anchors, labels, places and shapes stay over a map that is made later.
        """
        height = _height_of(layer)
        below = (
            place for place, other in enumerate(self._viewer.layers, start=1) if _height_of(other) <= height
        )
        return max(below, default=0)


@contextmanager
def keeping_selection(viewer: ViewerModel) -> Iterator[None]:
    """Add layers without napari selecting them, so that the user's layer stays the active one.

    Nobody is told of the change and of the change back: for each napari brings up the layer's controls anew.
    """
    selection = viewer.layers.selection
    before = selection.active
    if before is None:
        yield
        return
    with selection.events.blocker_all():
        yield
        selection.active = before


def label_colours(palette: Sequence[str]) -> DirectLabelColormap:
    """Return a colour for each label from 1 on; nothing is drawn where there is none."""
    colours: dict[int | None, str] = {None: "transparent", 0: "transparent"}
    colours.update(enumerate(palette, start=1))
    return DirectLabelColormap(color_dict=colours)


def _height_of(layer: Layer) -> int:
    """Return how high a layer lies, by what it is."""
    if is_own(layer):
        return _HEIGHTS.get(layer.metadata[OWN]["role"], 1)
    return 0 if isinstance(layer, Image) else 4


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


def _place(layer: Layer, where: Mapping[str, Any]) -> None:
    """Set what is another; for each that is set, napari slices all layers and counts its sliders anew."""
    for name, value in where.items():
        pair = getattr(layer, name), value
        if name == "affine":
            pair = pair[0].affine_matrix, value.affine_matrix
        if not np.array_equal(*pair):
            setattr(layer, name, value)


def frame_of_reference(image: Layer) -> dict[str, Any]:
    """Return rotate, shear, affine and units of a layer, for one that is to lie on it."""
    return {
        "rotate": image.rotate,
        "shear": image.shear,
        "affine": image.affine,
        "units": image.units,
    }


def _with_lead(drawing: LayerSpec, image: Image) -> Any:
    if drawing.role == FRAMES:
        return drawing.values.reshape(*leading_shape(image), *drawing.values.shape[1:])
    return drawing.values[(None,) * (image.ndim - 2)]


def _mark(image: Image, drawing: LayerSpec) -> dict[str, Any]:
    return {
        "role": drawing.role,
        "kind": drawing.kind,
        "title": drawing.title,
        "encoder": drawing.encoder,
        "image": str(image.unique_id),
        "frame": drawing.frame,
        "palette": drawing.palette,
        "depth": drawing.depth,
        **drawing.record,
    }


def titled(mark: Mapping[str, Any]) -> str:
    """Say on the canvas what a layer with this mark shows: its map, and the depth of its tokens."""
    return ", ".join(filter(None, (mark["title"], mark.get("depth", ""))))


def draw(result: TokenMap, display: Display = "fixed") -> LayerSpec:
    """Turn one map into a drawing, with its own contrast."""
    return draw_all([result], display)[0]


def draw_all(results: Sequence[TokenMap], display: Display) -> list[LayerSpec]:
    """Turn maps that are shown together into drawings, with the contrast that `display` asks for."""
    kinds = [map_type_of(result) for result in results]
    limits: list[Limits | None] = [None] * len(results)
    for key in dict.fromkeys(kind.key for kind in kinds):
        places = [place for place, kind in enumerate(kinds) if kind.key == key]
        found = limits_of(kinds[places[0]], [results[place] for place in places], display)
        for place, ends in zip(places, found, strict=True):
            limits[place] = ends
    return [_layer_spec(*each, display) for each in zip(results, kinds, limits, strict=True)]


def _layer_spec(result: TokenMap, kind: MapType, limits: Limits | None, display: Display) -> LayerSpec:
    provenance = result.provenance
    record: dict[str, Any] = {
        "map": kind.key,
        "provenance": provenance.to_dict(),
        "options": kind.facts(result),
        "grid": asdict(result.grid),
    }
    if limits is not None:
        record["contrast"] = {"limits": list(limits), "rule": rule_of(kind, display)}
    values = stored_values(result)
    return LayerSpec(
        kind.slot,
        kind.title,
        provenance.encoder,
        rgba(values) if values.ndim == 3 else values,
        result.grid,
        limits,
        record,
        0 if provenance.region is None else provenance.region.frame,
        colormap=kind.colormap,
        opacity=kind.opacity,
        result=result,
        palette=kind.palette(result),
        depth=provenance.depth,
    )


def rgba(colours: Float32) -> Float32:
    """Return (rows, cols, 3) colours as (rows, cols, 4), with alpha 0 where they are NaN."""
    known = np.isfinite(colours).all(axis=-1, keepdims=True)
    return np.concatenate([np.where(known, colours, 0), known], axis=-1, dtype=np.float32)
