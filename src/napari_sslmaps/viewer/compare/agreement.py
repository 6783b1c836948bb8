"""Layer of where two encoders agree: computed when a row of the table is picked, gone when a map is."""

from dataclasses import dataclass, replace

from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.scale import TokenScale, at_scale
from napari_sslmaps.maps.agreement import AgreementMap, neighbour_agreement
from napari_sslmaps.viewer.canvas.map_layers import AGREEMENT, LayerSpec, draw
from napari_sslmaps.viewer.compare.comparison_layer import ComparisonLayer
from napari_sslmaps.viewer.state.session import Sessions
from napari_sslmaps.viewer.state.tasks import TaskContext
from napari_sslmaps.viewer.state.workspace import WorkspaceModel


@dataclass(frozen=True, eq=False, slots=True)
class AgreementJob:
    """Job that finds where two encoders agree, captured when it is submitted."""

    first: Embedding
    second: Embedding
    scale: TokenScale

    def __call__(self, context: TaskContext) -> AgreementMap:
        """Compare neighbourhoods of tokens."""
        context.token.check()
        return neighbour_agreement(at_scale(self.first, self.scale), at_scale(self.second, self.scale))


class AgreementLayer:
    """Shows the map of agreement of two encoders instead of their own maps.

    Parameters
    ----------
    workspace
        The scale that tokens are compared at.
    sessions
        Sessions with what was computed.
    layer
        Layer that it is shown in.
    """

    def __init__(self, workspace: WorkspaceModel, sessions: Sessions, layer: ComparisonLayer) -> None:
        self._workspace = workspace
        self._sessions = sessions
        self._layer = layer

    def show(self, first: str, second: str) -> None:
        """Compute where two encoders agree, and bring it into view."""
        here = self._sessions.here
        if here is None or not {first, second} <= set(here[1].embedded):
            return
        image, session = here
        first_one, second_one = (session.embedded[name].embedding for name in (first, second))
        job = AgreementJob(first_one, second_one, self._workspace.options.scale)
        self._layer.compute(image, job, draw_agreement, _words)

    def close(self) -> None:
        """Undo every connection."""
        self._layer.close()


def _words(name: str, found: AgreementMap) -> str:
    return (
        f"{name}: share of each token's {found.neighbours} nearest neighbours that both name; "
        f"{found.chance:.3f} by chance."
    )


def draw_agreement(found: AgreementMap) -> LayerSpec:
    """Turn a map of agreement into a drawing, from 0 to what its largest values are."""
    drawing = draw(found)
    return replace(
        drawing,
        encoder=f"{found.provenance.encoder} ~ {found.other.encoder}",
        record={**drawing.record, "other": found.other.to_dict()},
        role=AGREEMENT,
    )
