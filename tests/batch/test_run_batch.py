"""Whole batches on a Dask cluster within this process, found by its address."""

import json
from dataclasses import replace
from pathlib import Path
from time import sleep

import numpy as np
import pyarrow.parquet
import pytest
from distributed import LocalCluster
from encoders_factory import write_encoder

from napari_sslmaps import extras
from napari_sslmaps.batch import work
from napari_sslmaps.batch.cluster import Workers
from napari_sslmaps.batch.run import run_batch
from napari_sslmaps.batch.store import read_embedding
from napari_sslmaps.batch.tasks import BatchOptions, choose_encoder
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import CheckpointError, ExportError, InvalidOptionError, MissingExtraError
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.records.run import RunOptions

OPTIONS = BatchOptions(RunOptions(device="cpu", precision="float32"))
NAMES = ["a.png", "b.png", "more/a.png", "more/c.png"]


@pytest.fixture(scope="module")
def there():
    """Two workers of two threads each, which share the encoder."""
    with LocalCluster(
        n_workers=2,
        threads_per_worker=2,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address=":0",  # whoever else runs these tests has the usual port
    ) as cluster:
        yield Workers(scheduler=cluster.scheduler_address)


@pytest.fixture
def go(images, encoder, tmp_path, there):
    def run(*given, encoders=(encoder,), options=OPTIONS, on_progress=None):
        return run_batch(
            given or (images,),
            encoders,
            tmp_path / "out",
            options=options,
            workers=there,
            on_progress=on_progress,
        )

    return run


def table(folder: Path) -> dict[str, dict]:
    rows = pyarrow.parquet.read_table(folder / "batch.parquet").to_pylist()
    return {row["name"]: row for row in rows}


def test_all_are_embedded_once_and_told_in_one_table(go, tmp_path):
    told = []
    report = go(on_progress=told.append)
    assert [row.name for row in sorted(report.embedded, key=lambda row: row.name)] == NAMES
    assert (report.failed, report.kept, report.notes) == ((), 0, ())
    assert [(step.done, step.total) for step in told] == [(done, 4) for done in range(5)]
    rows = table(tmp_path / "out")
    assert list(rows) == NAMES
    assert {row["status"] for row in rows.values()} == {"done"}
    for row in rows.values():
        assert read_embedding(tmp_path / "out" / row["output"]).tokens.shape == (8, 6, 32)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["batch.parquet", "tiny-mae"]


def test_what_is_there_is_kept_and_what_has_changed_is_made_anew(go, images, tmp_path):
    go(images / "a.png")
    stamp = (tmp_path / "out" / "tiny-mae" / "a.png.zarr").stat().st_mtime_ns
    second = go()
    assert (len(second.embedded), second.kept) == (3, 1)
    assert (tmp_path / "out" / "tiny-mae" / "a.png.zarr").stat().st_mtime_ns == stamp
    third = go()
    assert (len(third.embedded), third.kept) == (0, 4)
    (images / "b.png").write_bytes((images / "a.png").read_bytes())
    assert [row.name for row in go().embedded] == ["b.png"]
    assert (
        len(
            go(
                options=BatchOptions(RunOptions(device="cpu", precision="float32", tile=4, overlap=0))
            ).embedded
        )
        == 4
    )
    assert list(table(tmp_path / "out")) == NAMES


def test_tokens_of_an_earlier_block_are_kept_beside_no_others(go, images, weights, tmp_path):
    go(images / "a.png")
    earlier = replace(OPTIONS, maps=replace(OPTIONS.maps, token_block=0, token_norm=False))
    assert len(go(images / "a.png", options=earlier).embedded) == 1
    assert go(images / "a.png", options=earlier).kept == 1
    stored = read_embedding(tmp_path / "out" / table(tmp_path / "out")["a.png"]["output"])
    encoder = load_encoder(weights, device="cpu", precision="float32")
    expected = embed(images / "a.png", encoder, block=0, norm=False)
    assert np.array_equal(np.asarray(stored.tokens), np.asarray(expected.tokens).astype(np.float16))
    assert stored.provenance.depth == expected.provenance.depth == "block 0, without norm"
    assert len(go(images / "a.png").embedded) == 1


def test_the_table_tells_tokens_of_different_blocks_apart(go, images, tmp_path):
    earlier = replace(OPTIONS, maps=replace(OPTIONS.maps, token_block=0, token_norm=False))
    assert not go(images / "a.png", options=earlier).notes
    (note,) = go(images / "b.png").notes
    assert "several blocks (block 0, without norm; the encoder's own)" in note
    output = tmp_path / "out" / "tiny-mae" / "a.png.zarr" / "zarr.json"
    told = json.loads(output.read_text())
    for column in ("token_block", "token_norm"):  # as outputs were before the columns were
        del told["attributes"]["napari_sslmaps"]["row"][column]
    output.write_text(json.dumps(told))
    go(images / "b.png")
    rows = table(tmp_path / "out")
    assert {name: (row["token_block"], row["token_norm"]) for name, row in rows.items()} == {
        "a.png": ("block 0", False),
        "b.png": ("", True),
    }
    (images / "c.png").write_bytes(b"")
    go(images / "c.png")
    assert table(tmp_path / "out")["c.png"]["token_norm"] is None  # it came to nothing


