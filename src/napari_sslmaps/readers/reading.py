"""A reader's answers as they are given in the window; the file is the one that the page saves."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import NamedTuple, TypeAlias

from napari_sslmaps.errors import RecordError
from napari_sslmaps.readers.answers import KIND, Answer, AnswerFile
from napari_sslmaps.readers.page import Page, PageTrial
from napari_sslmaps.readers.study import ANSWERS, PAGES, Design, Question
from napari_sslmaps.records.json import read_json, write_json
from napari_sslmaps.serialise import dump, load, strict

Value: TypeAlias = int | float | str
"""A number, or of comparisons a letter or ``=``."""
_MOST_UNDONE = 500
_LIKERT = range(1, 6)
_LINE = (0, 25, 50, 75, 100)
"""Places on a visual scale that keys go to."""
_PAGE = "reader-{}.html"


class Choice(NamedTuple):
    """An answer that can be given: the key for it, its words, and how it is kept."""

    key: str
    text: str
    value: Value


@dataclass(frozen=True, slots=True)
class Slot:
    """One thing that is asked on a screen.

    Parameters
    ----------
    question
        Question that it belongs to.
    part
        Letter of the map that is rated; of a set ``best`` or ``worst``; empty for a pair.
    choices
        Answers that can be given.
    """

    question: Question
    part: str
    choices: tuple[Choice, ...]

    @property
    def name(self) -> str:
        """What tells it from the others of its screen."""
        return f"{self.question.key}/{self.part}"


@dataclass(frozen=True, slots=True)
class Screen:
    """Snapshot of all that a reader has in front of them.

    Parameters
    ----------
    number, total, complete
        Number of the screen, from 1, of all screens, and of those that are answered.
    design
        Design of the study.
    slots
        All that is asked.
    given
        Name of a slot → its answer.
    focus
        Index of the slot that a key answers.
    answered, undoable
        Whether every slot is answered; whether there is an answer to take back.
    finished
        Whether the reader has gone on from the last one.
    """

    number: int
    total: int
    complete: int
    design: Design
    slots: tuple[Slot, ...]
    given: Mapping[str, Value]
    focus: int
    answered: bool
    undoable: bool
    finished: bool = False


@strict
@dataclass(slots=True)
class _State:
    """Answers as a page keeps them to go on, in its own form."""

    at: int = 0
    answers: dict[str, dict[str, Value]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    past: list[tuple[int, str, Value | None]] = field(default_factory=list)


def pages_of(folder: Path) -> Mapping[str, Path]:
    """Return the pages of a study, or those that lie in a folder alone, by the codes of their readers.

    Raises
    ------
    RecordError
        If there is none.
    """
    inner = folder / PAGES
    found = sorted((inner if inner.is_dir() else folder).glob(_PAGE.format("*")))
    if not found:
        raise RecordError(
            f"Expected the folder of a reader study, with a page {_PAGE.format('…')} for each reader; "
            f"{folder.name} has none. Choose the folder that napari-sslmaps readers new wrote."
        )
    return {path.stem.removeprefix("reader-"): path for path in found}


def answers_path(folder: Path, code: str) -> Path:
    """Return the file of a reader's answers in a study's folder."""
    return folder / ANSWERS / f"answers-{code}.json"


class Reading:
    """One reader at work: what is asked, what was answered, and how long each screen took.

    The twin of what ``page.html`` does in a browser. Every change is written at once, so that a crash loses
    nothing but the seconds since the last one.

    Parameters
    ----------
    page
        Page that is shown.
    path
        The file of answers; where it is there already, it is gone on with.
    clock
        Seconds; for tests.

    Raises
    ------
    RecordError
        If the file is damaged, or of another study or reader.
    """

    def __init__(self, page: Page, path: Path, clock: Callable[[], float] = monotonic) -> None:
        self.page = page
        self.path = path
        self._clock = clock
        self._state = _kept(page, path)
        self._state.at = max(0, min(self._state.at, len(page.trials) - 1))
        self._since: float | None = None
        self.finished = False
        self.focus = 0
        self._focus_on_open(-1)

    @property
    def trial(self) -> PageTrial:
        """The screen in view."""
        return self.page.trials[self._state.at]

    @property
    def paused(self) -> bool:
        """Whether the time is stopped."""
        return self._since is None

    @property
    def seconds(self) -> Mapping[str, float]:
        """Trial → time that it was in view."""
        return self._state.seconds

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All that is asked on the screen in view."""
        return tuple(_slots(self.page, self.trial))

    @property
    def screen(self) -> Screen:
        """What is in view, as it is now."""
        page, state = self.page, self._state
        return Screen(
            state.at + 1,
            len(page.trials),
            sum(self._is_complete(trial) for trial in page.trials),
            page.design,
            self.slots,
            dict(state.answers.get(self.trial.id, {})),
            self.focus,
            self._is_complete(self.trial),
            bool(state.past),
            self.finished,
        )

    def answer(self, name: str, value: Value) -> None:
        """Answer a slot of the screen in view, and go to the next one that is open; written at once."""
        self._tick()
        state, places = self._state, [slot.name for slot in self.slots]
        given = state.answers.setdefault(self.trial.id, {})
        if self.page.design == "best-worst":  # no map is both
            question, _, part = name.rpartition("/")
            other = f"{question}/{'worst' if part == 'best' else 'best'}"
            if given.get(other) == value:
                state.past.append((state.at, other, given.pop(other)))
        state.past.append((state.at, name, given.get(name)))
        del state.past[:-_MOST_UNDONE]
        given[name] = value
        self.focus = places.index(name)
        self._focus_on_open(self.focus)
        self.save()

    def press(self, key: str) -> bool:
        """Answer the slot in focus by a key; tell whether it means something there."""
        slot = self.slots[self.focus]
        for choice in slot.choices:
            if choice.key == key:
                self.answer(slot.name, choice.value)
                return True
        return False

    def look_at(self, place: int) -> None:
        """Put a slot in focus."""
        self.focus = max(0, min(place, len(self.slots) - 1))

    def undo(self) -> None:
        """Take back the last answer, on whichever screen it was given."""
        state = self._state
        if not state.past:
            return
        self._tick()
        at, name, before = state.past.pop()
        state.at, self.finished = at, False
        given = state.answers.setdefault(self.trial.id, {})
        if before is None:
            given.pop(name, None)
        else:
            given[name] = before
        if state.past:  # what is empty, and was not, was emptied by the answer that is taken back
            there, other, emptied = state.past[-1]
            if there == at and emptied is not None and other not in given:
                given[other] = emptied
                state.past.pop()
        self.focus = next((n for n, slot in enumerate(self.slots) if slot.name == name), 0)
        self.save()

    def move(self, step: int) -> bool:
        """Go to the next screen, or back; tell whether it went: no screen is left half answered."""
        if step > 0 and not self._is_complete(self.trial):
            return False
        self._tick()
        last = len(self.page.trials) - 1
        self.finished = step > 0 and self._state.at == last
        self._state.at = max(0, min(self._state.at + step, last))
        self.focus = 0
        self._focus_on_open(-1)
        self.save()
        return True

    def go_on(self) -> None:
        """Let the time run."""
        self.finished = False
        self._since = self._clock()

    def pause(self) -> None:
        """Stop the time, and write how much of it there was."""
        if self._since is not None:
            self._tick()
            self._since = None
            self.save()

    def save(self) -> None:
        """Write the file of answers, whole or not at all; raises `ExportError` if it cannot be written."""
        page, state = self.page, self._state
        answer_file = AnswerFile(
            page.study,
            page.reader,
            tuple(
                answer
                for trial in page.trials
                if self._is_complete(trial)
                for answer in _answers(page.design, trial, state.answers[trial.id])
            ),
            {
                trial.id: round(state.seconds[trial.id], 3)
                for trial in page.trials
                if trial.id in state.seconds
            },
            dump(state),
        )
        write_json(self.path, KIND, dump(answer_file))

    def _tick(self) -> None:
        """Count the time since the last time; a screen's own."""
        if self._since is not None:
            now, seconds = self._clock(), self._state.seconds
            seconds[self.trial.id] = seconds.get(self.trial.id, 0.0) + now - self._since
            self._since = now

    def _is_complete(self, trial: PageTrial) -> bool:
        given = self._state.answers.get(trial.id, {})
        return all(slot.name in given for slot in _slots(self.page, trial))

    def _focus_on_open(self, place: int) -> None:
        """Put the next slot without an answer in focus, or the first; none is left, where it was."""
        given = self._state.answers.get(self.trial.id, {})
        open_ = [n for n, slot in enumerate(self.slots) if slot.name not in given]
        self.focus = next((n for n in open_ if n > place), open_[0] if open_ else self.focus)


