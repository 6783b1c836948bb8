"""Attention rollout: how attention flows from the output down to the patches, never N × N."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from napari_sslmaps.core.attention import attention_rows, queries_at_once

if TYPE_CHECKING:
    from torch import Tensor

QueriesKeys = tuple["Tensor", "Tensor", float]
"""(B, heads, N, d) queries and keys of a block, and the factor on their logits."""


def attention_rollout(
    blocks: Iterable[QueriesKeys], start: "Tensor", *, chunk: int | None = None
) -> "Tensor":
    """Follow attention from the tokens that are read down to the input.

    Abnar & Zuidema (arXiv 2005.00928): with Aₗ the mean over heads of block l's attention and half of each
    token carried past the block by the residual connection, the rollout is the product over blocks of
    ½Aₗ + ½I. Only the rows wanted of it are computed: their weighted mean v goes down block by block,
    v ← ½v + ½vAₗ, with some queries at a time.

    Parameters
    ----------
    blocks
        From the last to the first; taken one at a time.
    start
        (B, N) weights of the tokens that are read, summing to one: one-hot for the CLS token or an anchor's,
        equal ones on all patches for a mean-pooled output.
    chunk
        Queries treated at once: memory is B × heads × chunk × N × 4 bytes. `queries_at_once` if omitted.

    Returns
    -------
    Tensor
        (B, N) float32, summing to one.
    """
    weights = start.float()
    chunk = chunk or queries_at_once(start.shape[1])
    for queries, keys, scale in blocks:
        weights = (weights + _pass_down(weights, queries, keys, scale, chunk)) / 2
    return weights


def _pass_down(weights: "Tensor", queries: "Tensor", keys: "Tensor", scale: float, chunk: int) -> "Tensor":
    total = weights.new_zeros(weights.shape)
    for begin in range(0, weights.shape[1], chunk):
        part = weights[:, None, None, begin : begin + chunk]
        if part.any():
            rows = attention_rows(queries[:, :, begin : begin + chunk], keys, scale)
            total += (part @ rows).mean(dim=1)[:, 0]
    return total
