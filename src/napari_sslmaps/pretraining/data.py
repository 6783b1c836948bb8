"""Training images: simulated fields on disk."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from napari_sslmaps.simulators import field_seed, simulate_histology

_LOG = logging.getLogger(__name__)


def build_bank(path: Path, *, count: int, size: int, seed: int) -> NDArray[np.uint8]:
    """Simulate `count` fields into one ``.npy`` file, or open the file if it is complete.

    Returns
    -------
    (count, size, size, 3) uint8, memory-mapped, read-only.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        shape = (count, size, size, 3)
        bank = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        for index in range(count):
            bank[index], _ = simulate_histology(field_seed(seed, index), size)
            if index % 500 == 499:
                _LOG.info("simulated %d of %d fields", index + 1, count)
        bank.flush()
        partial.replace(path)
    fields: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return fields


def draw_fields(bank: NDArray[np.uint8], count: int, generator: Generator) -> Tensor:
    """Draw fields at random, (count, 3, S, S) float32 in [0, 1]."""
    index = torch.randint(len(bank), (count,), generator=generator).numpy()
    pixels = torch.from_numpy(np.ascontiguousarray(bank[index]))
    return pixels.permute(0, 3, 1, 2).float().div_(255)
