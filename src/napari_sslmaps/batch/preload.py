"""Run by Dask in each worker process that a batch starts here, before anything else."""

import signal

from distributed import Worker


def dask_setup(_: Worker) -> None:
    """Leave Ctrl-C to the process that started the worker: it stops all of them, in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
