"""The page that a reader opens: one HTML file with everything in it; it loads nothing and sends nothing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from napari_sslmaps.files import written_whole
from napari_sslmaps.maps.registry import following_anchors
from napari_sslmaps.readers.study import LETTERS, Reader, Study


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
    text = page.substitute(study=_in_script(_told(study, reader, images, maps)))
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _told(
    study: Study,
    reader: Reader,
    images: Sequence[PageImage],
    maps: Mapping[tuple[int, str, str], str],
) -> dict[str, Any]:
    """All that the page knows: no name of an image, a method, a map or a person."""
    return {
        "study": study.id,
        "reader": reader.code,
        "design": study.design,
        "questions": [asdict(question) for question in study.questions],
        "images": {image.number: asdict(image) for image in images},
        "trials": [
            {
                "id": trial.id,
                "image": trial.image,
                "anchors": trial.map in following_anchors(),
                "maps": {
                    LETTERS[place]: maps[trial.image, trial.map, method]
                    for place, method in enumerate(trial.shown)
                },
            }
            for trial in reader.trials
        ],
    }


def _in_script(told: Mapping[str, Any]) -> str:
    """Return JSON that cannot end the script element it stands in."""
    return json.dumps(told, separators=(",", ":")).replace("<", "\\u003c")
