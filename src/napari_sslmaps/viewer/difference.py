"""The difference of two methods' maps, in view instead of them."""

from dataclasses import replace

from napari.layers import Image

from napari_sslmaps.core.difference import difference_map
from napari_sslmaps.core.results import TokenMap
from napari_sslmaps.errors import SSLMapsError
from napari_sslmaps.viewer.drawing import draw
from napari_sslmaps.viewer.layers import LayerBoard, Picture
from napari_sslmaps.viewer.workspace import WorkspaceModel

DIFFERENCE = "difference"
"""Role of the layer."""


class Difference:
    """Keeps the layer of the difference in step with the two maps it is made of.

    Parameters
    ----------
    workspace
        Which map, and of which two methods: the one in ``front`` less the one it is ``against``.
    board
        Has their maps, and gets the difference.
    """

    def __init__(self, workspace: WorkspaceModel, board: LayerBoard) -> None:
        self._workspace = workspace
        self._board = board

    def update(self, image: Image) -> None:
        """Draw the difference of an image's maps if it is in view, and remove what is not."""
        workspace, board = self._workspace, self._board
        before = board.layers_of(image, DIFFERENCE)
        if not workspace.difference or workspace.task == "pretext":
            board.drop(before)
            return
        pair = [self._map_of(image, name) for name in (workspace.front, workspace.against)]
        now = None
        if pair[0] is not None and pair[1] is not None:
            now = self._show(image, pair[0], pair[1])
        board.drop(layer for layer in before if layer is not now)

    def _show(self, image: Image, first: TokenMap, second: TokenMap) -> Picture | None:
        workspace = self._workspace
        try:
            result = difference_map(first, second)
        except SSLMapsError as error:
            workspace.say(str(error), failed=True)
            return None
        name = f"{workspace.front} − {workspace.against}"
        drawing = replace(draw(result), encoder=name, role=DIFFERENCE)
        return self._board.show(image, drawing)

    def _map_of(self, image: Image, encoder: str) -> TokenMap | None:
        layer = self._board.find(image, self._workspace.shown, encoder)
        return None if layer is None else self._board.result_of(layer)
