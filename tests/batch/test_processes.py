"""Worker processes of our own: one is killed in mid-run, all are stopped by Ctrl-C."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import imageio.v3 as iio
import numpy as np
import psutil
import pytest
from distributed import Client, KilledWorker
from distributed.client import FutureCancelledError

from napari_sslmaps.batch.cluster import Workers, open_client, workers_of_version
from napari_sslmaps.batch.dispatch import precision_of
from napari_sslmaps.batch.run import run_batch
from napari_sslmaps.batch.store import read_embedding
from napari_sslmaps.batch.tasks import BatchOptions
from napari_sslmaps.errors import DeviceMemoryError, InvalidOptionError, WeightsUnavailableError
from napari_sslmaps.records.run import RunOptions

COUNT, SIDE = 24, 128
OPTIONS = BatchOptions(RunOptions(device="cpu", precision="float32", tile=8, overlap=0), tokens="float32")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    folder = tmp_path / "many"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(COUNT):
        iio.imwrite(folder / f"{index:02}.png", rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    return folder


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """Return the worker processes among a process's children."""
    return [child for child in process.children() if "spawn_main" in " ".join(child.cmdline())]


def test_a_worker_killed_in_mid_run_loses_nothing(many, encoder, tmp_path):
    environment = dict(os.environ)
    killed: list[int] = []

    def kill_one(progress):
        if progress.done == 3 and not killed:
            victim = workers_of(psutil.Process())[0]
            killed.append(victim.pid)
            victim.kill()

    report = run_batch(
        [many], [encoder], tmp_path / "out", options=OPTIONS, workers=Workers(2, 1), on_progress=kill_one
    )
    assert len(killed) == 1
    assert (report.failed, Counter(row.name for row in report.embedded)) == (
        (),
        Counter(path.name for path in many.iterdir()),
    )
    for row in report.embedded:
        assert read_embedding(tmp_path / "out" / row.output).tokens.shape == (SIDE // 8, SIDE // 8, 32)
    assert not (tmp_path / "out" / ".unfinished").exists()
    assert workers_of(psutil.Process()) == []
    assert dict(os.environ) == environment


def test_what_dask_reports_of_itself_never_reaches_the_terminal(capfd):
    """A worker that is stopped between two heartbeats calls that an error, with a traceback."""

    def report(*more: str) -> None:
        for name in ("distributed.worker", "distributed.nanny", "distributed.core", *more):
            logging.getLogger(name).error("Failed to communicate with scheduler during heartbeat.")

    before = logging.getLogger("distributed").level
    with open_client(Workers(1, 1), "cpu") as client:
        client.submit(report).result()
        report("distributed.client")
    assert capfd.readouterr().err == ""
    assert logging.getLogger("distributed").level == before


@contextmanager
def cluster(folder: Path, workers: Sequence[str]) -> Iterator[tuple[subprocess.Popen, str]]:
    """Start a scheduler and a worker for each search path; yield the scheduler and its address."""
    dask, known = Path(sys.executable).with_name("dask"), folder / "scheduler.json"
    common = ["--no-dashboard", "--scheduler-file", known]
    silent = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    begin = [dask, "scheduler", "--host", "127.0.0.1", "--port", "0", *common]
    join = [dask, "worker", "--nworkers", "1", "--nthreads", "1", *common]
    with ExitStack() as stack:
        scheduler = stack.enter_context(subprocess.Popen(list(map(str, begin)), **silent))
        stack.callback(scheduler.kill)
        while not known.exists():
            time.sleep(0.1)
        for path in workers:
            paths = os.pathsep.join(filter(None, (path, os.environ.get("PYTHONPATH", ""))))
            worker = subprocess.Popen(list(map(str, join)), env={**os.environ, "PYTHONPATH": paths}, **silent)
            stack.enter_context(worker)
            stack.callback(worker.terminate)
        address = json.loads(known.read_text())["address"]
        with Client(address) as client:
            client.wait_for_workers(len(workers), timeout=60)
        yield scheduler, address


def test_a_scheduler_that_dies_is_said_of_each_image_and_not_by_dask(many, encoder, tmp_path, capfd):
    with cluster(tmp_path, ("",)) as (scheduler, address):

        def kill(progress):
            if progress.done == 3:
                scheduler.kill()

        report = run_batch(
            [many],
            [encoder],
            tmp_path / "out",
            options=OPTIONS,
            workers=Workers(scheduler=address),
            on_progress=kill,
        )
    assert len(report.embedded) >= 3
    assert {row.error for row in report.failed} == {"The cluster gave the image up. Run again to embed it."}
    assert "Traceback" not in capfd.readouterr().err


def test_a_worker_with_another_version_gets_nothing_to_do(many, encoder, tmp_path, caplog):
    """It would be done with every image at once, and take them all."""
    other = tmp_path / "other"
    facts = other / "napari_sslmaps-0.0.1.dist-info" / "METADATA"
    facts.parent.mkdir(parents=True)
    facts.write_text("Metadata-Version: 2.1\nName: napari-sslmaps\nVersion: 0.0.1\n")
    (apart := tmp_path / "apart").mkdir()
    with cluster(apart, (str(other), "")) as (_, address):
        with caplog.at_level(logging.WARNING, "napari_sslmaps"):
            report = run_batch(
                [many], [encoder], tmp_path / "out", options=OPTIONS, workers=Workers(scheduler=address)
            )
        with Client(address) as client:
            client.retire_workers(workers_of_version(client, version("napari-sslmaps")))
            with pytest.raises(InvalidOptionError, match=r"got 0\.0\.1 at tcp:"):
                workers_of_version(client, version("napari-sslmaps"))
    assert (len(report.embedded), report.failed) == (COUNT, ())
    assert "0.0.1 at tcp:" in caplog.text


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (
            KilledWorker("prepare", SimpleNamespace(address="tcp://127.0.0.1:1"), 3),
            DeviceMemoryError,
            "lack of memory",
        ),
        (FutureCancelledError("prepare", "scheduler-connection-lost"), InvalidOptionError, "it went"),
        (WeightsUnavailableError("Expected weights."), WeightsUnavailableError, "Expected weights."),
    ],
)
def test_why_no_worker_could_load_an_encoder_is_said(error, kind, said):
    def fail():
        raise error

    with pytest.raises(kind, match=said):
        precision_of(SimpleNamespace(result=fail), "tiny")


