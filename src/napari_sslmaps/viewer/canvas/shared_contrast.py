"""Contrast that all methods share: what a user changes on one method's map, the others' take over."""

from collections.abc import Callable, Sequence
from functools import partial

from napari.components import ViewerModel
from napari.layers import Image, Layer
from napari.utils.colormaps import AVAILABLE_COLORMAPS

from napari_sslmaps.records.session import MapLook
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.canvas.map_layers import LayerManager, Picture, set_limits
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

_ALWAYS = ("opacity", "blending")
_OF_IMAGES = ("colormap", "gamma", "interpolation2d")


class SharedContrast:
    """Keeps colours and contrast of one kind of map the same for all methods.

    Parameters
    ----------
    viewer
        Viewer whose layers come and go.
    workspace
        Whether contrast is shared.
    layer_manager
        Layers that hold the maps.
    """

    def __init__(self, viewer: ViewerModel, workspace: WorkspaceModel, layer_manager: LayerManager) -> None:
        self._workspace = workspace
        self._layer_manager = layer_manager
        self._busy = False
        self._wanted: dict[str, MapLook] = {}
        self._followed: dict[Layer, Connections] = {}
        self._connections = Connections()
        self._connections.add(layer_manager.added, self._follow)
        self._connections.add(viewer.layers.events.removed, lambda event: self._let_go(event.value))
        self._connections.add(layer_manager.dropped, self._let_go)

    def looks(self, image: Image) -> tuple[MapLook, ...]:
        """Return how each map of an image is drawn."""
        looks: dict[str, MapLook] = {}
        for layer in self._layer_manager.maps_of(image):
            plain = isinstance(layer, Image) and not layer.rgb
            smooth = isinstance(layer, Image) and str(layer.interpolation2d) != "nearest"
            name = str(layer.colormap.name) if plain else ""
            kind = str(layer.metadata[OWN]["kind"])
            looks.setdefault(kind, MapLook(kind, round(float(layer.opacity), 4), name, smooth))
        return tuple(looks[kind] for kind in sorted(looks))

    def use(self, image: Image, looks: Sequence[MapLook]) -> None:
        """Draw maps so, those that are there and those that will come."""
        self._wanted = {look.map: look for look in looks}
        for layer in self._layer_manager.maps_of(image):
            self._dress(layer)

    def _dress(self, layer: Picture) -> None:
        look = self._wanted.get(layer.metadata[OWN]["kind"])
        if look is None:
            return
        layer.opacity = look.opacity
        if isinstance(layer, Image) and not layer.rgb:
            layer.interpolation2d = "linear" if look.smooth else "nearest"
            if look.colormap in AVAILABLE_COLORMAPS:
                layer.colormap = look.colormap

    def close(self) -> None:
        """Undo every connection."""
        self._connections.undo()
        for connections in self._followed.values():
            connections.undo()
        self._followed.clear()

    def _follow(self, image: Image, layer: Picture) -> None:
        """Take over the looks of the others of its kind, and pass on its own from now on."""
        if layer.metadata[OWN]["role"] != "map":
            return
        plain = isinstance(layer, Image) and not layer.rgb
        names = (*_ALWAYS, *(_OF_IMAGES if plain else ()))
        self._dress(layer)
        for other in self._alike(image, layer)[:1]:
            for name in names:
                setattr(layer, name, getattr(other, name))
        connections = self._followed[layer] = Connections()
        for name in names:
            connections.add(getattr(layer.events, name), partial(self._pass_on, image, layer, name))
        if plain:
            connections.add(layer.events.contrast_limits, partial(self._pass_on_limits, image, layer))

    def _let_go(self, layer: Layer) -> None:
        connections = self._followed.pop(layer, None)
        if connections is not None:
            connections.undo()

    def _pass_on(self, image: Image, layer: Picture, name: str, _event: object = None) -> None:
        self._wanted.pop(layer.metadata[OWN]["kind"], None)  # what a user sets now wins

        def copy(other: Picture) -> None:
            setattr(other, name, getattr(layer, name))

        self._for_all(image, layer, copy)

    def _pass_on_limits(self, image: Image, layer: Image, _event: object = None) -> None:
        if self._layer_manager.busy or self._workspace.similarity.display == "each":
            return

        def copy(other: Picture) -> None:
            if isinstance(other, Image):
                set_limits(other, tuple(layer.contrast_limits))

        self._for_all(image, layer, copy)

    def _for_all(self, image: Image, layer: Picture, do: Callable[[Picture], None]) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            for other in self._alike(image, layer):
                do(other)
        finally:
            self._busy = False

    def _alike(self, image: Image, layer: Layer) -> list[Picture]:
        """Return the other methods' maps of the same title: activation is not attention."""
        title = layer.metadata[OWN]["title"]
        return [
            other
            for other in self._layer_manager.maps_of(image)
            if other is not layer and other.metadata[OWN]["title"] == title
        ]
