"""A comparison over a folder of images, asked for in the window, made as the command line makes it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from napari_sslmaps.core.findings import Finding
from napari_sslmaps.encoders.baselines import ControlKind
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.viewer.comparison_job import Found, OnShare
from napari_sslmaps.viewer.loaded import LoadedEncoders
from napari_sslmaps.viewer.tasks import TaskContext
from napari_sslmaps.viewer.workspace import Progress

if TYPE_CHECKING:
    from napari_sslmaps.compare.progress import ComparisonProgress
    from napari_sslmaps.compare.request import ComparisonRequest, Score

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
        Of whole images: the path of a CSV, ``subfolders``, or empty for none.
    scores
        Which are wanted.
    out
        Folder of all that is written; a comparison in it is gone on with.
    """

    images: Path
    masks: Path | None
    labels: str
    scores: "tuple[Score, ...]"
    out: Path


class FolderComparer(Protocol):
    """Compares encoders on many images."""

    def __call__(
        self,
        asked: AskedFolder,
        specs: tuple[EncoderSpec, ...],
        controls: tuple[ControlKind, ...],
        on_share: OnShare,
    ) -> Found:
        """Compare and write, on the calling thread."""
        ...


class RoomFolderComparer:
    """Compares by the room ``compare``; what it writes is what ``napari-sslmaps evaluate`` writes.

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
    ) -> Found:
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
        return Found(findings, advice.sentences, comparison)


def _request(
    asked: AskedFolder, specs: tuple[EncoderSpec, ...], controls: tuple[ControlKind, ...]
) -> "ComparisonRequest":
    from napari_sslmaps.compare.listing import ListingOptions, list_images
    from napari_sslmaps.compare.request import ComparisonRequest
    from napari_sslmaps.run.request import EncoderChoice

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

    def __call__(self, context: TaskContext) -> Found:
        """Compare, reporting progress."""

        def told(what: str, share: float) -> None:
            context.token.check()
            context.report(Progress(what, share))

        told("Listing images", 0.0)
        return self.comparer(self.asked, self.specs, self.controls, told)
