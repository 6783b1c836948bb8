"""Embeddings → maps: for the window, runs, evaluations, batches and figures."""

from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from napari_sslmaps.core.results import Embedding, TokenMap
from napari_sslmaps.errors import InvalidAnchorError, MapUnavailableError
from napari_sslmaps.maps.attention import AttentionStack
from napari_sslmaps.maps.difference import DifferenceMap, difference_map
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.maps.map_type import MapInput, MapType
from napari_sslmaps.maps.pca import ComponentBasis
from napari_sslmaps.maps.registry import MAP_TYPES, MapOptions, standard
from napari_sslmaps.maps.similarity import SimilarityMap, make_similarity

Encoder = TypeVar("Encoder", bound=Hashable)
"""What tells one embedding from another: the name of its encoder, or its place in a list."""
Maps = Mapping[str, TokenMap]
"""By key of `MAP_TYPES`."""
NO_ANCHORS = AnchorGroup("anchors")


@dataclass(frozen=True, slots=True, eq=False)
class MapRequest:
    """Request for maps of every embedding; a snapshot that threads may read.

    Parameters
    ----------
    wanted
        Keys of the wanted maps, as in `MAP_TYPES`.
    options
        Options of all maps.
    anchors
        Anchors that similarity is to.
    groups
        Groups that are told apart; empty for no such map.
    bases
        Principal components to apply, by what tells embeddings apart.
    reference
        Embeddings of another image that the anchors lie in, likewise; None if they lie in this one.
    """

    wanted: tuple[str, ...] = field(default_factory=standard)
    options: MapOptions = field(default_factory=MapOptions)
    anchors: AnchorGroup = NO_ANCHORS
    groups: tuple[AnchorGroup, ...] = ()
    bases: Mapping[Any, ComponentBasis] = field(default_factory=dict)
    reference: Mapping[Any, Embedding] | None = None


def make_maps(
    embeddings: Mapping[Encoder, Embedding],
    request: MapRequest,
    *,
    stacks: Mapping[Encoder, AttentionStack] | None = None,
    joint: Mapping[Encoder, Sequence[Embedding]] | None = None,
    previous: Mapping[Encoder, Maps] | None = None,
    partial: bool = False,
) -> dict[Encoder, dict[str, TokenMap]]:
    """Make the wanted maps of each embedding, as far as it gives them.

    Parameters
    ----------
    embeddings
        Tokens of one region, by one encoder each.
    request
        Wanted maps, their options and anchors.
    stacks
        Attention that embeddings do not hold.
    joint
        Embeddings of other images by the same encoder, for what is fitted to all of them.
    previous
        Maps that were shown before; colours follow it where they are free.
    partial
        Whether to leave out maps that cannot be made yet, as tokens under anchors are still to come.

    Returns
    -------
    dict
        Encoder → key → map.

    Raises
    ------
    InvalidAnchorError
        If an anchor lies outside the region, or on a token that was not computed.
    """
    made: dict[Encoder, dict[str, TokenMap]] = {}
    kinds = [kind for kind in MAP_TYPES.values() if kind.slot in request.wanted]
    for encoder, embedding in embeddings.items():
        given = MapInput(
            embedding,
            request.options,
            request.anchors,
            request.groups,
            stack=(stacks or {}).get(encoder),
            basis=request.bases.get(encoder),
            others=_alike(embedding, (joint or {}).get(encoder, ())),
        )
        before = (previous or {}).get(encoder, {})
        maps = made[encoder] = {}
        for kind in kinds:
            with suppress(*((InvalidAnchorError, MapUnavailableError) if partial else ())):
                found = _make(kind, replace(given, previous=before.get(kind.key)), encoder, request)
                if found is not None:
                    maps[kind.key] = found
    return fit_together(made, request.options)


def fit_together(made: Mapping[Encoder, Maps], options: MapOptions) -> dict[Encoder, dict[str, TokenMap]]:
    """Return maps of several encoders, those turned towards each other that the options ask for.

    Parameters
    ----------
    made
        Encoder → key → map; colours follow those of the first encoder.
    options
        Options of all maps.
    """
    several = {encoder: {key: (result,) for key, result in maps.items()} for encoder, maps in made.items()}
    return {
        encoder: {key: result for key, (result,) in maps.items()}
        for encoder, maps in fit_each_together(several, options).items()
    }


def fit_each_together(
    made: Mapping[Encoder, Mapping[str, Sequence[TokenMap]]], options: MapOptions
) -> dict[Encoder, dict[str, Sequence[TokenMap]]]:
    """Return maps of several frames, as `fit_together` those of one: all frames are turned alike."""
    fitted = {encoder: dict(maps) for encoder, maps in made.items()}
    for kind in MAP_TYPES.values():
        there = [encoder for encoder in fitted if kind.key in fitted[encoder]]
        if kind.together is not None and len(there) > 1:
            turned = kind.together([fitted[encoder][kind.key] for encoder in there], options)
            for encoder, result in zip(there, turned, strict=True):
                fitted[encoder][kind.key] = result
    return fitted


def similarity_to_groups(
    embedding: Embedding, request: MapRequest, reference: Embedding | None = None
) -> dict[str, SimilarityMap]:
    """Make a map of similarity to each group that has anchors, by its name."""
    made = {
        group.name: make_similarity(MapInput(embedding, request.options, group, reference=reference))
        for group in request.groups
    }
    return {name: result for name, result in made.items() if result is not None}


def differences(first: Maps, second: Maps) -> dict[str, DifferenceMap]:
    """Subtract one encoder's maps from another's, by the slot of the map."""
    slots = {MAP_TYPES[key].slot: result for key, result in second.items()}
    return {
        slot: difference_map(result, slots[slot])
        for key, result in first.items()
        if (slot := MAP_TYPES[key].slot) in slots and MAP_TYPES[key].subtractable
    }


def _make(kind: MapType, given: MapInput, encoder: Encoder, request: MapRequest) -> TokenMap | None:
    if kind.make is None:
        return None
    if kind.needs_anchors and request.reference is not None:
        given = replace(given, reference=_reference(encoder, request.reference))
    return kind.make(given)


def _reference(encoder: Encoder, embeddings: Mapping[Any, Embedding]) -> Embedding:
    if encoder not in embeddings:
        raise InvalidAnchorError(
            f"Expected the image with the anchors to be embedded by {encoder}, too. Run it there first."
        )
    return embeddings[encoder]


def _alike(embedding: Embedding, others: Sequence[Embedding]) -> tuple[Embedding, ...]:
    weights = embedding.provenance.weights_sha256
    return tuple(other for other in others if other.provenance.weights_sha256 == weights)
