"""Layer of where an image speaks for a class, by heads that labels of a folder's images taught."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from napari_sslmaps.core.linear_heads import ImageHead
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.maps.evidence import EvidenceMap
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.viewer.canvas.image_layer import LayerSource
from napari_sslmaps.viewer.canvas.map_layers import EVIDENCE, LayerSpec, draw
from napari_sslmaps.viewer.compare.comparison_layer import ComparisonLayer
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders
from napari_sslmaps.viewer.state.session import Sessions
from napari_sslmaps.viewer.state.tasks import TaskContext
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

EVIDENCE_TABLES = ("image-labels", "localisation")
"""Keys of the tables whose rows it follows."""
_RUN_FIRST = "Run {name} on this region first: evidence is read off its tokens."


@dataclass(frozen=True, eq=False, slots=True)
class EvidenceRequest:
    """Request for evidence, captured when it is submitted.

    Parameters
    ----------
    source
        Image that the evidence is of.
    spec
        The encoder; None asks for evidence of tokens, else for Grad-CAM through it.
    embedding
        Embedding of the region by that encoder.
    head
        Fitted to such tokens.
    """

    source: ImageSource
    spec: EncoderSpec | None
    embedding: Embedding
    head: ImageHead


@dataclass(frozen=True, slots=True, eq=False)
class EvidenceResult:
    """Evidence for the likeliest class, and the probability of that class, in [0, 1]."""

    map: EvidenceMap
    probability: float


class Evidencer(Protocol):
    """Finds evidence."""

    def __call__(self, request: EvidenceRequest) -> EvidenceResult:
        """Compute it on the calling thread."""
        ...


class HeadEvidencer:
    """Applies heads to tokens, or through a CNN.

    Parameters
    ----------
    encoders
        Encoders, each loaded once, for CNNs.
    """

    def __init__(self, encoders: LoadedEncoders) -> None:
        self._encoders = encoders

    def __call__(self, request: EvidenceRequest) -> EvidenceResult:
        """Find evidence for the likeliest class."""
        from napari_sslmaps.evaluation.image_labels import pooled
        from napari_sslmaps.evaluation.localisation import token_evidence
        from napari_sslmaps.pipeline.class_activation import class_activation

        head, embedding = request.head, request.embedding
        head.check_fits(embedding)
        shares = head.linear.probabilities(pooled(embedding))
        label = head.names[int(shares.argmax())]
        if request.spec is None:
            return EvidenceResult(token_evidence(embedding, head, label), float(shares.max()))
        weights, offset = head.row_of(label)
        encoder = self._encoders.get(request.spec)
        found = class_activation(request.source, encoder, embedding, weights, offset=offset, label=label)
        return EvidenceResult(found, float(shares.max()))


@dataclass(frozen=True, eq=False, slots=True)
class EvidenceJob:
    """Evidence, captured when it is submitted."""

    request: EvidenceRequest
    evidencer: Evidencer

    def __call__(self, context: TaskContext) -> EvidenceResult:
        """Find the evidence, on the calling thread."""
        context.token.check()
        return self.evidencer(self.request)


class EvidenceLayer:
    """Shows evidence of one encoder instead of its maps.

    Parameters
    ----------
    workspace, sessions
        Workspace that says what is in view, and sessions with what was computed.
    layer
        Layer that it is shown in.
    evidencer
        Service that finds evidence.
    """

    def __init__(
        self, workspace: WorkspaceModel, sessions: Sessions, layer: ComparisonLayer, evidencer: Evidencer
    ) -> None:
        self._workspace = workspace
        self._sessions = sessions
        self._layer = layer
        self._evidencer = evidencer
        self.heads: Mapping[str, ImageHead] = {}
        """By the name of their encoder; of the last comparison over a folder with labels of images."""

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
        request = EvidenceRequest(source, spec, session.embedded[method].embedding, head)
        self._layer.compute(
            image, EvidenceJob(request, self._evidencer), lambda found: draw_evidence(found.map), _words
        )

    def close(self) -> None:
        """Undo every connection."""
        self._layer.close()


def _words(name: str, found: EvidenceResult) -> str:
    return f"{name}: the region's likeliest class, with {100 * found.probability:.0f} %, and where it shows."


def draw_evidence(found: EvidenceMap) -> LayerSpec:
    """Turn evidence into a drawing: red for the class and blue against it, or from 0 up for Grad-CAM."""
    drawing = draw(found)
    # of another class or kind it is another layer
    return replace(drawing, kind=drawing.title, role=EVIDENCE)
