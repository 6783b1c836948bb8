"""A blind reading without a window: what is on the canvas, and that nothing there tells a method."""

import json
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from readers_kit import tiny_study

from napari_sslmaps.readers.answers import read_answers
from napari_sslmaps.readers.page import pixels_of, read_page
from napari_sslmaps.readers.reading import pages_of
from napari_sslmaps.readers.study import KEY_FILE, Study
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.readers.controller import ReadingController

SECRETS = ("secret", "Doe^John", "Anna", "Ben", "similarity", "pca", "mae", "dinov3", "colour")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return tiny_study(tmp_path / "study")


@pytest.fixture
def reading(controller: Controller, study: Study, tmp_path: Path) -> ReadingController:
    controller.workspace.task = "readers"
    controller.reading.open(tmp_path / "study")
    return controller.reading


def begin(reading: ReadingController, study: Study) -> None:
    reading.choose(study.readers[0].code)
    reading.begin()


def answer_screen(reading: ReadingController, key: str = "4") -> None:
    screen = reading.model.screen
    assert screen is not None
    for _ in screen.slots:
        reading.press(key)


def test_a_reader_says_who_they_are_by_a_code(reading: ReadingController, study: Study) -> None:
    codes = sorted(reader.code for reader in study.readers)
    assert reading.model.codes == tuple((code, False) for code in codes)
    assert reading.model.stage == "choosing"
    reading.choose(codes[0])
    assert reading.model.stage == "begin"
    assert reading.model.screen is not None
    assert reading.model.screen.total == len(study.readers[0].trials)


def test_the_image_and_every_letter_have_a_cell_with_the_pixels_of_the_page(
    controller: Controller, reading: ReadingController, study: Study, tmp_path: Path
) -> None:
    begin(reading, study)
    page = read_page(pages_of(tmp_path / "study")[study.readers[0].code])
    trial = page.trials[0]
    cells = controller.cells.cells
    assert cells is not None
    assert cells.titles == [("Image", ""), ("A", "asked now"), ("B", ""), ("C", "")]
    np.testing.assert_array_equal(cells.image.data, pixels_of(page.images[str(trial.image)].picture))
    assert not cells.pictures[0].data.any()
    for layer, address in zip(cells.pictures[1:], trial.maps.values(), strict=True):
        np.testing.assert_array_equal(layer.data, pixels_of(address))
    assert cells.words is not None
    where = {symbol: anchor.pixel_yx for anchor, _, symbol in cells.words.marks}
    assert where == ({"x": (19.5, 14.5), "hbar": (9.5, 44.5)} if trial.anchors else {})


def test_nothing_on_the_canvas_tells_a_method_an_image_a_map_or_a_person(
    controller: Controller, reading: ReadingController, study: Study, viewer: ViewerModel
) -> None:
    begin(reading, study)
    while reading.model.stage == "reading":
        cells = controller.cells.cells
        assert cells is not None
        told = [cells.titles, viewer.title, viewer.status, reading.model.status.text]
        for layer in (cells.image, *cells.pictures, *viewer.layers):
            told += [layer.name, layer.metadata, layer.source, layer.help]
        for word in SECRETS:
            assert word not in repr(told)
        answer_screen(reading)
        reading.move(1)
    assert reading.model.stage == "finished"
    assert len(viewer.layers) == 0


def test_the_key_is_never_read(controller: Controller, study: Study, tmp_path: Path) -> None:
    (tmp_path / "study" / KEY_FILE).unlink()
    controller.workspace.task = "readers"
    controller.reading.open(tmp_path / "study")
    begin(controller.reading, study)
    answer_screen(controller.reading)
    assert controller.reading.model.screen is not None
    assert controller.reading.model.screen.answered


