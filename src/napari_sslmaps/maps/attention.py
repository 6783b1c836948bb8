"""Attention, activation and rollout maps: rows and column means of softmax(q·kᵀ/√d), never N × N."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, get_args

import numpy as np

from napari_sslmaps.core.grid import Points, TokenGrid
from napari_sslmaps.core.results import AttentionKind, Embedding, Float32, Provenance, TokenMap
from napari_sslmaps.errors import InvalidAnchorError, InvalidOptionError, MapUnavailableError
from napari_sslmaps.maps.map_type import Facts, MapInput, MapType
from napari_sslmaps.serialise import strict

if TYPE_CHECKING:
    from torch import Tensor

Reduction = Literal["mean", "max"]
_VALUES_AT_ONCE = 2**22
_ALTERNATIVE = {
    True: "A CNN has no attention: use activation_map.",
    False: "Embed the image with one of this package's transformer encoders.",
}
_CAUTIONS = {
    ("mae", "cls"): (
        "Weak: MAE's CLS token has no loss term of its own, and its attention can be nearly uniform "
        "(arXiv 2412.03215)."
    ),
    ("ijepa", "mean-query"): (
        "I-JEPA has no CLS token: shown is the mean over the patch queries, which is what its "
        "mean-pooled output reads."
    ),
}
_CAUTIONS_OF_KIND = {
    "anchor": (
        "In late blocks of contrastive and self-distilled methods it hardly depends on the anchor, while "
        "that of masked methods stays near it (arXiv 2305.00729)."
    ),
    "rollout": (
        "Rollout follows attention alone from block to block, as if values and the layers between did "
        "nothing (arXiv 2005.00928)."
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class AttentionStack:
    """Attention of a block, one map per head.

    Parameters
    ----------
    heads
        (heads, rows, cols) float32 in [0, 1], not renormalised; NaN where not computed. One of it for a
        rollout, which is over the mean of the heads.
    kind
        Query: the CLS token (``cls``), the mean over patch queries (``mean-query``), the token under an
        anchor (``anchor``); or ``rollout``.
    block
        The block, from 1; of a rollout the one it starts from.
    depth
        Blocks that the encoder has.
    prefix_attention
        (heads,) float32, mass that fell on CLS and registers, averaged over tiles.
    grid, provenance
        Grid and provenance, as of an embedding.
    anchor
        (row, column) pixel whose token asks; None for CLS and mean.
    """

    heads: Float32
    kind: AttentionKind
    block: int
    depth: int
    prefix_attention: Float32
    grid: TokenGrid
    provenance: Provenance
    anchor: tuple[float, float] | None = None


class RowBias(Protocol):
    """Bias that a block adds to its attention logits, given row by row."""

    def rows(self, rows: slice) -> "Tensor":
        """(heads, M, N) of some queries of the sequence."""
        ...


def attention_rows(queries: "Tensor", keys: "Tensor", scale: float, bias: "Tensor | None" = None) -> "Tensor":
    """Attention of some queries over all keys.

    Parameters
    ----------
    queries
        (B, heads, M, d) projected queries of the wanted rows.
    keys
        (B, heads, N, d) projected keys of the whole sequence.
    scale
        Factor on the logits, 1/√d.
    bias
        (heads, M, N) added to the logits, where positions are relative; None for nothing.

    Returns
    -------
    Tensor
        (B, heads, M, N) float32; each row sums to one.
    """
    logits = (queries.float() * scale) @ keys.float().transpose(-2, -1)
    return (logits if bias is None else logits + bias.float()).softmax(dim=-1)


class QueriesKeys(NamedTuple):
    """Queries and keys of a block, (B, heads, N, d), and what makes logits of them."""

    queries: "Tensor"
    keys: "Tensor"
    scale: float
    """Factor on the logits, 1/√d."""
    bias: RowBias | None = None
    """What is added to them, where positions are relative."""

    def rows(self, rows: slice) -> "Tensor":
        """Attention (B, heads, M, N) float32 of some queries, each row summing to one."""
        bias = None if self.bias is None else self.bias.rows(rows)
        return attention_rows(self.queries[:, :, rows], self.keys, self.scale, bias)


def queries_at_once(length: int) -> int:
    """Return how many queries over `length` keys to treat at once: 16 MiB of rows per head."""
    return min(256, max(16, _VALUES_AT_ONCE // max(1, length)))


def mean_attention_received(projected: QueriesKeys, *, chunk: int | None = None) -> "Tensor":
    """Mean over the queries of the attention each key receives.

    Since mean_i(A·V) = (mean_i A)·V, this is what a mean-pooled output reads, the
    counterpart of a CLS row for encoders without CLS (I-JEPA).

    Parameters
    ----------
    projected
        Queries and keys of the block.
    chunk
        Queries treated at once: memory is B × heads × chunk × N × 4 bytes. `queries_at_once` if omitted.

    Returns
    -------
    Tensor
        (B, heads, N) float32; each row sums to one.
    """
    batch, heads, count, _ = projected.queries.shape
    length = projected.keys.shape[2]
    total = projected.keys.new_zeros(batch, heads, length).float()
    chunk = chunk or queries_at_once(length)
    for start in range(0, count, chunk):
        total += projected.rows(slice(start, start + chunk)).sum(dim=2)
    return total / count


@dataclass(frozen=True, eq=False, kw_only=True)
class AttentionMap(TokenMap):
    """Attention of a block, in [0, 1], not renormalised.

    Parameters
    ----------
    kind
        Query whose attention it is: ``cls``, ``mean-query`` or ``anchor``; or ``rollout`` through several
        blocks.
    reduction
        ``mean``, ``max`` or the number of the head.
    prefix_attention
        Mass on CLS and registers under the same reduction: it tells a sink from a quiet head.
    caution
        A sentence to show beside the map; empty where none is due.
    block
        The block, from 1; None for the last.
    anchor
        (row, column) pixel whose token asks, if one was chosen.
    """

    kind: AttentionKind
    reduction: str
    prefix_attention: float
    caution: str = ""
    block: int | None = None
    anchor: tuple[float, float] | None = None


def attention_map(
    source: Embedding | AttentionStack, head: int | None = None, *, reduction: Reduction = "mean"
) -> AttentionMap:
    """Attention on the token grid: of the last block of an embedding, or of what `attend` returned.

    For MAE and DINO* this is the CLS query's row over patch columns; for I-JEPA, which has no CLS, the mean
    over the patch queries. Prefix columns are dropped and the rest is not renormalised.

    Parameters
    ----------
    source
        An embedding of a transformer; or a stack of any block, of an anchor's query, or a rollout.
    head
        Index of one head, from 0; None to reduce over all.
    reduction
        ``mean`` or ``max`` over heads when `head` is None.

    Returns
    -------
    AttentionMap
        Map of values (rows, cols) float32 in [0, 1].

    Raises
    ------
    MapUnavailableError
        If the embedding has no attention (DiRA's U-Net, or tokens from elsewhere).
    InvalidOptionError
        If there is no such head or reduction.

    Examples
    --------
    >>> from skimage.data import immunohistochemistry
    >>> import napari_sslmaps as ssl
    >>> encoder = ssl.load_encoder("mae-histology", device="cpu", precision="float32")
    >>> embedding = ssl.embed(immunohistochemistry()[:64, :64], encoder)
    >>> mean, first = ssl.attention_map(embedding), ssl.attention_map(embedding, 0)
    >>> mean.values.shape, first.values.dtype, bool(0 <= mean.values.min() and mean.values.max() <= 1)
    ((8, 8), dtype('float32'), True)
    """
    stack = source if isinstance(source, AttentionStack) else _last_block(source)
    heads = len(stack.heads)
    if head is not None and not 0 <= head < heads:
        raise InvalidOptionError(f"Expected a head from 0 to {heads - 1}; got {head}.")
    if reduction not in get_args(Reduction):
        raise InvalidOptionError(f"Expected the reduction 'mean' or 'max'; got {reduction!r}.")
    chosen = slice(None) if head is None else slice(head, head + 1)
    reduce = np.max if reduction == "max" else np.mean
    caution = _CAUTIONS.get((stack.provenance.method, stack.kind), _CAUTIONS_OF_KIND.get(stack.kind, ""))
    return AttentionMap(
        values=reduce(stack.heads[chosen], axis=0),
        grid=stack.grid,
        provenance=stack.provenance,
        kind=stack.kind,
        reduction=reduction if head is None else f"head {head}",
        prefix_attention=float(reduce(stack.prefix_attention[chosen])),
        caution=caution,
        block=None if stack.block == stack.depth else stack.block,
        anchor=stack.anchor,
    )


def _last_block(embedding: Embedding) -> AttentionStack:
    if embedding.attention is None or embedding.attention_kind is None:
        raise MapUnavailableError(
            f"Expected an embedding with attention, of a transformer; {embedding.provenance.encoder!r} "
            f"has none. {_ALTERNATIVE[embedding.activation is not None]}"
        )
    prefix = embedding.prefix_attention
    return AttentionStack(
        embedding.attention,
        embedding.attention_kind,
        block=0,
        depth=0,
        prefix_attention=np.zeros(len(embedding.attention), np.float32) if prefix is None else prefix,
        grid=embedding.grid,
        provenance=embedding.provenance,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class ActivationMap(TokenMap):
    """Channel mean of rectified activations of a CNN (LaFAM, arXiv 2407.06059); ≥ 0."""


def activation_map(embedding: Embedding) -> ActivationMap:
    """Channel mean of rectified activations of a CNN's token stage (LaFAM, arXiv 2407.06059).

    Parameters
    ----------
    embedding
        Tokens of a region by a CNN.

    Returns
    -------
    ActivationMap
        Map of values (rows, cols) float32, at least 0.

    Raises
    ------
    MapUnavailableError
        If the embedding is not of a CNN.

    Examples
    --------
    >>> from skimage.data import immunohistochemistry
    >>> import napari_sslmaps as ssl
    >>> encoder = ssl.load_encoder("dira-histology", device="cpu", precision="float32")
    >>> embedding = ssl.embed(immunohistochemistry()[:64, :64], encoder)
    >>> activation = ssl.activation_map(embedding)
    >>> activation.values.shape, bool(activation.values.min() >= 0)
    ((8, 8), True)
    """
    if embedding.activation is None:
        raise MapUnavailableError(
            f"Expected an embedding of a CNN such as DiRA's U-Net; {embedding.provenance.encoder!r} has no "
            "activations. Use attention_map for a transformer."
        )
    return ActivationMap(values=embedding.activation, grid=embedding.grid, provenance=embedding.provenance)


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
        Queries and keys from the last block to the first; taken one at a time.
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
    for projected in blocks:
        weights = (weights + _pass_down(weights, projected, chunk)) / 2
    return weights


def _pass_down(weights: "Tensor", projected: QueriesKeys, chunk: int) -> "Tensor":
    total = weights.new_zeros(weights.shape)
    for begin in range(0, weights.shape[1], chunk):
        part = weights[:, None, None, begin : begin + chunk]
        if part.any():
            rows = projected.rows(slice(begin, begin + chunk))
            total += (part @ rows).mean(dim=1)[:, 0]
    return total


Query = Literal["output", "anchor", "rollout"]


@strict
@dataclass(frozen=True, slots=True)
class AttentionOptions:
    """Options of attention: whose, of which block; of one head, or all of them reduced.

    Parameters
    ----------
    head, reduction
        Index of the head from 0, None for all; and how all are reduced: to their ``mean`` or ``max``.
    block
        Number of the block from 1; None for the last. An encoder with fewer blocks shows its last.
    query
        Tokens that ask: the ``output`` (CLS, or the mean of all tokens), the last positive ``anchor``'s
        token, or the ``rollout`` of the output through all blocks.
    """

    head: int | None = None
    reduction: Reduction = "mean"
    block: int | None = None
    query: Query = "output"

    @property
    def is_kept(self) -> bool:
        """Whether every embedding holds it: what the output of the last block reads."""
        return self.block is None and self.query == "output"


NO_ANCHOR = "Expected an anchor whose token attends; got none. Give one, or ask for attention of the output."


def check_attention(
    options: AttentionOptions, *, depth: int, heads: int, anchors: Points, elsewhere: bool
) -> None:
    """Refuse attention that no encoder can give.

    Parameters
    ----------
    options
        Attention that is asked for.
    depth, heads
        Most blocks, and most heads of one, among the encoders; 0 refuses neither.
    anchors, elsewhere
        Anchors, and whether they lie in another image.

    Raises
    ------
    InvalidOptionError
        If there is no such kind, or no transformer among the encoders has that block or head.
    InvalidAnchorError
        If it is the anchor's, and there is none.
    """
    if options.query not in get_args(Query):
        kinds = ", ".join(get_args(Query))
        raise InvalidOptionError(f"Expected attention of {kinds}; got {options.query!r}.")
    if options.reduction not in get_args(Reduction):
        raise InvalidOptionError(f"Expected the reduction 'mean' or 'max'; got {options.reduction!r}.")
    if options.query == "anchor" and not anchors:
        raise InvalidAnchorError(NO_ANCHOR)
    if options.query == "anchor" and elsewhere:
        raise InvalidAnchorError(
            "Expected an anchor in this image, as attention does not reach into another one; the anchors lie "
            "in a reference. Ask for attention of the output."
        )
    if depth and options.block is not None and not (1 <= abs(options.block) <= depth):
        raise InvalidOptionError(
            f"Expected a block from 1 to {depth}, or from −1 to −{depth}; got {options.block}."
        )
    if heads and options.head is not None and not 0 <= options.head < heads:
        raise InvalidOptionError(f"Expected a head from 0 to {heads - 1}; got {options.head}.")


def _make_attention(given: MapInput) -> AttentionMap | None:
    """Make the map of the nearest head there is."""
    embedding, stack, options = given.embedding, given.stack, given.options.attention
    heads = embedding.attention if stack is None else stack.heads
    if heads is None or (stack is None and not options.is_kept):
        return None
    head = None if options.head is None else min(options.head, len(heads) - 1)
    return attention_map(stack or embedding, head, reduction=options.reduction)


def _make_activation(given: MapInput) -> ActivationMap | None:
    alone = given.stack is None and given.embedding.activation is not None
    return activation_map(given.embedding) if alone else None


def _facts(result: AttentionMap) -> dict[str, Any]:
    return {
        "of": result.kind,  # files call it so, layers as below
        "attention_kind": result.kind,
        "block": result.block,
        "anchor": None if result.anchor is None else list(result.anchor),
        "reduction": result.reduction,
        "caution": result.caution,
        "prefix_attention": result.prefix_attention,
    }


_QUERIES = {
    "cls": ("CLS token's attention", "CLS query"),
    "mean-query": ("all tokens' mean attention", "mean over queries"),
    "anchor": ("attention of the anchor's token", "query at the anchor"),
    "rollout": ("rollout of the output's attention", "rollout"),
}


def _caption(facts: Facts) -> str:
    if "attention_kind" not in facts:
        return ""
    block = "last block" if facts["block"] is None else f"block {facts['block']}"
    heads = facts["reduction"]
    heads = f"{heads} over heads" if heads in {"mean", "max"} else _counted(heads)
    if facts["attention_kind"] == "rollout":
        heads = "mean over heads"
    prefix = f", {facts['prefix_attention']:.0%} on tokens of no patch (CLS, registers)".replace("%", " %")
    return f"{_QUERIES[facts['attention_kind']][0]}, {block}, {heads}{prefix}"


def _counted(head: str) -> str:
    """Return the number of a head as people count, from 1."""
    return f"head {int(head.removeprefix('head ')) + 1}"


def _tag(result: AttentionMap) -> str:
    words = [_QUERIES[result.kind][1]]
    if result.block is not None:
        words.append(f"block {result.block}")
    if result.reduction != "mean":
        words.append(result.reduction)
    return ", ".join(words)


ATTENTION = MapType(
    key="attention",
    result=AttentionMap,
    tip="Which tokens are read, by the output or by one token; of a CNN, its activation.",
    options="attention",
    colormap="inferno",
    shared=True,
    subtractable=True,
    make=_make_attention,
    facts=_facts,
    caption=_caption,
    tag=_tag,
)
ACTIVATION = MapType(
    key="activation",
    result=ActivationMap,
    options="attention",
    slot="attention",
    colormap="inferno",
    selectable=False,
    subtractable=True,
    make=_make_activation,
    caption=lambda _: "activation: channel mean of rectified features",
    tag=lambda _: "activation (CNN)",
)
