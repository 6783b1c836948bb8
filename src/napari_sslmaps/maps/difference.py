"""The difference of two methods' maps of one region."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from napari_sslmaps.core.regrid import common_grid, regrid_map
from napari_sslmaps.core.results import Float32, Provenance, TokenMap
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.maps.attention import ActivationMap, AttentionMap
from napari_sslmaps.maps.map_type import Facts, MapType
from napari_sslmaps.maps.similarity import SimilarityMap

DifferenceScale = Literal["plain", "ranks"]


@dataclass(frozen=True, eq=False, kw_only=True)
class DifferenceMap(TokenMap):
    """First map less second, on the coarser of their grids; `provenance` is the first one's.

    Parameters
    ----------
    against
        Provenance of the second.
    kind
        ``similarity``, ``attention`` or ``activation``; ``attention and activation`` where one is of a CNN.
    scale
        ``plain`` for the difference of the values, ``ranks`` for that of their percentile ranks.
    value_range
        Ends of what the difference can be; symmetric about 0.
    """

    against: Provenance
    kind: str
    scale: DifferenceScale
    value_range: tuple[float, float]


def difference_map(first: TokenMap, second: TokenMap) -> DifferenceMap:
    """Subtract the second of two maps of one region from the first.

    Similarities are subtracted as they are: a cosine means the same in every encoder's range. Attention and
    activation are subtracted as percentile ranks in [0, 1]: a token's attention falls with the number of
    tokens, and an activation has no scale at all, so that their differences would mirror scales alone. Ties
    share their mean rank; ranks are among tokens that both maps know.

    Parameters
    ----------
    first, second
        Maps to subtract, both of similarity, or each of attention or activation. Of different strides, the
        finer one is brought to the coarser one's grid by area-weighted means.

    Returns
    -------
    DifferenceMap
        Map of values (rows, cols) float32, NaN where one is unknown: in [−2, 2] for similarity ([−4, 4] for
        margins with negative anchors), in [−1, 1] for ranks.

    Raises
    ------
    InvalidOptionError
        If the kinds do not match.
    RegionError
        If the maps are of different regions.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> rng = np.random.default_rng(0)
    >>> first, second = (ssl.Embedding.from_tokens(rng.normal(size=(4, 4, 8)), name=name) for name in "ab")
    >>> maps = [ssl.similarity_map(one, [(8, 8)], centred=True) for one in (first, second)]
    >>> difference = ssl.difference_map(*maps)
    >>> bool(np.allclose(difference.values, maps[0].values - maps[1].values))
    True
    """
    kind = _kind(first, second)
    grid = common_grid([first.grid, second.grid])
    one, other = (regrid_map(found, grid).values for found in (first, second))
    if isinstance(first, SimilarityMap) and isinstance(second, SimilarityMap):
        values = one - other
        scale: DifferenceScale = "plain"
        end = max(first.value_range[1], second.value_range[1]) * 2
    else:
        known = np.isfinite(one) & np.isfinite(other)
        values = np.full(grid.shape, np.nan, np.float32)
        values[known] = percentile_ranks(one[known]) - percentile_ranks(other[known])
        scale, end = "ranks", 1.0
    return DifferenceMap(
        values=np.asarray(values, np.float32),
        grid=grid,
        provenance=first.provenance,
        against=second.provenance,
        kind=kind,
        scale=scale,
        value_range=(-end, end),
    )


def percentile_ranks(values: Float32) -> Float32:
    """Share of (n,) values below each, with half of its equals, itself among them; in (0, 1)."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (counts.cumsum() - counts / 2) / max(1, values.size)
    return ranks.astype(np.float32)[place]


def _kind(first: TokenMap, second: TokenMap) -> str:
    kinds = [_name(found) for found in (first, second)]
    if kinds[0] == kinds[1]:
        return kinds[0]
    if set(kinds) == {"attention", "activation"}:
        return "attention and activation"
    raise InvalidOptionError(
        f"Expected two maps of one kind to subtract; got {kinds[0]} and {kinds[1]}. Show the same map of "
        "both methods."
    )


def _name(found: TokenMap) -> str:
    kinds = {SimilarityMap: "similarity", AttentionMap: "attention", ActivationMap: "activation"}
    for kind, name in kinds.items():
        if isinstance(found, kind):
            return name
    raise InvalidOptionError(
        f"Expected similarity, attention or activation to subtract; got a {type(found).__name__}. "
        "Components of different encoders have no common axes, and labels no difference."
    )


def _facts(result: DifferenceMap) -> dict[str, Any]:
    return {
        "of": result.kind,
        "first": result.provenance.encoder,
        "second": result.against.encoder,
        "scale": result.scale,
        "value_range": list(result.value_range),
        "against": result.against.to_dict(),
    }


def _caption(facts: Facts) -> str:
    scale = "percentile ranks of " if facts["scale"] == "ranks" else ""
    return f"{scale}{facts['of']}: red where {facts['first']} is higher, blue where {facts['second']}"


def _variant(result: DifferenceMap) -> MapType:
    return replace(DIFFERENCE, title=f"difference of {result.kind}")


DIFFERENCE = MapType(
    key="difference",
    result=DifferenceMap,
    colormap="RdBu_r",
    opacity=0.75,
    rule="symmetric",
    selectable=False,
    facts=_facts,
    caption=_caption,
    variant=_variant,
)
