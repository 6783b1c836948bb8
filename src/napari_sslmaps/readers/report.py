"""A study's answers as a report, tables and JSON."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from glob import escape
from io import StringIO
from math import isfinite
from pathlib import Path
from typing import Any

from napari_sslmaps.core.findings import Table
from napari_sslmaps.errors import RecordError
from napari_sslmaps.extras import require_extra
from napari_sslmaps.figures.report import ReportSection, write_report
from napari_sslmaps.files import read_text
from napari_sslmaps.readers.analysis import Scores, sentences_of, tables_of
from napari_sslmaps.readers.answers import read_answers
from napari_sslmaps.readers.study import ANSWERS, Study
from napari_sslmaps.records.claim import check_claim, hashes_of, remove_own
from napari_sslmaps.records.csv import write_csv
from napari_sslmaps.records.json import read_object, write_object
from napari_sslmaps.serialise import load

_IMAGES = "images.csv"
_REPORT = "report.json"
PAGE = "report.html"
"""The report as a page, in its folder."""


@dataclass(frozen=True, slots=True, eq=False)
class StudyReport:
    """Results of a study.

    Parameters
    ----------
    study
        Study that was answered.
    tables
        The most telling first.
    sentences
        Sentences that sum up the results.
    """

    study: Study
    tables: tuple[Table, ...]
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return sentences and tables, ready for JSON: what is unknown is None."""
        return {
            "format": "napari-sslmaps/readers-report",
            "study": self.study.id,
            "design": self.study.design,
            "sentences": list(self.sentences),
            "tables": {
                table.key: {"columns": list(table.columns), "rows": _plain(table.rows)}
                for table in self.tables
            },
        }


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    if value is None or isinstance(value, (int, str)):
        return value
    return {name: _plain(one) for name, one in asdict(value).items()}


def analyse_files(folder: Path, paths: Sequence[Path] = (), scores: Path | None = None) -> StudyReport:
    """Analyse what readers sent back.

    Parameters
    ----------
    folder
        Folder of the study.
    paths
        Files of answers from the readers; all that lie in the study's folder of answers, if none is named.
    scores
        Folder of a comparison of the same images and encoders, by ``evaluate``.

    Raises
    ------
    MissingExtraError
        If what the statistics need is not installed.
    RecordError
        If key, answers or scores cannot be read.
    """
    require_extra("readers")
    study = Study.read(folder)
    answers = read_answers(study, paths or sorted((folder / ANSWERS).glob("*.json")))
    areas = {} if scores is None else read_scores(scores)
    return StudyReport(study, tables_of(study, answers, areas), sentences_of(study, answers))


def read_scores(folder: Path) -> Scores:
    """Read AUROC of every image, map and method of a comparison: that of the class that a map finds best.

    Raises
    ------
    RecordError
        If there is no such table.
    """
    path = folder / _IMAGES
    try:
        rows = list(csv.DictReader(StringIO(read_text(path), newline="")))
        best: dict[tuple[str, str, str], float] = {}
        for row in rows:
            key = row["Image"], row["Map"].split(" ")[0], row["Method"]
            area = float(row["auroc"]) if row["auroc"] else 0.0
            best[key] = max(area, best.get(key, 0.0))
    except (OSError, UnicodeDecodeError, KeyError, ValueError, AttributeError, csv.Error) as error:
        raise RecordError(
            f"Expected the folder of a comparison with {_IMAGES}; {path} cannot be read ({error}). Run "
            "evaluate --scores maps on the same images."
        ) from error
    return best


@dataclass(frozen=True, slots=True)
class _Earlier:
    """An earlier report, as far as it lists what was written: names of tables → their hashes."""

    files: Mapping[str, str]


def _written_before(folder: Path) -> Mapping[str, str]:
    try:
        return load(_Earlier, read_object(folder / _REPORT, "a report"), "a report").files
    except RecordError:  # none, or none that can be understood
        return {}


def write_study_report(found: StudyReport, folder: Path) -> None:
    """Write ``report.html``, a CSV of every table, and ``report.json``; tables of an earlier report go.

    Raises
    ------
    ExportError
        If they cannot be written, or a file there that would be replaced is not this package's.
    """
    check_claim(folder, (PAGE, _REPORT, *(f"{table.key}.csv" for table in found.tables)), record=_REPORT)
    earlier, names = _written_before(folder), {f"{table.key}.csv" for table in found.tables}
    for table in found.tables:
        write_csv(table, folder / f"{table.key}.csv")
    write_object(folder / _REPORT, {**found.to_dict(), "files": hashes_of(folder, names)})
    remove_own(folder, map(escape, earlier.keys() - names), earlier)
    study = found.study
    people = f"{len(study.readers)} reader{'s' if len(study.readers) > 1 else ''}"
    what = f"{people}, {len(study.images)} images, {len(study.methods)} methods"
    methods = Table(
        "Methods",
        ("Method", "Control"),
        tuple((method.name, method.control or "–") for method in study.methods),
        key="methods",
    )
    questions = Table(
        "Questions",
        ("Question", "Words", "Lowest", "Highest"),
        tuple((one.key, one.text, one.low, one.high) for one in study.questions),
        key="questions",
    )
    write_report(
        folder / PAGE,
        title="Reader study",
        subtitle=f"{study.design}; {what}",
        sections=(
            ReportSection("Findings", (*found.sentences, *found.tables[:3])),
            ReportSection("Readers", found.tables[3:]),
            ReportSection("What was asked", (questions, methods)),
        ),
    )
