"""Clusters of tokens, by k-means: what an encoder tells apart without anchors, as labels."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.arguments import check_seed
from napari_sslmaps.core.results import Embedding, Float32, TokenMap
from napari_sslmaps.core.tokens import token_chunks
from napari_sslmaps.errors import InvalidOptionError, MapUnavailableError
from napari_sslmaps.maps.map_type import Facts, MapInput, MapType, scale_facts, scale_words
from napari_sslmaps.serialise import strict

if TYPE_CHECKING:
    from napari_sslmaps.maps.registry import MapOptions

MOST = 24
"""Clusters at the most: one for each colour."""
_SAMPLE = 32_768
_PALETTE = (
    "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#edc948", "#ff9da7",
    "#9c755f", "#bab0ac", "#1f4e79", "#a85b00", "#2f6b2f", "#8e1b1d", "#6b3d66", "#2f7f79",
    "#b8960b", "#d4526e", "#5f3f2d", "#6f6a66", "#a0cbe8", "#ffbe7d", "#8cd17d", "#d4a6c8",
)  # fmt: skip
Numbers = NDArray[np.int32]


@dataclass(frozen=True, eq=False, kw_only=True)
class ClusterMap(TokenMap):
    """Cluster of each token; `values` is its distance to the cluster's centre.

    Parameters
    ----------
    labels
        (rows, cols) int32 numbers of clusters, from 1; 0 where the token has not been computed.
    centres
        (k, dim) float32 means of the clusters' tokens.
    numbers
        (k,) int32 label of each centre, no two alike; a refit keeps the numbers of centres that it finds
        again.
    joint
        Whether the centres are those of several images.
    matched_to
        Name of the encoder whose numbers these were matched to; empty if they were not.
    """

    labels: Numbers
    centres: Float32
    numbers: Numbers
    joint: bool = False
    matched_to: str = ""


@overload
def cluster_map(
    embeddings: Embedding, count: int = ..., *, previous: ClusterMap | None = ..., seed: int = ...
) -> ClusterMap: ...


@overload
def cluster_map(
    embeddings: Sequence[Embedding], count: int = ..., *, previous: ClusterMap | None = ..., seed: int = ...
) -> list[ClusterMap]: ...


def cluster_map(
    embeddings: Embedding | Sequence[Embedding],
    count: int = 6,
    *,
    previous: ClusterMap | None = None,
    seed: int = 0,
) -> ClusterMap | list[ClusterMap]:
    """Sort tokens into clusters by k-means (MiniBatchKMeans of scikit-learn).

    Centres are fitted to at most 32 768 tokens, evenly spaced; every token then gets the label of the
    nearest centre. The largest cluster is number 1, unless `previous` says otherwise.

    Parameters
    ----------
    embeddings
        Embedding, or several of one encoder, frames or images, which then share their clusters.
    count
        Number of clusters, from 2 to 24.
    previous
        An earlier map by the same encoder: each centre takes over the number of the nearest earlier one, by
        the pairing with the smallest sum of distances, so that colours stay.
    seed
        Seed of the start of k-means.

    Returns
    -------
    ClusterMap or list of ClusterMap
        Map of one embedding, or a list of maps for a list; labels (rows, cols) int32 from 1, values (rows,
        cols) float32, the distance to the cluster's centre.

    Raises
    ------
    InvalidOptionError
        If the count is not permitted, the list is empty or mixes encoders.
    MapUnavailableError
        If there are fewer tokens than clusters.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> tokens = np.random.default_rng(0).normal(size=(8, 8, 4))
    >>> tokens[:, 3:] += 6
    >>> result = ssl.cluster_map(ssl.Embedding.from_tokens(tokens), 2)
    >>> result.labels[0].tolist()
    [2, 2, 2, 1, 1, 1, 1, 1]
    """
    several = [embeddings] if isinstance(embeddings, Embedding) else list(embeddings)
    _check(several, count)
    centres = _fit(several, count, seed)
    nearest = [_assign(item, centres) for item in several]
    sizes = np.bincount(np.concatenate([labels[labels >= 0] for labels, _ in nearest]), minlength=count)
    numbers = _numbers(centres, sizes, previous if _fits(previous, several[0]) else None)
    maps = [
        ClusterMap(
            values=distances.reshape(item.grid.shape),
            grid=item.grid,
            provenance=item.provenance,
            labels=np.where(labels < 0, 0, numbers[labels]).astype(np.int32).reshape(item.grid.shape),
            centres=centres,
            numbers=numbers,
            joint=len(several) > 1,
        )
        for item, (labels, distances) in zip(several, nearest, strict=True)
    ]
    return maps[0] if isinstance(embeddings, Embedding) else maps


def match_clusters(maps: Sequence[ClusterMap], to: int = 0) -> list[ClusterMap]:
    """Renumber the clusters of each map so that they share as many tokens as they can with those of one.

    Clusters of different encoders have nothing in common but the tokens they cover. The pairing is the one
    with the most tokens in common (Kuhn 1955, doi 10.1002/nav.3800020109); of encoders of different stride,
    each token is compared with the one that covers its centre.

    Parameters
    ----------
    maps
        Maps of one region, by any encoders.
    to
        Index of the map whose numbers stay.
    """
    target = maps[to]
    return [found if index == to else _match([found], [target])[0] for index, found in enumerate(maps)]


def _check(embeddings: list[Embedding], count: int) -> None:
    if not 2 <= count <= MOST:
        raise InvalidOptionError(f"Expected from 2 to {MOST} clusters; got {count}.")
    if not embeddings:
        raise InvalidOptionError("Expected at least one embedding to cluster; got none.")
    if len({(item.provenance.encoder, item.provenance.weights_sha256) for item in embeddings}) > 1:
        names = ", ".join(sorted({item.provenance.encoder for item in embeddings}))
        raise InvalidOptionError(
            f"Expected embeddings of one encoder for common clusters; got {names}. Make one map each, and "
            "match their numbers."
        )


def _fit(embeddings: list[Embedding], count: int, seed: int) -> Float32:
    check_seed(seed)
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    each = _SAMPLE // len(embeddings)
    sample = np.concatenate([_spread(item, each) for item in embeddings])
    if len(sample) < count:
        raise MapUnavailableError(
            f"Expected at least {count} tokens for as many clusters; got {len(sample)}. Choose a larger "
            "region, or fewer clusters."
        )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # where fewer tokens differ than there are clusters
        fitted = MiniBatchKMeans(count, random_state=seed, n_init=3).fit(sample)
    return np.asarray(fitted.cluster_centers_, np.float32)


def _spread(embedding: Embedding, most: int) -> Float32:
    """Return at most so many known tokens, evenly spaced."""
    flat = embedding.flat
    step = -(-len(flat) // most)
    found: Float32 = np.asarray(flat[::step], np.float32)
    return found[np.isfinite(found[:, 0])]


def _assign(embedding: Embedding, centres: Float32) -> tuple[NDArray[np.intp], Float32]:
    """Return the index of each token's nearest centre, −1 where it is not known, and the distance to it."""
    flat, lengths = embedding.flat, np.square(centres).sum(axis=1)
    labels, distances = np.empty(len(flat), np.intp), np.empty(len(flat), np.float32)
    for place, tokens in token_chunks(flat):
        squares = lengths - 2 * tokens @ centres.T
        labels[place] = squares.argmin(axis=1)
        own = np.take_along_axis(squares, labels[place][:, None], axis=1)[:, 0]
        distances[place] = np.sqrt(np.maximum(own + np.vecdot(tokens, tokens), 0))
        labels[place][~np.isfinite(own)] = -1
    return labels, distances


