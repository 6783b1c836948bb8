"""The report of a study in the window: what the command line writes, made off the thread."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from napari.components import ViewerModel
from readers_kit import answer_page, tiny_study
from viewer_kit import LaterRunner, known_services

from napari_sslmaps.cli import main
from napari_sslmaps.readers import report
from napari_sslmaps.readers.study import ANSWERS, PAGES, REPORT
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.readers.study_report import StudyReports
from napari_sslmaps.viewer.state.workspace import RunProgress, WorkspaceModel

LIKING = {"mae-secret": 1.0, "dinov3-secret": 0.0, "colour-secret": -1.0}


class Runners(list[LaterRunner]):
    """All runners of a controller."""

    def make(self) -> LaterRunner:
        self.append(LaterRunner())
        return self[-1]

    def finish(self) -> None:
        for runner in self:
            runner.deliver()


@pytest.fixture
def runners() -> Runners:
    return Runners()


@pytest.fixture
def controller(viewer: ViewerModel, workspace: WorkspaceModel, runners: Runners) -> Iterator[Controller]:
    made = Controller(viewer, workspace, make_runner=runners.make, services=known_services())
    workspace.task = "readers"
    yield made
    made.close()


@pytest.fixture
def reports(controller: Controller) -> StudyReports:
    return controller.study_reports


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of two readers, one of whom has answered."""
    folder = tmp_path / "study"
    study = tiny_study(folder, images=6)
    reader = study.readers[0]
    page = folder / PAGES / f"reader-{reader.code}.html"
    told = answer_page(page, study, LIKING, noise=0.1, bias=0, seed=1)
    (folder / ANSWERS).mkdir(exist_ok=True)
    (folder / ANSWERS / "sent.json").write_text(json.dumps(told))
    return folder


def test_the_report_is_that_of_the_command_line(
    reports: StudyReports, runners: Runners, folder: Path, tmp_path: Path, workspace: WorkspaceModel
) -> None:
    reports.make(folder)
    assert workspace.progress is not None
    assert reports.model.shown is None
    runners.finish()
    assert workspace.progress is None
    shown = reports.model.shown
    assert shown is not None
    means = {row[2]: row[4].value for row in shown.report.tables[0].rows if row[:2] == ("pca", "marks")}
    assert sorted(means, key=means.get, reverse=True) == list(LIKING)
    assert shown.report.sentences[-1] == "No answers yet from Ben."
    with pytest.raises(SystemExit) as end:
        main(["readers", "report", str(folder), "--out", str(tmp_path / "typed")])
    assert end.value.code == 0
    for typed in (tmp_path / "typed").iterdir():
        assert (folder / REPORT / typed.name).read_bytes() == typed.read_bytes()
    assert shown.page == folder / REPORT / "report.html"
    assert str(folder / REPORT) in shown.status.text


def test_it_is_saved_to_another_folder_too(
    reports: StudyReports, runners: Runners, folder: Path, tmp_path: Path
) -> None:
    reports.make(folder)
    runners.finish()
    reports.save(tmp_path / "for-the-paper")
    assert reports.model.shown.page == tmp_path / "for-the-paper" / "report.html"
    assert (tmp_path / "for-the-paper" / "means.csv").exists()


def test_where_it_cannot_be_written_it_is_shown_all_the_same(
    reports: StudyReports, runners: Runners, folder: Path
) -> None:
    (folder / REPORT).write_text("a file where the folder would be")
    reports.make(folder)
    runners.finish()
    shown = reports.model.shown
    assert shown.page is None
    assert shown.status.failed
    assert str(folder / REPORT) in shown.status.text
    assert shown.report.tables


def test_what_is_wrong_is_said_in_a_sentence(
    reports: StudyReports, controller: Controller, runners: Runners, folder: Path, tmp_path: Path
) -> None:
    said = controller.reading.model
    answers, key = folder / ANSWERS / "sent.json", folder / "key.json"
    for lacking, word in ((answers, "at least one file"), (key, "key")):
        lacking.unlink()
        reports.make(folder)
        runners.finish()
        assert said.status.failed
        assert word in said.status.text
    assert reports.model.shown is None
    assert not (folder / REPORT).exists()


def test_nothing_else_runs_meanwhile_and_it_can_be_stopped(
    reports: StudyReports,
    controller: Controller,
    runners: Runners,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace = controller.workspace
    workspace.progress = RunProgress("Searching", 0.5)
    reports.make(folder)
    assert "Wait for what runs" in controller.reading.model.status.text
    workspace.progress = None
    monkeypatch.setattr(report, "analyse_files", lambda *_, **__: controller.cancel())
    reports.make(folder)
    runners.finish()
    assert controller.reading.model.status.text == "Stopped."
    assert not controller.reading.model.status.failed
    assert workspace.progress is None
    assert not (folder / REPORT).exists()
