"""Findings of a comparison, as window, report, page and CSV show them: estimates, tables and plots."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from napari_sslmaps.core.results import Float32
from napari_sslmaps.errors import InvalidOptionError


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with a 95 % interval.

    Parameters
    ----------
    value
        Observed value; NaN where it is not defined.
    low, high
        Ends of the interval; NaN where there is too little to resample.
    """

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


Cell = str | int | float | Estimate | None
"""None, like NaN, is shown as a dash."""
Axis = Literal["linear", "log"]
DASH = "–"


def cell_text(cell: Cell, *, interval: bool = True) -> str:
    """Write a cell as people read it: numbers to three digits, an interval in brackets behind its value.

    Parameters
    ----------
    cell
        Cell of a table.
    interval
        Whether an estimate shows its interval.
    """
    if isinstance(cell, Estimate):
        value = cell_text(cell.value)
        if not interval or not (math.isfinite(cell.low) and math.isfinite(cell.high)):
            return value
        return f"{value} [{cell_text(cell.low)}, {cell_text(cell.high)}]"
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return DASH
    if not isinstance(cell, float):
        return str(cell)
    text = f"{cell:.3f}" if abs(cell) < 10 else f"{cell:.4g}"
    return text.replace("-", "−")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under a title.

    Parameters
    ----------
    title
        Subject of the table.
    columns
        Heads of the columns; the first column names the row.
    rows
        Rows, each of as many cells as there are columns.
    notes
        Sentences below: what the numbers mean, which method does not beat its controls, what was left out.
    key
        A short name for files, such as ``scores``.
    tips
        Head of a column → sentence on what its numbers are, where the head does not say it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    key: str = "table"
    tips: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        widths = {len(row) for row in self.rows} - {len(self.columns)}
        if widths:
            raise InvalidOptionError(
                f"Expected {len(self.columns)} cells in every row of {self.title!r}; got {sorted(widths)}."
            )


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One line of a plot.

    Parameters
    ----------
    label
        Name in the legend.
    x, y
        Points of the curve, (n,) float32.
    low, high
        (n,) float32 ends of its band, or None.
    beside
        Curve whose own control this one is alone, or empty, for a control; None for what is no control.
    """

    label: str
    x: Float32
    y: Float32
    low: Float32 | None = None
    high: Float32 | None = None
    beside: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Plot:
    """Curves over common axes.

    Parameters
    ----------
    title, x_label, y_label
        Words; units in the labels.
    curves
        Curves to draw, one per method.
    x_axis
        Kind of the horizontal axis: ``linear`` or ``log``.
    notes
        Sentences below the plot.
    key
        A short name for files, such as ``robustness``.
    heat
        Whether each curve is a row of coloured cells with their numbers, one below the other, instead of a
        line: for many curves over the same few points.
    """

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    x_axis: Axis = "linear"
    notes: tuple[str, ...] = ()
    key: str = "plot"
    heat: bool = False


Finding = Table | Plot
