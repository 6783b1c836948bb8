"""What is compared, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from napari_sslmaps.core.attention import AttentionStack
from napari_sslmaps.core.difference import DifferenceMap
from napari_sslmaps.core.groups import AnchorGroup, GroupMap
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import (
    ActivationMap,
    AttentionMap,
    ComponentBasis,
    ComponentMap,
    Embedding,
    SimilarityMap,
)
from napari_sslmaps.encoders.catalog import METHOD_INFO, NAMES, names_for
from napari_sslmaps.encoders.hashes import hash_path
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.spec import Domain, EncoderSpec
from napari_sslmaps.errors import InvalidOptionError, UnsupportedImageError
from napari_sslmaps.export.figure import FigureRow, Picture
from napari_sslmaps.export.record import ImageRecord, MaskRecord, Points, RunOptions
from napari_sslmaps.pipeline.masks import FoundMask
from napari_sslmaps.sources.colour import is_grey
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.samples import SAMPLES, Sample

SAMPLE_PREFIX = "sample:"


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """An encoder to run.

    Parameters
    ----------
    name
        A name of `list_encoders`, or the path of a weight file or folder.
    overrides
        Keywords of `load_encoder` that correct what the file says.
    precision
        Instead of the run's, where it was resolved before.
    control
        Kind of the encoder's control to run in its place; empty for the encoder itself.
    """

    name: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    precision: str | None = None
    control: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """Another image, whose tokens under the anchors are looked for.

    Parameters
    ----------
    image, region, mask
        As in `RunRequest`.
    """

    image: str
    region: Region | None = None
    mask: MaskRecord | None = None


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to compare.

    Parameters
    ----------
    image
        A path, or ``sample:histology``, ``sample:ultrasound``.
    encoders
        At least one.
    anchors, negative
        (row, column) pixels of level 0; without anchors there is no similarity map.
    region
        None for the whole image.
    options
        How.
    groups
        Named groups of anchors: each gives a similarity map, and all of them a map of labels.
    bases
        PCA bases that are applied to the encoders they belong to, instead of a fit.
    mask
        File that says which tokens are wanted; None for all, or for what ``options.mask`` finds.
    reference
        Image that all anchors lie in; None if it is the image itself.
    """

    image: str
    encoders: tuple[EncoderChoice, ...]
    anchors: Points = ()
    negative: Points = ()
    region: Region | None = None
    options: RunOptions = field(default_factory=RunOptions)
    groups: tuple[AnchorGroup, ...] = ()
    bases: tuple[ComponentBasis, ...] = ()
    mask: MaskRecord | None = None
    reference: Reference | None = None


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


def choose_encoders(names: Sequence[str], corrections: Overrides) -> tuple[EncoderChoice, ...]:
    """Choose encoders by name or path, and correct the weight files among them.

    Parameters
    ----------
    names
        As `EncoderChoice` takes them.
    corrections
        What the user knows better than the files; embedded encoders and controls need none.

    Raises
    ------
    InvalidOptionError
        If there are corrections, but no weight file to correct.
    """
    choices = tuple(
        EncoderChoice(name) if name in NAMES else EncoderChoice(name, corrections.given) for name in names
    )
    if corrections.given and not any(choice.overrides for choice in choices):
        options = ", ".join(f"--{option.replace('_', '-')}" for option in corrections.given)
        raise InvalidOptionError(
            f"Expected a weight file to correct with {options}; got {', '.join(names) or 'none'}, which "
            "need no correction. Name a file with --encoder, or leave the option out."
        )
    return choices


def wanted_tokens(mask: str) -> tuple[str, MaskRecord | None]:
    """Understand a mask: the name of what is to be found, or a label image.

    Returns
    -------
    tuple
        For ``RunOptions.mask`` and ``RunRequest.mask``; one of them is empty.

    Raises
    ------
    InvalidOptionError
        If it is neither.
    """
    if not mask or mask in get_args(FoundMask):
        return mask, None
    path = Path(mask).expanduser().absolute()
    if not path.is_file():
        raise InvalidOptionError(
            f"Expected a mask {', '.join(get_args(FoundMask))} or a label image; got {mask!r}, and there "
            "is no such file. Check the path."
        )
    return "", MaskRecord(str(path), hash_path(path))


def fitting_encoders(image: str) -> tuple[EncoderChoice, ...]:
    """Return the embedded encoders trained on images like this one: grey or coloured.

    Parameters
    ----------
    image
        As in `RunRequest`.

    Raises
    ------
    UnsupportedImageError
        If it cannot be opened.
    """
    with open_named(image) as source:
        domain: Domain = "ultrasound" if is_grey(source) else "histology"
    return tuple(EncoderChoice(name) for name in names_for(domain))


def open_named(image: str) -> ImageSource:
    """Open the image of a request.

    Raises
    ------
    UnsupportedImageError
        If it cannot be read, or there is no such sample.
    """
    key = _sample_key(image)
    return find_sample(key).open() if key else open_image(Path(image).expanduser().absolute())


def record_of(image: str, source: ImageSource) -> ImageRecord:
    """Say which image this is, with the hash of its file, all of which is read for it.

    Parameters
    ----------
    image, source
        As `open_named` takes it, and what it opened.
    """
    key = _sample_key(image)
    path = find_sample(key).path if key else Path(image).expanduser().absolute()
    return ImageRecord(str(path), hash_path(path), key, source.levels[0].shape_yx, source.spacing_um_yx)


def _sample_key(image: str) -> str:
    return image.removeprefix(SAMPLE_PREFIX) if image.startswith(SAMPLE_PREFIX) else ""


def find_sample(key: str) -> Sample:
    """Return a sample, or raise `UnsupportedImageError` naming them all."""
    if key not in SAMPLES:
        raise UnsupportedImageError(
            f"Expected a sample among {', '.join(SAMPLES)}; got {key!r}. Choose one of these."
        )
    return SAMPLES[key]
