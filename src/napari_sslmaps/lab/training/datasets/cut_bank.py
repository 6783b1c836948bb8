"""Fields of images, cut once into one ``.npy`` file: reading them then decodes nothing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.errors import (
    ExportError,
    InvalidOptionError,
    RecordError,
    SSLMapsError,
    UnsupportedImageError,
)
from napari_sslmaps.lab.training.datasets.bank import begin_bank, open_bank, partial_of
from napari_sslmaps.lab.training.datasets.files import FileFields
from napari_sslmaps.lab.training.datasets.protocol import ArrayFields
from napari_sslmaps.records.claim import stranger
from napari_sslmaps.records.json import read_object, write_object

_FACTS = {"images", "count", "field", "seed"}
"""Some of what is told of every bank."""
_ELSEWHERE = ("source", "mixed_in", "mixed_share")
"""Settings of the data that decide nothing about the fields that are cut."""


def cut_bank(
    path: Path, files: FileFields, on_progress: Callable[[int, int], None] | None = None
) -> ArrayFields:
    """Cut the fields of a recipe out of images into a file, or open the file if it is complete.

    Parameters
    ----------
    path
        The ``.npy`` file. A partial one lies beside it until it is complete, and a ``.json`` that tells of
        what the fields were cut.
    files
        The images, with the number, side, scale and seed of the fields. An image gives fields in proportion
        to the square root of its pixels; field i is drawn from `(seed, i)`.
    on_progress
        Callback, called now and then with the number of fields that are done, and of all.

    Raises
    ------
    InvalidOptionError
        If the file holds other fields.
    UnsupportedImageError
        If no image can be read.
    ExportError
        If a file beside it was not made here, or the disk is full.
    """
    data, about = files.data, path.with_suffix(".json")
    settings = {name: value for name, value in asdict(data).items() if name not in _ELSEWHERE}
    description: dict[str, Any] = {"images": files.fingerprint, **json.loads(json.dumps(settings))}
    _check_ours(path, about)
    known = _read(about)
    fits = known is not None and {**known, "skipped": None} == {**description, "skipped": None}
    if not path.exists():
        partial = partial_of(path)
        if not fits:
            partial.unlink(missing_ok=True)
        write_object(about, description)
        skipped = _cut(partial, files, on_progress)
        known = {**description, "skipped": skipped}
        write_object(about, known)
        partial.replace(path)
    elif not fits:
        raise InvalidOptionError(
            f"Expected {data.count} fields cut out of {files.name} as the recipe says in {path}; it holds "
            "others, or they were cut out of other images. Delete it, or name another file."
        )
    skipped = tuple((known or {}).get("skipped") or ())
    name = f"{files.name}, {data.count} fields of {data.field} px, cut once with seed {data.seed}"
    fingerprint = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
    return ArrayFields(open_bank(path), name, fingerprint, (*files.skipped, *skipped), path)


def _check_ours(path: Path, about: Path) -> None:
    """Refuse to write over files of other people that happen to be called as those of a bank are.

    Raises
    ------
    ExportError
        If there is one.
    """
    if about == path:
        raise ExportError(
            f"Expected a bank that ends in .npy; got {path}. Its facts go into the .json beside it."
        )
    known = _read(about)
    if os.path.lexists(about) and (known is None or not known.keys() >= _FACTS):
        raise stranger(about)
    if known is None and os.path.lexists(partial_of(path)):
        raise stranger(partial_of(path))


def _read(about: Path) -> dict[str, Any] | None:
    """Read what fields were cut out of; None if it is not told."""
    try:
        return read_object(about, "the facts of a bank")
    except RecordError:
        return None


def _cut(partial: Path, files: FileFields, on_progress: Callable[[int, int], None] | None) -> tuple[str, ...]:
    """Cut what is missing of the partial file; return a sentence for each image that could not be read."""
    data = files.data
    bank, start = begin_bank(partial, (data.count, data.field, data.field, 3))
    faults: dict[int, str] = {}
    for row, number in enumerate(_deal(files, faults).tolist()):
        if row < start:
            continue
        random = np.random.default_rng([data.seed, row])
        bank[row] = _read_next(files, number, faults, random)
        if on_progress is not None and (row % 100 == 99 or row + 1 == data.count):
            on_progress(row + 1, data.count)
    return tuple(faults.values())


def _deal(files: FileFields, faults: dict[int, str]) -> NDArray[np.int64]:
    """Tell which file each field comes from, in the files' order."""
    weights = np.zeros(len(files.entries))
    for number, entry in enumerate(files.entries):
        try:
            height, width = files.shape_yx(number)
        except SSLMapsError as error:
            faults[number] = str(error)
        else:
            weights[number] = (height * width * entry.frames) ** 0.5
    if not weights.any():
        raise _unreadable(files, faults)
    ends = np.cumsum(weights)
    places = (np.arange(files.data.count) + 0.5) / files.data.count * ends[-1]
    dealt: NDArray[np.int64] = np.searchsorted(ends, places, side="right")
    return dealt


def _read_next(
    files: FileFields, number: int, faults: dict[int, str], random: np.random.Generator
) -> NDArray[np.uint8]:
    """Read a field of a file, or of the next one that can be read."""
    for candidate in [*range(number, len(files.entries)), *range(number)]:
        if candidate in faults:
            continue
        items = files.items(candidate)
        try:
            return files.read(items.start + int(random.integers(len(items))), random)
        except SSLMapsError as error:
            faults[candidate] = str(error)
    raise _unreadable(files, faults)


def _unreadable(files: FileFields, faults: dict[int, str]) -> UnsupportedImageError:
    first = next(iter(faults.values()))
    return UnsupportedImageError(
        f"Expected readable images in {files.name}; none is. The first fault: {first}"
    )
