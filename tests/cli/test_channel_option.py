import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import napari_sslmaps
from napari_sslmaps.cache.store import Cache
from napari_sslmaps.cli.commands import app
from napari_sslmaps.sources.open import open_image

NAMES = ("DAPI", "CD8", "PanCK", "AF")


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Four named channels that look different."""
    pixels = np.random.default_rng(1).integers(0, 200, (4, 64, 64), dtype=np.uint8)
    path = tmp_path / "cells.ome.tif"
    tifffile.imwrite(path, pixels, metadata={"axes": "CYX", "Channel": {"Name": list(NAMES)}})
    return path


def invoke(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def test_a_run_reads_the_channel_and_is_made_again_from_its_record(cells: Path, tmp_path: Path) -> None:
    words = ("run", str(cells), "-e", "mae-demo", "--channel", "CD8", "--precision", "float32", "--json")
    told = json.loads(invoke(*words, "-o", str(tmp_path / "out")))
    expected = napari_sslmaps.embed(cells, "mae-demo", channel=1).provenance.image_sha256
    assert told["encoders"][0]["provenance"]["image_sha256"] == expected
    assert told["options"]["channel"] == ["CD8"]
    again = json.loads(
        invoke("run", "--from", str(tmp_path / "out" / "run.json"), "-o", str(tmp_path / "again"), "--json")
    )
    assert again["encoders"][0]["provenance"]["image_sha256"] == expected


def test_an_embedding_of_a_channel_reads_its_pixels_again(cells: Path) -> None:
    embedding = napari_sslmaps.embed(cells, "mae-demo", channel=(0, 3))
    assert embedding.provenance.region is not None
    with open_image(cells, channel=("DAPI", "AF")) as source:
        expected = source.read(embedding.provenance.region)
    np.testing.assert_array_equal(embedding.pixels(embedding.provenance.region), expected)


def test_scans_of_two_channels_are_not_mixed_up(cells: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    hashes = [
        napari_sslmaps.embed(cells, "mae-demo", channel=number, cache=cache).provenance.image_sha256
        for number in (0, 1, 0)
    ]
    assert hashes[0] == hashes[2] != hashes[1]


def test_an_evaluation_reads_the_chosen_channel(cells: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.pad(np.ones((64, 32), np.uint8), ((0, 0), (0, 32))))
    words = (
        "evaluate",
        str(cells),
        "-e",
        "mae-demo",
        "--masks",
        str(tmp_path / "mask.npy"),
        "--controls",
        "none",
    )
    told = ("--scores", "maps", "--channel", "PanCK", "-o", str(tmp_path / "out"), "--json")
    invoke(*words, *told)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["options"]["channel"] == ["PanCK"]
    expected = napari_sslmaps.embed(cells, "mae-demo", channel=2).provenance.image_sha256
    assert record["encoders"][0]["provenance"]["image_sha256"] == expected
    heads, *rows = csv.reader((tmp_path / "out" / "images.csv").read_text(encoding="utf-8-sig").splitlines())
    assert heads[-4:] == ["Series", "Channel", "µm/px, rows", "µm/px, columns"]
    assert {row[-3] for row in rows} == {"2 PanCK"}


def test_a_batch_takes_channels_for_all_images_or_line_by_line(cells: Path, tmp_path: Path) -> None:
    from napari_sslmaps.inputs.listing import read_sheet

    (tmp_path / "images.csv").write_text("image,name,channel\ncells.ome.tif,a,CD8\ncells.ome.tif,b,0; AF\n")
    items, note = read_sheet(tmp_path / "images.csv")
    assert [item.channel for item in items] == [("CD8",), ("0", "AF")]
    assert not note
    invoke(
        *("batch", str(tmp_path / "images.csv"), "-e", "mae-demo", "--workers", "1"),
        *("--channel", "PanCK", "-o", str(tmp_path / "out")),
    )
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "out" / "batch.parquet").to_pydict()
    expected = [
        napari_sslmaps.embed(cells, "mae-demo", channel=channel).provenance.image_sha256
        for channel in (1, (0, 3))
    ]
    assert sorted(table["image_sha256"]) == sorted(expected)
    assert sorted(table["channel"]) == ["0 DAPI + 3 AF", "1 CD8"]
    assert set(table["series"]) == {""}
    assert not any(table["spacing_given"])