def _slots(page: Page, trial: PageTrial) -> Iterator[Slot]:
    letters = tuple(Choice(letter, letter, letter) for letter in trial.maps)
    pair = (Choice("A", "A is better", "A"), Choice("E", "Equal", "="), Choice("B", "B is better", "B"))
    for question in page.questions:
        if page.design == "pairwise":
            yield Slot(question, "", pair)
        elif page.design == "best-worst":
            yield from (Slot(question, part, letters) for part in ("best", "worst"))
        else:
            values = _LINE if question.scale == "visual" else _LIKERT
            scale = tuple(Choice(str(n), str(value), value) for n, value in zip(_LIKERT, values, strict=True))
            yield from (Slot(question, letter, scale) for letter in trial.maps)


def _answers(design: Design, trial: PageTrial, given: Mapping[str, Value]) -> Iterator[Answer]:
    """Give the answers of a screen by letter, as the report reads them."""
    for name, value in given.items():
        question, _, part = name.rpartition("/")
        if design == "rating":
            yield Answer(trial.id, question, part, float(value))
        elif design == "pairwise":
            for letter in trial.maps:
                yield Answer(trial.id, question, letter, 0.5 if value == "=" else float(value == letter))
        elif part == "best":
            worst = given[f"{question}/worst"]
            for letter in trial.maps:
                yield Answer(trial.id, question, letter, float(letter == value) - float(letter == worst))


def _kept(page: Page, path: Path) -> _State:
    """Return what was answered before."""
    if not path.exists():
        return _State()
    what = "answers of a reader"
    found = read_json(path, KIND, AnswerFile, what)
    if (found.study, found.reader) != (page.study, page.reader):
        raise RecordError(
            f"Expected answers of this study and reader in {path.name}; they are of another. Take the file "
            "out of the folder."
        )
    state = load(_State, dict(found.state or {}), f"{what} ({path.name})")
    if found.answers and not state.answers:  # of a file without what a page goes on with
        state = _rebuilt(page, found)
    return state


def _rebuilt(page: Page, found: AnswerFile) -> _State:
    state = _State(seconds=dict(found.seconds))
    for answer in found.answers:
        given = state.answers.setdefault(answer.trial, {})
        if page.design == "rating":
            given[f"{answer.question}/{answer.letter}"] = answer.value
        elif page.design == "pairwise":
            if answer.value:
                given[f"{answer.question}/"] = "=" if answer.value == 0.5 else answer.letter
        elif answer.value:
            given[f"{answer.question}/{'best' if answer.value > 0 else 'worst'}"] = answer.letter
    done = [trial.id in state.answers for trial in page.trials]
    return replace(state, at=done.index(False) if False in done else len(done) - 1)
