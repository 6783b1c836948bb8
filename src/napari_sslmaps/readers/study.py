"""Parts of a reader study: questions, methods, images, and what each reader is shown when."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal, Self, get_args

from napari_sslmaps.errors import InvalidOptionError, RecordError
from napari_sslmaps.files import read_text
from napari_sslmaps.maps.groups import GROUPS
from napari_sslmaps.maps.map_type import MapType
from napari_sslmaps.maps.registry import selectable
from napari_sslmaps.records.json import read_json, write_json
from napari_sslmaps.serialise import dump, load, strict

Design = Literal["rating", "pairwise", "best-worst"]
Scale = Literal["likert", "visual"]
KEY_FILE = "key.json"
CONTROLS: Final = ("untrained", "colour")
MAPS: Final = ("similarity",)
REPEATS = 0.1
"""Controls, maps and share of repeats of a study where nobody says others."""
PAGES, ANSWERS, REPORT = "pages", "answers", "report"
"""Folders of a study: what readers open, what they send back, and what is made of it."""
_KIND = "reader-study"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@strict
@dataclass(frozen=True, slots=True)
class Question:
    """Question that is asked of every map.

    Parameters
    ----------
    key
        Name of the question in tables.
    text
        Words that the reader sees.
    low, high
        Meanings of the two ends of the scale.
    scale
        ``likert`` for whole numbers from 1 to 5, ``visual`` for a line from 0 to 100; of ratings alone.
    """

    key: str
    text: str
    low: str = ""
    high: str = ""
    scale: Scale = "likert"


@strict
@dataclass(frozen=True, slots=True)
class StudyMethod:
    """A method that is judged.

    Parameters
    ----------
    name
        Name of an encoder, or what its control is called.
    control
        Kind of the control; empty for an encoder.
    """

    name: str
    control: str = ""


@strict
@dataclass(frozen=True, slots=True)
class StudyImage:
    """An image of the study; readers see its number alone.

    Parameters
    ----------
    number
        Number of the image, from 1.
    name, sha256
        File name, and hash of the pixels that are shown.
    """

    number: int
    name: str
    sha256: str = ""


@strict
@dataclass(frozen=True, slots=True)
class MapReach:
    """Reach of a map, which ratings are compared with.

    Parameters
    ----------
    image, map, method
        Image, map and method that it is measured of.
    share
        Distance at which its autocorrelation falls to 1/e, over the side of the image; None where it does not
        vary.
    """

    image: int
    map: str
    method: str
    share: float | None


@strict
@dataclass(frozen=True, slots=True)
class Trial:
    """One screen of one reader.

    Parameters
    ----------
    id
        Random id, and all that the reader's page and answers know it by.
    image
        Number of the image.
    map
        Key of the map.
    shown
        Names of the methods behind the letters A, B, C …
    repeat_of
        Id of the trial that it repeats, with letters drawn anew; empty for a first one.
    """

    id: str
    image: int
    map: str
    shown: tuple[str, ...]
    repeat_of: str = ""


@strict
@dataclass(frozen=True, slots=True)
class Reader:
    """A reader and what is shown to them.

    Parameters
    ----------
    name
        Name that the organiser uses.
    code
        Code that their page and answers carry instead.
    trials
        Trials in the order in which they are shown.
    """

    name: str
    code: str
    trials: tuple[Trial, ...]


@strict
@dataclass(frozen=True, slots=True)
class Study:
    """A reader study: the key that no reader sees.

    Parameters
    ----------
    id
        Random id; its answers carry it.
    design
        ``rating`` of every map, ``pairwise`` preference, or ``best-worst`` of up to four.
    questions, methods, images, readers
        Questions, methods, images and readers of the study.
    maps
        Keys of the maps that are judged.
    reaches
        Reach of every map that is shown.
    seed
        Seed of everything that was drawn.
    package_version
        Version of napari-sslmaps.
    """

    id: str
    design: Design
    questions: tuple[Question, ...]
    methods: tuple[StudyMethod, ...]
    images: tuple[StudyImage, ...]
    maps: tuple[str, ...]
    readers: tuple[Reader, ...]
    reaches: tuple[MapReach, ...] = ()
    seed: int = 0
    package_version: str = ""

    def write(self, folder: Path) -> None:
        """Write the key into a study's folder; raises `ExportError` if it cannot be written."""
        write_json(folder / KEY_FILE, _KIND, dump(self))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the key of a study's folder; raises `RecordError` if there is none."""
        return read_json(folder / KEY_FILE, _KIND, cls, "a reader study's key")

    @property
    def trials(self) -> Mapping[str, tuple[Reader, Trial]]:
        """Every trial by its id, with its reader."""
        return {trial.id: (reader, trial) for reader in self.readers for trial in reader.trials}


def load_questions(path: Path | None = None, design: Design = "rating") -> tuple[Question, ...]:
    """Read questions from a TOML file with tables ``[[question]]``.

    Parameters
    ----------
    path
        The file; the questions that come with the package if None.
    design
        Readers who compare are asked one thing by default, those who rate three.

    Raises
    ------
    RecordError
        If the file cannot be read, has no questions, or two have one key.
    """
    if path is None and design != "rating":
        return (Question("preferred", "Which map marks best what you would look at?"),)
    try:
        if path is None:
            text = files("napari_sslmaps.readers").joinpath("questions.toml").read_text(encoding="utf-8")
        else:
            text = read_text(path)
        content = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise RecordError(
            f"Expected questions as a TOML file; {path} cannot be read ({error}). See docs/readers.md."
        ) from error
    found = content.get("question")
    if not isinstance(found, list) or not found:
        raise RecordError(
            f"Expected at least one table [[question]] in {path}; got none. See docs/readers.md."
        )
    questions = tuple(load(Question, one, f"a question of {path}") for one in found)
    keys = [question.key for question in questions]
    if len(set(keys)) < len(keys):
        raise RecordError(f"Expected a key of its own for each question; got {', '.join(keys)}.")
    return questions


def judged_maps() -> tuple[MapType, ...]:
    """Kinds of maps that a study can show: all but groups, which need several sets of anchors."""
    return tuple(kind for kind in selectable() if kind is not GROUPS)


def check_maps(keys: Sequence[str]) -> None:
    """Refuse maps that a study cannot show; raises `InvalidOptionError`."""
    known = [kind.key for kind in judged_maps()]
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise InvalidOptionError(
            f"Expected maps of a study among {', '.join(known)}; got {', '.join(unknown)}. Choose from these."
        )


def check_design(design: str) -> Design:
    """Return the design of that name; raises `InvalidOptionError` if there is none."""
    for known in get_args(Design):
        if design == known:
            return known  # type: ignore[no-any-return]  # one of its own words
    raise InvalidOptionError(f"Expected a design among {', '.join(get_args(Design))}; got {design!r}.")
