"""Tasks → workers → rows, in the order in which they come; Ctrl-C cannot get lost."""

import re
import signal
import threading
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from queue import Empty, SimpleQueue
from shutil import rmtree
from time import time
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from napari_sslmaps.batch.cluster import Workers, open_client, workers_of_version
from napari_sslmaps.batch.store import begin_outputs, end_outputs, remove_if_empty
from napari_sslmaps.batch.table import Row
from napari_sslmaps.batch.tasks import BatchTask, image_footprint
from napari_sslmaps.batch.work import embed_task, failed_rows, prepare
from napari_sslmaps.errors import DeviceMemoryError, ExportError, InvalidOptionError, SSLMapsError

if TYPE_CHECKING:
    from distributed import Client, Future

Task = TypeVar("Task")
Answer = TypeVar("Answer")

_STALE_SECONDS = 24 * 3600.0
_LOST = "The cluster gave the image up. Run again to embed it."
_GLANCE_SECONDS = 0.5


_UNFINISHED = re.compile(r"[0-9a-f]{32}(\.over)?")
"""What folders of unfinished outputs are called: nothing else is ever deleted there."""


def new_unfinished(out: Path) -> Path:
    """Name a folder for the outputs of a run while they grow; `rows_of` makes and removes it."""
    return out / ".unfinished" / uuid4().hex


def rows_of(tasks: Sequence[BatchTask], workers: Workers, unfinished: Path) -> Generator[Row, None, None]:
    """Have tasks done, the largest images first, and yield the rows of each as they come.

    Close the iterator to stop: workers that are at an image stop after the batch of tiles they are at.

    Parameters
    ----------
    tasks
        All of one run; nothing is started for none.
    workers
        Workers that do them.
    unfinished
        Folder from `new_unfinished`, as the tasks name it.

    Raises
    ------
    InvalidOptionError
        If no scheduler answers, or no worker has this version of the package.
    SSLMapsError
        If an encoder cannot be loaded by a worker.
    ExportError
        If the folder of the outputs cannot be written to.
    """
    if not tasks:
        return
    with (
        noticed_interrupts() as check,
        _made(unfinished, workers),
        open_client(workers, tasks[0].options.maps.device) as client,
        _told_when_over(unfinished),
    ):
        largest_first = sorted(tasks, key=lambda task: image_footprint(task.item) or (0, 0), reverse=True)
        alike = workers_of_version(client, tasks[0].package_version)
        submitted = {
            client.submit(embed_task, task, key=f"embed-{uuid4().hex}", pure=False, workers=alike): task
            for task in _prepared(client, largest_first, alike, check)
        }
        try:
            for future in _as_they_come(submitted, check):
                yield from _rows(future, submitted[future])
        finally:
            client.cancel(list(submitted))


def answers_of(
    work: Callable[[Task], Answer], tasks: Sequence[Task], workers: Workers, on_glance: Callable[[], object]
) -> Generator[tuple[Task, Answer], None, None]:
    """Have something done for each task, and yield what comes of it, as it comes.

    Close the iterator to stop: what no worker has begun is not begun any more.

    Parameters
    ----------
    work
        Function that workers can import.
    tasks
        Arguments that it is called with, one each.
    workers
        Workers that do it; they have this version of the package.
    on_glance
        Callback, called every half second; what it raises stops the work.

    Raises
    ------
    InvalidOptionError
        If no scheduler answers, no worker has this version of the package, or the cluster goes.
    DeviceMemoryError
        If every worker that tries a task is killed.
    SSLMapsError
        If the work raises it.
    """
    with noticed_interrupts() as check, open_client(workers, "cpu") as client:

        def glance() -> None:
            check()
            on_glance()

        alike = workers_of_version(client, version("napari-sslmaps"))
        submitted = {
            client.submit(work, task, key=f"{uuid4().hex}", pure=False, workers=alike): task for task in tasks
        }
        try:
            for future in _as_they_come(submitted, glance):
                yield submitted[future], _answer(future)
        finally:
            client.cancel(list(submitted))


def _answer(future: "Future[Answer]") -> Answer:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise DeviceMemoryError(
            "Expected workers with memory enough; every one that tried was killed. Give them more, or choose "
            "fewer workers on the machine."
        ) from error
    except (OSError, CancelledError) as error:
        if isinstance(error, SSLMapsError):
            raise
        raise InvalidOptionError(
            f"Expected a cluster that stays until the work is done; it went ({error}). Start it, and run "
            "again: what is finished is kept."
        ) from error


def _as_they_come(futures: "Collection[Future[Any]]", check: Callable[[], None]) -> "Iterator[Future[Any]]":
    arrived: SimpleQueue[Future[Any]] = SimpleQueue()
    for future in futures:
        future.add_done_callback(arrived.put)
    waiting = len(futures)
    while waiting:
        check()
        try:
            future = arrived.get(timeout=_GLANCE_SECONDS)
        except Empty:
            continue
        waiting -= 1
        yield future


