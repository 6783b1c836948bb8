"""Workers of a batch: its own on this machine, or a Dask cluster that is there."""

import gc
import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from napari_sslmaps.encoders.llvm import load_triton_apart
from napari_sslmaps.errors import InvalidOptionError

if TYPE_CHECKING:
    from distributed import Client, Worker

_log = logging.getLogger(__name__)
_PACKAGE = "napari-sslmaps"
_CONNECT = "20s"
#: Of workers and scheduler here: nobody outside this machine reaches them, not even their status page.
_PRIVATE = {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
_VISIBLE = "CUDA_VISIBLE_DEVICES"
#: Above all levels: Dask reports what comes after the end as an error, and what matters is in the rows.
_SILENT = logging.CRITICAL + 1
#: Nothing is kept in a worker between images, so its memory is neither spilled nor a reason to pause.
_CONFIG = {
    **{f"distributed.worker.memory.{what}": False for what in ("target", "spill", "pause")},
    "distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": str(_SILENT),
}


@dataclass(frozen=True, slots=True)
class Workers:
    """Workers that do the work of a batch.

    Parameters
    ----------
    count
        Worker processes to start here; None for one per GPU, or one where there is none.
    threads
        Processor threads of each; None shares the cores out.
    scheduler
        Address of an existing Dask scheduler, such as ``tcp://host:8786``, instead.
    """

    count: int | None = None
    threads: int | None = None
    scheduler: str = ""

    def __post_init__(self) -> None:
        if self.scheduler and (self.count, self.threads) != (None, None):
            raise InvalidOptionError(
                "Expected either a number of workers to start here or the address of a scheduler; got both. "
                "An existing cluster has its own workers and threads."
            )
        if min(self.count or 1, self.threads or 1) < 1 or 0 in (self.count, self.threads):
            raise InvalidOptionError(
                f"Expected at least one worker and one thread; got {self.count} and {self.threads}."
            )


@contextmanager
def open_client(workers: Workers, device: str) -> "Iterator[Client]":
    """Connect to the scheduler, or start workers here and stop them at the end.

    Parameters
    ----------
    workers
        Workers to start, or the scheduler to connect to.
    device
        Device as `load_encoder` takes it; with ``auto`` and ``cuda`` the GPUs here are shared out, one to a
        worker.

    Raises
    ------
    InvalidOptionError
        If no scheduler answers.
    """
    import dask
    from distributed import Client

    if workers.scheduler:
        with _quiet_dask(), _connected(workers.scheduler) as client:
            yield client
        return
    before = dict(os.environ)
    try:
        with (
            dask.config.set(_CONFIG),
            _quiet_dask(),
            _started(worker_specs(workers, _gpus(device))) as cluster,
            Client(cluster) as client,
        ):
            yield client
    finally:
        for name in set(os.environ) - set(before):  # what Dask sets for its workers, it sets here too
            del os.environ[name]


def workers_of_version(client: "Client", wanted: str) -> list[str] | None:
    """Return the workers that have this version of the package, to give work to them alone.

    Parameters
    ----------
    client
        Client of the cluster.
    wanted
        The version.

    Returns
    -------
    list of str or None
        Their addresses; None where no worker has another version, so that any that comes later may work too.

    Raises
    ------
    InvalidOptionError
        If there are workers, and none has it.
    """
    answers = client.run(version, _PACKAGE, on_error="return")
    others = {
        address: answer if isinstance(answer, str) else "none"
        for address, answer in answers.items()
        if answer != wanted and isinstance(answer, (str, PackageNotFoundError))
    }
    if not others:
        return None
    alike = [address for address, answer in answers.items() if answer == wanted]
    there = ", ".join(f"{found} at {address}" for address, found in sorted(others.items()))
    if not alike:
        raise InvalidOptionError(
            f"Expected workers with {_PACKAGE} {wanted}; got {there}. Install the same version there."
        )
    _log.warning(
        "Workers with another version of %s get nothing to do: %s. Install %s there.", _PACKAGE, there, wanted
    )
    return alike


def worker_specs(workers: Workers, gpus: Sequence[str]) -> dict[int, dict[str, Any]]:
    """Describe the worker processes to start.

    Each has one Dask thread, so that it does one image at a time, and `Workers.threads` threads within torch.

    Parameters
    ----------
    workers
        Number of workers, and of threads in each.
    gpus
        GPUs that are shared out, as ``CUDA_VISIBLE_DEVICES`` names them; empty for none.
    """
    from dask.system import CPU_COUNT
    from distributed import Nanny
    from distributed.system import MEMORY_LIMIT

    count = workers.count or len(gpus) or 1
    threads = workers.threads or max(1, CPU_COUNT // count)
    common = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    options = {
        "nthreads": 1,
        "memory_limit": MEMORY_LIMIT // count,
        **_PRIVATE,
        "preload": ["napari_sslmaps.batch.cluster"],
    }
    return {
        index: {
            "cls": Nanny,
            "options": {
                **options,
                "env": {**common, _VISIBLE: gpus[index % len(gpus)]} if gpus else common,
            },
        }
        for index in range(count)
    }


@contextmanager
def _started(specs: dict[int, dict[str, Any]]) -> Iterator[Any]:
    from distributed import Scheduler, SpecCluster

    scheduler = {"cls": Scheduler, "options": {**_PRIVATE, "port": 0}}
    with SpecCluster(workers=specs, scheduler=scheduler) as cluster:
        yield cluster


@contextmanager
def _quiet_dask() -> Iterator[None]:
    """Let Dask say nothing for a while, nor asyncio of the tasks that Dask left when it was stopped."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed.")]
    before = {
        logging.getLogger(name): logging.getLogger(name).level
        for name in ("distributed", "asyncio", *names)  # its client has a level of its own
    }
    for logger in before:
        logger.setLevel(_SILENT)
    try:
        yield
    finally:
        gc.collect()  # asyncio speaks when a task is deleted, which is now
        for logger, level in before.items():
            logger.setLevel(level)


@contextmanager
def _connected(address: str) -> "Iterator[Client]":
    from distributed import Client

    try:
        client = Client(address, timeout=_CONNECT)
    except (OSError, ValueError) as error:
        raise InvalidOptionError(
            f"Expected a Dask scheduler at {address}; none answers within {_CONNECT} ({error}). "
            "Start one with dask scheduler, and give the address it prints."
        ) from error
    with client:
        if not client.scheduler_info()["workers"]:
            _log.warning("The scheduler at %s has no worker yet; the batch waits for one.", address)
        yield client


def _gpus(device: str) -> list[str]:
    """Names of the GPUs to share out; none if a device was chosen by name."""
    if device not in ("auto", "cuda"):
        return []
    load_triton_apart()
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get(_VISIBLE, "").split(",") if name]
    return named[:count] or [str(index) for index in range(count)]


def dask_setup(_: "Worker") -> None:
    """Leave Ctrl-C to the process that started the worker: it stops all of them, in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
