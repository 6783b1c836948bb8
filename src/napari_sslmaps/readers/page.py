"""The page that a reader opens: one HTML file with everything in it; it loads nothing and sends nothing."""

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_sslmaps.errors import RecordError
from napari_sslmaps.files import read_regular, written_whole
from napari_sslmaps.maps.registry import following_anchors
from napari_sslmaps.readers.study import LETTERS, Design, Question, Reader, Study
from napari_sslmaps.serialise import dump, load, parse, strict

_STUDY = re.compile(rb'<script type="application/json" id="study">(.*?)</script>', re.DOTALL)
_MOST_BYTES = 2_000_000_000


@strict
@dataclass(frozen=True, slots=True)
class PageImage:
    """An image as the page holds it.

    Parameters
    ----------
    number
        Number by which readers know it.
    picture
        Data address of its pixels.
    anchors, negative
        (x, y) of the points that a similarity map is of, as shares of the picture.
    """

    number: int
    picture: str
    anchors: tuple[tuple[float, float], ...] = ()
    negative: tuple[tuple[float, float], ...] = ()


@strict
@dataclass(frozen=True, slots=True)
class PageTrial:
    """A screen as the page holds it.

    Parameters
    ----------
    id
        Random id, which answers carry.
    image
        Number of the image.
    anchors
        Whether its anchors are shown.
    maps
        Letter → data address of the picture.
    """

    id: str
    image: int
    anchors: bool
    maps: Mapping[str, str]


@strict
@dataclass(frozen=True, slots=True)
class Page:
    """All that a page knows: no name of an image, a method, a map or a person.

    Parameters
    ----------
    study, reader
        Id of the study, and the reader's code.
    design, questions
        Design of the study, and its questions.
    images
        Number, in digits → image.
    trials
        Screens in the order in which they are shown.
    """

    study: str
    reader: str
    design: Design
    questions: tuple[Question, ...]
    images: Mapping[str, PageImage]
    trials: tuple[PageTrial, ...]


def write_page(
    path: Path,
    study: Study,
    reader: Reader,
    images: Sequence[PageImage],
    maps: Mapping[tuple[int, str, str], str],
) -> None:
    """Write the page of one reader, whole or not at all.

    Parameters
    ----------
    path
        HTML file to write.
    study, reader
        Study that is shown, and the reader it is shown to.
    images
        All of the study.
    maps
        (image's number, map, method) → data address of the picture.

    Raises
    ------
    ExportError
        If it cannot be written.
    """
    page = Template(files("napari_sslmaps.readers").joinpath("page.html").read_text(encoding="utf-8"))
    text = page.substitute(study=_in_script(_page_of(study, reader, images, maps)))
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_page(path: Path) -> Page:
    """Read what a page shows and asks.

    Parameters
    ----------
    path
        The HTML file.

    Raises
    ------
    RecordError
        If it cannot be read, or is no page of a reader study.
    """
    what = f"the page of a reader ({path.name})"
    try:
        found = _STUDY.search(read_regular(path, _MOST_BYTES))
    except OSError as error:
        raise RecordError(
            f"Expected {what}; it cannot be read ({error.strerror or error}). Check the path."
        ) from error
    if found is None:
        raise RecordError(
            f"Expected {what} as napari-sslmaps readers new writes it; this is another. Choose the folder of "
            "a study."
        )
    page = load(Page, parse(found.group(1), what), what)
    if not page.trials or any(str(trial.image) not in page.images for trial in page.trials):
        raise RecordError(f"Expected {what} to hold what it shows; something is missing. Ask for it again.")
    return page


def pixels_of(address: str) -> NDArray[np.uint8]:
    """Return the pixels of a picture given as a data address, (rows, cols, 4) RGBA.

    Raises
    ------
    RecordError
        If it holds no picture.
    """
    try:
        content = base64.b64decode(address.partition(",")[2], validate=True)
        with Image.open(io.BytesIO(content), formats=("png", "jpeg")) as picture:
            return np.array(picture.convert("RGBA"))
    except (ValueError, OSError, Image.DecompressionBombError) as error:
        raise RecordError(
            f"Expected a picture in the page of a reader; what is there cannot be read ({error}). Ask for "
            "the page again."
        ) from error


def _page_of(
    study: Study,
    reader: Reader,
    images: Sequence[PageImage],
    maps: Mapping[tuple[int, str, str], str],
) -> Page:
    return Page(
        study.id,
        reader.code,
        study.design,
        study.questions,
        {str(image.number): image for image in images},
        tuple(
            PageTrial(
                trial.id,
                trial.image,
                trial.map in following_anchors(),
                {
                    LETTERS[place]: maps[trial.image, trial.map, method]
                    for place, method in enumerate(trial.shown)
                },
            )
            for trial in reader.trials
        ),
    )


def _in_script(page: Page) -> str:
    """Return JSON that cannot end the script element it stands in."""
    return json.dumps(dump(page), separators=(",", ":")).replace("<", "\\u003c")
