"""Tables become CSV that reads back to the same numbers."""

import csv
import io
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sslmaps.core.findings import Estimate, Table
from napari_sslmaps.errors import ExportError
from napari_sslmaps.records.csv import csv_text, write_csv

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs", "Cc"])), FLOATS, FLOATS), min_size=1)
)
def test_numbers_and_words_read_back_exactly(rows: list[tuple[str, float, float]]) -> None:
    table = Table("t", ("name", "value", "estimate"), tuple((n, v, Estimate(e, e, e)) for n, v, e in rows))
    lines = list(csv.reader(io.StringIO(csv_text(table))))
    assert lines[0] == ["name", "value", "estimate", "estimate (2.5 %)", "estimate (97.5 %)"]
    for line, (name, value, estimate) in zip(lines[1:], rows, strict=True):
        assert line[0] in {name, f"'{name}"}
        assert not line[0].startswith(("=", "@"))
        assert [float(cell) for cell in line[1:]] == [value, estimate, estimate, estimate]


def test_what_is_unknown_is_empty() -> None:
    table = Table("t", ("a", "b", "c"), (("x", None, Estimate(0.5)), ("y", math.nan, None)))
    assert csv_text(table).splitlines()[1:] == ["x,,0.5,,", "y,,,,"]


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ExportError):
        write_csv(Table("t", ("a",), ()), tmp_path / "taken" / "scores.csv")


@pytest.mark.parametrize(
    "name", ["=cmd|calc!A1.png", "+1+1.png", "@SUM(1).png", "-x", "\tx", "\r=1", "=1", "\n=1", "＝1", "＠x"]
)
def test_no_word_is_a_formula(name: str) -> None:
    text = csv_text(Table("t", (name, "n"), ((name, -1), ("-1.5", -0.5))))
    quoted = f"'{name}".replace("\r", " ")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows == [[quoted, "n"], [quoted, "-1"], ["-1.5", "-0.5"]]
