"""Tables as CSV, for programs."""

import csv
import io
import math
from pathlib import Path

from napari_sslmaps.core.findings import Cell, Estimate, Table
from napari_sslmaps.files import written_whole

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What cells begin with that some spreadsheet takes for formulas: those of full width too."""


def csv_text(table: Table) -> str:
    """Write a table as CSV with full precision; an estimate becomes three columns, notes are left out.

    Returns
    -------
    str
        A heading and a line per row. Numbers are written so that reading them gives the same number; what is
        unknown is empty.
    """
    wide = [
        any(isinstance(row[index], Estimate) for row in table.rows) for index in range(len(table.columns))
    ]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heading: list[str] = []
    for name, estimated in zip(table.columns, wide, strict=True):
        word = _word(name)
        heading += [word, f"{word} (2.5 %)", f"{word} (97.5 %)"] if estimated else [word]
    writer.writerow(heading)
    for row in table.rows:
        cells: list[str] = []
        for cell, estimated in zip(row, wide, strict=True):
            cells += _spread(cell) if estimated else [_exact(cell)]
        writer.writerow(cells)
    return out.getvalue()


def write_csv(table: Table, path: Path) -> None:
    """Write `csv_text` into a file, whole or not at all.

    Raises
    ------
    ExportError
        If it cannot be written.
    """
    with written_whole(path) as temporary:
        temporary.write_text(csv_text(table), encoding="utf-8")


def _spread(cell: Cell) -> list[str]:
    if isinstance(cell, Estimate):
        return [_exact(cell.value), _exact(cell.low), _exact(cell.high)]
    return [_exact(cell), "", ""]


def _exact(cell: Cell) -> str:
    if isinstance(cell, Estimate):
        cell = cell.value
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return repr(float(cell)) if isinstance(cell, float) else _word(str(cell))


def _word(text: str) -> str:
    """Return a word that no spreadsheet takes for a formula: quoted, as OWASP says; a number stays one."""
    whole = text.replace("\r", " ")  # csv leaves it unquoted, and it ends a row
    if not text.startswith(_FORMULA):
        return whole
    try:
        float(text)
    except ValueError:
        return f"'{whole}"
    return whole
