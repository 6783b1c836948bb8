"""A map that a row of a table asks for, as a layer: computed when it is picked, gone when another map is."""

from collections.abc import Callable
from typing import Any

from napari.layers import Image

from napari_sslmaps.errors import Cancelled
from napari_sslmaps.viewer.canvas.map_layers import COMPARISON_ROLES, LayerManager, LayerSpec
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.messages import sentence
from napari_sslmaps.viewer.state.session import Sessions
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskContext, TaskRunner
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

_LEAVES = ("shown", "front", "side_by_side", "difference", "task", "image")


class ComparisonLayer:
    """Computes a map off the window's thread and shows it alone, instead of the encoders' own maps.

    Parameters
    ----------
    role
        Role of the layer, by which it is found again.
    workspace, sessions, layer_manager
        Workspace that says what is in view, sessions with what was computed, and layers to draw in.
    runner
        Runner that computes.
    """

    def __init__(
        self,
        role: str,
        workspace: WorkspaceModel,
        sessions: Sessions,
        layer_manager: LayerManager,
        runner: TaskRunner,
    ) -> None:
        self._role = role
        self._workspace = workspace
        self._sessions = sessions
        self._layer_manager = layer_manager
        self._runner = runner
        self._connections = Connections()
        for name in _LEAVES:
            self._connections.add(getattr(workspace.events, name), self._drop)

    def compute(
        self,
        image: Image,
        job: Callable[[TaskContext], Any],
        draw: Callable[[Any], LayerSpec],
        words: Callable[[str, Any], str],
    ) -> None:
        """Submit a job; draw what it returns and say it in words, called with the layer's name and that."""

        def returned(found: Any) -> None:
            if self._sessions.image is not image:
                return
            self._workspace.side_by_side = self._workspace.difference = False
            layer = self._layer_manager.show_alone(image, draw(found), *COMPARISON_ROLES)
            self._workspace.say(words(layer.name, found))

        self._runner.submit(job, TaskCallbacks(lambda _: None, returned, self._on_failed))

    def close(self) -> None:
        """Undo every connection."""
        self._connections.undo()

    def _drop(self) -> None:
        self._runner.discard()
        if self._sessions.image is not None:
            self._layer_manager.drop(self._layer_manager.layers_of(self._sessions.image, self._role))

    def _on_failed(self, error: BaseException) -> None:
        if not isinstance(error, Cancelled):
            self._workspace.say(sentence(error), failed=True)
