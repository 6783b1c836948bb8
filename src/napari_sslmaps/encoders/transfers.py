"""Copies to and from a CUDA device, on streams of their own: none waits for what is being computed."""

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


class Transfers:
    """Copies between this process and one CUDA device, beside the computing there.

    They go through pinned memory, which torch gives out again once a copy out of it has ended: as much of it
    is held as there are batches on their way.

    Parameters
    ----------
    device
        Device, for example ``cuda:0``.
    """

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._cuda: Any = torch.cuda
        self._up, self._down = self._cuda.Stream(self._device), self._cuda.Stream(self._device)

    def up(self, values: NDArray[Any]) -> Tensor:
        """Begin to copy an array to the device, and return it there; what is computed next waits for it."""
        pinned = torch.from_numpy(values).pin_memory()
        with self._cuda.stream(self._up):
            there = pinned.to(self._device, non_blocking=True)
        computing = self._cuda.current_stream(self._device)
        computing.wait_stream(self._up)
        there.record_stream(computing)
        return there

    def mark(self) -> Any:
        """Return an event that comes when all that was asked of the device so far is computed."""
        event = self._cuda.Event()
        event.record(self._cuda.current_stream(self._device))
        return event

    def down(self, tensors: Sequence[Tensor], computed: Any) -> list[Tensor]:
        """Wait for an event of `mark`, then copy tensors from the device and return the copies.

        It is for another thread than the one that computes, which is not held up.
        """
        with self._cuda.stream(self._down):
            self._down.wait_event(computed)
            copies = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
            for copy, tensor in zip(copies, tensors, strict=True):
                copy.copy_(tensor, non_blocking=True)
                tensor.record_stream(self._down)
            self._down.synchronize()
        return copies
