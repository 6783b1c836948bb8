"""Running statistics of BatchNorm that depend on a step's shards, not on who computed them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class ShardStatistics:
    """Moves running means and variances once per step, by the mean of what its shards would make of them.

    Left alone they would move once per forward pass: twice with two shards in one process, once with one
    shard in each of two, and once more for every block that gradient checkpointing computes again.
    """

    def __init__(self) -> None:
        self._before: list[Tensor] = []
        self._found: list[Tensor] = []

    @contextmanager
    def shard(self, module: nn.Module) -> Iterator[None]:
        """Begin a shard from the statistics that the step began with, and note what it makes of them."""
        buffers = running_statistics(module)
        if not module.training or not buffers:
            yield
            return
        if self._found:
            _assign(buffers, self._before)
        else:
            self._before = [buffer.clone() for buffer in buffers]
        yield
        self._found.append(torch.cat([buffer.flatten().float() for buffer in buffers]))

    @torch.no_grad()
    def settle(self, module: nn.Module, gather: Callable[[Tensor], Tensor]) -> None:
        """Set the statistics to the mean over all shards of the step; the layers' counters rise by one."""
        if not self._found:
            return
        mean = gather(torch.stack(self._found)).mean(dim=0)
        settled = [
            value.reshape(old.shape) if old.is_floating_point() else old + 1
            for value, old in zip(
                torch.split(mean, [old.numel() for old in self._before]), self._before, strict=True
            )
        ]
        _assign(running_statistics(module), settled)
        self._found.clear()


def running_statistics(module: nn.Module) -> list[Tensor]:
    """Buffers of the BatchNorm layers that are trained: running means, variances and counters."""
    layers = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.weight.requires_grad]
    return [buffer for layer in layers for buffer in layer.buffers()]


def _assign(buffers: list[Tensor], values: list[Tensor]) -> None:
    for buffer, value in zip(buffers, values, strict=True):
        buffer.copy_(value)
