"""Capturing queries and keys of a block's attention while the model runs as it always does."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from torch import Tensor, nn
from torch.nn import functional

from napari_sslmaps.core.results import AttentionKind
from napari_sslmaps.encoders.families.relative_positions import RelativeAttention, RelativeBias
from napari_sslmaps.maps.attention import QueriesKeys, attention_rows, mean_attention_received


class AttentionTap:
    """The input of one timm attention module during one forward pass."""

    def __init__(self, attention: nn.Module) -> None:
        self._attention: Any = attention
        self._input: Tensor | None = None
        self._rope: Tensor | None = None
        self._grid: tuple[int, int] | None = None

    def _capture(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._input, self._rope = args[0], kwargs.get("rope")
        if isinstance(self._attention, RelativeAttention):
            self._grid = kwargs["attn_mask"]

    @property
    def scale(self) -> float:
        """Factor on the attention logits, 1/√d."""
        return float(self._attention.scale)

    def queries(self, rows: slice) -> Tensor:
        """Projected queries, (B, heads, M, d), of the wanted rows of the sequence."""
        return self._project(0, rows)

    def keys(self) -> Tensor:
        """Projected keys, (B, heads, N, d), of the whole sequence."""
        return self._project(1, slice(None))

    def bias(self) -> RelativeBias | None:
        """Return what is added to the logits, where positions are relative."""
        self._seen()
        found: RelativeBias | None = None if self._grid is None else self._attention.bias(self._grid)
        return found

    def projected(self) -> QueriesKeys:
        """Return queries and keys of the whole sequence, and what their logits become."""
        return QueriesKeys(self.queries(slice(None)), self.keys(), self.scale, self.bias())

    @property
    def length(self) -> int:
        """Tokens of the sequence, N, prefix included."""
        return self._seen().shape[1]

    def read_output(self, kind: AttentionKind) -> Tensor:
        """Attention that an output reads, (B, heads, N) float32 over the whole sequence.

        Parameters
        ----------
        kind
            ``cls`` for the CLS query's row, ``mean-query`` for the mean over all queries.
        """
        if kind == "cls":
            first, bias = slice(0, 1), self.bias()
            added = None if bias is None else bias.rows(first)
            return attention_rows(self.queries(first), self.keys(), self.scale, added)[:, :, 0]
        return mean_attention_received(self.projected())

    def _seen(self) -> Tensor:
        if self._input is None:
            raise LookupError("The tap has seen no forward pass yet.")
        return self._input

    def _project(self, part: int, rows: slice) -> Tensor:
        seen, attention = self._seen(), self._attention
        span = slice(part * attention.qkv.out_features // 3, (part + 1) * attention.qkv.out_features // 3)
        bias = self._bias(part, span)
        projected = functional.linear(seen[:, rows], attention.qkv.weight[span], bias)
        heads = projected.reshape(*projected.shape[:2], attention.num_heads, -1).transpose(1, 2)
        normed: Tensor = (attention.q_norm, attention.k_norm)[part](heads)
        return self._rotate(normed, rows).type_as(heads)

    def _bias(self, part: int, span: slice) -> Tensor | None:
        attention = self._attention
        bias: Tensor | None
        if hasattr(attention, "q_bias"):
            bias = (attention.q_bias, attention.k_bias)[part]
        else:
            bias = None if attention.qkv.bias is None else attention.qkv.bias[span]
        return bias

    def _rotate(self, heads: Tensor, rows: slice) -> Tensor:
        """Apply RoPE to the patch tokens among `rows`; prefix tokens never turn."""
        if self._rope is None:
            return heads
        prefix = self._attention.num_prefix_tokens
        start, stop, _ = rows.indices(prefix + self._rope.shape[-2])
        still = max(0, min(prefix, stop) - start)
        rope = self._rope[..., max(0, start - prefix) : max(0, stop - prefix), :]
        if rope.shape[-2] == 0:
            return heads
        turned = apply_rot_embed_cat(heads[:, :, still:], rope, half=self._attention.rotate_half)
        return torch.cat([heads[:, :, :still], turned.type_as(heads)], dim=2)


@contextmanager
def tap_attention(attention: nn.Module) -> Iterator[AttentionTap]:
    """Watch `attention` for the forward passes inside the ``with`` block."""
    tap = AttentionTap(attention)
    handle = attention.register_forward_pre_hook(tap._capture, with_kwargs=True)  # noqa: SLF001
    try:
        yield tap
    finally:
        handle.remove()


@contextmanager
def tap_blocks(attentions: Iterable[nn.Module]) -> Iterator[list[AttentionTap]]:
    """Watch several attention modules, in their order, inside the ``with`` block."""
    with ExitStack() as stack:
        yield [stack.enter_context(tap_attention(attention)) for attention in attentions]


@contextmanager
def outputs_of(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect what modules give, in their order, in the forward pass inside the ``with`` block."""
    watched = list(modules)
    seen: list[Tensor] = [torch.empty(0)] * len(watched)

    def keep(place: int, output: Tensor) -> None:
        seen[place] = output

    with ExitStack() as stack:
        for place, module in enumerate(watched):
            handle = module.register_forward_hook(lambda _m, _i, output, place=place: keep(place, output))
            stack.callback(handle.remove)
        yield seen
