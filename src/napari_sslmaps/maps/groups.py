"""Named groups of anchors, and the map of which group each token is most like."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.arguments import check_fields
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Embedding, TokenMap
from napari_sslmaps.core.scale import TokenScale, averaged_over
from napari_sslmaps.errors import InvalidAnchorError, InvalidOptionError
from napari_sslmaps.maps.map_type import (
    Facts,
    MapInput,
    MapType,
    centred_words,
    scale_facts,
    scale_words,
    where_words,
)
from napari_sslmaps.maps.similarity import similarity_map
from napari_sslmaps.serialise import strict

Point = tuple[float, float]


@strict
@dataclass(frozen=True, slots=True)
class AnchorGroup:
    """Anchors that mean one thing.

    Parameters
    ----------
    name
        Name of what they mean, for example ``gland``.
    colour
        Colour of its anchors and its label, as ``#rrggbb``; empty for one of the viewer's choice.
    anchors
        (row, column) pixels of level 0 that belong to it.
    negative
        (row, column) pixels of level 0 that it is to be unlike.

    Raises
    ------
    InvalidOptionError
        If there is no name, or the colour is not written so.

    Examples
    --------
    >>> import napari_sslmaps as ssl
    >>> gland = ssl.AnchorGroup("gland", "#e69f00", anchors=[(120, 200), (96.5, 40)], negative=[(10, 10)])
    >>> gland.name, len(gland.anchors)
    ('gland', 2)
    """

    name: str
    colour: str = ""
    anchors: Sequence[Point] = ()
    negative: Sequence[Point] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.name.strip():
            raise InvalidOptionError("Expected a name for the group of anchors; got none. Give it one.")
        if self.colour and not re.fullmatch("#[0-9a-fA-F]{6}", self.colour):
            raise InvalidOptionError(f"Expected a colour such as #1f77b4; got {self.colour!r}.")
        for name in ("anchors", "negative"):
            points = tuple((float(row), float(col)) for row, col in getattr(self, name))
            object.__setattr__(self, name, points)


@dataclass(frozen=True, eq=False, kw_only=True)
class GroupMap(TokenMap):
    """Group that each token is most like; `values` is the similarity to that group.

    Parameters
    ----------
    labels
        (rows, cols) int32: 1 for the first of `groups`, and so on; 0 for none.
    margin
        (rows, cols) float32 ≥ 0, by how much the similarity decided; NaN where not computed. Of a token in a
        group: above the next group, or above `least`; of one in none: below `least`.
    groups
        Groups as they were given.
    least
        Similarity that a token of a group exceeds.
    centred
        Whether the region's mean token was subtracted first.
    scale
        Standard deviation, in pixels, of the Gaussian that tokens were averaged over; 0 for none.
    reference
        Name of the image that the anchors were taken in, if it is another one.
    """

    labels: NDArray[np.int32]
    margin: NDArray[np.float32]
    groups: tuple[AnchorGroup, ...]
    least: float = 0.0
    centred: bool = False
    scale: float = 0.0
    reference: str = ""


def group_map(  # noqa: PLR0913  # a public call; its options are keywords
    embedding: Embedding,
    groups: Sequence[AnchorGroup],
    *,
    least: float = 0.0,
    centred: bool = True,
    radius: float = 0.0,
    scale: float | str = 0.0,
    reference: Embedding | None = None,
    reference_scale: float | str | None = None,
) -> GroupMap:
    """Give each token the group whose anchors it is most like.

    A token's similarity to a group is the largest cosine to its anchors, less the largest to its negative
    ones if it has any, as `similarity_map` computes it. Of equals the first group wins.

    Parameters
    ----------
    embedding
        Tokens of a region.
    groups
        Groups, at least one of them with an anchor. A group without anchors keeps its number and gets no
        token.
    least
        Similarity that a token has to exceed to be in a group.
    centred, radius, scale, reference, reference_scale
        Options as `similarity_map` takes them. Without *centred*, most encoders' tokens are like each other,
        and 0 is hardly a threshold.

    Returns
    -------
    GroupMap
        Map of labels, similarity and margin on the token grid.

    Raises
    ------
    InvalidAnchorError
        If no group has an anchor, or one lies outside the region or on a token not computed yet.
    InvalidOptionError
        If two groups have one name.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> tokens = np.zeros((2, 4, 2))
    >>> tokens[:, :2, 0] = tokens[:, 2:, 1] = 1
    >>> groups = ssl.AnchorGroup("left", anchors=[(8, 8)]), ssl.AnchorGroup("right", anchors=[(8, 56)])
    >>> ssl.group_map(ssl.Embedding.from_tokens(tokens, stride=16), groups).labels.tolist()
    [[1, 1, 2, 2], [1, 1, 2, 2]]
    """
    names = [group.name for group in groups]
    if len(set(names)) < len(names):
        raise InvalidOptionError(f"Expected groups of different names; got {', '.join(names)}. Rename one.")
    if not any(group.anchors for group in groups):
        raise InvalidAnchorError("Expected at least one anchor in the groups; got none. Click on the image.")
    pixels = TokenScale.of(scale).pixels(embedding)
    best = np.full(embedding.grid.shape, np.nan, np.float32)
    second = np.full(embedding.grid.shape, least, np.float32)
    labels = np.zeros(embedding.grid.shape, np.int32)
    for number, group in enumerate(groups, start=1):
        if not group.anchors:
            continue
        found = similarity_map(
            embedding,
            group.anchors,
            negative=group.negative,
            combine="max",
            centred=centred,
            radius=radius,
            scale=scale,
            reference=reference,
            reference_scale=reference_scale,
        ).values
        wins = (found > best) | (np.isnan(best) & np.isfinite(found))
        second = np.fmax(second, np.where(wins, best, found))
        best = np.where(wins, found, best)
        labels[wins & (found > least)] = number
    known = np.isfinite(best)
    margin = np.where(labels > 0, best - second, np.float32(least) - best)
    return GroupMap(
        values=best,
        grid=embedding.grid,
        provenance=averaged_over(embedding.provenance, pixels),
        labels=labels,
        margin=np.where(known, margin, np.float32(np.nan)),
        groups=tuple(groups),
        least=least,
        centred=centred,
        scale=pixels,
        reference="" if reference is None else reference.provenance.image,
    )


def check_on_grid(groups: Sequence[AnchorGroup], grid: TokenGrid) -> None:
    """Refuse groups of which an anchor lies outside a region.

    Raises
    ------
    InvalidAnchorError
        If one lies outside; the sentence names the group, the anchor and the region.
    """
    for group in groups:
        for position in (*group.anchors, *group.negative):
            if not grid.contains(position):
                (top, left), (height, width) = grid.origin_yx, grid.extent_yx
                raise InvalidAnchorError(
                    f"Expected the anchors of {group.name!r} on the region, rows {top:g}–{top + height:g} "
                    f"and columns {left:g}–{left + width:g}; one is at ({position[0]:g}, {position[1]:g}). "
                    "Choose a region that holds it, or move the anchor."
                )


def _make(given: MapInput) -> GroupMap | None:
    if not given.groups:
        return None
    return group_map(
        given.embedding,
        given.groups,
        centred=given.options.similarity.centred,
        scale=given.scale,
        reference=given.reference,
        reference_scale=given.reference_scale,
    )


def _facts(result: GroupMap) -> dict[str, Any]:
    return {
        "groups": [asdict(group) for group in result.groups],
        "least": result.least,
        "centred": result.centred,
        "reference": result.reference,
        **scale_facts(result.scale),
    }


def _caption(facts: Facts) -> str:
    names = ", ".join(group["name"] for group in facts["groups"] if group["anchors"])
    return f"which it is most like: {names}{where_words(facts)}{centred_words(facts)}{scale_words(facts)}"


_NO_COLOUR = "#808080"

GROUPS = MapType(
    key="groups",
    result=GroupMap,
    tip="The group of anchors that each token is most like.",
    options="similarity",
    rule="none",
    labels=True,
    needs_anchors=True,
    follows_scale=True,
    make=_make,
    facts=_facts,
    caption=_caption,
    note=lambda result: ", ".join(group.name for group in result.groups if group.anchors),
    palette=lambda result: tuple(group.colour or _NO_COLOUR for group in result.groups),
)
