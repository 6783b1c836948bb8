"""A whole batch: what is to be done, who does it, and the table of what came of it."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, time

from napari_sslmaps.batch.cluster import Workers
from napari_sslmaps.batch.dispatch import new_unfinished, rows_of
from napari_sslmaps.batch.store import read_about
from napari_sslmaps.batch.table import TABLE, GrowingTable, Row, is_table, write_table
from napari_sslmaps.batch.tasks import BatchEncoder, BatchOptions, BatchTask, make_task, tiles_folder
from napari_sslmaps.errors import InvalidOptionError, RecordError
from napari_sslmaps.extras import require_extra
from napari_sslmaps.files import alone_in, remove_folder, user_path
from napari_sslmaps.inputs.listing import BatchItem, Listing, list_items
from napari_sslmaps.records.anonymous import Key, number_of
from napari_sslmaps.records.claim import check_claim, stranger

OnProgress = Callable[["BatchProgress"], None]
_ABANDONED_S = 24 * 3600
_KEY = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """Progress of a batch.

    Parameters
    ----------
    done, total
        Outputs of this run, failed ones included.
    row
        The last one; None before the first.
    """

    done: int
    total: int
    row: Row | None = None


@dataclass(frozen=True, slots=True)
class BatchReport:
    """Report on what a batch did.

    Parameters
    ----------
    embedded, failed
        Rows of this run.
    kept
        Outputs that were there already.
    table
        The Parquet file, of all outputs in the folder and this run's failures.
    seconds
        Seconds from the start of the cluster to its end.
    notes
        Sentences worth reading.
    """

    embedded: tuple[Row, ...]
    failed: tuple[Row, ...]
    kept: int
    table: Path
    seconds: float
    notes: tuple[str, ...] = ()


def run_batch(
    images: Sequence[str | Path],
    encoders: Sequence[BatchEncoder],
    out: str | Path,
    *,
    options: BatchOptions | None = None,
    workers: Workers | None = None,
    on_progress: OnProgress | None = None,
    frames: str = "",
) -> BatchReport:
    """Embed many images, and write an OME-Zarr folder for each and one table for all.

    Outputs are ``OUT/<encoder>/<name>.zarr`` and ``OUT/batch.parquet``. What is there already, made of the
    same image with the same weights and options, is not made again; so a batch that was stopped is gone on
    with by the same call. In a script, call it below ``if __name__ == "__main__":``, since worker processes
    import the script.

    Parameters
    ----------
    images
        Images, folders and CSV files; see `list_items`.
    encoders
        Encoders that `choose_encoder` returned.
    out
        Folder, which every worker must see under the same path.
    options
        Options of embeddings and maps.
    workers
        Workers that do the work.
    on_progress
        Callback, called after every image on this thread.
    frames
        Frames of every stack that are embedded, as `list_items` takes them: those of one share a window of
        intensities and a basis of components, and each is an output of its own.

    Returns
    -------
    BatchReport
        An image that cannot be embedded is among its `failed`, and does not stop the others.

    Raises
    ------
    MissingExtraError
        If Dask or pyarrow is not installed.
    InvalidOptionError
        If there is nothing to do, names clash, or no scheduler answers.
    SSLMapsError
        If an encoder cannot be loaded by a worker.
    ExportError
        If `out` cannot be written to, or another process is writing to it.
    """
    require_extra("batch")
    folder, wanted = user_path(out).absolute(), options or BatchOptions()
    check_claim(folder, ())
    _check_table(folder)
    listing = list_items(images, out=folder, frames=frames, opening=wanted.maps.opening)
    _check_encoders(encoders)
    with alone_in(folder):
        if wanted.anonymous:
            listing = _without_names(listing, folder)
        return _embedded(listing, encoders, (folder, wanted), workers or Workers(), on_progress)


def _embedded(
    listing: Listing,
    encoders: Sequence[BatchEncoder],
    how: tuple[Path, BatchOptions],
    workers: Workers,
    on_progress: OnProgress | None,
) -> BatchReport:
    """Embed all that is not there yet, into a folder that nobody else writes to."""
    folder, wanted = how
    start = perf_counter()
    failed: list[Row] = []
    embedded: list[Row] = []
    unfinished = new_unfinished(folder)
    tasks = [
        make_task(item, encoder, wanted, folder, unfinished) for encoder in encoders for item in listing.items
    ]
    todo = [task for task in tasks if not all(map(_is_done, task.outputs))]
    count = sum(len(task.outputs) for task in todo)
    _sweep_tiles(folder, {task.key for task in todo})
    _report(on_progress, BatchProgress(0, count))
    table = GrowingTable(folder / TABLE, _all_rows(folder, ()) if todo else ())
    try:
        with closing(rows_of(todo, workers, unfinished)) as rows:
            for row in rows:
                (failed if row.status == "failed" else embedded).append(row)
                table.add(row)
                _report(on_progress, BatchProgress(len(failed) + len(embedded), count, row))
    finally:
        everything = _all_rows(folder, failed)
        if everything:
            write_table(folder / TABLE, everything)
    return BatchReport(
        embedded=tuple(embedded),
        failed=tuple(failed),
        kept=sum(len(task.outputs) for task in tasks) - count,
        table=folder / TABLE,
        seconds=perf_counter() - start,
        notes=(*listing.notes, *_warnings_of(everything)),
    )


def _check_table(out: Path) -> None:
    """Refuse to write the table over a file that is none, in a folder that no batch has written to.

    Raises
    ------
    ExportError
        If there is one.
    """
    path = out / TABLE
    if os.path.lexists(path) and not is_table(path) and not any(map(read_about, _outputs(out))):
        raise stranger(path)


def _without_names(listing: Listing, out: Path) -> Listing:
    """Call images by numbers; the key is written before anything else."""
    key, items = Key.of(out), dict[str, BatchItem]()
    for item in listing.items:
        name = key.name("image", item.image, besides=items)
        items[name] = replace(item, name=f"image-{number_of(name)}")
    key.write()
    return replace(listing, items=tuple(items.values()))


def _sweep_tiles(out: Path, wanted: set[str]) -> None:
    """Delete tiles of images that were never finished, and that nobody asks for any more."""
    kept = tiles_folder(out)
    for path in kept.iterdir() if kept.is_dir() else ():
        if (
            _KEY.fullmatch(path.name)
            and path.name not in wanted
            and time() - path.stat().st_mtime > _ABANDONED_S
        ):
            remove_folder(path)


def _report(on_progress: OnProgress | None, progress: BatchProgress) -> None:
    if on_progress is not None:
        on_progress(progress)


def _check_encoders(encoders: Sequence[BatchEncoder]) -> None:
    names = [encoder.name for encoder in encoders]
    if not names:
        raise InvalidOptionError("Expected at least one encoder; got none.")
    if len(set(names)) < len(names):
        raise InvalidOptionError(
            "Expected encoders of different names, since outputs are named after them; got "
            f"{', '.join(names)}."
        )


def _is_done(task: BatchTask) -> bool:
    row = _stored(Path(task.folder))
    return row is not None and row.key == task.key


def _stored(output: Path) -> Row | None:
    """Return the row that was kept beside an output; None if there is none, or it was damaged."""
    about = read_about(output)
    with suppress(RecordError):
        return None if about is None else Row.stored(about.row, about.provenance)
    return None


def _all_rows(out: Path, failed: Iterable[Row]) -> list[Row]:
    """Rows of all outputs there are, and of this run's failures instead of older outputs of the same name."""
    rows = {row.output: row for row in filter(None, map(_stored, _outputs(out)))}
    return list((rows | {row.output: row for row in failed}).values())