def _numbers(centres: Float32, sizes: NDArray[np.intp], previous: ClusterMap | None) -> Numbers:
    """Return the label of each centre: that of the earlier one it is paired with, else a free one."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    numbers = np.zeros(len(centres), np.int32)
    if previous is not None:
        own, earlier = linear_sum_assignment(cdist(centres, previous.centres))
        numbers[own] = previous.numbers[earlier]
    return _fill(numbers, sizes)


def _fill(numbers: Numbers, sizes: NDArray[np.intp]) -> Numbers:
    """Give centres without a number the free ones, the largest first."""
    free = (number for number in range(1, MOST + 1) if number not in numbers)
    filled = numbers.copy()
    for index in np.argsort(-sizes, kind="stable"):
        if not filled[index]:
            filled[index] = next(free)
    return filled


def _fits(previous: ClusterMap | None, embedding: Embedding) -> bool:
    """Whether centres of an earlier map lie in the space of these tokens."""
    if previous is None or previous.centres.shape[1] != embedding.tokens.shape[-1]:
        return False
    before, now = previous.provenance, embedding.provenance
    return (before.encoder, before.weights_sha256) == (now.encoder, now.weights_sha256)


def _match(frames: Sequence[ClusterMap], target: Sequence[ClusterMap]) -> list[ClusterMap]:
    """Give clusters that were found in one frame or several the numbers of those they share tokens with."""
    from scipy.optimize import linear_sum_assignment

    common = sum(_shared_tokens(found, other) for found, other in zip(frames, target, strict=True))
    numbers = np.zeros_like(frames[0].numbers)
    own, other = linear_sum_assignment(common, maximize=True)
    numbers[own] = target[0].numbers[other]
    numbers = _fill(numbers, np.asarray(common).sum(axis=1))
    table = np.zeros(MOST + 1, np.int32)
    table[frames[0].numbers] = numbers
    name = target[0].provenance.encoder
    return [replace(found, labels=table[found.labels], numbers=numbers, matched_to=name) for found in frames]


def _shared_tokens(found: ClusterMap, target: ClusterMap) -> NDArray[np.intp]:
    """Count the tokens that each of our clusters shares with each of theirs."""
    rows, cols = (
        np.clip(
            np.round(target.grid.pixel_to_token(found.grid.token_to_pixel(_line(size, axis)))[:, axis]),
            0,
            target.grid.shape[axis] - 1,
        ).astype(int)
        for axis, size in enumerate(found.grid.shape)
    )
    there = target.labels[np.ix_(rows, cols)]
    return np.array(
        [
            [np.sum((found.labels == own) & (there == other)) for other in target.numbers]
            for own in found.numbers
        ]
    )


def _line(size: int, axis: int) -> NDArray[np.float64]:
    line = np.zeros((size, 2))
    line[:, axis] = np.arange(size)
    return line


@strict
@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Options of clustering tokens.

    Parameters
    ----------
    count
        Number of clusters, from 2 to 24.
    basis
        Tokens that the clusters are fitted to: those of this ``region``, or ``joint``, those of all images
        and frames that were embedded.
    matched
        Whether the numbers of all encoders are matched to those of the first.
    """

    count: int = 6
    basis: Literal["region", "joint"] = "region"
    matched: bool = True


