"""Where an image speaks for a class, as a layer: by heads that labels of a folder's images taught."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from napari.layers import Image

from napari_sslmaps.core.linear_heads import ImageHead
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import Cancelled
from napari_sslmaps.maps.evidence import EvidenceMap
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.viewer.canvas.image_layer import LayerSource
from napari_sslmaps.viewer.canvas.map_layers import EVIDENCE, FOUND_ROLES, LayerManager, LayerSpec, draw
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders
from napari_sslmaps.viewer.state.messages import sentence
from napari_sslmaps.viewer.state.session import Sessions
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskContext, TaskRunner
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

EVIDENCE_TABLES = ("image-labels", "localisation")
"""Keys of the tables whose rows it follows."""
_RUN_FIRST = "Run {name} on this region first: evidence is read off its tokens."


@dataclass(frozen=True, eq=False, slots=True)
class EvidenceRequest:
    """What is asked, captured when it is submitted.

    Parameters
    ----------
    source
        Image that the evidence is of.
    spec
        The encoder; None asks for evidence of tokens, else for Grad-CAM through it.
    embedding
        Its tokens of the region.
    head
        Fitted to such tokens.
    """

    source: ImageSource
    spec: EncoderSpec | None
    embedding: Embedding
    head: ImageHead


@dataclass(frozen=True, slots=True, eq=False)
class FoundEvidence:
    """Evidence for the likeliest class, and the probability of that class, in [0, 1]."""

    map: EvidenceMap
    probability: float


class Evidencer(Protocol):
    """Finds evidence."""

    def __call__(self, asked: EvidenceRequest) -> FoundEvidence:
        """Compute it on the calling thread."""
        ...


class HeadEvidencer:
    """Applies heads to tokens, or through a CNN.

    Parameters
    ----------
    encoders
        Loads CNNs, each once.
    """

    def __init__(self, encoders: LoadedEncoders) -> None:
        self._encoders = encoders

    def __call__(self, asked: EvidenceRequest) -> FoundEvidence:
        """Find evidence for the likeliest class."""
        from napari_sslmaps.evaluation.image_labels import pooled
        from napari_sslmaps.evaluation.localisation import token_evidence
        from napari_sslmaps.pipeline.class_activation import class_activation

        head, embedding = asked.head, asked.embedding
        head.check_fits(embedding)
        shares = head.linear.probabilities(pooled(embedding))
        label = head.names[int(shares.argmax())]
        if asked.spec is None:
            return FoundEvidence(token_evidence(embedding, head, label), float(shares.max()))
        weights, offset = head.row_of(label)
        encoder = self._encoders.get(asked.spec)
        found = class_activation(asked.source, encoder, embedding, weights, offset=offset, label=label)
        return FoundEvidence(found, float(shares.max()))


@dataclass(frozen=True, eq=False, slots=True)
class EvidenceJob:
    """Evidence, captured when it is submitted."""

    asked: EvidenceRequest
    evidencer: Evidencer

    def __call__(self, context: TaskContext) -> FoundEvidence:
        """Find it."""
        context.token.check()
        return self.evidencer(self.asked)


class EvidenceLayer:
    """Shows evidence of one encoder instead of its maps.

    Parameters
    ----------
    workspace, sessions, layer_manager
        What is in view, what was computed, and where it is drawn.
    runner
        Runner that computes.
    evidencer
        Service that finds evidence.
    """

    def __init__(
        self,
        workspace: WorkspaceModel,
        sessions: Sessions,
        layer_manager: LayerManager,
        runner: TaskRunner,
        evidencer: Evidencer,
    ) -> None:
        self._workspace = workspace
        self._sessions = sessions
        self._layer_manager = layer_manager
        self._runner = runner
        self._evidencer = evidencer
        self.heads: Mapping[str, ImageHead] = {}
        """By the name of their encoder; of the last comparison over a folder with labels of images."""
        self._connections = Connections()
        for name in ("shown", "front", "side_by_side", "difference", "task", "image"):
            self._connections.add(getattr(workspace.events, name), self._drop)

    def show(self, method: str, *, through: bool = False) -> None:
        """Show the evidence for the likeliest class of the region in view; `through` a CNN as Grad-CAM.

        A method without a head, such as a control, has none.
        """
        here, head = self._sessions.here, self.heads.get(method)
        if here is None or head is None:
            return
        image, session = here
        if method not in session.embedded:
            self._workspace.say(_RUN_FIRST.format(name=method), failed=True)
            return
        spec = next((s for s in self._workspace.available if through and s.name == method), None)
        source = LayerSource(image, self._workspace.spacing_um)
        asked = EvidenceRequest(source, spec, session.embedded[method].embedding, head)

        def returned(found: FoundEvidence) -> None:
            self._draw(image, found)

        job = EvidenceJob(asked, self._evidencer)
        self._runner.submit(job, TaskCallbacks(lambda _: None, returned, self._on_failed))

    def close(self) -> None:
        """Undo every connection."""
        self._connections.undo()

    def _draw(self, image: Image, found: FoundEvidence) -> None:
        if self._sessions.image is not image:
            return
        self._workspace.side_by_side = self._workspace.difference = False
        drawn = self._layer_manager.show_alone(image, draw_evidence(found.map), *FOUND_ROLES)
        self._workspace.say(
            f"{drawn.name}: the region's likeliest class, with {found.probability:.0%}, and where it shows."
        )

    def _drop(self) -> None:
        self._runner.discard()
        if self._sessions.image is not None:
            self._layer_manager.drop(self._layer_manager.layers_of(self._sessions.image, EVIDENCE))

    def _on_failed(self, error: BaseException) -> None:
        if not isinstance(error, Cancelled):
            self._workspace.say(sentence(error), failed=True)


def draw_evidence(found: EvidenceMap) -> LayerSpec:
    """Turn evidence into a drawing: red for the class and blue against it, or from 0 up for Grad-CAM."""
    drawing = draw(found)
    # of another class or kind it is another layer
    return replace(drawing, kind=drawing.title, role=EVIDENCE)