def test_failed_images_are_told_and_the_rest_is_finished(go, images, tmp_path):
    whole = (images / "b.png").read_bytes()
    (images / "b.png").write_bytes(whole[:60])
    report = go()
    assert [row.name for row in report.failed] == ["b.png"]
    assert len(report.embedded) == 3
    row = table(tmp_path / "out")["b.png"]
    assert (row["status"], row["rows"]) == ("failed", None)
    assert row["error"].startswith("Expected")
    (images / "b.png").write_bytes(whole)
    assert [row.name for row in go().embedded] == ["b.png"]
    assert table(tmp_path / "out")["b.png"]["status"] == "done"


def test_a_fault_of_ours_costs_one_image(go, images, monkeypatch):
    def faulty(source, item, options):
        if item.name == "a.png":
            raise ZeroDivisionError("division by zero")
        return choose(source, item, options)

    choose = work.choose_region
    monkeypatch.setattr(work, "choose_region", faulty)
    report = go(images / "a.png", images / "b.png")
    assert [row.error for row in report.failed] == [
        "An unexpected error, ZeroDivisionError: division by zero"
    ]
    assert [row.name for row in report.embedded] == ["b.png"]


def test_several_encoders_have_a_folder_each(go, images, encoder, tmp_path):
    cnn = choose_encoder(str(write_encoder(tmp_path / "tiny-dira.safetensors", "dira")))
    report = go(images / "a.png", encoders=(encoder, cnn))
    assert sorted(row.output for row in report.embedded) == ["tiny-dira/a.png.zarr", "tiny-mae/a.png.zarr"]
    with pytest.raises(InvalidOptionError, match="different names"):
        go(encoders=(encoder, encoder))


def test_a_stop_keeps_what_is_done(go, tmp_path):
    def stop(progress):
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(on_progress=stop)
    done = len(table(tmp_path / "out"))
    assert done >= 2
    for _ in range(300):  # a worker that was at an image tidies up after itself
        if not (tmp_path / "out" / ".unfinished").exists():
            break
        sleep(0.1)
    assert not (tmp_path / "out" / ".unfinished").exists()
    assert go().kept >= done


def test_an_encoder_that_no_worker_can_load_ends_the_batch_at_once(go, tmp_path):
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        go(encoders=(choose_encoder(str(path)),))


def test_a_device_that_no_worker_has_is_said(go):
    with pytest.raises(InvalidOptionError, match="device that is here"):
        go(options=BatchOptions(RunOptions(device="cuda:7")))


def test_a_folder_that_cannot_be_written_is_said(go, tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(ExportError, match="Choose another folder"):
        go()


def test_a_table_of_somebody_else_stays(go, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "batch.parquet").write_text("mine")
    with pytest.raises(ExportError, match="did not write it"):
        go()
    assert (tmp_path / "out" / "batch.parquet").read_text() == "mine"


def test_a_scheduler_that_is_not_there_is_said(images, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_sslmaps.batch.cluster._CONNECT", "0.2s")
    with pytest.raises(InvalidOptionError, match=r"tcp://127\.0\.0\.1:9; none answers"):
        run_batch([images], [encoder], tmp_path / "out", workers=Workers(scheduler="tcp://127.0.0.1:9"))


def test_without_dask_the_extra_is_named(images, encoder, tmp_path, monkeypatch):
    monkeypatch.setitem(extras.EXTRAS, "batch", extras.Extra(("distributed", "no_such_module"), "batches"))
    with pytest.raises(MissingExtraError, match=r"no_such_module cannot be found.*napari-sslmaps\[batch\]"):
        run_batch([images], [encoder], tmp_path / "out")


@pytest.mark.parametrize("row", [{}, {"name": 1}, {"rows": "many"}, {"seconds": [1]}])
def test_an_output_whose_row_was_damaged_is_made_again(go, images, tmp_path, row):
    go(images / "a.png")
    path = tmp_path / "out" / "tiny-mae" / "a.png.zarr" / "zarr.json"
    content = json.loads(path.read_text())
    stored = content["attributes"]["napari_sslmaps"]
    stored["row"] = stored["row"] | row if row else {}
    path.write_text(json.dumps(content))
    report = go(images / "a.png")
    assert ([row.name for row in report.embedded], report.kept) == (["a.png"], 0)
    assert table(tmp_path / "out")["a.png"]["rows"] > 0
