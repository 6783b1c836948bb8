"""Agreement of two encoders on one region, whatever the directions and scales of their features.

Encoders of different stride are compared on the coarser grid (`core.regrid`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.findings import Table
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.regrid import common_grid, regrid_embedding, spread_tokens
from napari_sslmaps.core.results import Embedding, Float32, Provenance, TokenMap
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.maps.map_type import MapType

LIMIT = 4096
"""Tokens among which neighbours are looked for; a 1024 × 1024 px region of 16 px tokens has as many."""
_MAP_TOKENS = 4 * LIMIT
_CHUNK = 4_000_000
Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class AgreementMap(TokenMap):
    """Share of each token's nearest neighbours that two encoders have in common, in [0, 1].

    Parameters
    ----------
    other
        Provenance of the second encoder's tokens; `provenance` is of the first.
    neighbours
        Number of neighbours that each token has.
    chance
        Share that two unrelated encoders have in common on average, in [0, 1].
    """

    other: Provenance
    neighbours: int
    chance: float


def linear_cka(first: Embedding, second: Embedding) -> float:
    """Linear centred kernel alignment of two encoders' tokens (Kornblith et al. 2019, arXiv 1905.00414).

    With tokens X and Y, centred on their mean, ‖YᵀX‖² / (‖XᵀX‖ · ‖YᵀY‖) in Frobenius norms: 1 for the same
    tokens up to rotation and scale, 0 for uncorrelated ones. It is biased upwards where tokens are few
    against their dimension. Memory is dim × dim; tokens are read in chunks.

    Parameters
    ----------
    first, second
        Embeddings of one region by two encoders. Tokens that one of them lacks are left out.

    Returns
    -------
    float
        Similarity in [0, 1]; NaN where all tokens of an encoder are alike.

    Raises
    ------
    RegionError
        If the regions differ.
    InvalidOptionError
        If they have fewer than two tokens in common.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> tokens = np.random.default_rng(0).normal(size=(8, 8, 4))
    >>> first, second = ssl.Embedding.from_tokens(tokens), ssl.Embedding.from_tokens(-2 * tokens)
    >>> round(ssl.linear_cka(first, second), 4)
    1.0
    """
    (a, b), _ = _on_common_grid([first, second])
    picked = np.flatnonzero(_known(a) & _known(b))
    if len(picked) < 2:
        raise InvalidOptionError(_TOO_FEW.format(least=2, got=len(picked)))
    return _cka(_covariance(a, a, picked), _covariance(b, b, picked), _covariance(a, b, picked))


def mutual_neighbours(first: Embedding, second: Embedding, k: int = 10) -> float:
    """Mean share of each token's k nearest neighbours that two encoders have in common.

    Mutual k-nearest-neighbour alignment (Huh et al. 2024, arXiv 2405.07987), by cosine of tokens less the
    region's mean. Of regions with more than 4096 tokens, those of every n-th row and column are compared,
    n as small as leaves at most 4096.

    Parameters
    ----------
    first, second
        Embeddings of one region by two encoders. Tokens that one of them lacks are left out.
    k
        Number of neighbours, at least 1; their cosine decides, the mean token subtracted.

    Returns
    -------
    float
        Mean share in [0, 1]; k / (tokens − 1) is chance.

    Raises
    ------
    RegionError
        If the regions differ.
    InvalidOptionError
        If they have no more than k tokens in common.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> rng = np.random.default_rng(0)
    >>> first, second = (ssl.Embedding.from_tokens(rng.normal(size=(8, 8, 16))) for _ in range(2))
    >>> ssl.mutual_neighbours(first, first), ssl.mutual_neighbours(first, second) < 0.5
    (1.0, True)
    """
    (a, b), _ = _on_common_grid([first, second])
    keys = spread_tokens(_known(a) & _known(b), a.grid.cols, LIMIT)
    _check_enough(keys, k)
    return float(_overlap(*(_neighbours(e, keys, keys, k) for e in (a, b))).mean())


def neighbour_agreement(first: Embedding, second: Embedding, k: int = 10) -> AgreementMap:
    """Map of the share of each token's k nearest neighbours that two encoders have in common.

    Neighbours are looked for among the tokens that `mutual_neighbours` compares. Regions of more than 16 384
    tokens are averaged to a grid of half the resolution, or a quarter, …, first.

    Parameters
    ----------
    first, second
        Embeddings of one region by two encoders. Tokens that one of them lacks are left out.
    k
        Number of neighbours, at least 1; their cosine decides, the mean token subtracted.

    Returns
    -------
    AgreementMap
        Map of values (rows, cols) float32 in [0, 1]; NaN where one encoder has no token.

    Raises
    ------
    RegionError
        If the regions differ.
    InvalidOptionError
        If they have no more than k tokens in common.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> rng = np.random.default_rng(0)
    >>> first, second = (ssl.Embedding.from_tokens(rng.normal(size=(8, 8, 16)), name=name) for name in "ab")
    >>> agreement = ssl.neighbour_agreement(first, second, k=5)
    >>> agreement.values.shape, bool(agreement.values.min() >= 0 and agreement.values.max() <= 1)
    ((8, 8), True)
    """
    (a, b), grid = _on_common_grid([first, second], most=_MAP_TOKENS)
    both = _known(a) & _known(b)
    keys = spread_tokens(both, grid.cols, LIMIT)
    _check_enough(keys, k)
    queries = np.flatnonzero(both)
    values = np.full(grid.rows * grid.cols, np.nan, np.float32)
    values[queries] = _overlap(*(_neighbours(e, queries, keys, k) for e in (a, b)))
    return AgreementMap(
        values=values.reshape(grid.shape),
        grid=grid,
        provenance=first.provenance,
        other=second.provenance,
        neighbours=k,
        chance=k / (len(keys) - 1),
    )


def agreement_table(embeddings: Mapping[str, Embedding], *, k: int = 10, limit: int = LIMIT) -> Table:
    """Linear CKA and shared neighbours of every pair of encoders.

    Parameters
    ----------
    embeddings
        Two or more of one region, by the name to show.
    k
        Neighbours of each token.
    limit
        Most tokens, of every n-th row and column, that are compared, for CKA too.

    Returns
    -------
    Table
        A row for each pair, the most alike first.

    Raises
    ------
    RegionError
        If the regions differ.
    InvalidOptionError
        If there are fewer than two encoders, or no more than k tokens in common.
    """
    if len(embeddings) < 2:
        raise InvalidOptionError(f"Expected at least two encoders to compare; got {len(embeddings)}.")
    moved, grid = _on_common_grid(list(embeddings.values()))
    known = np.logical_and.reduce([_known(embedding) for embedding in moved])
    keys = spread_tokens(known, grid.cols, limit)
    _check_enough(keys, k)
    own = [_covariance(embedding, embedding, keys) for embedding in moved]
    near = [_neighbours(embedding, keys, keys, k) for embedding in moved]
    names = list(embeddings)
    rows = [
        (
            names[i],
            names[j],
            _cka(own[i], own[j], _covariance(moved[i], moved[j], keys)),
            _cka_by_chance(own[i], own[j], len(keys)),
            float(_overlap(near[i], near[j]).mean()),
        )
        for i, j in combinations(range(len(names)), 2)
    ]
    rows.sort(key=lambda row: -row[4])
    among = f"{len(keys)} of {int(known.sum())} tokens" if len(keys) < known.sum() else f"{len(keys)} tokens"
    return Table(
        title="Agreement of encoders",
        columns=("method", "and", "linear CKA", "CKA by chance", f"shared neighbours (of {k})"),
        rows=tuple(rows),
        notes=(
            f"Over {among} of the coarsest grid; neighbours are by cosine of tokens less their mean.",
            "CKA by chance is its mean over all pairings of the two encoders' tokens at random.",
            f"Unrelated encoders share {k / (len(keys) - 1):.3f} of their neighbours by chance.",
        ),
        key="agreement",
    )


_TOO_FEW = "Expected at least {least} tokens that the encoders share; got {got}. Choose a larger region."


def _check_enough(keys: NDArray[np.intp], k: int) -> None:
    if k < 1:
        raise InvalidOptionError(f"Expected at least one neighbour; got {k}.")
    if len(keys) <= k:
        raise InvalidOptionError(_TOO_FEW.format(least=k + 1, got=len(keys)))


def _on_common_grid(
    embeddings: list[Embedding], most: int | None = None
) -> tuple[list[Embedding], TokenGrid]:
    grid = common_grid([embedding.grid for embedding in embeddings])
    while most is not None and grid.rows * grid.cols > most:
        grid = grid.coarser(1)
    return [_moved(embedding, grid) for embedding in embeddings], grid


def _moved(embedding: Embedding, grid: TokenGrid) -> Embedding:
    if embedding.grid == grid:
        return embedding
    # tokens alone: moving the attention of every head would cost more
    return regrid_embedding(Embedding(embedding.tokens, embedding.grid, embedding.provenance), grid)


def _known(embedding: Embedding) -> NDArray[np.bool_]:
    known: NDArray[np.bool_] = np.isfinite(embedding.tokens[:, :, 0]).ravel()
    return known


def _bands(
    places: NDArray[np.intp], *embeddings: Embedding
) -> Iterator[tuple[NDArray[np.intp], list[Float32]]]:
    """Give the tokens at sorted places, band by band of rows: the places, and each embedding's (n, dim)."""
    rows, cols = embeddings[0].grid.shape
    widest = max(embedding.tokens.shape[-1] for embedding in embeddings)
    step = max(1, _CHUNK // (cols * widest))
    for start in range(0, rows, step):
        first, last = np.searchsorted(places, [start * cols, (start + step) * cols])
        if first == last:
            continue
        inside = places[first:last] - start * cols
        yield places[first:last], [_rows(e, start, start + step)[inside] for e in embeddings]


def _rows(embedding: Embedding, start: int, stop: int) -> Float32:
    band: Float32 = np.asarray(embedding.tokens[start:stop], np.float32)
    return band.reshape(-1, band.shape[-1])


def _covariance(a: Embedding, b: Embedding, places: NDArray[np.intp]) -> Float:
    """Sum over tokens of the products of centred features, (dim of a, dim of b)."""
    left_mean, right_mean = (np.zeros(embedding.tokens.shape[-1]) for embedding in (a, b))
    for _, (left, right) in _bands(places, a, b):
        left_mean += left.sum(axis=0, dtype=np.float64) / len(places)
        right_mean += right.sum(axis=0, dtype=np.float64) / len(places)
    total = np.zeros((len(left_mean), len(right_mean)))
    for _, (left, right) in _bands(places, a, b):
        total += (left - left_mean).T @ (right - right_mean)
    return total


def _cka(own: Float, others: Float, between: Float) -> float:
    scale = float(np.linalg.norm(own) * np.linalg.norm(others))
    return min(1.0, float(np.sum(between**2)) / scale) if scale > 0 else float("nan")


def _cka_by_chance(own: Float, others: Float, count: int) -> float:
    """Mean over all permutations of one encoder's tokens: tr K · tr L / (n − 1) for HSIC's tr KL."""
    scale = float(np.linalg.norm(own) * np.linalg.norm(others)) * (count - 1)
    return float(np.trace(own) * np.trace(others)) / scale if scale > 0 else float("nan")


def _neighbours(
    embedding: Embedding, queries: NDArray[np.intp], keys: NDArray[np.intp], k: int
) -> NDArray[np.intp]:
    """Return which keys are nearest to each query, (queries, k) in no order; never the query itself."""
    mean = embedding.mean_token
    against = np.concatenate([_unit(part - mean) for _, (part,) in _bands(keys, embedding)])
    found = np.empty((len(queries), k), np.intp)
    done = 0
    for places, (part,) in _bands(queries, embedding):
        step = max(1, _CHUNK // len(keys))
        for start in range(0, len(part), step):
            own = places[start : start + step]
            cosines = _unit(part[start : start + step] - mean) @ against.T
            itself = np.minimum(np.searchsorted(keys, own), len(keys) - 1)
            cosines[np.flatnonzero(keys[itself] == own), itself[keys[itself] == own]] = -np.inf
            nearest = np.argpartition(cosines, -k, axis=1)[:, -k:]
            found[done : done + len(own)] = nearest
            done += len(own)
    return found


def _overlap(first: NDArray[np.intp], second: NDArray[np.intp]) -> Float:
    """Share of entries that two rows have in common, (n,); no row has one twice."""
    both = np.sort(np.concatenate([first, second], axis=1), axis=1)
    shares: Float = (both[:, 1:] == both[:, :-1]).sum(axis=1) / first.shape[1]
    return shares


def _unit(vectors: Float32) -> Float32:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Float32 = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths != 0)
    return unit


def _facts(result: AgreementMap) -> dict[str, Any]:
    return {"neighbours": result.neighbours, "chance": result.chance}


def _variant(result: AgreementMap) -> MapType:
    return replace(AGREEMENT, span=2 * result.chance)


AGREEMENT = MapType(
    key="agreement",
    result=AgreementMap,
    colormap="magma",
    rule="zero",
    selectable=False,
    facts=_facts,
    variant=_variant,
)
