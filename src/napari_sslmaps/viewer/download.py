"""Fetching a published encoder once its licence was accepted, with progress and a way to stop."""

from psygnal import Signal

from napari_sslmaps.encoders.published.catalog import Published
from napari_sslmaps.errors import Cancelled
from napari_sslmaps.viewer.library import Library
from napari_sslmaps.viewer.runs import sentence
from napari_sslmaps.viewer.tasks import TaskCallbacks, TaskContext, TaskRunner

_ADVICE = "What came is kept; try again."


class Download:
    """One published encoder on its way; announces `changed` after each step.

    Parameters
    ----------
    entry
        What its authors publish.
    library
        Fetches it.
    runner
        Runs the fetching.
    """

    changed = Signal()
    """The progress or the trouble changed."""
    arrived = Signal(str)
    """It is here; carries its name."""

    def __init__(self, entry: Published, library: Library, runner: TaskRunner) -> None:
        self.entry = entry
        self.trouble = ""
        self.running = False
        self.done_bytes = 0
        self.total_bytes = 0
        self._library = library
        self._runner = runner

    @property
    def fraction(self) -> float:
        """How much is here, in [0, 1]; 0 while the size is not known."""
        return min(1.0, self.done_bytes / self.total_bytes) if self.total_bytes else 0.0

    def start(self) -> None:
        """Fetch; the licence counts as accepted. What came in an earlier attempt is kept."""
        self.trouble, self.running = "", True
        self.changed.emit()
        self._runner.submit(self._work, TaskCallbacks(self._on_bytes, self._on_returned, self._on_failed))

    def stop(self) -> None:
        """Ask to stop; what came stays, and the next attempt goes on from there."""
        self._runner.cancel()

    def close(self) -> None:
        """Stop, and announce nothing more."""
        self._runner.discard()
        self.changed.disconnect()
        self.arrived.disconnect()

    def _work(self, context: TaskContext) -> None:
        def on_bytes(done: int, total: int) -> None:
            context.token.check()
            context.report((done, total))

        self._library.download(self.entry.name, on_bytes)

    def _on_bytes(self, progress: tuple[int, int]) -> None:
        self.done_bytes, self.total_bytes = progress
        self.changed.emit()

    def _on_returned(self, _answer: object) -> None:
        self.running = False
        self.arrived.emit(self.entry.name)

    def _on_failed(self, error: BaseException) -> None:
        self.running = False
        self.trouble = "" if isinstance(error, Cancelled) else sentence(error, _ADVICE)
        self.changed.emit()
