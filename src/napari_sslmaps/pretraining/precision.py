"""Where mixed precision must not reach."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

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
