"""Results of a comparison, image by image, before they are put into tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_sslmaps.compare.image_statistics import ImageStatistics
from napari_sslmaps.compare.request import ComparisonRequest
from napari_sslmaps.core.findings import Plot, Table
from napari_sslmaps.core.linear_heads import ImageHead
from napari_sslmaps.core.results import Embedding, TokenMap
from napari_sslmaps.encoders.controls import ControlKind
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.evaluation.anchor_scores import Stratum
from napari_sslmaps.evaluation.map_scores import MapScores
from napari_sslmaps.evaluation.robustness import Robustness
from napari_sslmaps.records.run import ImageRecord
from napari_sslmaps.serialise import IntArray, Measured, MeasuredArray, strict

Strata = Mapping[Stratum, MeasuredArray]
"""Stratum (``all``, ``near``, ``middle``, ``far``) → one number per anchor, NaN where undefined."""


@dataclass(frozen=True, slots=True)
class ComparedMethod:
    """One row of the comparison.

    Parameters
    ----------
    name
        Name of the encoder, or what the control is called; its key everywhere in a `Comparison`.
    title
        The method's title, or what kind of control it is.
    control
        Kind of control; None for an encoder.
    of
        The encoders whose control it is.
    """

    name: str
    title: str
    control: ControlKind | None = None
    of: tuple[str, ...] = ()


@strict
@dataclass(frozen=True, slots=True)
class MapRow:
    """Scores of one map of one method against one class.

    Parameters
    ----------
    method
        Name of the method.
    map
        ``attention``, ``activation``, ``pca 1`` to ``pca 3`` or ``similarity``.
    label
        Name of the class.
    scores
        Scores that `score_map` found.
    """

    method: str
    map: str
    label: str
    scores: MapScores


@strict
@dataclass(frozen=True, slots=True, eq=False)
class AnchorRow:
    """Score of similarity to an anchor against the anchor's class, for each of the image's anchors.

    Parameters
    ----------
    method
        Name of the method.
    areas
        Area under the ROC curve of each anchor.
    """

    method: str
    areas: Strata


@strict
@dataclass(frozen=True, slots=True)
class AgreementRow:
    """Agreement of two encoders on one image's tokens.

    Parameters
    ----------
    first, second
        Names of the two encoders.
    cka
        Linear centred kernel alignment, in [0, 1].
    cka_by_chance
        Mean of that CKA over random pairings of the tokens.
    neighbours
        Mean overlap of sets of nearest neighbours, in [0, 1].
    """

    first: str
    second: str
    cka: Measured
    cka_by_chance: Measured
    neighbours: Measured


@strict
@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """Values that the `measure` of a score found for one map of one method.

    Parameters
    ----------
    method
        Name of the method.
    map
        Key of the map.
    values
        Name → number, NaN where undefined.
    """

    method: str
    map: str
    values: Mapping[str, Measured]


@strict
@dataclass(frozen=True, slots=True, eq=False)
class ScoredImage:
    """All that was found on one image.

    Parameters
    ----------
    name
        Name of the image.
    record
        File of the image; empty path for an image in memory.
    maps, anchors, agreement
        Scores, where they were wanted.
    nearness
        Areas of the distance from each anchor alone, in the same strata.
    anchor_yx, anchor_labels
        (n, 2) pixels and (n,) classes of the anchors, the same for every method.
    robustness
        Effect of perturbations on each method.
    evidence
        Length over which the image's signal reaches, and its noise; None where it was not measured.
    provenance
        Method → what decided its embedding.
    notes
        Sentences on what was left out.
    grey
        Whether it is grey, as `is_grey` finds; None where that was not kept.
    measured
        Key of a score → what its `measure` found.
    series, channel
        Image of its file, and channels, that were read; empty where there is no choice.
    """

    name: str
    record: ImageRecord
    maps: tuple[MapRow, ...] = ()
    anchors: tuple[AnchorRow, ...] = ()
    nearness: Strata = field(default_factory=dict)
    anchor_yx: MeasuredArray | None = None
    anchor_labels: IntArray | None = None
    agreement: tuple[AgreementRow, ...] = ()
    robustness: tuple[Robustness, ...] = ()
    evidence: ImageStatistics | None = None
    provenance: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    grey: bool | None = None
    measured: Mapping[str, tuple[MeasuredRow, ...]] = field(default_factory=dict)
    series: str = ""
    channel: str = ""

    def areas_of(self, method: str) -> Strata:
        """Return the anchors' areas of a method; empty where it has none."""
        return next((row.areas for row in self.anchors if row.method == method), {})


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Results of a comparison.

    Parameters
    ----------
    request
        Request that was answered.
    methods
        Encoders as asked, then their controls.
    images
        Results of each image.
    embeddings
        (image's name, method's name) → embedding, of the images that `compare` was asked to keep.
    maps
        (image's name, method's name) → kind of map → map, likewise.
    specs
        Method's name → encoder, where a network runs.
    across
        Findings over all images together: probes, label efficiency, localisation, advice.
    heads
        Encoder's name → the head that all images' labels taught, where localisation was asked for.
    """

    request: ComparisonRequest
    methods: tuple[ComparedMethod, ...]
    images: tuple[ScoredImage, ...]
    embeddings: Mapping[tuple[str, str], Embedding] = field(default_factory=dict)
    maps: Mapping[tuple[str, str], Mapping[str, TokenMap]] = field(default_factory=dict)
    specs: Mapping[str, EncoderSpec] = field(default_factory=dict)
    across: tuple[Table | Plot, ...] = ()
    heads: Mapping[str, ImageHead] = field(default_factory=dict)

    @property
    def image_statistics(self) -> tuple[ImageStatistics, ...]:
        """Measurements of the images before any method is credited."""
        return tuple(image.evidence for image in self.images if image.evidence is not None)

    @property
    def encoders(self) -> tuple[ComparedMethod, ...]:
        """The methods that are no controls."""
        return tuple(method for method in self.methods if method.control is None)

    def controls_of(self, encoder: str) -> tuple[ComparedMethod, ...]:
        """Return the controls that an encoder has to beat."""
        return tuple(method for method in self.methods if method.control is not None and encoder in method.of)
