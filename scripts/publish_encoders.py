"""Judge pretrained encoders beside their controls and publish what comes out.

    python scripts/publish_encoders.py mae-histology=runs/mae mae-ultrasound=runs/us-0,runs/us-1,runs/us-2
    python scripts/publish_encoders.py --rescore
    python scripts/publish_encoders.py --render
    python scripts/publish_encoders.py --validation mae-histology=runs/mae

Each NAME=RUN[,RUN…] copies the first run's ``encoder.safetensors`` to ``encoders/weights/NAME.safetensors``;
further runs are other training seeds of the same recipe, and the verdict is about the mean. A run is a folder
or a weight file. With ``--licence TEXT`` the copy's header gets that licence; a file that learned from images
of a folder needs it. ``--rescore`` judges the weights that are there already, if protocol or simulators
have changed since; ``--render`` judges nothing. ``--real FOLDER`` judges the encoders named, or all of them,
on the public sets in that folder (see ``image_sets``). Then ``docs/data/encoders.json`` and ``real.json``,
the model cards and the tables in ``docs/encoders.md`` are written. ``--validation`` is for tuning: it prints
validation scores, touches no test image and writes nothing.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from napari_sslmaps.encoders.catalog import EMBEDDED
from napari_sslmaps.files import hash_path
from napari_sslmaps.lab.gate.cards import write_card
from napari_sslmaps.lab.gate.gate import judge, preview, use_one_thread
from napari_sslmaps.lab.gate.provenance import release
from napari_sslmaps.lab.gate.real import judge_real, real_book
from napari_sslmaps.lab.gate.real_tables import both_overviews
from napari_sslmaps.lab.gate.results import Book
from napari_sslmaps.lab.gate.tables import replace_generated
from napari_sslmaps.lab.gate.verdict import label

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "src/napari_sslmaps/encoders/weights"
RESULTS = ROOT / "docs/data/encoders.json"
REAL = ROOT / "docs/data/real.json"
PAGE = ROOT / "docs/encoders.md"


def weight_file(run: str) -> Path:
    """Return the weight file of a run's folder, or the file itself."""
    path = Path(run)
    return path / "encoder.safetensors" if path.is_dir() else path


def publish(name: str, runs: list[Path], book: Book, licence: str) -> None:
    """Judge, and only then copy: a file that cannot be judged replaces nothing."""
    with TemporaryDirectory() as folder:
        if licence:
            runs = [
                release(run, Path(folder) / f"{n}.safetensors", licence=licence) for n, run in enumerate(runs)
            ]
        publish_judged(name, runs, book)


def publish_judged(name: str, runs: list[Path], book: Book) -> None:
    """Judge files as they are, and copy the first."""
    start = perf_counter()
    result = judge(name, runs, book, date=datetime.now(UTC).date().isoformat())
    target = WEIGHTS / f"{name}.safetensors"
    if runs[0].resolve() != target:
        target.write_bytes(runs[0].read_bytes())
    print(f"{name}: {label(result)} ({perf_counter() - start:.0f} s)", flush=True)


def judge_on_real(names: Iterable[str], folder: Path) -> None:
    """Judge the embedded weights on real images; those that have been are not judged again."""
    book = real_book(REAL)
    for name in names:
        start, weights = perf_counter(), WEIGHTS / f"{name}.safetensors"
        if name in book and book[name]["sha256"] == hash_path(weights):
            continue
        book.write(name, judge_real(name, weights, folder, date=datetime.now(UTC).date().isoformat()))
        print(f"{name}: real images ({perf_counter() - start:.0f} s)", flush=True)


def show_validation(name: str, runs: list[Path]) -> None:
    """Print what each run reaches on validation images."""
    for run in runs:
        found = preview(name, run)
        scores = ", ".join(
            f"{score} {found['reached'][score]:.3f} of {found['needed'][score]:.3f}"
            for score in ("probe", "knn")
        )
        taps = ", ".join(f"{tap} {value:.3f}" for tap, value in found["taps"].items())
        print(f"{run}: {scores} on validation; probe of {taps}", flush=True)


def render(book: Book) -> None:
    """Write cards and tables from the results; stop if a weight file is not the one that was judged."""
    for name in book.names:
        weights = WEIGHTS / f"{name}.safetensors"
        if hash_path(weights) != book[name]["sha256"]:
            sys.exit(f"{weights.name} is not the file that was judged. Publish it, or restore it.")
        write_card(weights, book[name], real_result(name))
    real = {name: result for name in book.names if (result := real_result(name)) is not None}
    generated = both_overviews({name: book[name] for name in book.names}, real)
    PAGE.write_text(replace_generated(PAGE.read_text(encoding="utf-8"), generated), encoding="utf-8")


def real_result(name: str) -> Mapping[str, Any] | None:
    """Return what the embedded weights of an encoder reached on real images, if they were judged."""
    book = real_book(REAL)
    judged = name in book and book[name]["sha256"] == hash_path(WEIGHTS / f"{name}.safetensors")
    return book[name] if judged else None


def main(arguments: list[str] | None = None) -> None:
    """Read the arguments, the command line's if omitted, and do as they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("encoders", nargs="*", metavar="NAME=RUN[,RUN…]")
    parser.add_argument("--rescore", action="store_true", help="judge the embedded weights if needed")
    parser.add_argument("--render", action="store_true", help="only render cards and table")
    parser.add_argument("--licence", default="", help="licence of the files that are published")
    parser.add_argument("--real", type=Path, help="folder of real images to judge on")
    parser.add_argument("--validation", action="store_true", help="only print validation scores")
    asked = parser.parse_args(arguments)
    use_one_thread()
    book = Book(RESULTS)
    jobs = {name: runs.split(",") for name, _, runs in (text.partition("=") for text in asked.encoders)}
    if asked.rescore:
        jobs = {name: [str(WEIGHTS / f"{name}.safetensors")] for name in EMBEDDED} | jobs
    if not jobs and not asked.render and asked.real is None:
        parser.error("expected NAME=RUN, --rescore, --real FOLDER or --render")
    if asked.validation:
        for name, runs in jobs.items():
            show_validation(name, [weight_file(run) for run in runs])
        return
    for name, runs in jobs.items():
        publish(name, [weight_file(run) for run in runs], book, asked.licence)
    if asked.real is not None:
        judge_on_real(jobs or EMBEDDED, asked.real)
    render(book)


if __name__ == "__main__":
    main()