@contextmanager
def _made(unfinished: Path, workers: Workers) -> Iterator[None]:
    """Make the folder of unfinished outputs, and remove it when nobody writes to it any more.

    Workers of another cluster outlive a run that was stopped; what they are at, they remove themselves.
    """
    home = unfinished.parent
    try:
        begin_outputs(unfinished)
        for other in home.iterdir():  # of a run that was killed, or of one beside this
            ours = _UNFINISHED.fullmatch(other.name) and not other.is_symlink()
            if ours and time() - other.stat().st_mtime > _STALE_SECONDS:
                rmtree(other, ignore_errors=True)
    except OSError as error:
        raise ExportError(
            f"Expected to write to {home.parent}; the system says: {error.strerror or error}. "
            "Choose another folder."
        ) from error
    still_written = bool(workers.scheduler)
    try:
        yield
        still_written = False
    finally:
        if not still_written:
            rmtree(unfinished, ignore_errors=True)
        remove_if_empty(unfinished)


@contextmanager
def _told_when_over(unfinished: Path) -> Iterator[None]:
    """Say to the workers that the run is over before the client goes."""
    try:
        yield
    finally:
        end_outputs(unfinished)


def _prepared(
    client: "Client", tasks: Sequence[BatchTask], alike: list[str] | None, check: Callable[[], None]
) -> list[BatchTask]:
    """Let one worker load each encoder, and all run in the precision that it chose."""
    maps, wanted = tasks[0].options.maps, tasks[0].package_version
    encoders = {task.encoder.name: task.encoder for task in tasks}
    submitted = {
        client.submit(prepare, encoder, maps.device, maps.precision, wanted, pure=False, workers=alike): name
        for name, encoder in encoders.items()
    }
    chosen = {
        submitted[future]: precision_of(future, submitted[future])
        for future in _as_they_come(submitted, check)
    }
    return [_in_precision(task, chosen[task.encoder.name]) for task in tasks]


def precision_of(future: "Future[str]", name: str) -> str:
    """Return the precision that a worker chose for an encoder.

    Parameters
    ----------
    future
        Finished future of `prepare`.
    name
        Name of the encoder.

    Raises
    ------
    SSLMapsError
        If the encoder could not be loaded there, or the worker or the cluster is gone.
    """
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise DeviceMemoryError(
            f"Expected workers that can load {name}; every one that tried was killed, probably for lack of "
            "memory. Give them more, or choose fewer workers on the machine."
        ) from error
    except (OSError, CancelledError) as error:
        if isinstance(error, SSLMapsError):
            raise
        raise InvalidOptionError(
            f"Expected a cluster that stays until {name} is loaded; it went. Start it, and run again."
        ) from error


def _in_precision(task: BatchTask, precision: str) -> BatchTask:
    """Return the task with a precision; its key stays that of what was asked for."""
    maps = replace(task.options.maps, precision=precision)
    return replace(task, options=replace(task.options, maps=maps))


def _rows(future: "Future[tuple[Row, ...]]", task: BatchTask) -> tuple[Row, ...]:
    from distributed import KilledWorker

    if future.status == "finished":
        try:
            rows: tuple[Row, ...] = future.result()
        except (OSError, CancelledError):  # the cluster went while the answer was on its way
            return failed_rows(task, _LOST)
        return rows
    if future.status != "error":
        return failed_rows(task, _LOST)
    error: Any = future.exception()
    if isinstance(error, KilledWorker):
        return failed_rows(
            task,
            "Every worker that tried it was killed, probably for lack of memory. Choose a coarser level, or "
            "fewer workers on the machine.",
        )
    return failed_rows(task, f"An unexpected error, {type(error).__name__}: {' '.join(str(error).split())}")


@contextmanager
def noticed_interrupts() -> Iterator[Callable[[], None]]:
    """Give a function that raises `KeyboardInterrupt` if Ctrl-C was pressed; nothing else does.

    Python drops an exception that a signal raises within a callback of its garbage collector, and Dask has
    such callbacks. Pressed twice, it is raised at once. What has the handler of Ctrl-C is taken for it; where
    that is ignored, and outside the main thread, which alone hears signals, the function does nothing.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda: None
        return
    pressed = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            before(number, frame)
        pressed.set()

    def check() -> None:
        if pressed.is_set():
            raise KeyboardInterrupt

    alike = [number for number in signal.valid_signals() if signal.getsignal(number) is before]
    for number in alike:
        signal.signal(number, on_signal)
    try:
        yield check
    finally:
        for number in alike:
            signal.signal(number, before)
