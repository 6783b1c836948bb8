"""Are the nearest tokens of other images of the same class? Precision of a search across images."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.findings import Cell, Estimate, Table
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.label_efficiency import LabelledFeatures
from napari_sslmaps.evaluation.uncertainty import bootstrap_mean

RANKS = (1, 5, 10)
_QUERIES = 8
"""Tokens of a class and image that search, evenly chosen."""
Float = NDArray[np.float64]


def retrieval_precision(
    images: Sequence[LabelledFeatures],
    groups: Sequence[Hashable] | None = None,
    *,
    ranks: Sequence[int] = RANKS,
) -> tuple[Float, Float]:
    """Search with features of each image among those of all others.

    Features are compared by the cosine of their differences from the mean of all, as centred similarity does.

    Parameters
    ----------
    images
        Features and classes of each image.
    groups
        Group of each image, such as its patient; images of one group do not answer each other. Each is a
        group of its own if omitted.
    ranks
        Numbers of nearest items that are counted.

    Returns
    -------
    precision
        (images, ranks): share of the nearest that are of the query's class, mean over the image's classes;
        NaN for an image whose classes no other group has.
    chance
        (images,): the share of that class among all that could have answered, likewise.

    Raises
    ------
    InvalidOptionError
        If there are fewer than two groups.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> image = ssl.LabelledFeatures(np.eye(4, dtype=np.float32), np.array([1, 1, 2, 2]))
    >>> precision, chance = retrieval_precision([image, image], ranks=(1,))
    >>> precision.tolist(), chance.tolist()
    ([[1.0], [1.0]], [0.5, 0.5])
    """
    belongs: list[Hashable] = list(range(len(images))) if groups is None else list(groups)
    if len(set(belongs)) < 2:
        raise InvalidOptionError(
            f"Expected images of at least two groups, since an image's own do not count; got {len(images)} "
            "of one. Add images."
        )
    owner = np.repeat(np.arange(len(images)), [len(image.kinds) for image in images])
    group = np.array([belongs.index(name) for name in belongs])  # the first image of each
    of_group = group[owner]
    kinds = np.concatenate([image.kinds for image in images])
    tokens = np.concatenate([image.features for image in images]).astype(np.float64)
    tokens -= tokens.mean(axis=0)
    tokens /= np.maximum(np.linalg.norm(tokens, axis=1, keepdims=True), 1e-12)
    precision, chance = np.full((len(images), len(ranks)), np.nan), np.full(len(images), np.nan)
    for number in range(len(images)):
        others = of_group != group[number]
        own = np.flatnonzero(owner == number)
        found = [
            _of_class(tokens, kinds, own[kinds[own] == kind], others, ranks)
            for kind in np.unique(kinds[own])
            if (kinds[others] == kind).any()
        ]
        if found:
            precision[number] = np.mean([shares for shares, _ in found], axis=0)
            chance[number] = np.mean([share for _, share in found])
    return precision, chance


def _of_class(
    tokens: Float,
    kinds: NDArray[np.int64],
    own: NDArray[np.intp],
    others: NDArray[np.bool_],
    ranks: Sequence[int],
) -> tuple[list[float], float]:
    queries = own[np.linspace(0, len(own) - 1, min(len(own), _QUERIES)).round().astype(int)]
    right = kinds[others] == kinds[own[0]]
    similar = tokens[queries] @ tokens[others].T
    most = min(max(ranks), similar.shape[1])
    nearest = np.argsort(-similar, axis=1, kind="stable")[:, :most]
    hits = right[nearest]
    return [float(hits[:, :rank].mean()) for rank in ranks], float(right.mean())


def retrieval_table(methods: Mapping[str, Sequence[LabelledFeatures]], what: str) -> Table:
    """Tell precision of every method as a table, with intervals over images.

    Parameters
    ----------
    methods
        Name → features of every image, in one order.
    what
        Thing that is searched for, in words: ``tokens`` or ``images``.
    """
    rows: list[tuple[Cell, ...]] = []
    chance = float("nan")
    for name, images in methods.items():
        precision, by_chance = retrieval_precision(images)
        chance = float(np.nanmean(by_chance))
        rows.append((name, *(_over_images(column) for column in precision.T)))
    note = (
        f"Share of the nearest {what} of other images that are of the query's class, by centred cosine, mean "
        f"over classes and images; by chance {chance:.2f}. Intervals: 95 %, from resampling images."
    )
    return Table(
        "Retrieval",
        ("Method", *(f"Precision at {rank}" for rank in RANKS)),
        tuple(rows),
        (note,),
        "retrieval",
    )


def _over_images(values: Float) -> Estimate:
    known = values[np.isfinite(values)]
    return (
        bootstrap_mean(known) if len(known) > 1 else Estimate(float(known[0]) if len(known) else float("nan"))
    )
