"""Comparisons asked for in the window, of its images or of a folder, and what computes them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_sslmaps.core.findings import Finding
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.placed_mask import PlacedMask
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.encoders.controls import Control, ControlKind
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.evaluation.annotation import IGNORE, Annotation
from napari_sslmaps.maps.make import MapRequest
from napari_sslmaps.maps.registry import MapOptions, besides_standard
from napari_sslmaps.sources.masks import read_mask, void_label
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.viewer.maps.pca_bases import Elsewhere
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders
from napari_sslmaps.viewer.state.tasks import TaskContext
from napari_sslmaps.viewer.state.workspace import RunProgress

if TYPE_CHECKING:
    from napari_sslmaps.compare.progress import ComparisonProgress
    from napari_sslmaps.compare.request import ComparisonRequest
    from napari_sslmaps.compare.results import Comparison, ScoredImage
    from napari_sslmaps.compare.scoring import ImageEmbeddings

PERTURBED = ("speckle", "blur", "gain")
"""Perturbations that a user waits for in the window; the command line knows more."""
OnShare = Callable[[str, float], None]
"""Takes what is being done and the share of all work that is done, in [0, 1]; may raise `Cancelled`."""


@dataclass(frozen=True, eq=False, slots=True)
class AskedComparison:
    """One region of one image, all that is to be known of it.

    Parameters
    ----------
    name, source, region
        The image, what it is called, and the rectangle that was embedded.
    specs, embeddings
        Encoders, and their tokens by name.
    scores, controls
        What is computed, and what every encoder is measured against.
    annotation
        Classes of pixels; None where no score needs any.
    maps
        Anchors, and how similarity is made.
    tiling
        How what is not embedded yet is cut.
    mask
        Which tokens were wanted; None for all.
    methods
        All that is shown, in order: encoders and controls.
    elsewhere
        By encoder, what was embedded of other images, which a joint basis is fitted to besides.
    difference
        The two methods whose difference is in view.
    reference
        The image that the anchors lie in, if it is another one.
    """

    name: str
    source: ImageSource
    region: Region
    specs: tuple[EncoderSpec, ...]
    embeddings: dict[str, Embedding]
    scores: tuple[str, ...]
    controls: tuple[ControlKind, ...]
    annotation: Annotation | None
    maps: MapRequest
    tiling: Tiling
    mask: PlacedMask | None = None
    methods: tuple[EncoderSpec | Control, ...] = ()
    elsewhere: Elsewhere = field(default_factory=dict)
    difference: tuple[str, ...] = ()
    reference: "AskedReference | None" = None


@dataclass(frozen=True, eq=False, slots=True)
class AskedReference:
    """An image whose tokens under the anchors are looked for; as of `AskedComparison`."""

    name: str
    source: ImageSource
    region: Region
    mask: PlacedMask | None = None


@dataclass(frozen=True, eq=False, slots=True)
class ComparisonResult:
    """What came of a comparison.

    Parameters
    ----------
    findings
        Tables and plots, the most telling first.
    advice
        Sentences of evidence.
    comparison, embedded
        Everything, for export; None where a test answers.
    """

    findings: tuple[Finding, ...]
    advice: tuple[str, ...] = ()
    comparison: "Comparison | None" = None
    embedded: "ImageEmbeddings | None" = None


class Comparer(Protocol):
    """Compares encoders on one region."""

    def __call__(self, asked: AskedComparison, on_share: OnShare) -> ComparisonResult:
        """Compare, on the calling thread."""
        ...


class RoomComparer:
    """Compares by the package `compare`, which the command line uses too.

    Parameters
    ----------
    encoders
        Loads them, each once.
    """

    def __init__(self, encoders: LoadedEncoders) -> None:
        self._encoders = encoders

    def __call__(self, asked: AskedComparison, on_share: OnShare) -> ComparisonResult:
        """Compare, and tell what was found."""
        from napari_sslmaps.compare.advice import advise
        from napari_sslmaps.compare.compute import compare
        from napari_sslmaps.compare.tables import plots_of, tables_of

        embedded: list[ImageEmbeddings] = []

        def told(progress: "ComparisonProgress") -> None:
            on_share(progress.method, progress.share)

        def scored(image: "ImageEmbeddings", _scores: "ScoredImage") -> None:
            embedded.append(image)

        comparison = compare(
            request_of(asked),
            told,
            embeddings={(asked.name, name): found for name, found in asked.embeddings.items()},
            encoders={spec.name: self._encoders.get(spec) for spec in asked.specs},
            on_image=scored,
        )
        advice = advise(comparison, comparison.evidence)
        findings: tuple[Finding, ...] = (
            *tables_of(comparison),
            *plots_of(comparison),
            replace(advice.table, notes=()),
        )
        return ComparisonResult(findings, advice.sentences, comparison, embedded[0])


def request_of(asked: AskedComparison) -> "ComparisonRequest":
    """Say in the terms of `compare` what was asked for in the window."""
    from napari_sslmaps.compare.request import ComparedImage, ComparisonOptions, ComparisonRequest
    from napari_sslmaps.inputs.encoders import EncoderChoice
    from napari_sslmaps.records.run import RunOptions

    maps, tiling = asked.maps, asked.tiling
    image = ComparedImage(
        asked.name,
        asked.source,
        annotation=asked.annotation,
        region=asked.region,
        anchors=() if maps.reference is not None else tuple(maps.anchors.anchors),
        negative=() if maps.reference is not None else tuple(maps.anchors.negative),
        mask=asked.mask,
    )
    options = RunOptions(
        tile=tiling.tile,
        overlap=tiling.overlap,
        stitching=tiling.stitching,
        maps=options_with(maps.options, anchored=bool(image.anchors)),
        wanted=besides_standard(maps.wanted),
    )
    return ComparisonRequest(
        images=(image,),
        encoders=tuple(EncoderChoice(spec.name) for spec in asked.specs),
        controls=asked.controls,
        scores=asked.scores,
        options=ComparisonOptions(options, perturbations=PERTURBED),
    )


def options_with(options: MapOptions, *, anchored: bool) -> MapOptions:
    """Return options as a run takes them: an anchor's attention only where there is one."""
    attention = options.attention
    if attention.query == "anchor" and not anchored:
        attention = replace(attention, query="output")
    return replace(options, attention=attention, pca=replace(options.pca, basis="region"))


