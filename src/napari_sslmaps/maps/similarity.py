"""Similarity maps: the cosine of every token to those of anchors.

Tokens are neither copied nor normalised per click: with a unit anchor vector a,
cos(t, a) = (t · a) / |t|, and the lengths are computed once per embedding. Centred on the mean m,
cos(t − m, b) = (t · b − m · b) / |t − m|.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sslmaps.core.neighbourhood import neighbourhood_of
from napari_sslmaps.core.results import Embedding, Float32, TokenMap
from napari_sslmaps.core.scale import TokenScale, averaged_over
from napari_sslmaps.core.tokens import token_chunks
from napari_sslmaps.core.whole import finite_number
from napari_sslmaps.errors import InvalidAnchorError, InvalidOptionError
from napari_sslmaps.maps.map_type import (
    Display,
    Facts,
    MapInput,
    MapType,
    centred_words,
    scale_facts,
    scale_words,
    where_words,
)
from napari_sslmaps.serialise import strict

Anchors = Sequence[tuple[float, float]] | NDArray[np.floating]
CosineFunction = Callable[[Float32], Float32]
"""Maps a unit direction (dim,) to the cosine of every token to it."""
Combine = Literal["mean", "max"]

COSINES, MARGINS = (-1.0, 1.0), (-2.0, 2.0)
"""What the values can be without negative anchors, and with any."""
RANGE_WORDS = "from −1 to 1; with negative anchors from −2 to 2"
"""What the values can be, in words."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SimilarityMap(TokenMap):
    """Cosine similarity to anchors, in [−1, 1]; with negative anchors a margin in [−2, 2].

    Parameters
    ----------
    anchors, negative
        (row, column) pixel positions.
    centred
        Whether the region's mean token was subtracted first.
    combine
        ``mean`` direction or ``max`` over the anchors.
    scale
        Standard deviation, in pixels, of the Gaussian that tokens were averaged over; 0 for none.
    reference
        Name of the image that the anchors were taken in, if it is another one.
    """

    anchors: tuple[tuple[float, float], ...]
    negative: tuple[tuple[float, float], ...] = ()
    centred: bool = False
    combine: Combine = "mean"
    scale: float = 0.0
    reference: str = ""

    @property
    def value_range(self) -> tuple[float, float]:
        """Range the values can have."""
        return MARGINS if self.negative else COSINES


def similarity_map(  # noqa: PLR0913  # a public call; its options are keywords
    embedding: Embedding,
    anchors: Anchors,
    *,
    negative: Anchors = (),
    combine: Combine = "mean",
    centred: bool = True,
    radius: float = 0.0,
    scale: float | str = 0.0,
    reference: Embedding | None = None,
    reference_scale: float | str | None = None,
) -> SimilarityMap:
    """Cosine similarity of every token to the anchors.

    Parameters
    ----------
    embedding
        Tokens of a region.
    anchors
        (row, column) pixel positions; the token that covers each is the anchor token.
    negative
        (row, column) pixel positions to be unlike. With any, the map is the margin: maximum over anchors
        minus maximum over negative ones, in [−2, 2].
    combine
        Rule for several anchors: their ``mean`` direction, or the ``max`` of their maps. Ignored with
        `negative`.
    centred
        Whether to subtract the region's mean token first: tokens mostly share a large component, which hides
        their differences. Without, the map is the cosine of the tokens as they are.
    radius
        Radius in pixels; above 0, an anchor is the mean direction of the tokens in a disc.
    scale
        Scale in pixels, or text such as ``20um``, ``12px`` or ``5%`` of the region's shorter side; above 0,
        tokens and anchors are averages over a Gaussian of this standard deviation, taken over the tokens that
        are known (`core.neighbourhood`): what a cell, a gland or a region looks like instead of what one
        patch does.
    reference
        Embedding of another image by the same encoder, in which the anchors lie; `embedding` if omitted.
        Centred, each image's own mean token is subtracted: what a whole image shares, such as its stain or
        gain, is then taken away on both sides.
    reference_scale
        The scale of the reference, whose pixels may be of another size; `scale` if omitted.

    Returns
    -------
    SimilarityMap
        Map of values (rows, cols) float32 in [−1, 1]; with negative anchors in [−2, 2].

    Raises
    ------
    InvalidAnchorError
        If there is no anchor, or one lies outside the region or on a token not computed yet.
    InvalidOptionError
        If the reference is by another encoder, or a scale is none.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> tokens = np.array([[[1, 0], [1, 1]], [[0, 1], [-1, 0]]])
    >>> embedding = ssl.Embedding.from_tokens(tokens, stride=16)
    >>> ssl.similarity_map(embedding, [(8, 8)], centred=False).values.round(1)
    array([[ 1. ,  0.7],
           [ 0. , -1. ]], dtype=float32)
    """
    if combine not in get_args(Combine):
        raise InvalidOptionError(f"Expected combine 'mean' or 'max'; got {combine!r}.")
    positive_yx, negative_yx = _positions(anchors), _positions(negative)
    if not positive_yx:
        raise InvalidAnchorError("Expected at least one anchor as a (row, column) pixel position; got none.")
    if reference is not None:
        _check_same_encoder(embedding, reference)
    source = embedding if reference is None else reference
    there = TokenScale.of(scale if reference_scale is None else reference_scale).pixels(source)
    scale = TokenScale.of(scale).pixels(embedding)
    directions = anchor_directions(source, positive_yx, centred=centred, radius=radius, scale=there)
    against = anchor_directions(source, negative_yx, centred=centred, radius=radius, scale=there)
    if scale:
        flat = _compare_averages(
            embedding, directions, against, combine=combine, centred=centred, scale=scale
        )
    else:
        flat = _compare_tokens(embedding, directions, against, combine=combine, centred=centred)
    return SimilarityMap(
        values=flat.reshape(embedding.grid.shape),
        grid=embedding.grid,
        provenance=averaged_over(embedding.provenance, scale),
        anchors=positive_yx,
        negative=negative_yx,
        centred=centred,
        combine=combine,
        scale=scale,
        reference="" if reference is None else reference.provenance.image,
    )


