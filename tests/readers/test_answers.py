"""Answers as files: what a page saves is read, and anything else is refused with its file and answer."""

import json

import pytest

from napari_sslmaps.errors import RecordError
from napari_sslmaps.readers.answers import read_answers
from napari_sslmaps.readers.study import Question, Reader, Study, StudyImage, StudyMethod, Trial

FITTING = {
    ("rating", "likert"): (1, 5),
    ("rating", "visual"): (0, 37.5, 100),
    ("pairwise", "likert"): (0, 0.5, 1),
    ("best-worst", "likert"): (-1, 1),
}
BEYOND = {
    ("rating", "likert"): (0, 6, 2.5),
    ("rating", "visual"): (-0.5, 100.5),
    ("pairwise", "likert"): (-1, 0.7, 2),
    ("best-worst", "likert"): (-2, 0.5, 2),
}


def study_of(design, scale):
    return Study(
        id="s1",
        design=design,
        questions=(Question("use", "Of use?", scale=scale),),
        methods=(StudyMethod("mae"), StudyMethod("dino")),
        images=(StudyImage(1, "a.png"),),
        maps=("similarity",),
        readers=(Reader("Anna", "r1", (Trial("t1", 1, "similarity", ("mae", "dino")),)),),
    )


def told(*values, seconds=3.0, **changes):
    answers = [
        {"trial": "t1", "question": "use", "letter": letter, "value": value} | changes
        for letter, value in zip("AB"[: len(values)], values, strict=True)
    ]
    return {
        "format": "napari-sslmaps/reader-answers",
        "schema": 1,
        "study": "s1",
        "reader": "r1",
        "answers": answers,
        "seconds": {"t1": seconds},
    }


@pytest.fixture
def read(tmp_path):
    def of(study, content):
        path = tmp_path / "sent-back.json"
        path.write_text(json.dumps(content))
        return read_answers(study, [path])

    return of


@pytest.mark.parametrize(("asked", "value"), [(key, value) for key in FITTING for value in FITTING[key]])
def test_every_answer_that_a_page_gives_is_read(read, asked, value):
    other = {"rating": value, "pairwise": 1 - value, "best-worst": -value}[asked[0]]
    found = read(study_of(*asked), told(value, other))
    assert [(one.method, one.value) for one in found.judgements] == [("mae", value), ("dino", other)]


@pytest.mark.parametrize(
    ("design", "values", "said"),
    [
        ("rating", (3,), "an answer to each map on screen 't1' for 'use'; got 3 in sent-back"),
        ("pairwise", (1, 1), "one map that is better, or both equal, on screen 't1'.*got 1, 1"),
        ("pairwise", (0.5, 1), "one map that is better"),
        ("best-worst", (1, 1), "one best and one worst map on screen 't1'.*got 1, 1"),
        ("best-worst", (0, 0), "one best and one worst map"),
    ],
)
def test_a_screen_that_no_page_can_have_saved_is_refused(read, design, values, said):
    with pytest.raises(RecordError, match=said):
        read(study_of(design, "likert"), told(*values))


def test_a_reader_who_answered_nothing_yet_is_missing(read):
    assert read(study_of("rating", "likert"), told()).missing == ("Anna",)


@pytest.mark.parametrize(("asked", "value"), [(key, value) for key in BEYOND for value in BEYOND[key]])
def test_a_value_out_of_a_questions_range_is_refused(read, asked, value):
    with pytest.raises(RecordError, match=rf"'use' of 'A' on screen 't1'; got {value:g} in sent-back\.json"):
        read(study_of(*asked), told(value))


def test_a_second_answer_and_a_time_below_zero_are_refused(read):
    study = study_of("rating", "likert")
    with pytest.raises(RecordError, match=r"one answer to 'use' of 'A' on screen 't1'; got two in sent-back"):
        read(study, told(3, 4, letter="A"))
    with pytest.raises(RecordError, match=r"screen 't1'; got -2 in sent-back\.json"):
        read(study, told(3, 4, seconds=-2.0))
