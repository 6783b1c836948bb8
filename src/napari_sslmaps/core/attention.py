"""Rows and column means of softmax(q·kᵀ/√d), never N × N, and the maps made of them."""

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from napari_sslmaps.core.results import ActivationMap, AttentionMap, Embedding
from napari_sslmaps.errors import InvalidOptionError, MapUnavailableError

if TYPE_CHECKING:
    from torch import Tensor

Reduction = Literal["mean", "max"]

_ALTERNATIVE = {
    True: "A CNN has no attention: use activation_map.",
    False: "Embed the image with one of this package's transformer encoders.",
}
_CAUTIONS = {
    "mae": (
        "Weak: MAE's CLS token has no loss term of its own, and its attention can be nearly uniform "
        "(arXiv 2412.03215)."
    ),
    "ijepa": (
        "I-JEPA has no CLS token: shown is the mean over the patch queries, which is what its "
        "mean-pooled output reads."
    ),
}


def attention_rows(queries: "Tensor", keys: "Tensor", scale: float) -> "Tensor":
    """Attention of some queries over all keys.

    Parameters
    ----------
    queries
        (B, heads, M, d) projected queries of the wanted rows.
    keys
        (B, heads, N, d) projected keys of the whole sequence.
    scale
        Factor on the logits, 1/√d.

    Returns
    -------
    Tensor
        (B, heads, M, N) float32; each row sums to one.
    """
    logits = (queries.float() * scale) @ keys.float().transpose(-2, -1)
    return logits.softmax(dim=-1)


def mean_attention_received(queries: "Tensor", keys: "Tensor", scale: float, *, chunk: int = 256) -> "Tensor":
    """Mean over the queries of the attention each key receives.

    Since mean_i(A·V) = (mean_i A)·V, this is what a mean-pooled output reads, the
    counterpart of a CLS row for encoders without CLS (I-JEPA).

    Parameters
    ----------
    queries, keys
        (B, heads, M, d) and (B, heads, N, d).
    scale
        Factor on the logits, 1/√d.
    chunk
        Queries treated at once: memory is B × heads × chunk × N × 4 bytes.

    Returns
    -------
    Tensor
        (B, heads, N) float32; each row sums to one.
    """
    batch, heads, count, _ = queries.shape
    total = keys.new_zeros(batch, heads, keys.shape[2]).float()
    for start in range(0, count, chunk):
        total += attention_rows(queries[:, :, start : start + chunk], keys, scale).sum(dim=2)
    return total / count


def attention_map(
    embedding: Embedding, head: int | None = None, *, reduction: Reduction = "mean"
) -> AttentionMap:
    """Attention of the last block on the token grid.

    For MAE and DINO* it is the CLS query's row over patch columns; for I-JEPA, which has no CLS,
    the mean over the patch queries. Prefix columns are dropped and the rest is not renormalised.

    Parameters
    ----------
    embedding
        Of a transformer.
    head
        One head, from 0; None to reduce over all.
    reduction
        ``mean`` or ``max`` over heads when `head` is None.

    Returns
    -------
    AttentionMap
        values (rows, cols) float32 in [0, 1].

    Raises
    ------
    MapUnavailableError
        If the embedding has no attention (DiRA's U-Net, or tokens from elsewhere).
    InvalidOptionError
        If there is no such head or reduction.
    """
    if embedding.attention is None or embedding.attention_kind is None:
        raise MapUnavailableError(
            f"Expected an embedding with attention, of a transformer; {embedding.provenance.encoder!r} "
            f"has none. {_ALTERNATIVE[embedding.activation is not None]}"
        )
    heads = len(embedding.attention)
    if head is not None and not 0 <= head < heads:
        raise InvalidOptionError(f"Expected a head from 0 to {heads - 1}; got {head}.")
    if reduction not in get_args(Reduction):
        raise InvalidOptionError(f"Expected the reduction 'mean' or 'max'; got {reduction!r}.")
    prefix = embedding.prefix_attention
    mass = np.zeros(heads, np.float32) if prefix is None else prefix
    chosen = slice(None) if head is None else slice(head, head + 1)
    reduce = np.max if reduction == "max" else np.mean
    return AttentionMap(
        values=reduce(embedding.attention[chosen], axis=0),
        grid=embedding.grid,
        provenance=embedding.provenance,
        kind=embedding.attention_kind,
        reduction=reduction if head is None else f"head {head}",
        prefix_attention=float(reduce(mass[chosen])),
        caution=_CAUTIONS.get(embedding.provenance.method, ""),
    )


def activation_map(embedding: Embedding) -> ActivationMap:
    """Channel mean of rectified activations of a CNN's token stage (LaFAM, arXiv 2407.06059).

    Returns
    -------
    ActivationMap
        values (rows, cols) float32, at least 0.

    Raises
    ------
    MapUnavailableError
        If the embedding is not of a CNN.
    """
    if embedding.activation is None:
        raise MapUnavailableError(
            f"Expected an embedding of a CNN such as DiRA's U-Net; {embedding.provenance.encoder!r} has no "
            "activations. Use attention_map for a transformer."
        )
    return ActivationMap(values=embedding.activation, grid=embedding.grid, provenance=embedding.provenance)