def _compare_tokens(
    embedding: Embedding,
    directions: Float32,
    against: Float32,
    *,
    combine: Combine,
    centred: bool,
) -> Float32:
    norms = embedding.centred_inverse_norms if centred else embedding.inverse_norms
    shift = embedding.mean_token if centred else None
    flat = np.empty(len(norms), np.float32)
    for place, tokens in token_chunks(embedding.flat):
        flat[place] = combine_cosines(
            partial(_cosines, tokens, inverse_norms=norms[place], shift=shift), directions, against, combine
        )
    return flat


def _compare_averages(
    embedding: Embedding,
    directions: Float32,
    against: Float32,
    *,
    combine: Combine,
    centred: bool,
    scale: float,
) -> Float32:
    """Filter the products of tokens instead of the tokens: averages are linear in them."""
    around = neighbourhood_of(embedding, scale)
    norms = around.centred_inverse_norms if centred else around.inverse_norms

    def cosines(direction: Float32) -> Float32:
        averages = around.dot(direction).ravel()
        if centred:
            averages -= around.mean_token @ direction
        averages *= norms
        return np.clip(averages, -1.0, 1.0, out=averages)

    return combine_cosines(cosines, directions, against, combine)


def anchor_directions(
    embedding: Embedding,
    positions: Anchors,
    *,
    centred: bool = False,
    radius: float = 0.0,
    scale: float = 0.0,
) -> Float32:
    """Return the unit vector of each anchor, (number of anchors, dim) float32.

    An all-zero token gives a zero vector, so that its similarity to everything is 0. Options are those of
    `similarity_map`.
    """
    within = finite_number(radius)
    if within is None or within < 0:
        raise InvalidOptionError(f"Expected a radius in pixels, from 0; got {radius!r}.")
    around = neighbourhood_of(embedding, scale) if scale else None
    mean = embedding if around is None else around
    shift = mean.mean_token if centred else np.float32(0)
    directions = np.zeros((len(positions), embedding.tokens.shape[-1]), np.float32)
    for index, position in enumerate(positions):
        rows, cols = embedding.grid.tokens_in_disc(position, within).T
        tokens = (embedding.tokens[rows, cols] if around is None else around.tokens_at(rows, cols)) - shift
        if not np.isfinite(tokens).all():
            raise InvalidAnchorError(
                f"The token under the anchor {tuple(map(float, position))} has not been computed. Wait until "
                "its tile is painted, or run again."
            )
        directions[index] = _unit(_unit(tokens).mean(axis=0))
    return directions


def combine_cosines(
    cosines: CosineFunction, positive: Float32, negative: Float32, combine: Combine
) -> Float32:
    """Combine the maps of several unit directions into one; see `similarity_map`."""
    if len(negative):
        best = np.maximum.reduce([cosines(direction) for direction in positive])
        worst = np.maximum.reduce([cosines(direction) for direction in negative])
        margin: Float32 = best - worst
        return margin
    if combine == "mean":
        return cosines(_unit(positive.mean(axis=0)))
    maximum: Float32 = np.maximum.reduce([cosines(direction) for direction in positive])
    return maximum