def _make(given: MapInput) -> ClusterMap:
    options = given.options.clusters
    others = given.others if options.basis == "joint" else ()
    previous = given.previous if isinstance(given.previous, ClusterMap) else None
    several = [given.averaged(embedding) for embedding in (given.embedding, *others)]
    return cluster_map(several, options.count, previous=previous)[0]


def _together(maps: Sequence[Sequence[ClusterMap]], options: "MapOptions") -> Sequence[Sequence[ClusterMap]]:
    return [maps[0], *(_match(frames, maps[0]) for frames in maps[1:])] if options.clusters.matched else maps


def _facts(result: ClusterMap) -> dict[str, Any]:
    return {
        "count": len(result.numbers),
        "numbers": result.numbers.tolist(),
        "joint": result.joint,
        "matched_to": result.matched_to,
        **scale_facts(result.provenance.scale),
    }


def _caption(facts: Facts) -> str:
    whose = "all images together" if facts["joint"] else "this region"
    matched = f", numbers matched to {facts['matched_to']}" if facts["matched_to"] else ""
    return f"k-means of tokens, {facts['count']} clusters of {whose}{scale_words(facts)}{matched}"


CLUSTERS = MapType(
    key="clusters",
    result=ClusterMap,
    tip="Tokens sorted into clusters by k-means: what an encoder tells apart without anchors.",
    options="clusters",
    rule="none",
    labels=True,
    standard=False,
    follows_scale=True,
    make=_make,
    together=_together,
    spans_encoders=lambda options: options.clusters.basis == "joint" or options.clusters.matched,
    facts=_facts,
    caption=_caption,
    note=lambda result: f"k-means, {len(result.numbers)} clusters",
    palette=lambda _: _PALETTE,
)
