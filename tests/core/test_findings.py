"""Tables refuse ragged rows, and cells read the same everywhere."""

import math

import pytest

from napari_sslmaps.core.findings import Cell, Estimate, Table, cell_text
from napari_sslmaps.errors import InvalidOptionError


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (7, "7"),
        ("mae", "mae"),
        (0.84251, "0.843"),
        (-0.5, "−0.500"),
        (1234.5, "1234"),
        (Estimate(0.84, 0.8, 0.88), "0.840 [0.800, 0.880]"),
        (Estimate(0.84), "0.840"),
    ],
)
def test_a_cell_reads_as_people_write_it(cell: Cell, text: str) -> None:
    assert cell_text(cell) == text


def test_an_interval_can_be_left_to_another_line() -> None:
    assert cell_text(Estimate(-0.84, -0.9, -0.8), interval=False) == "−0.840"


def test_a_ragged_row_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="Expected 2 cells in every row"):
        Table("scores", ("method", "AUROC"), (("mae", 0.5, 0.6),))
