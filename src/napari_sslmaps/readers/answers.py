"""Answers that readers sent back, with their letters replaced by what was behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_sslmaps.errors import RecordError
from napari_sslmaps.readers.study import LETTERS, Question, Study
from napari_sslmaps.records.json import read_json
from napari_sslmaps.serialise import strict

KIND = "reader-answers"


@strict
@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as a page writes it.

    Parameters
    ----------
    trial, question, letter
        Trial, question of the study and letter of the map that is judged.
    value
        1 to 5, or 0 to 100; of a pair 1, ½ or 0; of a set 1 for the best, −1 for the worst, else 0.
    """

    trial: str
    question: str
    letter: str
    value: float


@strict
@dataclass(frozen=True, slots=True)
class AnswerFile:
    """Answers that a reader sends back.

    Parameters
    ----------
    study, reader
        Id of the study, and the reader's code.
    answers
        Answers on the screens that are complete.
    seconds
        Trial → time that it was in view and not paused.
    state
        State that the page needs to go on; nothing else reads it.
    """

    study: str
    reader: str
    answers: tuple[Answer, ...]
    seconds: Mapping[str, float]
    state: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """One answer, unblinded.

    Parameters
    ----------
    reader, image, map, method, question
        Reader, and the image, map, method and question that they judged.
    value
        Answer in numbers, as in `Answer`.
    screen
        Id of the trial: what was judged beside each other.
    repeat
        Whether it is of a trial that was shown before.
    first
        Id of the trial that is repeated; its own for a first one.
    """

    reader: str
    image: int
    map: str
    method: str
    question: str
    value: float
    screen: str
    repeat: bool
    first: str


@dataclass(frozen=True, slots=True)
class Answers:
    """All answers of a study.

    Parameters
    ----------
    judgements
        Answers with the names of maps and methods.
    seconds
        (reader, trial) → time.
    missing
        Names of readers who answered nothing, or without a file.
    unused
        Names of files beside another of the same reader, which has more answers, or newer ones.
    """

    judgements: tuple[Judgement, ...]
    seconds: Mapping[tuple[str, str], float]
    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


def read_answers(study: Study, paths: Sequence[Path]) -> Answers:
    """Read the files of readers and look up what was behind their letters.

    Parameters
    ----------
    study
        Study with the key to the letters.
    paths
        Files as the pages save them; of two by one reader the one with more answers counts, or of as many
        the later one: the one with more time.

    Raises
    ------
    RecordError
        If there is none, or one is damaged, of another study, or answers what was not asked or not as it was.
    """
    best: dict[str, tuple[Path, AnswerFile]] = {}
    unused = []
    for path in paths:
        one = path, _read(path, study)
        code = one[1].reader
        if code in best:
            older, one = sorted((best[code], one), key=lambda pair: _how_far(pair[1]))
            unused.append(older[0].name)
        best[code] = one
    if not best:
        raise RecordError(
            "Expected at least one file of answers; got none. Put what readers send back into the study's "
            "folder answers, or name the files."
        )
    names = {reader.code: reader.name for reader in study.readers}
    judgements = [judgement for _, found in best.values() for judgement in _unblinded(found, study)]
    seconds = {
        (names[found.reader], trial): time
        for _, found in best.values()
        for trial, time in found.seconds.items()
    }
    answered = {judgement.reader for judgement in judgements}
    missing = tuple(reader.name for reader in study.readers if reader.name not in answered)
    return Answers(tuple(judgements), seconds, missing, tuple(unused))


def _how_far(found: AnswerFile) -> tuple[int, float]:
    """Return how much was answered, and for how long; both only grow."""
    return len(found.answers), sum(found.seconds.values())


def _read(path: Path, study: Study) -> AnswerFile:
    found = read_json(path, KIND, AnswerFile, "answers of a reader")
    if found.study != study.id or found.reader not in {reader.code for reader in study.readers}:
        raise RecordError(
            f"Expected answers of this study ({study.id}); {path.name} is of another. Take it out of the "
            "folder."
        )
    _check_answers(found, study, path.name)
    return found


