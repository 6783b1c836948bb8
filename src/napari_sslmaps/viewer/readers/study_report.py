"""The report of a reader study as the window asks for it: analysed and written off the window's thread."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from psygnal import SignalGroupDescriptor

from napari_sslmaps.errors import Cancelled, ExportError
from napari_sslmaps.readers.study import REPORT
from napari_sslmaps.viewer.readers.controller import ReadingController
from napari_sslmaps.viewer.state.messages import sentence
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskContext, TaskRunner
from napari_sslmaps.viewer.state.workspace import RunProgress, Status, WorkspaceModel

if TYPE_CHECKING:
    from napari_sslmaps.readers.report import StudyReport

_ADVICE = "Nothing was written; try again."
_PROGRESS = RunProgress("Analysing the answers", 0.0)


@dataclass(frozen=True, eq=False, slots=True)
class ShownReport:
    """A report in the window.

    Parameters
    ----------
    report
        Tables and sentences of the study.
    study
        Folder of the study.
    page
        The report as a page; None where it could not be written.
    status
        Status that says where it was written, or why it was not.
    """

    report: "StudyReport"
    study: Path
    page: Path | None
    status: Status


@dataclass(frozen=True, eq=False, slots=True)
class ReportJob:
    """Analyses a study's answers and writes the report, as the command line does.

    Parameters
    ----------
    study
        Folder of the study.
    scores
        Folder of a comparison of the same images, for their AUROC; None without.
    """

    study: Path
    scores: Path | None

    def __call__(self, context: TaskContext) -> ShownReport:
        """Return the report; one that cannot be written is shown all the same."""
        from napari_sslmaps.readers.report import analyse_files

        report = analyse_files(self.study, scores=self.scores)
        context.token.check()
        return written(report, self.study, self.study / REPORT)


def written(report: "StudyReport", study: Path, folder: Path) -> ShownReport:
    """Write a report and return what the window shows of it."""
    from napari_sslmaps.readers.report import PAGE, write_study_report

    try:
        write_study_report(report, folder)
    except ExportError as error:
        return ShownReport(report, study, None, Status(str(error), failed=True))
    return ShownReport(report, study, folder / PAGE, Status(f"Report and tables are in {folder}."))


@dataclass(eq=False)
class ReportModel:
    """State of the report.

    Each field has a signal of its name in `events`.

    Parameters
    ----------
    shown
        The report that was made last; None before the first.
    progress
        Progress of its making; None while nothing is made.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    shown: ShownReport | None = None
    progress: RunProgress | None = None


class StudyReports:
    """Makes the report of a study.

    Parameters
    ----------
    workspace
        Workspace that says whether something else runs.
    reading
        Controller whose page says what went wrong.
    runner
        Runner of the analysis.
    """

    def __init__(self, workspace: WorkspaceModel, reading: ReadingController, runner: TaskRunner) -> None:
        self.model = ReportModel()
        self._workspace = workspace
        self._reading = reading
        self._runner = runner

    @property
    def study(self) -> Path | None:
        """Folder of the study that is open."""
        return self._reading.folder

    def make(self, study: Path, scores: Path | None = None) -> None:
        """Analyse what readers of a study have answered so far, beside the AUROC of a comparison if given."""
        workspace = self._workspace
        if workspace.progress is not None:
            self._say(Status("Wait for what runs on the other pages, or cancel it there."))
            return
        self._say(Status())
        workspace.progress = self.model.progress = _PROGRESS

        def returned(shown: ShownReport) -> None:
            self._end()
            self.model.shown = shown
            self._say(shown.status)

        self._runner.submit(
            ReportJob(study, scores), TaskCallbacks(lambda _: None, returned, self._on_failed)
        )

    def save(self, folder: Path) -> None:
        """Write the report that is shown to another folder."""
        shown = self.model.shown
        if shown is not None:
            self.model.shown = written(shown.report, shown.study, folder)

    def cancel(self) -> None:
        """Stop the analysis; nothing is written then."""
        if self.model.progress is not None:
            self._runner.cancel()

    def _say(self, status: Status) -> None:
        self._reading.model.status = status

    def _end(self) -> None:
        self._workspace.progress = self.model.progress = None

    def _on_failed(self, error: BaseException) -> None:
        self._end()
        stopped = isinstance(error, Cancelled)
        self._say(Status("Stopped." if stopped else sentence(error, _ADVICE), failed=not stopped))
