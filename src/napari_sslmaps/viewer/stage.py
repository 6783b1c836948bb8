"""Which of the maps is in view: one of them stacked on the image, or one per cell side by side."""

from napari.layers import Image

from napari_sslmaps.viewer.compare import SideBySide
from napari_sslmaps.viewer.image import OWN
from napari_sslmaps.viewer.layers import LayerBoard
from napari_sslmaps.viewer.pretext_tools import PretextTools
from napari_sslmaps.viewer.workspace import MAP_KINDS, MapKind, WorkspaceModel


class Stage:
    """Shows and hides layers as the workspace's `task`, `shown`, `front`, `panel` and `side_by_side` say.

    Parameters
    ----------
    workspace
        What is to be in view.
    board
        Finds the layers.
    cells
        Shows them side by side.
    tools
        The layers with which a pretext view is changed.
    """

    def __init__(
        self, workspace: WorkspaceModel, board: LayerBoard, cells: SideBySide, tools: PretextTools
    ) -> None:
        self._workspace = workspace
        self._board = board
        self._cells = cells
        self._tools = tools
        self._known: set[str] = set()

    def choose_front(self) -> None:
        """Put the first chosen encoder in front unless a chosen one is."""
        workspace = self._workspace
        if workspace.front not in workspace.chosen and workspace.specs:
            workspace.front = workspace.specs[0].name

    def arrange_new(self, image: Image) -> None:
        """Arrange, if a layer came since the last time; what a person hid stays hidden otherwise."""
        if {str(layer.unique_id) for layer in self._board.maps_of(image)} - self._known:
            self.arrange(image)

    def arrange(self, image: Image) -> None:
        """Bring the maps of an image into view, or its pretext view."""
        if self._workspace.task == "pretext":
            self._arrange_panels(image)
            return
        maps = self._board.maps_of(image)
        self._known = {str(layer.unique_id) for layer in maps}
        kind = self._kind(maps)
        chosen = [layer for layer in maps if layer.metadata[OWN]["kind"] == kind]
        if self._workspace.side_by_side and chosen:
            order = [spec.name for spec in self._workspace.available]
            chosen.sort(key=lambda layer: _place(order, layer.metadata[OWN]["encoder"]))
            self._cells.show(image, chosen)
            return
        self._cells.leave()
        self._tools.show(shown=False, tool="")
        for layer in self._board.layers_of(image, "map", "pretext"):
            layer.visible = layer in chosen and layer.metadata[OWN]["encoder"] == self._workspace.front

    def _arrange_panels(self, image: Image) -> None:
        workspace, board = self._workspace, self._board
        found = [board.find(image, name, workspace.pretext.encoder, "pretext") for name in workspace.panels]
        panels = [layer for layer in found if layer is not None]
        tool = workspace.pretext_tool
        if workspace.side_by_side and panels:
            self._cells.show(image, panels, self._tools.in_hand(tool), closely=True)
            return
        self._cells.leave()
        self._tools.show(shown=bool(panels), tool=tool)
        for layer in board.layers_of(image, "map", "pretext"):
            layer.visible = layer in panels and layer.metadata[OWN]["kind"] == workspace.panel

    def _kind(self, maps: list[Image]) -> MapKind:
        """Return the wanted kind, or the first there is."""
        there = {layer.metadata[OWN]["kind"] for layer in maps}
        wanted = self._workspace.shown
        return wanted if wanted in there else next((kind for kind in MAP_KINDS if kind in there), wanted)


def _place(order: list[str], name: str) -> int:
    return order.index(name) if name in order else len(order)
