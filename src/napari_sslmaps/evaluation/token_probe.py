"""Probes on frozen tokens: from a few painted tokens to a label for every token.

Fast enough to follow a brush: scikit-learn fits some hundred painted tokens in a few milliseconds, and a
prediction is one product with all tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.linear_heads import LinearHead
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.classifiers import (
    INVERSE_REGULARISATION,
    NEIGHBOURS,
    NeighbourHead,
    fit_linear,
    fit_neighbours,
)
from napari_sslmaps.evaluation.scribbles import Labels
from napari_sslmaps.evaluation.tokens import bands_of, check_one_encoder, gather, identity_of
from napari_sslmaps.maps.classes import LabelMap

ProbeKind = Literal["logistic", "knn"]
MOST_PER_CLASS: Mapping[ProbeKind, int] = MappingProxyType({"logistic": 2000, "knn": 200})
"""Most painted tokens of a class that are used, evenly spaced: a brush needs an answer at once."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenProbe:
    """Classifier learnt from painted tokens of one encoder.

    Parameters
    ----------
    kind
        Kind of probe: ``logistic`` or ``knn``.
    classes
        Class numbers, ascending.
    counts
        Number of painted tokens of each class that had been computed.
    encoder, weights_sha256, dim
        Encoder whose tokens it was fitted to, its hash and the length of its tokens.
    head
        Classifier that gives the probability of every class.
    """

    kind: ProbeKind
    classes: tuple[int, ...]
    counts: tuple[int, ...]
    encoder: str
    weights_sha256: str
    dim: int
    head: LinearHead | NeighbourHead

    def probabilities(self, embedding: Embedding) -> Float32:
        """Return the probability of every class, (rows, cols, classes) float32; NaN where not computed.

        Raises
        ------
        InvalidOptionError
            If the embedding is of another encoder.
        """
        if identity_of(embedding) != (self.encoder, self.weights_sha256, self.dim):
            raise InvalidOptionError(
                f"Expected tokens of {self.encoder!r}, which the probe was fitted to; got those of "
                f"{embedding.provenance.encoder!r}. Fit a probe for each encoder."
            )
        found = np.full((*embedding.grid.shape, len(self.classes)), np.nan, np.float32)
        for band, tokens in bands_of(embedding):
            known = np.isfinite(tokens[..., 0])
            if known.all():
                flat = tokens.reshape(-1, self.dim)
                found[band] = self.head.probabilities(flat).reshape(*known.shape, -1)
            else:
                found[band][known] = self.head.probabilities(tokens[known])
        return found

    def predict(self, embedding: Embedding) -> LabelMap:
        """Label every token with its likeliest class.

        Raises
        ------
        InvalidOptionError
            If the embedding is of another encoder.
        """
        shares = self.probabilities(embedding)
        known = np.isfinite(shares[..., 0])
        labels = np.array(self.classes)[shares.argmax(axis=-1)]
        return LabelMap(
            values=shares.max(axis=-1),
            grid=embedding.grid,
            provenance=embedding.provenance,
            labels=np.where(known, labels, 0).astype(np.int32),
            classes=self.classes,
        )


def fit_token_probe(
    embeddings: Embedding | Sequence[Embedding],
    labels: Labels | Sequence[Labels],
    *,
    kind: ProbeKind = "logistic",
    strength: float = INVERSE_REGULARISATION,
    neighbours: int = NEIGHBOURS,
) -> TokenProbe:
    """Fit a probe to painted tokens.

    Parameters
    ----------
    embeddings
        Embedding of one region, or several of one encoder.
    labels
        (rows, cols) class numbers of each on its token grid, 0 where nothing is painted; see
        `labels_on_grid`. Tokens that have not been computed are left out.
    kind
        ``logistic``: class-balanced multinomial logistic regression on standardised tokens. ``knn``: vote of
        the nearest painted tokens by centred cosine, as DINO's k-NN classifier (arXiv 2104.14294), classes
        weighing alike.
    strength
        Inverse of the L2 penalty of ``logistic``, scikit-learn's ``C``.
    neighbours
        Number of tokens that vote in ``knn``, at most as many as the class with the fewest tokens has.

    Returns
    -------
    TokenProbe
        Probe whose `probabilities` of an embedding are (rows, cols, classes) float32 in [0, 1].

    Raises
    ------
    InvalidOptionError
        If fewer than two classes are painted, labels do not fit their grids, or there are several encoders.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> tokens = np.random.default_rng(0).normal(size=(8, 8, 4))
    >>> tokens[:, 4:] += 3
    >>> embedding = ssl.Embedding.from_tokens(tokens)
    >>> labels = np.zeros((8, 8), int)
    >>> labels[0, :4], labels[0, 4:] = 1, 2
    >>> probe = ssl.fit_token_probe(embedding, labels)
    >>> probe.classes, probe.probabilities(embedding).shape
    ((1, 2), (8, 8, 2))
    """
    several, painted = as_pairs(embeddings, labels)
    check_one_encoder(several)
    tokens, kinds = painted_tokens(several, painted)
    return fit_to_tokens(several[0], tokens, kinds, kind=kind, strength=strength, neighbours=neighbours)