def test_ctrl_c_stops_all_processes_and_keeps_what_is_done(many, weights, tmp_path):
    """The terminal sends it to every process of the group, workers among them."""
    out, sheet = tmp_path / "out", tmp_path / "endless.csv"
    sheet.write_text("image,name\n" + "".join(f"many/00.png,{number}\n" for number in range(5000)))
    program = Path(sys.executable).with_name("napari-sslmaps")
    command = [program, "batch", sheet, "-e", weights, "-o", out, "--workers", "1", "--precision", "float32"]
    with subprocess.Popen(
        list(map(str, command)), stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            while len(list(out.glob("tiny-mae/*.zarr"))) < 3:
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(0.1)
            children = psutil.Process(process.pid).children(recursive=True)
            os.killpg(process.pid, signal.SIGINT)
            said = process.communicate(timeout=120)[1]
        finally:
            process.kill()
    assert process.returncode == 1
    assert "Traceback" not in said, said
    assert said.endswith("Error: Stopped.\n")
    assert psutil.wait_procs(children, timeout=60)[1] == []
    assert (out / "batch.parquet").exists()
    assert not (out / ".unfinished").exists()
    for folder in out.glob("tiny-mae/*.zarr"):
        read_embedding(folder)


def test_a_task_that_dask_leaves_behind_says_nothing(caplog):
    """As one is where Ctrl-C comes while a worker connects."""

    async def leave() -> None:
        raise KeyError("Client-1")

    done = threading.Event()
    with open_client(Workers(count=1), "cpu") as client:
        client.loop.add_callback(
            lambda: asyncio.ensure_future(leave()).add_done_callback(lambda _: done.set())
        )
        assert done.wait(20)
    assert not [record for record in caplog.records if record.name == "asyncio"]
