"""Numerics of a training: where mixed precision must not reach, schedules, moving averages."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

_Rest = ParamSpec("_Rest")
_Result = TypeVar("_Result")


def exact(
    function: Callable[Concatenate[Tensor, _Rest], _Result],
) -> Callable[Concatenate[Tensor, _Rest], _Result]:
    """Keep autocast out of a function: places, colours and losses lose more by rounding than they win.

    A coordinate in bfloat16 is off by a 256th of a field, and so is a restored grey value.
    """

    @wraps(function)
    def kept(first: Tensor, /, *args: _Rest.args, **kwargs: _Rest.kwargs) -> _Result:
        with torch.autocast(first.device.type, enabled=False):
            return function(first, *args, **kwargs)

    return kept


@dataclass(frozen=True, slots=True)
class TrainingPosition:
    """Position in a training: `step` of `steps`, counted from 0."""

    step: int
    steps: int

    @property
    def fraction(self) -> float:
        """Share of the training that is done, in [0, 1]."""
        return min(1.0, self.step / max(1, self.steps))


def cosine_between(start: float, end: float, fraction: float) -> float:
    """Go from `start` to `end` along half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, fraction))))


def learning_rate(
    peak: float, progress: TrainingPosition, warmup: float = 0.08, final: float = 1e-6
) -> float:
    """Linear warm-up over the first share of the steps, then a cosine down to `final`."""
    if progress.fraction < warmup:
        return peak * (progress.step + 1) / (warmup * progress.steps + 1)
    return cosine_between(peak, final, (progress.fraction - warmup) / (1 - warmup))


@torch.no_grad()
def move_average(average: nn.Module, current: nn.Module, momentum: float) -> None:
    """Pull `average` towards `current`: ``a = m * a + (1 - m) * c`` for parameters; buffers are copied."""
    own, other = list(average.parameters()), list(current.parameters())
    average_all = get_ema_multi_avg_fn(momentum)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    average_all(own, other, 0)
    for kept, buffer in zip(average.buffers(), current.buffers(), strict=True):
        kept.copy_(buffer)


def frozen_copy(model: nn.Module) -> nn.Module:
    """Return a copy whose gradients are switched off."""
    return deepcopy(model).requires_grad_(requires_grad=False)