def test_every_answer_is_on_disk_and_after_a_crash_the_very_item_is_back(
    controller: Controller, reading: ReadingController, study: Study, tmp_path: Path
) -> None:
    begin(reading, study)
    answer_screen(reading, "2")
    reading.move(1)
    reading.press("5")
    before = reading.model.screen
    other = ReadingController(controller.workspace, controller.cells)  # of a window after the crash
    other.open(tmp_path / "study")
    assert dict(other.model.codes)[study.readers[0].code]
    other.choose(study.readers[0].code)
    other.begin()
    assert other.model.screen == before
    found = read_answers(study, [tmp_path / "study/answers" / f"answers-{study.readers[0].code}.json"])
    assert {one.value for one in found.judgements} == {2}
    assert {one.screen for one in found.judgements} == {study.readers[0].trials[0].id}
    other.close()


def test_space_shows_the_image_and_large_the_map_that_is_asked_about(
    controller: Controller, reading: ReadingController, study: Study
) -> None:
    begin(reading, study)
    reading.toggle_image()
    cells = controller.cells.cells
    assert cells is not None
    assert [layer.opacity for layer in cells.pictures[1:]] == [0, 0, 0]
    reading.toggle_image()
    assert [layer.opacity for layer in cells.pictures[1:]] == [1, 1, 1]
    reading.model.large = True
    reading.step(1)
    assert controller.cells.cells is not None
    assert controller.cells.cells.titles == [("B", "asked now")]
    reading.model.large = False
    assert len(controller.cells.cells.pictures) == 4
    reading.step_question(1)
    assert reading.model.screen is not None
    assert reading.model.screen.focus == 4


def test_a_pause_shows_nothing_and_takes_no_answer(
    controller: Controller, reading: ReadingController, study: Study, tmp_path: Path
) -> None:
    begin(reading, study)
    reading.pause()
    assert not controller.cells.active
    reading.press("3")
    reading.begin()
    assert controller.cells.active
    assert reading.model.screen is not None
    assert not reading.model.screen.given


def test_other_pages_have_their_canvas_back_and_a_change_of_image_does_not_take_it(
    controller: Controller, image: Image, study: Study, tmp_path: Path
) -> None:
    workspace = controller.workspace
    controller.run()
    workspace.side_by_side = True
    own = controller.cells.cells
    workspace.task = "readers"
    assert not controller.cells.active
    controller.reading.open(tmp_path / "study")
    begin(controller.reading, study)
    controller.viewer.add_image(np.zeros((8, 8), np.float32), name="other")
    assert controller.cells.cells is not None
    assert controller.cells.cells.titles[0] == ("Image", "")
    workspace.image = image
    assert controller.cells.cells.titles[0] == ("Image", "")
    workspace.task = "maps"
    assert own is not None
    assert controller.cells.cells is not None
    assert controller.cells.cells.pictures == own.pictures


def test_what_cannot_be_opened_or_written_is_said(
    controller: Controller, reading: ReadingController, study: Study, tmp_path: Path
) -> None:
    begin(reading, study)
    answers = tmp_path / "study/answers"
    answers.write_text("no folder")
    reading.press("3")
    assert reading.model.status.failed
    assert "Expected to write" in reading.model.status.text
    assert reading.model.screen is not None
    assert len(reading.model.screen.given) == 1
    answers.unlink()
    reading.press("4")
    assert not reading.model.status.failed
    told = json.loads((answers / f"answers-{study.readers[0].code}.json").read_text())
    assert list(told["state"]["answers"].values()) == [{"marks/A": 3, "marks/B": 4}]
    reading.open(tmp_path)
    assert "Expected the folder of a reader study" in reading.model.status.text


def test_a_study_with_one_page_asks_nobody_who_they_are(controller: Controller, tmp_path: Path) -> None:
    tiny_study(tmp_path / "one", "pairwise", readers=1)
    controller.workspace.task = "readers"
    controller.reading.open(tmp_path / "one")
    assert controller.reading.model.stage == "begin"
    controller.reading.begin()
    controller.reading.press("E")
    assert controller.reading.model.screen is not None
    assert controller.reading.model.screen.answered