@dataclass(frozen=True, eq=False, slots=True)
class ComparisonJob:
    """A comparison, captured when it is submitted."""

    asked: AskedComparison
    comparer: Comparer

    def __call__(self, context: TaskContext) -> ComparisonResult:
        """Compare, reporting progress."""

        def told(what: str, share: float) -> None:
            context.token.check()
            context.report(RunProgress(f"Comparing: {what}" if what else "Comparing", share))

        told("", 0.0)
        return self.comparer(self.asked, told)


def annotation_in(path: Path, shape_yx: tuple[int, int]) -> Annotation:
    """Read a mask file of an image of that size on level 0.

    Raises
    ------
    SSLMapsError
        If it cannot be read, or does not fit the image.
    """
    labels = read_mask(path)
    return Annotation.from_labels(labels, shape_yx, ignore=void_label(labels))


def only(annotation: Annotation, kind: int | None) -> Annotation:
    """Return an annotation with one class alone, the others being its background; None keeps all."""
    if kind is None:
        return annotation
    labels = annotation.labels
    kept = np.where((labels == kind) | (labels <= 0), labels, 0)
    return Annotation(kept, annotation.shape_yx, {kind: annotation.name_of(kind)})


def within(annotation: Annotation, mask: PlacedMask | None) -> Annotation:
    """Return an annotation that says nothing beside a mask: all methods are scored on the same pixels."""
    if mask is None:
        return annotation
    labels, (height, width) = annotation.labels, annotation.shape_yx
    rows, cols = labels.shape
    stride = height / rows, width / cols
    pixels = TokenGrid(rows, cols, stride, (0.0, 0.0), (float(height), float(width)))
    signed = labels.astype(np.promote_types(labels.dtype, np.int8))
    return Annotation(np.where(mask.on(pixels), signed, IGNORE), annotation.shape_yx, dict(annotation.names))