def fit_to_tokens(  # keywords that are handed on
    of: Embedding,
    tokens: Float32,
    kinds: NDArray[np.int64],
    *,
    kind: ProbeKind,
    strength: float = INVERSE_REGULARISATION,
    neighbours: int = NEIGHBOURS,
) -> TokenProbe:
    """Fit a probe to (n, dim) tokens, with classes (n,), of the encoder that `of` is of."""
    if kind not in get_args(ProbeKind):
        raise InvalidOptionError(f"Expected the probe 'logistic' or 'knn'; got {kind!r}.")
    if neighbours < 1:
        raise InvalidOptionError(f"Expected at least one neighbour; got {neighbours}.")
    classes, counts = np.unique(kinds, return_counts=True)
    check_classes(kinds)
    chosen = _thin(kinds, MOST_PER_CLASS[kind])
    head: LinearHead | NeighbourHead
    if kind == "logistic":
        head = fit_linear(tokens[chosen], kinds[chosen], strength=strength)
    else:
        head = fit_neighbours(tokens[chosen], kinds[chosen], count=neighbours)
    encoder, weights, dim = identity_of(of)
    return TokenProbe(kind, tuple(classes.tolist()), tuple(counts.tolist()), encoder, weights, dim, head)


def check_classes(kinds: NDArray[np.int64]) -> None:
    """Refuse painted tokens of fewer than two classes.

    Raises
    ------
    InvalidOptionError
        If there are fewer; the sentence says how many there are.
    """
    count = len(np.unique(kinds))
    if count < 2:
        raise InvalidOptionError(
            f"Expected painted tokens of at least two classes; got {count}. Paint what it is and what "
            "it is not."
        )


def as_pairs(
    embeddings: Embedding | Sequence[Embedding], labels: Labels | Sequence[Labels]
) -> tuple[list[Embedding], list[Labels]]:
    """Return embeddings and their labels as lists, checked to fit.

    Raises
    ------
    InvalidOptionError
        If there are not as many labels as embeddings, or they are not on their grids.
    """
    if isinstance(embeddings, Embedding):
        several, painted = [embeddings], [np.asarray(labels)]
    else:
        several, painted = list(embeddings), [np.asarray(item) for item in labels]
    shapes, grids = [item.shape for item in painted], [item.grid.shape for item in several]
    if shapes != grids or any(item.dtype.kind not in "biu" for item in painted):
        raise InvalidOptionError(
            f"Expected labels as integers on the token grids {grids}; got {shapes}. Bring painted pixels "
            "there with labels_on_grid."
        )
    return several, painted


def painted_tokens(
    embeddings: Sequence[Embedding], labels: Sequence[Labels]
) -> tuple[Float32, NDArray[np.int64]]:
    """Return the painted tokens that have been computed, (n, dim), and their classes, (n,)."""
    tokens = np.concatenate([gather(item, kinds > 0) for item, kinds in zip(embeddings, labels, strict=True)])
    found = np.concatenate([kinds[kinds > 0] for kinds in labels]).astype(np.int64)
    known = np.isfinite(tokens[:, 0])
    return tokens[known], found[known]


def _thin(kinds: NDArray[np.int64], most: int) -> NDArray[np.intp]:
    """Return the indices of at most `most` tokens of every class, evenly spaced."""
    parts = []
    for kind in np.unique(kinds):
        members = np.flatnonzero(kinds == kind)
        parts.append(members[np.linspace(0, len(members) - 1, min(len(members), most)).round().astype(int)])
    return np.sort(np.concatenate(parts))
