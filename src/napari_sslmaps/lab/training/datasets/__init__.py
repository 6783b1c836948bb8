"""Sources of fields: ``--data`` → simulated banks, folders of images, clips and slides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.files import user_path
from napari_sslmaps.lab.training.datasets.bank import PREFIX, build_bank
from napari_sslmaps.lab.training.datasets.cut_bank import cut_bank
from napari_sslmaps.lab.training.datasets.files import scan_files
from napari_sslmaps.lab.training.datasets.protocol import ArrayFields, FieldSource, MixedFields
from napari_sslmaps.lab.training.recipes import DataRecipe


def is_simulated(data: DataRecipe) -> bool:
    """Whether fields are drawn by a simulator."""
    return data.source.startswith(PREFIX)


def has_bank(data: DataRecipe) -> bool:
    """Whether fields, or some, are read from a file that every process opens for itself."""
    return is_simulated(data) or data.banked or bool(data.mixed_in)


def decodes(data: DataRecipe) -> bool:
    """Whether images are decoded while training."""
    return not is_simulated(data) and not data.banked


def open_fields(
    data: DataRecipe, bank: Path, on_progress: Callable[[int, int], None] | None = None
) -> FieldSource:
    """Open what a recipe trains on.

    Parameters
    ----------
    data
        Source and sizes of the fields.
    bank
        File of fields that are simulated or cut once, made if absent; simulated fields that are mixed with
        those of images lie beside it. Not touched where images are read anew.
    on_progress
        Callback, called with the number of fields or files that are done, and of all.

    Raises
    ------
    UnsupportedImageError
        If a folder or file has no image that can be read.
    InvalidOptionError
        If there is no such simulator, or `bank` holds other fields.
    """
    if is_simulated(data):
        if data.mixed_in:
            raise InvalidOptionError(
                "Expected images to mix simulated fields with; the source is a simulator."
            )
        return _open_simulated(data, bank, on_progress)
    if data.mixed_in and not data.mixed_in.startswith(PREFIX):
        raise InvalidOptionError(
            f"Expected mixed_in as a simulator, such as {PREFIX}histology; got {data.mixed_in!r}."
        )
    files = scan_files(user_path(data.source), data, on_progress)
    real = cut_bank(bank, files, on_progress) if data.banked else files
    if not data.mixed_in:
        return real
    count = max(1, round(len(real) * data.mixed_share / (1 - data.mixed_share)))
    drawn = replace(data, source=data.mixed_in, mixed_in="", count=count)
    return MixedFields(
        real, _open_simulated(drawn, bank.with_name(f"{bank.stem}-simulated.npy"), on_progress)
    )


def _open_simulated(
    data: DataRecipe, bank: Path, on_progress: Callable[[int, int], None] | None
) -> ArrayFields:
    description = f"{data.source}, {data.count} fields of {data.field} px, seed {data.seed}"
    return ArrayFields(build_bank(bank, data, on_progress), description, description, path=bank)
