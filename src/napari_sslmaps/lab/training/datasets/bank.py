"""Simulated fields on disk: one ``.npy`` file, made once, and made on after a kill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.simulators import get_simulator
from napari_sslmaps.lab.simulators.fields import field_seed
from napari_sslmaps.lab.training.recipes import DataRecipe

PREFIX = "simulated:"


def build_bank(
    path: Path, data: DataRecipe, on_progress: Callable[[int, int], None] | None = None
) -> NDArray[np.uint8]:
    """Simulate the fields of a recipe into a file, or open the file if it is complete.

    Parameters
    ----------
    path
        The ``.npy`` file. A partial one lies beside it until it is complete.
    data
        Simulator, number, side and seed; field i is drawn from ``field_seed(seed, i)``.
    on_progress
        Called now and then with the number of fields that are done, and of all.

    Returns
    -------
    (count, field, field, 3) uint8, memory-mapped, read-only.

    Raises
    ------
    InvalidOptionError
        If the file holds other fields.
    """
    simulator = get_simulator(data.source.removeprefix(PREFIX))
    shape = (data.count, data.field, data.field, 3)
    if not path.exists():
        partial = path.with_suffix(".partial.npy")
        bank, start = begin_bank(partial, shape)
        for index in range(start, data.count):
            bank[index], _ = simulator.draw(field_seed(data.seed, index), data.field)
            if on_progress is not None and (index % 100 == 99 or index + 1 == data.count):
                on_progress(index + 1, data.count)
        partial.replace(path)
    fields: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    first, _ = simulator.draw(field_seed(data.seed, 0), data.field)
    if fields.shape != shape or not np.array_equal(fields[0], first):
        raise InvalidOptionError(
            f"Expected {data.count} fields of {data.field} px from {data.source}, seed {data.seed}, in "
            f"{path}; it holds others, {' × '.join(map(str, fields.shape))}. Delete it, or name another file."
        )
    return fields


def begin_bank(partial: Path, shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], int]:
    """Open the partial file of a bank and tell the first field to draw: the last one begun may be torn."""
    partial.parent.mkdir(parents=True, exist_ok=True)
    if partial.exists():
        try:
            bank: NDArray[np.uint8] = np.load(partial, mmap_mode="r+")
        except (ValueError, EOFError):  # killed before its header was written
            bank = np.empty(0, np.uint8)
        if bank.shape == shape:
            done = sum(1 for field in bank if field.any())
            return bank, max(0, done - 1)
    return np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape), 0
