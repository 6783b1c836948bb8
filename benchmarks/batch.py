"""Batches on Dask: what a task costs over embedding alone, and how two workers share the work.

Figures of the cost model in docs/batch.md come from here.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import imageio.v3 as iio
import numpy as np
import psutil
from measure import Outcome, ratio, seconds

from napari_sslmaps.batch.cluster import Workers
from napari_sslmaps.batch.dispatch import new_unfinished
from napari_sslmaps.batch.run import BatchProgress, run_batch
from napari_sslmaps.batch.store import begin_outputs
from napari_sslmaps.batch.tasks import BatchOptions, BatchTask, choose_encoder, make_task
from napari_sslmaps.batch.work import embed_task
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.inputs.listing import BatchItem
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.records.run import RunOptions

IMAGES, SIDE, STRIDE = 16, 1024, 8
ENCODER = "mae-demo"
OPTIONS = BatchOptions(RunOptions(device="cpu", precision="float32"))
ADDED, SHARED, AGAIN = 1.15, 1.25, 0.05


def outcomes() -> Iterator[Outcome]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        images = _images(folder / "images")
        yield _added(folder, images[0])
        (one, alone), (two, together) = (
            _batch(folder / f"out{workers}", images, workers) for workers in (1, 2)
        )
        yield Outcome(
            "batch: time of two workers, twice, over one worker's",
            2 * two / one,
            "×",
            SHARED,
            f"efficiency {one / (2 * two):.2f} on {len(os.sched_getaffinity(0))} cores at load "
            f"{os.getloadavg()[0]:.1f}; of processor time {alone / together:.2f}",
        )
        again = seconds(lambda: _run(folder / "out1", images, 1))
        yield Outcome("batch: again with nothing to do, over doing it", again / one, "×", AGAIN)


def _images(folder: Path) -> list[Path]:
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = [folder / f"{index:02}.png" for index in range(IMAGES)]
    for path in paths:
        iio.imwrite(path, rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    return paths


def _added(folder: Path, image: Path) -> Outcome:
    """What maps, scores and files add to the embedding."""
    unfinished = new_unfinished(folder / "out")
    begin_outputs(unfinished)
    item = BatchItem(str(image), image.name)
    task = make_task(item, choose_encoder(ENCODER), OPTIONS, folder / "out", unfinished)
    encoder = load_encoder(ENCODER, device="cpu", precision="float32")
    added, whole, _ = ratio(lambda: _do(task), lambda: embed(image, encoder), repeats=5)
    size = sum(path.stat().st_size for path in Path(task.folder).rglob("*") if path.is_file())
    tokens = (SIDE // STRIDE) ** 2
    detail = f"{whole / tokens * 1e6:.0f} µs and {size / tokens:.0f} bytes on disk per token"
    return Outcome("batch: maps, scores and files beside tokens, over embed", added, "×", ADDED, detail)


def _do(task: BatchTask) -> None:
    (row,) = embed_task(task)
    assert not row.error, row.error


def _batch(out: Path, images: list[Path], workers: int) -> tuple[float, float]:
    """Seconds, and processor seconds, of all images, from when each worker has loaded its encoder.

    Processor time tells what workers cost each other where other programs take the cores.
    """
    told: list[tuple[int, float, float]] = []
    _run(out, images, workers, told)
    warm = [moment for moment in told if moment[0] >= IMAGES // 4]
    (first, *begun), (last, *ended) = warm[0], warm[-1]
    elapsed, used = ((end - start) * IMAGES / (last - first) for start, end in zip(begun, ended, strict=True))
    return elapsed, used


def _used() -> float:
    """Processor seconds of this process's children so far."""
    times = [child.cpu_times() for child in psutil.Process().children()]
    return sum(time.user + time.system for time in times)


def _run(
    out: Path, images: list[Path], workers: int, told: list[tuple[int, float, float]] | None = None
) -> None:
    def note(progress: BatchProgress) -> None:
        if told is not None:
            told.append((progress.done, perf_counter(), _used()))

    report = run_batch(
        images,
        [choose_encoder(ENCODER)],
        out,
        options=OPTIONS,
        workers=Workers(workers, 1),
        on_progress=note,
    )
    assert not report.failed, report.failed
