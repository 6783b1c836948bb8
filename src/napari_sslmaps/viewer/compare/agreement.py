"""Where two encoders agree, as a layer: computed when a row of the table is picked, gone when a map is."""

from dataclasses import dataclass, replace

from napari.layers import Image

from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import Cancelled
from napari_sslmaps.maps.agreement import AgreementMap, neighbour_agreement
from napari_sslmaps.viewer.canvas.map_layers import AGREEMENT, FOUND_ROLES, LayerManager, LayerSpec, draw
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.messages import sentence
from napari_sslmaps.viewer.state.session import Sessions
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskContext, TaskRunner
from napari_sslmaps.viewer.state.workspace import WorkspaceModel


@dataclass(frozen=True, eq=False, slots=True)
class AgreementJob:
    """Where two encoders agree, captured when it is submitted."""

    first: Embedding
    second: Embedding

    def __call__(self, context: TaskContext) -> AgreementMap:
        """Compare neighbourhoods of tokens."""
        context.token.check()
        return neighbour_agreement(self.first, self.second)


class AgreementLayer:
    """Shows the map of agreement of two encoders instead of their own maps.

    Parameters
    ----------
    workspace, sessions, layer_manager
        What is in view, what was computed, and where it is drawn.
    runner
        Runner that computes.
    """

    def __init__(
        self, workspace: WorkspaceModel, sessions: Sessions, layer_manager: LayerManager, runner: TaskRunner
    ) -> None:
        self._workspace = workspace
        self._sessions = sessions
        self._layer_manager = layer_manager
        self._runner = runner
        self._connections = Connections()
        for name in ("shown", "front", "side_by_side", "difference", "task", "image"):
            self._connections.add(getattr(workspace.events, name), self._drop)

    def show(self, first: str, second: str) -> None:
        """Compute where two encoders agree, and bring it into view."""
        here = self._sessions.here
        if here is None or not {first, second} <= set(here[1].embedded):
            return
        image, session = here
        pair = [session.embedded[name].embedding for name in (first, second)]

        def returned(found: AgreementMap) -> None:
            self._draw(image, found)

        job = AgreementJob(pair[0], pair[1])
        self._runner.submit(job, TaskCallbacks(lambda _: None, returned, self._on_failed))

    def close(self) -> None:
        """Undo every connection."""
        self._connections.undo()

    def _draw(self, image: Image, found: AgreementMap) -> None:
        if self._sessions.image is not image:
            return
        self._workspace.side_by_side = self._workspace.difference = False
        drawn = self._layer_manager.show_alone(image, draw_agreement(found), *FOUND_ROLES)
        self._workspace.say(
            f"{drawn.name}: share of each token's {found.neighbours} nearest neighbours that both name; "
            f"{found.chance:.3f} by chance."
        )

    def _drop(self) -> None:
        self._runner.discard()
        if self._sessions.image is not None:
            self._layer_manager.drop(self._layer_manager.layers_of(self._sessions.image, AGREEMENT))

    def _on_failed(self, error: BaseException) -> None:
        if not isinstance(error, Cancelled):
            self._workspace.say(sentence(error), failed=True)


def draw_agreement(found: AgreementMap) -> LayerSpec:
    """Turn a map of agreement into a drawing, from 0 to what its largest values are."""
    drawing = draw(found)
    return replace(
        drawing,
        encoder=f"{found.provenance.encoder} ~ {found.other.encoder}",
        record={**drawing.record, "other": found.other.to_dict()},
        role=AGREEMENT,
    )