def _check_answers(found: AnswerFile, study: Study, name: str) -> None:
    """Refuse what the page of this reader cannot have saved."""
    trials = study.trials
    questions = {question.key: question for question in study.questions}
    given = set()
    for answer in found.answers:
        reader, trial = trials.get(answer.trial, (None, None))
        question = questions.get(answer.question)
        item = f"{answer.question!r} of {answer.letter!r} on screen {answer.trial!r}"
        if (
            reader is None
            or trial is None
            or question is None
            or reader.code != found.reader
            or not 0 <= _place(answer) < len(trial.shown)
        ):
            raise RecordError(
                f"Expected answers to what reader {found.reader} was asked; got one to {item} in {name}. Ask "
                "for the file again."
            )
        wanted = _expected(study, question, answer.value)
        if wanted:
            raise RecordError(
                f"Expected {wanted} as an answer to {item}; got {answer.value:g} in {name}. Ask for the file "
                "again."
            )
        which = (answer.trial, answer.question, answer.letter)
        if which in given:
            raise RecordError(f"Expected one answer to {item}; got two in {name}. Ask for the file again.")
        given.add(which)
    _check_screens(found, study, name)
    for screen, time in found.seconds.items():
        if time < 0:
            raise RecordError(
                f"Expected a time of at least 0 s for screen {screen!r}; got {time:g} in {name}. Ask for the "
                "file again."
            )


def _check_screens(found: AnswerFile, study: Study, name: str) -> None:
    """Refuse screens that are not answered whole, or whose answers cannot be of one screen."""
    screens: dict[tuple[str, str], list[float]] = {}
    for answer in found.answers:
        screens.setdefault((answer.trial, answer.question), []).append(answer.value)
    trials = study.trials
    for trial in {trial for trial, _ in screens}:
        maps = len(trials[trial][1].shown)
        for question in study.questions:
            values = screens.get((trial, question.key), [])
            ends = study.design == "best-worst" and sorted(values) != [-1, *[0] * (maps - 2), 1]
            halves = study.design == "pairwise" and sum(values) != 1
            if len(values) != maps or ends or halves:
                whole = {
                    "rating": "an answer to each map",
                    "pairwise": "one map that is better, or both equal,",
                    "best-worst": "one best and one worst map",
                }[study.design]
                raise RecordError(
                    f"Expected {whole} on screen {trial!r} for {question.key!r}; got "
                    f"{', '.join(f'{value:g}' for value in values) or 'none'} in {name}. Ask for the file "
                    "again."
                )


_VALUES = {"likert": (1, 2, 3, 4, 5), "pairwise": (0, 0.5, 1), "best-worst": (-1, 0, 1)}
"""All that an answer can be, by the scale of a question that rates, or by the design."""
_LINE = (0, 100)
"""Ends of a visual scale."""


def _expected(study: Study, question: Question, value: float) -> str:
    """Say what an answer can be; nothing where it is that."""
    scale = question.scale if study.design == "rating" else study.design
    if scale == "visual":
        low, high = _LINE
        return "" if low <= value <= high else f"a number from {low} to {high}"
    known = _VALUES[scale]
    return "" if value in known else f"one of {', '.join(map(str, known))}"


def _place(answer: Answer) -> int:
    """Return which of the maps of its screen an answer is about; −1 for a letter that is none."""
    return LETTERS.find(answer.letter) if len(answer.letter) == 1 else -1


def _unblinded(found: AnswerFile, study: Study) -> list[Judgement]:
    trials = study.trials
    judged = []
    for answer in found.answers:
        reader, trial = trials[answer.trial]
        judged.append(
            Judgement(
                reader.name,
                trial.image,
                trial.map,
                trial.shown[_place(answer)],
                answer.question,
                answer.value,
                trial.id,
                bool(trial.repeat_of),
                trial.repeat_of or trial.id,
            )
        )
    return judged
