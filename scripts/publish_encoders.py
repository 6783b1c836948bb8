"""Judge pretrained encoders beside their controls and publish what comes out.

    python scripts/publish_encoders.py mae-histology=runs/mae mae-ultrasound=runs/us-0,runs/us-1,runs/us-2
    python scripts/publish_encoders.py --rescore
    python scripts/publish_encoders.py --render
    python scripts/publish_encoders.py --validation mae-histology=runs/mae

Each NAME=RUN[,RUN…] copies the first run's ``encoder.safetensors`` to ``encoders/weights/NAME.safetensors``;
further runs are other training seeds of the same recipe, and the verdict is about the mean. A run is a folder
or a weight file. ``--rescore`` judges the weights that are there already, if protocol or simulators have
changed since; ``--render`` judges nothing. Then ``docs/data/encoders.json``, the model cards and the table in
``docs/encoders.md`` are written. ``--validation`` is for tuning: it prints validation scores, touches no test
image and writes nothing.
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from napari_sslmaps.encoders.catalog import EMBEDDED
from napari_sslmaps.files import hash_path
from napari_sslmaps.lab.gate.cards import write_card
from napari_sslmaps.lab.gate.gate import judge, preview, use_one_thread
from napari_sslmaps.lab.gate.results import Book
from napari_sslmaps.lab.gate.tables import overview_table, replace_generated
from napari_sslmaps.lab.gate.verdict import label

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "src/napari_sslmaps/encoders/weights"
RESULTS = ROOT / "docs/data/encoders.json"
PAGE = ROOT / "docs/encoders.md"


def weight_file(run: str) -> Path:
    """Return the weight file of a run's folder, or the file itself."""
    path = Path(run)
    return path / "encoder.safetensors" if path.is_dir() else path


def publish(name: str, runs: list[Path], book: Book) -> None:
    """Judge, and only then copy: a file that cannot be judged replaces nothing."""
    start = perf_counter()
    result = judge(name, runs, book, date=datetime.now(UTC).date().isoformat())
    target = WEIGHTS / f"{name}.safetensors"
    if runs[0].resolve() != target:
        target.write_bytes(runs[0].read_bytes())
    print(f"{name}: {label(result)} ({perf_counter() - start:.0f} s)", flush=True)


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
    """Write cards and table from the results; stop if a weight file is not the one that was judged."""
    for name in book.names:
        weights = WEIGHTS / f"{name}.safetensors"
        if hash_path(weights) != book[name]["sha256"]:
            sys.exit(f"{weights.name} is not the file that was judged. Publish it, or restore it.")
        write_card(weights, book[name])
    table = overview_table({name: book[name] for name in book.names})
    PAGE.write_text(replace_generated(PAGE.read_text(encoding="utf-8"), table), encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Read the arguments, the command line's if omitted, and do as they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("encoders", nargs="*", metavar="NAME=RUN[,RUN…]")
    parser.add_argument("--rescore", action="store_true", help="judge the embedded weights if needed")
    parser.add_argument("--render", action="store_true", help="only render cards and table")
    parser.add_argument("--validation", action="store_true", help="only print validation scores")
    asked = parser.parse_args(arguments)
    use_one_thread()
    book = Book(RESULTS)
    jobs = {name: runs.split(",") for name, _, runs in (text.partition("=") for text in asked.encoders)}
    if asked.rescore:
        jobs = {name: [str(WEIGHTS / f"{name}.safetensors")] for name in EMBEDDED} | jobs
    if not jobs and not asked.render:
        parser.error("expected NAME=RUN, --rescore or --render")
    if asked.validation:
        for name, runs in jobs.items():
            show_validation(name, [weight_file(run) for run in runs])
        return
    for name, runs in jobs.items():
        publish(name, [weight_file(run) for run in runs], book)
    render(book)


if __name__ == "__main__":
    main()