SUBFOLDERS = "subfolders"
_FIGURES = 4


@dataclass(frozen=True, slots=True)
class AskedFolder:
    """What is compared over which images.

    Parameters
    ----------
    images
        A folder of images, or a CSV that lists them.
    masks
        A folder of masks called like their images; None for none.
    labels
        Labels of whole images: the path of a CSV, ``subfolders``, or empty for none.
    scores
        Which are wanted.
    out
        Folder of all that is written; a comparison in it is gone on with.
    """

    images: Path
    masks: Path | None
    labels: str
    scores: tuple[str, ...]
    out: Path


class FolderComparer(Protocol):
    """Compares encoders on many images."""

    def __call__(
        self,
        asked: AskedFolder,
        specs: tuple[EncoderSpec, ...],
        controls: tuple[ControlKind, ...],
        on_share: OnShare,
    ) -> ComparisonResult:
        """Compare and write, on the calling thread."""
        ...


class RoomFolderComparer:
    """Compares by the package ``compare``; what it writes is what ``napari-sslmaps evaluate`` writes.

    Parameters
    ----------
    encoders
        Loads them, each once.
    """

    def __init__(self, encoders: LoadedEncoders) -> None:
        self._encoders = encoders

    def __call__(
        self,
        asked: AskedFolder,
        specs: tuple[EncoderSpec, ...],
        controls: tuple[ControlKind, ...],
        on_share: OnShare,
    ) -> ComparisonResult:
        """List the images, compare what has not been, and write the whole."""
        from napari_sslmaps.compare.advice import advise
        from napari_sslmaps.compare.compute import compare
        from napari_sslmaps.compare.tables import plots_of, tables_of
        from napari_sslmaps.compare.write import ImageWriter, write_comparison

        def told(progress: "ComparisonProgress") -> None:
            on_share(f"{progress.image}: {progress.method}", progress.share)

        comparison = compare(
            _request(asked, specs, controls),
            told,
            encoders={spec.name: self._encoders.get(spec) for spec in specs},
            folder=asked.out,
            on_image=ImageWriter(asked.out, _FIGURES),
        )
        write_comparison(comparison, asked.out)
        advice = advise(comparison, comparison.evidence)
        findings: tuple[Finding, ...] = (
            *tables_of(comparison),
            *plots_of(comparison),
            replace(advice.table, notes=()),
        )
        return ComparisonResult(findings, advice.sentences, comparison)


def _request(
    asked: AskedFolder, specs: tuple[EncoderSpec, ...], controls: tuple[ControlKind, ...]
) -> "ComparisonRequest":
    from napari_sslmaps.compare.listing import ListingOptions, list_images
    from napari_sslmaps.compare.request import ComparisonRequest
    from napari_sslmaps.inputs.encoders import EncoderChoice

    options = ListingOptions(masks=asked.masks, labels=asked.labels)
    images, _ = list_images([str(asked.images)], options, out=asked.out)
    choices = tuple(EncoderChoice(spec.name) for spec in specs)
    return ComparisonRequest(images, choices, controls, asked.scores)


@dataclass(frozen=True, eq=False, slots=True)
class FolderJob:
    """A comparison over a folder, captured when it is submitted."""

    asked: AskedFolder
    specs: tuple[EncoderSpec, ...]
    controls: tuple[ControlKind, ...]
    comparer: FolderComparer

    def __call__(self, context: TaskContext) -> ComparisonResult:
        """Compare, reporting progress."""

        def told(what: str, share: float) -> None:
            context.token.check()
            context.report(RunProgress(what, share))

        told("Listing images", 0.0)
        return self.comparer(self.asked, self.specs, self.controls, told)
