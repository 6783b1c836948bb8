"""Outcome of a run; no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from napari_sslmaps.core.frames import FrameMap
from napari_sslmaps.core.results import Embedding, TokenMap
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.figures.run_figure import FigureRow, Picture
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.maps.attention import AttentionStack
from napari_sslmaps.maps.difference import DifferenceMap
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.maps.make import (
    MapRequest,
    Maps,
    differences,
    fit_each_together,
    fit_together,
    make_maps,
    similarity_to_groups,
)
from napari_sslmaps.maps.pca import ComponentBasis
from napari_sslmaps.maps.similarity import SimilarityMap
from napari_sslmaps.records.run import ImageRecord
from napari_sslmaps.run.request import RunRequest

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder


@dataclass(frozen=True, eq=False, slots=True)
class EncoderOutcome:
    """Outcome of one encoder, or a control of it.

    Parameters
    ----------
    choice, spec, precision
        Encoder, its entry in the list, and the precision it ran in.
    embedding
        Tokens of the encoder.
    maps
        Maps by key of `MAP_TYPES`, those that it gives of the wanted ones.
    stack
        Attention of every head, where the embedding does not hold what was asked for.
    group_similarity
        Similarity to each group that has anchors, by its name.
    frames
        Maps of every frame, by key of `MAP_TYPES`, where frames are asked for.
    """

    choice: EncoderChoice
    spec: EncoderSpec
    precision: str
    embedding: Embedding
    maps: Mapping[str, TokenMap]
    stack: AttentionStack | None = None
    group_similarity: Mapping[str, SimilarityMap] = field(default_factory=dict)
    frames: Mapping[str, FrameMap] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name in figures and files."""
        return self.embedding.provenance.encoder if self.choice.control else self.spec.name

    @property
    def title(self) -> str:
        """The method, or the kind of control."""
        return self.choice.control.capitalize() or METHODS[self.spec.method].title

    @property
    def heads(self) -> AttentionStack | Embedding | None:
        """Source of the attention of every head; None if there is none."""
        held = self.embedding if "attention" in self.maps else None
        return self.stack or held

    @property
    def row(self) -> FigureRow:
        """Its row of the figure."""
        depth = self.embedding.provenance.depth
        return FigureRow(self.title, f"{self.name}, {depth}" if depth else self.name, self.maps)


@dataclass(frozen=True, eq=False, slots=True)
class RunOutcome:
    """Outcome of a run, before anything is written.

    `differences` has the maps that two encoders differ by, by kind; `frames` and `frame_pictures` are the
    frames that are asked for.
    """

    request: RunRequest
    image: ImageRecord
    picture: Picture
    encoders: tuple[EncoderOutcome, ...]
    differences: Mapping[str, DifferenceMap] = field(default_factory=dict)
    reference: ImageRecord | None = None
    frames: tuple[int, ...] = ()
    frame_pictures: tuple[Picture, ...] = ()


def outcome_of(
    choice: EncoderChoice,
    encoder: "Encoder",
    embedding: Embedding,
    request: RunRequest,
    *,
    stack: AttentionStack | None = None,
    reference: Embedding | None = None,
) -> EncoderOutcome:
    """Make the maps of one encoder; `fit_outcomes` turns those of several towards each other.

    Parameters
    ----------
    choice, encoder, embedding
        Encoder and its tokens; for a control, the encoder it belongs to.
    request
        Anchors, groups, bases and options.
    stack
        Attention that `attention_stack` returned.
    reference
        Tokens of the image that the anchors lie in, if it is another one.
    """
    name, groups = embedding.provenance.encoder, request.groups
    basis = basis_of(choice, embedding, request)
    wanted = MapRequest(
        request.options.keys,
        request.options.maps,
        AnchorGroup("anchors", anchors=request.anchors, negative=request.negative),
        groups if any(group.anchors for group in groups) else (),
        {} if basis is None else {name: basis},
        None if reference is None else {name: reference},
    )
    return EncoderOutcome(
        choice=choice,
        spec=encoder.spec,
        precision=encoder.precision,
        embedding=embedding,
        maps=make_maps({name: embedding}, wanted, stacks={} if stack is None else {name: stack})[name],
        stack=stack,
        group_similarity=similarity_to_groups(embedding, wanted, reference),
    )


def basis_of(choice: EncoderChoice, embedding: Embedding, request: RunRequest) -> ComponentBasis | None:
    """Return the basis of a request that belongs to an encoder, if there is one."""
    return next((basis for basis in request.bases if _belongs(basis, choice, embedding)), None)


def fit_outcomes(outcomes: Sequence[EncoderOutcome], request: RunRequest) -> tuple[EncoderOutcome, ...]:
    """Return outcomes whose maps are turned towards each other, where the options ask for it.

    Raises
    ------
    InvalidOptionError
        If a basis of the request belongs to none of the encoders.
    """
    for basis in request.bases:
        if not any(_belongs(basis, outcome.choice, outcome.embedding) for outcome in outcomes):
            names = ", ".join(outcome.name for outcome in outcomes)
            raise InvalidOptionError(
                f"Expected a PCA basis of one of the encoders ({names}); got one of {basis.encoder!r}, or of "
                "other weights. Components belong to one encoder: give its basis, or run that encoder, too."
            )
    fitted = fit_together(dict(enumerate(outcome.maps for outcome in outcomes)), request.options.maps)
    several = fit_each_together(
        {
            index: {key: frames.maps for key, frames in outcome.frames.items()}
            for index, outcome in enumerate(outcomes)
            if outcome.frames
        },
        request.options.maps,
    )
    return tuple(
        _fitted(outcome, fitted[index], several.get(index, {})) for index, outcome in enumerate(outcomes)
    )


def _fitted(outcome: EncoderOutcome, maps: Maps, several: Mapping[str, Sequence[TokenMap]]) -> EncoderOutcome:
    """Return an outcome with fitted maps; the figure's frame has its part of those of all frames."""
    frames = {key: replace(outcome.frames[key], maps=tuple(found)) for key, found in several.items()}
    region = outcome.embedding.provenance.region
    at = 0 if region is None else region.frame
    own = {key: found.maps[found.frames.index(at)] for key, found in frames.items()}
    return replace(outcome, maps={**maps, **own}, frames=frames)


def _belongs(basis: ComponentBasis, choice: EncoderChoice, embedding: Embedding) -> bool:
    """Whether a basis is of an encoder, whatever that is called by now; controls have bases of their own."""
    made = embedding.provenance
    if choice.control or not basis.weights_sha256:
        return basis.encoder == made.encoder
    return basis.weights_sha256 == made.weights_sha256


def differences_of(outcomes: Sequence[EncoderOutcome], pair: Sequence[str]) -> dict[str, DifferenceMap]:
    """Subtract the maps of the second of two encoders from those of the first, by kind; none of no pair.

    Raises
    ------
    InvalidOptionError
        If they are not two of the encoders.
    """
    if not pair:
        return {}
    called = {outcome.choice.name: outcome for outcome in outcomes if not outcome.choice.control}
    called |= {outcome.name: outcome for outcome in outcomes}
    found = [called[name] for name in pair if name in called]
    if len(pair) != 2 or len(found) != 2 or found[0] is found[1]:
        names = ", ".join(outcome.name for outcome in outcomes)
        raise InvalidOptionError(
            f"Expected two of the encoders to subtract ({names}); got {', '.join(pair)}. Name them as they "
            "are called there."
        )
    return differences(found[0].maps, found[1].maps)