def _outputs(folder: Path, been: set[Path] | None = None) -> Iterator[Path]:
    """Yield the outputs in a folder and those below it; no link leads twice to the same one."""
    been = set() if been is None else been
    been.add(folder.resolve())
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or not path.is_dir():
            continue
        if path.suffix == ".zarr":
            yield path
        elif not path.is_symlink() or path.resolve() not in been:
            yield from _outputs(path, been)


def _warnings_of(rows: Iterable[Row]) -> list[str]:
    precisions: dict[str, set[str]] = {}
    depths: dict[str, set[str]] = {}
    for row in rows:
        if row.precision:
            precisions.setdefault(row.encoder, set()).add(row.precision)
        if row.status == "done":
            depths.setdefault(row.encoder, set()).add(row.depth or "the encoder's own")
    return [
        f"{encoder}: outputs in several precisions ({', '.join(sorted(found))}). Where they are to be "
        "compared closely, run again with --precision, which makes all of them anew."
        for encoder, found in precisions.items()
        if len(found) > 1
    ] + [
        f"{encoder}: outputs with tokens of several blocks ({'; '.join(sorted(found))}), which cannot be "
        "compared. Run all images again with one --token-block, or write them to folders of their own."
        for encoder, found in depths.items()
        if len(found) > 1
    ]
