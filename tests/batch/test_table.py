"""The table while rows come: what stands in it after a kill."""

from pyarrow.parquet import read_table

from napari_sslmaps.batch.table import GrowingTable, Row


def row(number: int) -> Row:
    name = f"{number}.png"
    return Row(name, name, "mae", "done", output=f"mae/{name}.zarr")


def count(path) -> int:
    return read_table(path).num_rows


def test_a_slow_first_write_holds_up_no_other(tmp_path):
    """As the first one imports Arrow."""
    path = tmp_path / "table.parquet"
    moments = iter([0.0, 5.0, 6.0, 6.25, 7.0, 12.0, 12.25, 13.0])
    table = GrowingTable(path, clock=lambda: next(moments))
    for number, written in enumerate([1, 2, 2, 4, 4]):  # 5 s from 6.25 on
        table.add(row(number))
        assert count(path) == written


def test_one_slow_write_is_not_waited_for(tmp_path):
    path = tmp_path / "table.parquet"
    moments = iter([0.0, 0.25, 10.0, 12.5, 18.0, 18.5])
    table = GrowingTable(path, [row(9)], clock=lambda: next(moments))
    for number, written in enumerate([2, 3, 4]):
        table.add(row(number))
        assert count(path) == written
