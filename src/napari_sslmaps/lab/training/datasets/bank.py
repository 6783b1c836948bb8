"""Simulated fields on disk: one ``.npy`` file, made once, and made on after a kill."""

from __future__ import annotations

import os
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.errors import ExportError, InvalidOptionError
from napari_sslmaps.lab.simulators import get_simulator
from napari_sslmaps.lab.simulators.fields import field_seed
from napari_sslmaps.lab.training.recipes import DataRecipe
from napari_sslmaps.records.claim import stranger

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
        Callback, called now and then with the number of fields that are done, and of all.

    Returns
    -------
    ndarray
        Fields (count, field, field, 3) uint8, memory-mapped, read-only.

    Raises
    ------
    InvalidOptionError
        If the file holds other fields.
    ExportError
        If what is there was not begun here, or the disk is full.
    """
    simulator = get_simulator(data.source.removeprefix(PREFIX))
    shape = (data.count, data.field, data.field, 3)
    if not path.exists():
        partial = partial_of(path)
        bank, start = begin_bank(partial, shape)
        for index in range(start, data.count):
            bank[index], _ = simulator.draw(field_seed(data.seed, index), data.field)
            if on_progress is not None and (index % 100 == 99 or index + 1 == data.count):
                on_progress(index + 1, data.count)
        partial.replace(path)
    fields = open_bank(path)
    first, _ = simulator.draw(field_seed(data.seed, 0), data.field)
    if fields.shape != shape or not np.array_equal(fields[0], first):
        raise InvalidOptionError(
            f"Expected {data.count} fields of {data.field} px from {data.source}, seed {data.seed}, in "
            f"{path}; it holds others, {' × '.join(map(str, fields.shape))}. Delete it, or name another file."
        )
    return fields


def partial_of(path: Path) -> Path:
    """Return where a bank lies until it is complete."""
    return path.with_suffix(".partial.npy")


def open_bank(path: Path) -> NDArray[np.uint8]:
    """Map a complete bank, to be read alone.

    Raises
    ------
    InvalidOptionError
        If it is none.
    """
    try:
        bank = np.load(path, mmap_mode="r") if path.is_file() else None
    except (OSError, ValueError, EOFError):
        bank = None
    if not isinstance(bank, np.ndarray) or bank.dtype != np.uint8 or bank.ndim != 4:
        raise InvalidOptionError(
            f"Expected {path} to be a bank of fields, as pretrain makes one; it is something else. Name "
            "another file with --bank."
        )
    return bank


def begin_bank(partial: Path, shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], int]:
    """Open the partial file of a bank and tell the first field to draw: the last one begun may be torn.

    Raises
    ------
    ExportError
        If a file of that name is no bank, or the disk has no place for the fields.
    """
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        begun = partial.stat().st_size if os.path.lexists(partial) else 0
        if begun:
            bank = _partial_bank(partial)
            if bank is None or bank.shape[1:] != shape[1:]:
                raise stranger(partial)
            if bank.shape == shape:
                done = sum(1 for field in bank if field.any())
                return bank, max(0, done - 1)
        return _reserved(partial, shape), 0
    except OSError as error:
        if isinstance(error, ExportError):
            raise
        raise ExportError(
            f"Expected {prod(shape) / 1e9:.2g} GB of disk for the fields in {partial}; the system says: "
            f"{error.strerror or error}. Free some space, or name another file with --bank."
        ) from error


def _partial_bank(partial: Path) -> NDArray[np.uint8] | None:
    """Map what was begun; None if it is no array of fields."""
    if not partial.is_file():
        return None
    try:
        bank: NDArray[np.uint8] = np.load(partial, mmap_mode="r+")
    except (ValueError, EOFError):
        return None
    return bank if bank.dtype == np.uint8 and bank.ndim == 4 else None


def _reserved(partial: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Map a new file whose bytes the disk has promised, so that a full one is an error now and no crash."""
    bank = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        try:
            with partial.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, partial.stat().st_size)
        except OSError:
            del bank
            partial.unlink(missing_ok=True)
            raise
    return bank
