"""Choice of the maps in view: one stacked on the image, one per cell side by side, or a difference."""

from collections.abc import Sequence
from dataclasses import replace

from napari.layers import Image

from napari_sslmaps.core.results import TokenMap
from napari_sslmaps.errors import SSLMapsError
from napari_sslmaps.maps.difference import difference_map
from napari_sslmaps.maps.registry import caption, selectable
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.canvas.map_layers import LayerManager, Picture, draw
from napari_sslmaps.viewer.canvas.side_by_side import SideBySide
from napari_sslmaps.viewer.pretext.editing import PretextTools
from napari_sslmaps.viewer.state.workspace import Caption, WorkspaceModel


class VisibilityController:
    """Shows and hides layers as the workspace says.

    Parameters
    ----------
    workspace
        Workspace that says what is to be in view.
    layer_manager
        Layers to show and hide.
    cells
        Cells that show them side by side.
    tools
        The layers with which a pretext view is changed.
    """

    def __init__(
        self, workspace: WorkspaceModel, layer_manager: LayerManager, cells: SideBySide, tools: PretextTools
    ) -> None:
        self._workspace = workspace
        self._layer_manager = layer_manager
        self._cells = cells
        self._tools = tools
        self._known: set[str] = set()
        self._front = workspace.front

    def choose_front(self) -> None:
        """Put the first chosen method in front unless a chosen one is, and compare it with another."""
        workspace, names = self._workspace, list(self._workspace.methods)
        if workspace.front not in names and names:
            workspace.front = names[0]
        if workspace.against not in names or workspace.against == workspace.front:
            workspace.against = next((name for name in names if name != workspace.front), "")

    def follow_front(self) -> None:
        """Compare a method that came to the front with the one that it took the place of."""
        workspace, before = self._workspace, self._front
        self._front = workspace.front
        if workspace.against in {workspace.front, ""}:
            others = [name for name in (before, *workspace.methods) if name not in {workspace.front, ""}]
            workspace.against = next(iter(others), "")

    def methods(self) -> list[str]:
        """Return the methods that have maps of the image, in the order of the list."""
        image = self._workspace.image
        there = (
            set()
            if image is None
            else {m.metadata[OWN]["encoder"] for m in self._layer_manager.maps_of(image)}
        )
        return sorted(there, key=self._place)

    def in_view(self, layer: Picture) -> bool:
        """Whether a picture is in a cell, or shown on napari's canvas."""
        return self._cells.holds(layer) or (not self._cells.active and bool(layer.visible))

    def pictures(self, image: Image) -> list[Picture]:
        """Return the maps of all methods that are of the kind in view, in the order of the list."""
        maps = self._layer_manager.maps_of(image)
        kind = kind_in_view(self._workspace, maps)
        chosen = [layer for layer in maps if layer.metadata[OWN]["kind"] == kind]
        return sorted(chosen, key=lambda layer: self._place(layer.metadata[OWN]["encoder"]))

    def seen(self, image: Image) -> list[Picture]:
        """Return the pictures that napari's canvas shows of an image."""
        roles = ("map", "pretext", DIFFERENCE)
        return [layer for layer in self._layer_manager.layers_of(image, *roles) if self.in_view(layer)]

    def read_out(self, image: Image) -> list[Picture]:
        """Return the pictures whose values under the pointer are told: all methods' maps; a pretext panel."""
        return self.seen(image) if self._workspace.task == "pretext" else self.pictures(image)

    def look(self) -> tuple[float, str, bool] | None:
        """Return opacity, colour map, and whether it is smooth, of the map in view; None without one."""
        image = self._workspace.image
        layer = next(iter([] if image is None else self.pictures(image)), None)
        if layer is None:
            return None
        plain = isinstance(layer, Image) and not layer.rgb
        smooth = isinstance(layer, Image) and str(layer.interpolation2d) != "nearest"
        return float(layer.opacity), str(layer.colormap.name) if plain else "", smooth

    def set_look(self, name: str, value: object) -> None:
        """Set opacity, colour map or interpolation of the map in view, for all methods."""
        image = self._workspace.image
        for layer in [] if image is None else self.pictures(image):
            if name == "opacity" or (isinstance(layer, Image) and not layer.rgb):
                setattr(layer, name, value)

    def turn_to(self, image: Image | None) -> None:
        """Hide pictures of other images where this one lies: they would lend it their colours."""
        if image is None:
            self._workspace.caption = Caption()
            return
        for layer in self._layer_manager.of_others_over(image, "map", "pretext", DIFFERENCE, "areas"):
            self._layer_manager.bring(layer, visible=False)

    def arrange_new(self, image: Image) -> None:
        """Arrange, if a layer came or went since the last time; what a user hid stays hidden otherwise."""
        if {str(layer.unique_id) for layer in self._layer_manager.maps_of(image)} != self._known:
            self.arrange(image)

    def tell(self, image: Image) -> None:
        """Say how the map in view was made."""
        workspace = self._workspace
        differences = self._layer_manager.layers_of(image, DIFFERENCE) if workspace.difference else []
        kind = kind_in_view(workspace, self._layer_manager.maps_of(image))
        front = self._layer_manager.find(image, kind, workspace.front)
        layer = next((layer for layer in differences), front)
        workspace.caption = Caption() if layer is None else Caption(*caption(layer.metadata[OWN]))

    def arrange(self, image: Image) -> None:
        """Bring the maps of an image into view, or its pretext view."""
        self._arrange(image)
        self.tell(image)

    def _arrange(self, image: Image) -> None:
        workspace = self._workspace
        if workspace.task == "readers":  # its page has the canvas
            return
        if workspace.task == "pretext":
            self._arrange_panels(image)
            return
        maps = self._layer_manager.maps_of(image)
        self._known = {str(layer.unique_id) for layer in maps}
        chosen = self.pictures(image)
        workspace.in_view = chosen[0].metadata[OWN]["kind"] if chosen else ""
        if self._workspace.side_by_side and chosen:
            self._cells.show(image, chosen)
            return
        self._cells.leave()
        self._tools.show(shown=False, tool="")
        differences = self._layer_manager.layers_of(image, DIFFERENCE) if self._workspace.difference else []
        front = [layer for layer in chosen if layer.metadata[OWN]["encoder"] == self._workspace.front]
        for layer in self._layer_manager.layers_of(image, "map", "pretext", DIFFERENCE):
            self._layer_manager.bring(layer, visible=layer in (differences or front))

    def _arrange_panels(self, image: Image) -> None:
        workspace, layer_manager = self._workspace, self._layer_manager
        found = [
            layer_manager.find(image, name, workspace.pretext.encoder, "pretext") for name in workspace.panels
        ]
        panels = [layer for layer in found if layer is not None]
        tool = workspace.pretext_tool
        if workspace.panels_side_by_side and panels:
            self._tools.show(shown=True, tool=tool, alone=False)
            self._cells.show(image, panels, self._tools.layers, closely=True)
            return
        self._cells.leave()
        self._tools.show(shown=bool(panels), tool=tool)
        for layer in layer_manager.layers_of(image, "map", "pretext", DIFFERENCE):
            in_view = layer in panels and layer.metadata[OWN]["kind"] == workspace.panel
            self._layer_manager.bring(layer, visible=in_view)

    def _place(self, name: str) -> int:
        order = self._workspace.methods
        return order.index(name) if name in order else len(order)


