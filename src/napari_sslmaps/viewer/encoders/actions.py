"""Actions on weight files and published encoders: review, correct, forget, download."""

from collections.abc import Callable
from pathlib import Path

from psygnal import Signal

from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.encoders.published.entry import Published
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import Cancelled, SSLMapsError
from napari_sslmaps.viewer.encoders.checkpoint_review import CheckpointReview
from napari_sslmaps.viewer.encoders.encoder_list import EncoderList
from napari_sslmaps.viewer.encoders.library import Library
from napari_sslmaps.viewer.state.messages import sentence
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskContext, TaskRunner
from napari_sslmaps.viewer.state.workspace import WorkspaceModel


class Download:
    """One published encoder on its way; announces `changed` after each step.

    Parameters
    ----------
    entry
        Encoder to download, as its authors publish it.
    library
        Library that fetches it.
    runner
        Runner that fetches.
    """

    changed = Signal()
    """The progress or the error changed."""
    arrived = Signal(str)
    """It is here; carries its name."""

    def __init__(self, entry: Published, library: Library, runner: TaskRunner) -> None:
        self.entry = entry
        self.error_text = ""
        self.running = False
        self.done_bytes = 0
        self.total_bytes = 0
        self._library = library
        self._runner = runner

    @property
    def fraction(self) -> float:
        """Share that is here, in [0, 1]; 0 while the size is not known."""
        return min(1.0, self.done_bytes / self.total_bytes) if self.total_bytes else 0.0

    def start(self) -> None:
        """Fetch; the licence counts as accepted. What came in an earlier attempt is kept."""
        self.error_text, self.running = "", True
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
        self.error_text = "" if isinstance(error, Cancelled) else sentence(error, _ADVICE)
        self.changed.emit()


class EncoderActions:
    """Brings encoders into the list and takes them out.

    Parameters
    ----------
    workspace
        Workspace whose list and status line are set.
    library
        Library of the user's files and the published encoders.
    encoder_list
        List that is read again after a change.
    runners
        Runners, one to read weight files, one to download.
    failed
        Callback that is told what went wrong.
    """

    def __init__(
        self,
        workspace: WorkspaceModel,
        library: Library,
        encoder_list: EncoderList,
        runners: tuple[TaskRunner, TaskRunner],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._workspace = workspace
        self._library = library
        self._encoder_list = encoder_list
        self._file_runner, self._download_runner = runners
        self._failed = failed

    def review(self, path: Path, overrides: Overrides | None = None, name: str = "") -> CheckpointReview:
        """Return the review of a weight file or folder, to be started and closed by whoever shows it."""
        review = CheckpointReview(path, self._library, self._file_runner, overrides=overrides, name=name)
        review.accepted.connect(self._on_added)
        return review

    def review_again(self, name: str, path: Path | None = None) -> CheckpointReview:
        """Return the review of a remembered encoder, where it was or where it is now."""
        spec = next(spec for spec in self._workspace.available if spec.name == name)
        return self.review(path or Path(str(spec.path)), Overrides.of(spec.overrides), name)

    def forget(self, name: str) -> None:
        """List a remembered encoder no more; its file stays."""
        try:
            self._library.forget(name)
        except SSLMapsError as error:
            self._failed(error)
            return
        self._encoder_list.list_again()
        self._workspace.say(f"{name} is no longer listed; its file stays where it is.")

    def download(self, name: str) -> Download:
        """Return the download of a published encoder, to be started and closed by whoever shows it."""
        download = Download(PUBLISHED[name], self._library, self._download_runner)
        download.arrived.connect(lambda arrived: self._encoder_list.list_again(ticked=arrived))
        return download

    def _on_added(self, spec: EncoderSpec) -> None:
        self._encoder_list.list_again(ticked=spec.name)
        title = METHODS[spec.method].title
        self._workspace.say(f"{spec.name}: recognised as {title}, {spec.architecture.summary}.")


_ADVICE = "What came is kept; try again."
