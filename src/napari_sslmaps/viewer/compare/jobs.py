"""A comparison as the window asks for it: of the region in view or of a folder, computed off its thread."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from napari_sslmaps.compare.request import ComparedImage, ComparisonOptions, ComparisonRequest
from napari_sslmaps.core.findings import Finding
from napari_sslmaps.core.placed_mask import PlacedMask
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.encoders.controls import Control, ControlKind
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import ExportError
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.maps.make import MapRequest
from napari_sslmaps.maps.registry import MapOptions, besides_standard
from napari_sslmaps.records.run import RunOptions
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.viewer.maps.pca_bases import Elsewhere
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders
from napari_sslmaps.viewer.state.tasks import TaskContext
from napari_sslmaps.viewer.state.workspace import RunProgress

if TYPE_CHECKING:
    from napari_sslmaps.compare.progress import ComparisonProgress
    from napari_sslmaps.compare.results import Comparison, ScoredImage
    from napari_sslmaps.compare.scoring import ImageEmbeddings

PERTURBED = ("speckle", "blur", "gain")
"""Perturbations that a user waits for in the window; the command line knows more."""
SUBFOLDERS = "subfolders"
_FIGURES = 4
OnFraction = Callable[[str, float], None]
"""Takes what is being done and the fraction of all work that is done, in [0, 1]; may raise `Cancelled`."""
Embeddings = Mapping[tuple[str, str], Embedding]
"""(image's name, method's name) → what has been embedded already."""


@dataclass(frozen=True, eq=False, slots=True)
class ShownImage:
    """An image in the window.

    Parameters
    ----------
    name, source, region
        Name of the image, its pixels, and the rectangle that was embedded.
    mask
        Mask of the wanted tokens; None for all.
    """

    name: str
    source: ImageSource
    region: Region
    mask: PlacedMask | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Shown:
    """Region in the window with its embeddings: what a comparison begins with, and what export writes.

    Parameters
    ----------
    image
        The image in view.
    methods
        All that is shown, in order: encoders and controls.
    embeddings
        Embeddings of the region by method.
    maps
        Anchors, and how maps are made.
    tiling
        Tiles that what is not embedded yet is cut into.
    elsewhere
        Embeddings of other images by encoder, which a joint basis is fitted to besides.
    difference
        The two methods whose difference is in view.
    reference
        The image that the anchors lie in, if it is another one.
    resolution
        Resolution that an image is read at, where it is not embedded yet.
    """

    image: ShownImage
    methods: tuple[EncoderSpec | Control, ...]
    embeddings: Mapping[str, Embedding]
    maps: MapRequest
    tiling: Tiling
    elsewhere: Elsewhere = field(default_factory=dict)
    difference: tuple[str, ...] = ()
    reference: ShownImage | None = None
    resolution: str = "trained"

    @property
    def specs(self) -> tuple[EncoderSpec, ...]:
        """Encoders that have tokens; their controls among them only if there is nothing else."""
        specs = tuple(
            method
            for method in self.methods
            if isinstance(method, EncoderSpec) and method.name in self.embeddings
        )
        return tuple(spec for spec in specs if spec.origin != "control") or specs

    @property
    def depth(self) -> tuple[int | None, bool]:
        """Return of which block or stage all tokens are, None for each encoder's own, and whether normed.

        Raises
        ------
        ExportError
            If they differ.
        """
        specs = [method for method in self.methods if isinstance(method, EncoderSpec)]
        made = {
            spec.name: self.embeddings[spec.name].provenance for spec in specs if spec.name in self.embeddings
        }
        normed = all(found.token_norm for found in made.values())
        if not any(found.token_block for found in made.values()):
            return None, normed
        architectures = {spec.name: spec.architecture for spec in specs}
        places = {
            architectures[name].token_places.index(found.token_block)
            if found.token_block
            else architectures[name].token_place
            for name, found in made.items()
        }
        if len(places) > 1:
            depths = ", ".join(f"{name}: {found.depth or 'its own'}" for name, found in made.items())
            raise ExportError(
                f"Expected tokens of one depth, to be made again alike; got {depths}. Press Run to embed "
                "them anew."
            )
        return places.pop(), normed


@dataclass(frozen=True, slots=True)
class FolderRequest:
    """Request to compare the images of a folder.

    Parameters
    ----------
    images
        A folder of images, or a CSV that lists them.
    masks
        A folder of masks called like their images; None for none.
    labels
        Labels of whole images: the path of a CSV, ``subfolders``, or empty for none.
    scores
        Keys of the wanted scores.
    out
        Folder of all that is written; a comparison in it is continued.
    """

    images: Path
    masks: Path | None
    labels: str
    scores: tuple[str, ...]
    out: Path


def request_of_region(
    shown: Shown,
    scores: tuple[str, ...] = (),
    controls: tuple[ControlKind, ...] = (),
    annotation: Annotation | None = None,
) -> ComparisonRequest:
    """Say what to compare on the region in view."""
    maps, image = shown.maps, shown.image
    compared = ComparedImage(
        image.name,
        image.source,
        annotation=annotation,
        region=image.region,
        anchors=() if maps.reference is not None else tuple(maps.anchors.anchors),
        negative=() if maps.reference is not None else tuple(maps.anchors.negative),
        mask=image.mask,
    )
    anchored = bool(compared.anchors)
    options = run_options(maps, shown.tiling, shown.resolution, shown.depth, anchored=anchored)
    return ComparisonRequest(
        images=(compared,),
        encoders=tuple(EncoderChoice(spec.name) for spec in shown.specs),
        controls=controls,
        scores=scores,
        options=ComparisonOptions(options, perturbations=PERTURBED),
    )


def request_of_folder(
    folder: FolderRequest,
    specs: tuple[EncoderSpec, ...],
    controls: tuple[ControlKind, ...],
    run: RunOptions,
) -> ComparisonRequest:
    """List the images of a folder and say what to compare on them, with tokens made as `run` says."""
    from napari_sslmaps.compare.listing import ListingOptions, list_images

    options = ListingOptions(masks=folder.masks, labels=folder.labels)
    images, _ = list_images([str(folder.images)], options, out=folder.out)
    choices = tuple(EncoderChoice(spec.name) for spec in specs)
    compared = ComparisonOptions(replace(run, precision="float32"))  # repeats to the last bit
    return ComparisonRequest(images, choices, controls, folder.scores, compared)


def run_options(
    maps: MapRequest, tiling: Tiling, resolution: str, depth: tuple[int | None, bool], *, anchored: bool
) -> RunOptions:
    """Say how tokens and maps are made, in the terms of a run.

    Parameters
    ----------
    maps, tiling, resolution
        Maps that are wanted, and tiles and resolution of the embeddings.
    depth
        Block or stage of the tokens, None for each encoder's own, and whether they are normed.
    anchored
        Whether there are anchors.
    """
    return RunOptions(
        tile=tiling.tile,
        overlap=tiling.overlap,
        stitching=tiling.stitching,
        maps=options_with(maps.options, anchored=anchored),
        wanted=besides_standard(maps.wanted),
        resolution=resolution,
        token_block=depth[0],
        token_norm=depth[1],
    )


def options_with(options: MapOptions, *, anchored: bool) -> MapOptions:
    """Return options as a run takes them: an anchor's attention only where there is one."""
    attention = options.attention
    if attention.query == "anchor" and not anchored:
        attention = replace(attention, query="output")
    return replace(options, attention=attention, pca=replace(options.pca, basis="region"))


