"""Looking at a weight file before it is added: what was recognised, what is corrected, what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.viewer.encoders.library import Library
from napari_sslmaps.viewer.state.messages import sentence
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskRunner

if TYPE_CHECKING:
    from napari_sslmaps.encoders.checkpoint.report import RecognitionReport


class CheckpointReview:
    """One weight file under review; announces `changed` after each step.

    Parameters
    ----------
    path
        A file or a folder.
    library
        Library that inspects and remembers.
    runner
        Runner of both; a correction stops an inspection that is under way.
    overrides
        Corrections to begin with.
    name
        Name to propose: of a remembered encoder, its name, under which it is found again.
    """

    changed = Signal()
    """The report, the error or what is being done changed."""
    accepted = Signal(object)
    """The file was added; carries its `EncoderSpec`."""

    def __init__(
        self,
        path: Path,
        library: Library,
        runner: TaskRunner,
        *,
        overrides: Overrides | None = None,
        name: str = "",
    ) -> None:
        self.path = path
        self.overrides = overrides or Overrides()
        self.name = name
        self.report: RecognitionReport | None = None
        self.error_text = ""
        self.doing = ""
        self._malformed = False
        self._library = library
        self._runner = runner

    @property
    def addable(self) -> bool:
        """Whether the file was recognised as the corrections stand."""
        return self.report is not None and not self.error_text and not self.doing

    def inspect(self) -> None:
        """Look at the file, with the corrections there are."""
        self._start("Reading the file …", lambda: self._library.inspect(self.path, self.overrides))

    def correct(self, **fields: Any) -> None:
        """Set fields of `Overrides`, None to leave one to the file, and look again.

        A value that is not permitted becomes the error; the file is not looked at.
        """
        try:
            wanted = replace(self.overrides, **fields)
        except InvalidOptionError as error:
            self._runner.discard()
            self.doing, self.error_text, self._malformed = "", str(error), True
            self.changed.emit()
            return
        if wanted != self.overrides or self._malformed:
            self.overrides, self._malformed = wanted, False
            self.inspect()

    def accept(self, name: str) -> None:
        """Add the file under a name, or under its own if that is empty."""
        self._start("Checking and adding …", lambda: self._library.remember(self.path, self.overrides, name))

    def close(self) -> None:
        """Stop, and announce nothing more."""
        self._runner.discard()
        self.changed.disconnect()
        self.accepted.disconnect()

    def _start(self, doing: str, work: Callable[[], Any]) -> None:
        self.doing, self.error_text = doing, ""
        self.changed.emit()
        callbacks = TaskCallbacks(lambda _: None, self._on_returned, self._on_failed)
        self._runner.submit(lambda _context: work(), callbacks)

    def _on_returned(self, answer: Any) -> None:
        self.doing = ""
        if isinstance(answer, EncoderSpec):
            self.accepted.emit(answer)
            return
        self.report = answer
        self.changed.emit()

    def _on_failed(self, error: BaseException) -> None:
        self.doing, self.error_text = "", sentence(error, "Nothing was added; the log has the details.")
        self.changed.emit()
