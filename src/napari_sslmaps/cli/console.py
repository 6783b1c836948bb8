"""What is written where: results to stdout, progress and errors to stderr."""

import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType

if TYPE_CHECKING:
    from napari_sslmaps.core.findings import Table


def out(text: RenderableType) -> None:
    """Write to stdout, coloured on a terminal."""
    Console(highlight=False, soft_wrap=isinstance(text, str)).print(text, markup=False)


def out_table(table: "Table") -> None:
    """Write a table to stdout as text, its columns aligned, and its notes to stderr."""
    from napari_sslmaps.core.findings import cell_text

    rows = [table.columns, *(tuple(cell_text(cell) for cell in row) for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    out(table.title)
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        out(f"  {'  '.join(cells).rstrip()}")
    for sentence in table.notes:
        note(sentence)
    out("")


def out_json(value: Any) -> None:
    """Write JSON to stdout, and nothing else."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def note(text: str) -> None:
    """Write a remark to stderr."""
    errors().print(text, markup=False, style="dim")


def error(sentence: str) -> None:
    """Write an error to stderr, as one sentence."""
    errors().print(f"Error: {sentence}", markup=False, style="red")


def errors() -> Console:
    """Return a console on stderr, as it is now."""
    return Console(stderr=True, highlight=False, soft_wrap=True)
