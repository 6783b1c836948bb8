"""Export from the window: written off its thread, and told in a line."""

from collections.abc import Callable, Sequence
from pathlib import Path

from napari_sslmaps.errors import SSLMapsError
from napari_sslmaps.viewer.comparison_job import AskedComparison, Found
from napari_sslmaps.viewer.export_job import Exporter, ExportJob, ExportKind
from napari_sslmaps.viewer.runs import sentence
from napari_sslmaps.viewer.tasks import TaskCallbacks, TaskRunner
from napari_sslmaps.viewer.workspace import WorkspaceModel

_NAMED = 3
_ADVICE = "Choose another folder, or make room, and export again."
_RUN_FIRST = "Expected something to export; nothing is embedded. Press Run or Compare first."


class ExportDesk:
    """Hands on what was found.

    Parameters
    ----------
    workspace
        Whose status line tells what was written.
    runner
        Writes.
    exporter
        Knows how.
    holdings
        Gives the region with its embeddings, and what was found of it; None if nothing is embedded.
    """

    def __init__(
        self,
        workspace: WorkspaceModel,
        runner: TaskRunner,
        exporter: Exporter,
        holdings: Callable[[], tuple[AskedComparison, Found | None] | None],
    ) -> None:
        self._workspace = workspace
        self._runner = runner
        self._exporter = exporter
        self._holdings = holdings

    def export(self, kind: ExportKind, folder: Path) -> None:
        """Write what there is into a folder."""
        try:
            held = self._holdings()
        except SSLMapsError as error:
            self._workspace.say(str(error), failed=True)
            return
        if held is None:
            self._workspace.say(_RUN_FIRST, failed=True)
            return

        def returned(names: Sequence[str]) -> None:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            self._workspace.say(f"Wrote {', '.join(names[:_NAMED])}{more} into {folder}.")

        self._workspace.say(f"Writing into {folder} …")
        job = ExportJob(kind, *held, folder, self._exporter)
        self._runner.submit(job, TaskCallbacks(lambda _: None, returned, self._on_failed))

    def _on_failed(self, error: BaseException) -> None:
        self._workspace.say(sentence(error, _ADVICE), failed=True)