def dot_products(tokens: Float32, direction: Float32) -> Float32:
    """Dot product of each of (N, dim) tokens with a direction (dim,).

    A dot per row reads memory as fast as it can be read; a BLAS matrix–vector product of this shape takes
    1.5 to 3 times as long, and wakes threads.
    """
    products: Float32 = np.vecdot(tokens, direction)
    return products


def _cosines(tokens: Float32, direction: Float32, inverse_norms: Float32, shift: Float32 | None) -> Float32:
    products = dot_products(tokens, direction)
    if shift is not None:
        products -= shift @ direction
    products *= inverse_norms
    return np.clip(products, -1.0, 1.0, out=products)


def _unit(vectors: Float32) -> Float32:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Float32 = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths != 0)
    return unit


def _check_same_encoder(embedding: Embedding, reference: Embedding) -> None:
    one, other = embedding.provenance, reference.provenance
    same = (one.encoder, one.weights_sha256) == (other.encoder, other.weights_sha256)
    if not same or embedding.tokens.shape[-1] != reference.tokens.shape[-1]:
        weights = " with other weights" if one.encoder == other.encoder else ""
        raise InvalidOptionError(
            f"Expected the reference by the same encoder, {one.encoder!r}; got one by {other.encoder!r}"
            f"{weights}. Tokens of different encoders cannot be compared: embed the reference image with "
            "that encoder."
        )


def _positions(anchors: Anchors | ArrayLike) -> tuple[tuple[float, float], ...]:
    try:
        array = np.asarray(anchors, dtype=float)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidAnchorError(
            "Expected anchors as a list of (row, column) pixel positions, such as [(120, 340)]; got "
            f"{anchors!r:.60}."
        ) from error
    if array.size == 0:
        return ()
    if array.ndim != 2 or array.shape[1] != 2:
        raise InvalidAnchorError(
            "Expected anchors as a list of (row, column) pixel positions, such as [(120, 340)]; got an array "
            f"of shape {array.shape}."
        )
    return tuple((float(row), float(col)) for row, col in array)


@strict
@dataclass(frozen=True, slots=True)
class SimilarityOptions:
    """Options of computing and showing similarity.

    Parameters
    ----------
    centred
        Whether to subtract the region's mean token first.
    combine
        Rule for several anchors: their mean direction, or the maximum of their maps.
    display
        Contrast ``fixed`` at the range of the cosine, stretched and ``shared`` by all encoders, or
        stretched for ``each`` by itself.
    """

    centred: bool = True
    combine: Combine = "mean"
    display: Display = "shared"


def make_similarity(given: MapInput) -> SimilarityMap | None:
    """Make the map of similarity to a group; None without anchors."""
    options, group = given.options.similarity, given.anchors
    if not group.anchors:
        return None
    return similarity_map(
        given.embedding,
        group.anchors,
        negative=group.negative,
        combine=options.combine,
        centred=options.centred,
        scale=given.scale,
        reference=given.reference,
        reference_scale=given.reference_scale,
    )


def _facts(result: SimilarityMap) -> dict[str, Any]:
    return {
        "anchors": [list(anchor) for anchor in result.anchors],
        "negative": [list(anchor) for anchor in result.negative],
        "centred": result.centred,
        "combine": result.combine,
        "reference": result.reference,
        **scale_facts(result.scale),
    }


def _caption(facts: Facts) -> str:
    made = f"{centred_words(facts)}{scale_words(facts)}"
    if facts.get("pointer"):
        return f"cosine to what is under the pointer{where_words(facts)}{made}"
    positive, negative = len(facts["anchors"]), len(facts["negative"])
    against = f" minus cosine to {negative} negative{'' if negative == 1 else ' ones'}" if negative else ""
    combined = f", {facts['combine']}" if positive > 1 and not negative else ""
    anchors = f"{positive} anchor{'' if positive == 1 else 's'}"
    return f"cosine to {anchors}{against}{where_words(facts)}{made}{combined}"


def _note(result: SimilarityMap) -> str:
    what = "cosine minus negatives" if result.negative else "cosine to anchor"
    if result.scale:
        what = f"{what.replace(' to anchor', '')}, σ {result.scale:.3g} px"
    return f"{what}, centred" if result.centred else what


SIMILARITY = MapType(
    key="similarity",
    result=SimilarityMap,
    tip=f"Cosine of every token to the active group's anchors, {RANGE_WORDS}.",
    options="similarity",
    rule="range",
    shared=True,
    needs_anchors=True,
    follows_scale=True,
    subtractable=True,
    make=make_similarity,
    facts=_facts,
    caption=_caption,
    note=_note,
)
