"""The Readers page: a study is read by keys and mouse, and nothing visible tells a method."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import napari
import numpy as np
import pytest
from PIL import Image
from pytestqt.qtbot import QtBot
from qt_kit import LEFT, Window
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QComboBox, QTabBar, QWidget
from readers_kit import answer_page, tiny_study
from viewer_kit import KnownEmbedder, known_services

from napari_sslmaps._qt.dock import SSLMapsWidget
from napari_sslmaps._qt.readers.questions import VisualScale
from napari_sslmaps.readers.answers import read_answers
from napari_sslmaps.readers.build import OnImage, StudyRequest
from napari_sslmaps.readers.page import pixels_of, read_page
from napari_sslmaps.readers.reading import pages_of
from napari_sslmaps.readers.study import ANSWERS, PAGES, REPORT, Study
from napari_sslmaps.viewer.state.workspace import TASKS

LIKING = {"mae-secret": 1.0, "dinov3-secret": 0.0, "colour-secret": -1.0}
SECRETS = ("secret", "Doe^John", "Anna", "Ben", "similarity", "pca", "mae", "dinov3", "colour-", "study-")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "study-mae-secret"


@pytest.fixture
def study(folder: Path) -> Study:
    return tiny_study(folder)


def words_of(widget: QWidget) -> Iterator[str]:
    """Give all that a person can read of a widget and what is in it: texts, tool tips, titles, entries."""
    for part in (widget, *widget.findChildren(QWidget)):
        if not part.isVisibleTo(widget.window()):
            continue
        yield part.toolTip()
        yield part.statusTip()
        yield part.windowTitle()
        yield part.accessibleName()
        for name in ("text", "title", "format", "placeholderText", "toPlainText"):
            told = getattr(part, name, None)
            if callable(told) and not isinstance(part, QTabBar):
                yield str(told())
        if isinstance(part, QComboBox):
            yield from (part.itemText(index) for index in range(part.count()))


def sit_down(window: Window, qtbot: QtBot, folder: Path, code: str) -> None:
    """Open the page by its tab, a study, and the page of a reader."""
    widget = window.widget
    window.viewer.layers.clear()  # what a reader's own napari has open is theirs
    tabs = widget.tabs
    qtbot.mouseClick(tabs, LEFT, pos=tabs.tabRect(TASKS.index("readers")).center())
    assert not widget.image.isVisible()
    assert not widget.run.isVisible()
    opened = widget.readers.opened
    opened.folder_requested.emit(str(folder))
    opened.reader.setCurrentIndex(opened.reader.findData(code))
    main = window.viewer.window._qt_window
    main.activateWindow()
    qtbot.waitUntil(main.isActiveWindow)
    widget.canvas.cells.setFocus()


def press(window: Window, qtbot: QtBot, *keys: Qt.Key) -> None:
    for key in keys:
        qtbot.keyClick(QApplication.focusWidget() or window.viewer.window._qt_window, key)


@pytest.mark.viewer
def test_cells_show_the_page_and_keys_answer_it(
    window: Window, qtbot: QtBot, study: Study, folder: Path
) -> None:
    reader, page = study.readers[0], window.widget.readers
    sit_down(window, qtbot, folder, reader.code)
    press(window, qtbot, Qt.Key.Key_Return)
    told = read_page(pages_of(folder)[reader.code])
    trial = told.trials[0]
    pictures = [told.images[str(trial.image)].picture, *trial.maps.values()]
    colours = [pixels_of(picture)[20, 30, :3].astype(int) for picture in pictures]
    for cell, colour in enumerate(colours):
        np.testing.assert_allclose(colour_in(window, cell), colour, atol=2)
    press(window, qtbot, Qt.Key.Key_Space)
    for cell in range(len(colours)):
        np.testing.assert_allclose(colour_in(window, cell), colours[0], atol=2)
    press(window, qtbot, Qt.Key.Key_Space, Qt.Key.Key_4)
    rows = page.screen_section.questions.rows
    assert rows["marks/A"].buttons[4].isChecked()
    press(window, qtbot, Qt.Key.Key_U)
    assert not rows["marks/A"].buttons[4].isChecked()
    qtbot.mouseClick(rows["marks/B"].buttons[2], LEFT)
    press(window, qtbot, Qt.Key.Key_P, Qt.Key.Key_5)
    assert not window.widget.controller.cells.active
    press(window, qtbot, Qt.Key.Key_Return)
    model = window.widget.controller.reading.model
    assert model.screen is not None
    assert model.screen.given == {"marks/B": 2}


@pytest.mark.viewer
def test_a_study_is_read_to_its_end_and_nothing_visible_tells_a_name(
    window: Window, qtbot: QtBot, study: Study, folder: Path
) -> None:
    widget, reader, main = window.widget, study.readers[0], window.viewer.window._qt_window
    sit_down(window, qtbot, folder, reader.code)
    model, told = widget.controller.reading.model, list(words_of(main))
    press(window, qtbot, Qt.Key.Key_Return)
    assert model.stage == "reading"
    while model.stage == "reading":
        assert model.screen is not None
        assert widget.readers.screen_section.bar.text() == f"{model.screen.number} of {model.screen.total}"
        told += [*words_of(main), str(widget.controller.cells.cells.titles), str(window.viewer.status)]
        press(window, qtbot, *[Qt.Key.Key_3] * len(model.screen.slots), Qt.Key.Key_Return)
    assert model.stage == "finished"
    told += words_of(main)
    for word in SECRETS:
        assert not [text for text in told if word in text]
    found = read_answers(study, sorted((folder / ANSWERS).glob("*.json")))
    assert {one.screen for one in found.judgements} == {one.id for one in reader.trials}
    assert {one.value for one in found.judgements} == {3}
    assert all(seconds > 0 for seconds in found.seconds.values())


@pytest.mark.viewer
def test_the_mouse_moves_the_cells_and_leaves_what_is_open_besides_alone(
    window: Window, qtbot: QtBot, study: Study, folder: Path
) -> None:
    workspace, cells = window.widget.workspace, window.widget.controller.cells
    painted = window.viewer.add_labels(np.zeros((64, 80), np.uint8), name="own")
    painted.mode, workspace.anchor_mode = "paint", True
    workspace.task = "readers"
    window.widget.controller.reading.open(folder)
    window.widget.controller.reading.choose(study.readers[0].code)
    window.widget.controller.reading.begin()
    window.draw()
    before, cursor = cells.camera, window.viewer.cursor.position
    window.drag((10, 10), (20, 30), (24, 36))
    assert cells.camera.zoom == before.zoom
    assert cells.camera.centre_yx[1] < before.centre_yx[1]
    assert not painted.data.any()
    assert workspace.anchors == ()
    assert window.viewer.cursor.position == cursor


def colour_in(window: Window, cell: int) -> np.ndarray:
    """Return the drawn RGB in the middle of a cell, beside its anchors."""
    drawn, rect = window.draw(), window.widget.controller.cells.rects[cell]
    return drawn[round(rect.y + rect.height / 2), round(rect.x + rect.width / 2), :3].astype(int)


def test_a_reader_finds_their_code_and_begins(panel: SSLMapsWidget, study: Study, folder: Path) -> None:
    panel.workspace.task = "readers"
    opened = panel.readers.opened
    assert opened.begin.isHidden()
    opened.folder_requested.emit(str(folder))
    codes = [opened.reader.itemData(index) for index in range(opened.reader.count())]
    assert codes == ["", *sorted(reader.code for reader in study.readers)]
    opened.reader.setCurrentIndex(1)
    assert opened.begin.text() == "Begin"
    assert not opened.begin.isHidden()
    opened.begin.click()
    assert panel.readers.screen_section.bar.text().startswith("1 of ")


def test_the_time_stops_when_another_page_is_opened(
    panel: SSLMapsWidget, study: Study, folder: Path, qtbot: QtBot
) -> None:
    with qtbot.waitExposed(panel):
        panel.show()
    panel.workspace.task = "readers"
    reading = panel.controller.reading
    reading.open(folder)
    reading.choose(study.readers[1].code)
    reading.begin()
    panel.workspace.task = "maps"
    assert reading.model.stage == "paused"
    panel.workspace.task = "readers"
    assert panel.readers.opened.begin.text() == "Go on"


@pytest.mark.parametrize(("design", "buttons"), [("pairwise", 3), ("best-worst", 6)])
def test_comparisons_have_their_own_buttons(
    panel: SSLMapsWidget, tmp_path: Path, design: str, buttons: int
) -> None:
    tiny_study(tmp_path / "other", design, readers=1)
    panel.workspace.task = "readers"
    reading = panel.controller.reading
    reading.open(tmp_path / "other")
    reading.begin()
    rows = panel.readers.screen_section.questions.rows.values()
    assert sum(len(line.buttons) for line in rows) == buttons
    for line in rows:
        list(line.buttons.values())[-len(line.buttons) if line.part.text().endswith("best") else -1].click()
    assert reading.model.screen is not None
    assert reading.model.screen.answered
    assert panel.readers.screen_section.next.isEnabled()


@pytest.mark.viewer
def test_a_study_is_made_from_the_form_and_read(
    make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot, embedder: KnownEmbedder, tmp_path: Path
) -> None:
    asked: list[StudyRequest] = []

    def make(request: StudyRequest, out: Path, on_image: OnImage) -> Study:
        asked.append(request)
        on_image(1, 1)
        return tiny_study(out, readers=1)

    services = replace(known_services(embedder), study_maker=make)
    window = Window(make_napari_viewer(show=True), services, qtbot)
    widget, page = window.widget, window.widget.readers
    tabs, form = widget.tabs, page.form
    qtbot.mouseClick(tabs, LEFT, pos=tabs.tabRect(TASKS.index("readers")).center())
    qtbot.mouseClick(page.opened.new, LEFT)
    qtbot.waitUntil(form.isVisible)
    assert form.encoders.item(0).text() == "mae-demo"
    form.readers.setText("Anna, Anna")
    qtbot.mouseClick(form.start, LEFT)
    qtbot.waitUntil(form.problems["readers"].isVisible)
    assert form.problems["readers"].property("tone") == "failed"
    assert form.problems["images"].property("tone") == "dim"
    assert not form.problems["design"].isVisible()
    assert form.isVisible()
    assert not asked
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / "case.png")
    form.images.setPlainText(str(tmp_path / "case.png"))
    assert not form.problems["images"].isVisible()  # said of what is there no more
    assert form.problems["readers"].isVisible()
    form.readers.setText("Anna")
    assert not form.problems["readers"].isVisible()
    form.out.line.setText(str(tmp_path / "study"))
    form.maps["pca"].setChecked(True)
    qtbot.mouseClick(form.start, LEFT)
    qtbot.waitUntil(form.problems["anchors"].isVisible)
    form.maps["similarity"].setChecked(False)
    assert not form.problems["anchors"].isVisible()  # which no other map asks for
    qtbot.mouseClick(form.start, LEFT)
    qtbot.waitUntil(lambda: widget.controller.reading.model.stage == "begin")
    assert not form.isVisible()
    assert not page.opened.bar.isVisible()
    assert (asked[0].readers, asked[0].maps) == (("Anna",), ("pca",))
    qtbot.mouseClick(page.opened.begin, LEFT)
    assert page.screen_section.isVisible()
    widget.close_controller()


@pytest.mark.viewer
def test_who_made_a_study_gets_its_report(
    window: Window, qtbot: QtBot, study: Study, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, reader in enumerate(study.readers):
        path = folder / PAGES / f"reader-{reader.code}.html"
        told = answer_page(path, study, LIKING, noise=0.1, bias=0, seed=seed)
        (folder / ANSWERS).mkdir(exist_ok=True)
        (folder / ANSWERS / f"answers-{reader.code}.json").write_text(json.dumps(told))
    opened_pages: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened_pages.append(url.toLocalFile()))
    page, tabs = window.widget.readers, window.widget.tabs
    qtbot.mouseClick(tabs, LEFT, pos=tabs.tabRect(TASKS.index("readers")).center())
    page.opened.folder_requested.emit(str(folder))
    qtbot.mouseClick(page.opened.report, LEFT)
    qtbot.waitUntil(page.report.isVisible)
    shown = page.report
    assert page.opened.status.property("tone") != "failed"
    assert shown.table.model_.cell(0, 2) == "mae-secret"
    assert shown.table.model_.cell(0, 4).value > 3
    shown.choice.setCurrentIndex(shown.choice.findData("agreement"))
    assert "Readers" in shown.table.model_.table.columns
    qtbot.mouseClick(shown.page, LEFT)
    assert opened_pages == [str(folder / REPORT / "report.html")]
    shown.close()


def test_a_line_shows_no_answer_before_there_is_one_and_takes_its_middle(qtbot: QtBot) -> None:
    line = VisualScale(0, 100)
    qtbot.addWidget(line)
    line.resize(400, 20)
    line.show()
    chosen: list[int] = []
    line.chosen.connect(chosen.append)
    empty = line.styleSheet()
    assert "handle" in empty
    for share, least, most in ((0.5, 49, 51), (0.9, 88, 92), (0.5, 49, 51)):
        qtbot.mouseClick(line, LEFT, pos=QPoint(round(share * line.width()), line.height() // 2))
        assert least <= chosen[-1] <= most
        assert line.styleSheet() == ""
    assert len(chosen) == 3
    line.set_answer(None)
    assert line.styleSheet() == empty
