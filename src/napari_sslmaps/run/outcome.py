"""What a run gave; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from napari_sslmaps.core.results import Embedding
from napari_sslmaps.encoders.methods.registry import METHOD_INFO
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.figures.run_figure import FigureRow, Picture
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.maps.attention import ActivationMap, AttentionMap, AttentionStack
from napari_sslmaps.maps.difference import DifferenceMap
from napari_sslmaps.maps.groups import GroupMap
from napari_sslmaps.maps.pca import ComponentMap
from napari_sslmaps.maps.similarity import SimilarityMap
from napari_sslmaps.records.run import ImageRecord
from napari_sslmaps.run.request import RunRequest


@dataclass(frozen=True, eq=False, slots=True)
class EncoderOutcome:
    """What one encoder, or a control of it, gave.

    Parameters
    ----------
    choice, spec, precision
        Which encoder, and the precision it ran in.
    embedding
        Its tokens.
    attention
        Attention, or activation of a CNN; None of a control that has neither.
    components
        PCA; None of tokens with fewer than three channels.
    similarity
        None without anchors.
    stack
        Attention of every head, where the embedding does not hold what was asked for.
    groups
        Which group each token is most like; None without groups.
    group_similarity
        Similarity to each group that has anchors, by its name.
    """

    choice: EncoderChoice
    spec: EncoderSpec
    precision: str
    embedding: Embedding
    attention: AttentionMap | ActivationMap | None
    components: ComponentMap | None
    similarity: SimilarityMap | None
    stack: AttentionStack | None = None
    groups: GroupMap | None = None
    group_similarity: Mapping[str, SimilarityMap] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.embedding.provenance.encoder if self.choice.control else self.spec.name

    @property
    def title(self) -> str:
        """The method, or the kind of control."""
        return self.choice.control.capitalize() or METHOD_INFO[self.spec.method].title

    @property
    def heads(self) -> AttentionStack | Embedding | None:
        """What has the attention of every head; None if nothing has."""
        held = self.embedding if isinstance(self.attention, AttentionMap) else None
        return self.stack or held

    @property
    def row(self) -> FigureRow:
        """Its row of the figure."""
        return FigureRow(self.title, self.name, self.attention, self.components, self.similarity)


@dataclass(frozen=True, eq=False, slots=True)
class RunOutcome:
    """What a run gave, before anything is written.

    `differences` has the maps that two encoders differ by, by kind.
    """

    request: RunRequest
    image: ImageRecord
    picture: Picture
    encoders: tuple[EncoderOutcome, ...]
    differences: Mapping[str, DifferenceMap] = field(default_factory=dict)
    reference: ImageRecord | None = None