def kind_in_view(workspace: WorkspaceModel, maps: Sequence[Picture]) -> str:
    """Return the wanted kind of map, or the first there is."""
    there = {layer.metadata[OWN]["kind"] for layer in maps}
    known = [workspace.shown, *(kind.key for kind in selectable())]
    return next((kind for kind in known if kind in there), workspace.shown)


DIFFERENCE = "difference"
"""Role of the layer."""


class Difference:
    """Keeps the layer of the difference in step with the two maps it is made of.

    Parameters
    ----------
    workspace
        Workspace that says which map, and of which two methods: the one in ``front`` less the one it is
        ``against``.
    layer_manager
        Layers that hold their maps, and get the difference.
    """

    def __init__(self, workspace: WorkspaceModel, layer_manager: LayerManager) -> None:
        self._workspace = workspace
        self._layer_manager = layer_manager

    def update(self, image: Image) -> None:
        """Draw the difference of an image's maps if it is in view, and remove what is not."""
        workspace, layer_manager = self._workspace, self._layer_manager
        before = layer_manager.layers_of(image, DIFFERENCE)
        if not workspace.difference or workspace.task == "pretext":
            layer_manager.drop(before)
            return
        pair = [self._map_of(image, name) for name in (workspace.front, workspace.against)]
        now = None
        if pair[0] is not None and pair[1] is not None:
            now = self._show(image, pair[0], pair[1])
        layer_manager.drop(layer for layer in before if layer is not now)

    def _show(self, image: Image, first: TokenMap, second: TokenMap) -> Picture | None:
        workspace = self._workspace
        try:
            result = difference_map(first, second)
        except SSLMapsError as error:
            workspace.say(str(error), failed=True)
            return None
        name = f"{workspace.front} − {workspace.against}"
        drawing = replace(draw(result), encoder=name, role=DIFFERENCE)
        return self._layer_manager.show(image, drawing)

    def _map_of(self, image: Image, encoder: str) -> TokenMap | None:
        kind = kind_in_view(self._workspace, self._layer_manager.maps_of(image))
        layer = self._layer_manager.find(image, kind, encoder)
        return None if layer is None else self._layer_manager.result_of(layer)
