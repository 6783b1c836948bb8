"""A reader at work without a window: what is asked, kept, timed and taken back, and what the report reads."""

import json

import numpy as np
import pytest
from readers_kit import tiny_study

from napari_sslmaps.errors import RecordError
from napari_sslmaps.readers.answers import read_answers
from napari_sslmaps.readers.page import pixels_of, read_page
from napari_sslmaps.readers.reading import Reading, answers_path, pages_of


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture(params=["rating", "pairwise", "best-worst"])
def study(request, tmp_path):
    return tiny_study(tmp_path / "study", request.param)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "study"


def reading_of(folder, study, clock=None):
    reader = study.readers[0]
    page = read_page(pages_of(folder)[reader.code])
    return Reading(page, answers_path(folder, reader.code), clock or Clock())


def answer_screen(reading):
    """Answer by keys that turn, so that no map is best and worst."""
    for turn, slot in enumerate(reading.slots):
        reading.press(slot.choices[turn % len(slot.choices)].key)


def answer_all(reading):
    for _ in reading.page.trials:
        answer_screen(reading)
        assert reading.move(1)


def test_the_report_reads_what_was_answered_by_keys(study, folder):
    reading = reading_of(folder, study)
    reading.go_on()
    answer_all(reading)
    found = read_answers(study, [reading.path])
    trials = study.readers[0].trials
    assert {one.screen for one in found.judgements} == {trial.id for trial in trials}
    assert len(found.judgements) == len(study.questions) * sum(len(trial.shown) for trial in trials)
    assert found.missing == ("Ben",)


@pytest.mark.parametrize(
    ("design", "keys", "values"),
    [
        ("rating", "135" + "24", {"A": 1, "B": 3, "C": 5}),
        ("pairwise", "A", {"A": 1, "B": 0}),
        ("pairwise", "E", {"A": 0.5, "B": 0.5}),
        ("best-worst", "BC", {"A": 0, "B": 1, "C": -1}),
    ],
)
def test_keys_become_the_values_of_the_page(tmp_path, design, keys, values):
    study = tiny_study(tmp_path, design)
    reading = reading_of(tmp_path, study)
    for key in keys:
        assert reading.press(key)
    if design == "rating":
        reading.press("3")
    told = json.loads(reading.path.read_text())
    first = [one for one in told["answers"] if one["question"] == "marks"]
    assert {one["letter"]: one["value"] for one in first} == values
    assert {one["trial"] for one in told["answers"]} == {reading.trial.id}


def test_a_file_has_the_form_that_the_page_saves(study, folder):
    reading = reading_of(folder, study)
    reading.press(reading.slots[0].choices[0].key)
    told = json.loads(reading.path.read_text())
    assert set(told) == {"format", "schema", "study", "reader", "answers", "seconds", "state"}
    assert (told["format"], told["schema"]) == ("napari-sslmaps/reader-answers", 1)
    assert set(told["state"]) == {"at", "answers", "seconds", "past"}
    name = reading.slots[0].name
    value = reading.slots[0].choices[0].value
    assert told["state"]["answers"] == {reading.trial.id: {name: value}}
    assert told["state"]["past"] == [[0, name, None]]
    assert reading.path.name == f"answers-{study.readers[0].code}.json"


def test_after_a_crash_the_very_item_comes_back(study, folder):
    reading = reading_of(folder, study)
    answer_screen(reading)
    reading.move(1)
    reading.press(reading.slots[0].choices[0].key)
    before = reading.screen
    del reading  # nothing is closed, nothing is saved any more
    again = reading_of(folder, study)
    assert again.screen == before
    assert again.screen.number == 2
    again.undo()
    assert again.screen.given == {}
    again.undo()
    assert again.screen.number == 1


def test_only_the_time_in_view_counts(study, folder):
    clock = Clock()
    reading = reading_of(folder, study, clock)
    first = reading.trial.id
    clock.now += 1000
    reading.go_on()
    clock.now += 4
    reading.pause()
    clock.now += 1000
    reading.go_on()
    clock.now += 3
    answer_screen(reading)
    reading.move(1)
    clock.now += 2.25
    reading.pause()
    told = json.loads(reading.path.read_text())
    assert told["seconds"] == {first: 7.0, reading.trial.id: 2.25}


def test_no_screen_is_left_half_answered_and_the_end_is_told(study, folder):
    reading = reading_of(folder, study)
    assert not reading.move(1)
    assert reading.screen.number == 1
    answer_all(reading)
    assert reading.screen.finished
    assert reading.screen.complete == reading.screen.total
    reading.go_on()
    assert not reading.screen.finished
    assert reading.move(-1)
    assert reading.screen.number == reading.screen.total - 1


def test_no_map_is_best_and_worst(tmp_path):
    reading = reading_of(tmp_path, tiny_study(tmp_path, "best-worst"))
    reading.press("A")
    reading.press("A")
    assert reading.screen.given == {"marks/worst": "A"}


def test_answers_without_a_page_to_go_on_with_are_gone_on_with(study, folder):
    reading = reading_of(folder, study)
    answer_screen(reading)
    told = json.loads(reading.path.read_text())
    reading.path.write_text(json.dumps(told | {"state": {}}))
    again = reading_of(folder, study)
    assert again.screen.number == 2
    assert again.screen.complete == 1
    again.save()
    assert json.loads(again.path.read_text())["answers"] == told["answers"]


def test_answers_of_another_reader_are_not_written_over(study, folder):
    reading = reading_of(folder, study)
    reading.save()
    told = json.loads(reading.path.read_text())
    reading.path.write_text(json.dumps(told | {"reader": "other"}))
    with pytest.raises(RecordError, match="of another"):
        reading_of(folder, study)
    assert json.loads(reading.path.read_text())["reader"] == "other"
    reading.path.write_text("{")
    with pytest.raises(RecordError, match="damaged"):
        reading_of(folder, study)


def test_a_folder_without_pages_and_a_file_that_is_none_are_refused(tmp_path):
    with pytest.raises(RecordError, match=r"reader-….html"):
        pages_of(tmp_path)
    path = tmp_path / "reader-1.html"
    path.write_text("<html></html>")
    with pytest.raises(RecordError, match="this is another"):
        read_page(path)
    path.write_text('<script type="application/json" id="study">{"study": "1"}</script>')
    with pytest.raises(RecordError, match="page of a reader"):
        read_page(path)
    assert pages_of(tmp_path) == {"1": path}


def test_pictures_are_read_from_the_page(tmp_path):
    study = tiny_study(tmp_path)
    page = read_page(pages_of(tmp_path)[study.readers[0].code])
    for address in page.trials[0].maps.values():
        pixels = pixels_of(address)
        assert pixels.shape == (40, 60, 4)
        assert len(np.unique(pixels.reshape(-1, 4), axis=0)) == 1
    with pytest.raises(RecordError, match="Ask for the page again"):
        pixels_of("data:image/png;base64,AAAA")


def test_undo_brings_back_what_an_answer_had_emptied(tmp_path):
    study = tiny_study(tmp_path, "best-worst")
    reading = reading_of(tmp_path, study)
    reading.press("A")
    reading.press("B")
    best, worst = (slot.name for slot in reading.slots)
    reading.answer(worst, "A")  # no map is both
    assert reading.screen.given == {worst: "A"}
    reading = reading_of(tmp_path, study)  # what may be undone is kept, too
    reading.undo()
    assert reading.screen.given == {best: "A", worst: "B"}
    reading.undo()
    assert reading.screen.given == {best: "A"}
    reading.undo()
    assert reading.screen.given == {}