@dataclass(frozen=True, eq=False, slots=True)
class ComparisonResult:
    """Result of a comparison.

    Parameters
    ----------
    findings
        Tables and plots, the most telling first.
    advice
        Sentences of evidence on which method fits the region.
    comparison, embedded
        Everything, for export; the latter of a region alone.
    """

    findings: tuple[Finding, ...]
    advice: tuple[str, ...] = ()
    comparison: "Comparison | None" = None
    embedded: "ImageEmbeddings | None" = None


class Comparer(Protocol):
    """Compares encoders."""

    def __call__(
        self,
        request: ComparisonRequest,
        specs: tuple[EncoderSpec, ...],
        on_fraction: OnFraction,
        *,
        embeddings: Embeddings | None = None,
        folder: Path | None = None,
    ) -> ComparisonResult:
        """Compare on the calling thread; with a folder, continue what is in it and write all into it."""
        ...


class PackageComparer:
    """Compares by the package `compare`, as ``napari-sslmaps evaluate`` does.

    Parameters
    ----------
    encoders
        Encoders, each loaded once.
    """

    def __init__(self, encoders: LoadedEncoders) -> None:
        self._encoders = encoders

    def __call__(
        self,
        request: ComparisonRequest,
        specs: tuple[EncoderSpec, ...],
        on_fraction: OnFraction,
        *,
        embeddings: Embeddings | None = None,
        folder: Path | None = None,
    ) -> ComparisonResult:
        """Compare, and report what was found."""
        from napari_sslmaps.compare.advice import advise
        from napari_sslmaps.compare.compute import compare
        from napari_sslmaps.compare.tables import plots_of, tables_of
        from napari_sslmaps.compare.write import ImageWriter, write_comparison

        embedded: list[ImageEmbeddings] = []

        def on_progress(progress: "ComparisonProgress") -> None:
            on_fraction(
                progress.method if folder is None else f"{progress.image}: {progress.method}", progress.share
            )

        def keep(image: "ImageEmbeddings", _scores: "ScoredImage") -> None:
            embedded.append(image)

        comparison = compare(
            request,
            on_progress,
            embeddings=embeddings,
            encoders={spec.name: self._encoders.get(spec) for spec in specs},
            folder=folder,
            on_image=keep if folder is None else ImageWriter(folder, _FIGURES),
        )
        if folder is not None:
            write_comparison(comparison, folder)
        advice = advise(comparison)
        findings: tuple[Finding, ...] = (
            *tables_of(comparison),
            *plots_of(comparison),
            replace(advice.table, notes=()),
        )
        return ComparisonResult(findings, advice.sentences, comparison, next(iter(embedded), None))


@dataclass(frozen=True, eq=False, slots=True)
class ComparisonJob:
    """A comparison, captured when it is submitted.

    Parameters
    ----------
    request
        Function that makes the request; on a thread, since listing a folder takes a while.
    specs
        Encoders that are compared.
    comparer
        Service that compares them.
    embeddings
        Embeddings that exist already.
    folder
        Folder that everything is written into; None for a region, of which nothing is.
    """

    request: Callable[[], ComparisonRequest]
    specs: tuple[EncoderSpec, ...]
    comparer: Comparer
    embeddings: Embeddings = field(default_factory=dict)
    folder: Path | None = None

    def __call__(self, context: TaskContext) -> ComparisonResult:
        """Compare, reporting progress."""

        def report(what: str, fraction: float) -> None:
            context.token.check()
            context.report(RunProgress(f"Comparing: {what}" if what else "Comparing", fraction))

        report("", 0.0)
        request = self.request()
        return self.comparer(request, self.specs, report, embeddings=self.embeddings, folder=self.folder)
