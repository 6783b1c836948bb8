"""The only threading code: one worker thread, the newest work wins, answers come on the GUI thread."""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal

from napari_sslmaps.encoders.llvm import load_triton_apart
from napari_sslmaps.viewer.state.tasks import CancelToken, TaskCallbacks, TaskContext, Work


class QtTaskRunner(QObject):
    """Runs one piece of work at a time on a thread of its own.

    A future keeps whatever the work raises, RuntimeError and MemoryError included, which Qt's generator
    workers lose. Answers cross to the GUI thread through a queued signal; those of an older generation are
    dropped.
    """

    _arrived = Signal(int, str, object)

    def __init__(self) -> None:
        super().__init__()
        # Before any work: whatever it imports may import torch, and that triton, once the canvas has drawn.
        self._executor = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="napari-sslmaps", initializer=load_triton_apart
        )
        self._generation = 0
        self._token: CancelToken | None = None
        self._future: Future[Any] | None = None
        self._callbacks: TaskCallbacks | None = None
        self._arrived.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    @property
    def busy(self) -> bool:
        """Whether work is running or waiting."""
        return self._future is not None and not self._future.done()

    def submit(self, work: Work, callbacks: TaskCallbacks) -> None:
        """Run `work` after stopping what runs; called on the GUI thread."""
        self.discard()
        generation, token = self._generation, CancelToken()
        self._token, self._callbacks = token, callbacks
        context = TaskContext(token, partial(self._arrived.emit, generation, "reported"))
        self._future = self._executor.submit(work, context)
        self._future.add_done_callback(partial(self._post_answer, generation))

    def cancel(self) -> None:
        """Ask the running work to stop; what it still reports is delivered."""
        if self._token is not None:
            self._token.cancel()

    def discard(self) -> None:
        """Ask the running work to stop and deliver nothing more of it."""
        self.cancel()
        self._generation += 1
        self._callbacks = None
        if self._future is not None:
            self._future.cancel()

    def close(self) -> None:
        """Stop, deliver nothing more, and wait until the thread has ended."""
        self.discard()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _post_answer(self, generation: int, future: Future[Any]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            self._arrived.emit(generation, "returned", future.result())
        else:
            self._arrived.emit(generation, "failed", error)

    def _deliver(self, generation: int, kind: str, answer: object) -> None:
        if generation != self._generation or self._callbacks is None:
            return
        deliver = getattr(self._callbacks, kind)
        deliver(answer)
