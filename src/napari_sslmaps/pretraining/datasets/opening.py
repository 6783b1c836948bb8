"""``--data`` → fields."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari_sslmaps.pretraining.datasets.bank import PREFIX, build_bank
from napari_sslmaps.pretraining.datasets.files import scan_files
from napari_sslmaps.pretraining.datasets.protocol import ArrayFields, FieldSource
from napari_sslmaps.pretraining.recipes import DataRecipe


def is_simulated(data: DataRecipe) -> bool:
    """Whether fields are drawn by a simulator."""
    return data.source.startswith(PREFIX)


def open_fields(
    data: DataRecipe, bank: Path, on_progress: Callable[[int, int], None] | None = None
) -> FieldSource:
    """Open what a recipe trains on.

    Parameters
    ----------
    data
        Source and sizes.
    bank
        File of simulated fields, made if absent; not touched for other sources.
    on_progress
        Called with the number of fields or files that are done, and of all.

    Raises
    ------
    UnsupportedImageError
        If a folder or file has no image that can be read.
    InvalidOptionError
        If there is no such simulator, or `bank` holds other fields.
    """
    if not is_simulated(data):
        return scan_files(Path(data.source).expanduser(), data, on_progress)
    told = f"{data.source}, {data.count} fields of {data.field} px, seed {data.seed}"
    return ArrayFields(build_bank(bank, data, on_progress), told, told)
