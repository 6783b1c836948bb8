"""Requests for comparisons: images with their annotation, encoders, controls, and the wanted scores."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_sslmaps.compare.scores import CONTROL_KINDS, DEFAULT_CONTROLS, DEFAULT_SCORES, SCORES
from napari_sslmaps.core.grid import Points
from napari_sslmaps.core.placed_mask import PlacedMask
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.resolution import resolution_of
from napari_sslmaps.encoders.controls import ControlKind
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.records.run import MaskRecord, RunOptions
from napari_sslmaps.sources.channels import Channel
from napari_sslmaps.sources.open_options import OpenOptions
from napari_sslmaps.sources.protocol import ImageSource


@dataclass(frozen=True, slots=True)
class MaskFile:
    """An annotation in a file.

    Parameters
    ----------
    path
        A file that `read_annotation` reads.
    classes
        Names of its classes, by label.
    ignore
        Label whose pixels are left out; if omitted, what `void_label` says.
    sha256
        Hash of the file that was scored against; empty before.
    """

    path: Path
    classes: Mapping[int, str] = field(default_factory=dict)
    ignore: int | None = None
    sha256: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class ComparedImage:
    """One image of a comparison.

    Parameters
    ----------
    name
        Name in tables, and of its folder in the output; ``/`` between folders.
    image
        A path, ``sample:histology``, ``sample:ultrasound``, or an opened image, which stays open.
    annotation
        Class of each pixel: an `Annotation`, or a mask file. None where no score needs one.
    label
        Label of the whole image; empty where no score needs one.
    region
        Region to compare; None for the whole finest level.
    anchors, negative
        (row, column) pixels of level 0 that similarity maps are made of; without anchors there is none.
    groups
        Named anchors, of which a similarity map is made for each group.
    mask
        Mask of the wanted tokens; None for all, or for what ``options.run.mask`` finds.
    channel
        Channels to read; empty for ``options.run.channel``.
    """

    name: str
    image: str | ImageSource
    annotation: Annotation | MaskFile | None = None
    label: str = ""
    region: Region | None = None
    anchors: Points = ()
    negative: Points = ()
    groups: tuple[AnchorGroup, ...] = ()
    mask: PlacedMask | MaskRecord | None = None
    channel: tuple[Channel, ...] = ()


def opening_of(image: ComparedImage, options: RunOptions) -> OpenOptions:
    """Return how an image is opened: by its own channels, if it names some."""
    return replace(options.opening, channel=image.channel or options.channel)


@dataclass(frozen=True, slots=True)
class ComparisonOptions:
    """Options of a comparison.

    Parameters
    ----------
    run
        Options of embeddings and maps. Scores repeat to the last bit in ``float32``, which is why it is the
        default here.
    anchor_count
        Anchors drawn in each image, as many of each class.
    neighbours
        Nearest neighbours whose overlap tells how far two encoders agree.
    perturbations
        Names of `PERTURBATIONS`; all of them if empty.
    draws
        Number of draws of labelled images for label efficiency.
    seed
        Seed of everything that is drawn.
    resolutions
        Resolutions of the scale profile besides ``run.resolution``, each as written there.
    """

    run: RunOptions = field(default_factory=lambda: RunOptions(precision="float32"))
    anchor_count: int = 64
    neighbours: int = 10
    perturbations: tuple[str, ...] = ()
    draws: int = 5
    seed: int = 0
    resolutions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for resolution in self.resolutions:
            resolution_of(resolution, None, None)


@dataclass(frozen=True, slots=True, eq=False)
class ComparisonRequest:
    """Request for a comparison: images, encoders, controls and scores.

    Parameters
    ----------
    images
        Images to compare, at least one, each with a name of its own.
    encoders
        Encoders to compare, at least one.
    controls
        Kinds of `Control` that the encoders have to beat. An ``untrained`` twin and a ``constant`` image cost
        an embedding per encoder, the others next to nothing.
    scores
        Keys of the wanted scores, as in `SCORES`.
    options
        Options of embeddings and scores.
    anonymous
        Whether images are called by their `name` alone, masks by theirs, and text around an ultrasound sector
        is left out of figures.

    Raises
    ------
    InvalidOptionError
        If there is no image or encoder, two images share a name, or a control or score is not known.
    """

    images: tuple[ComparedImage, ...]
    encoders: tuple[EncoderChoice, ...]
    controls: tuple[ControlKind, ...] = DEFAULT_CONTROLS
    scores: tuple[str, ...] = DEFAULT_SCORES
    options: ComparisonOptions = field(default_factory=ComparisonOptions)
    anonymous: bool = False

    def __post_init__(self) -> None:
        if not self.images:
            raise InvalidOptionError("Expected at least one image to compare encoders on; got none.")
        if not self.encoders:
            raise InvalidOptionError("Expected at least one encoder; got none. Name one with --encoder.")
        names = [image.name for image in self.images]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InvalidOptionError(
                f"Expected a name of its own for each image; several are called {twice!r}. Rename one."
            )
        _check_known("scores", self.scores, tuple(SCORES))
        _check_known("controls", self.controls, CONTROL_KINDS)

    def wants(self, *scores: str) -> bool:
        """Whether any of these scores is wanted."""
        return any(score in self.scores for score in scores)


def _check_known(what: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InvalidOptionError(
            f"Expected {what} among {', '.join(known)}; got {', '.join(unknown)}. Choose from these."
        )
