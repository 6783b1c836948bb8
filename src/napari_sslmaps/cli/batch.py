"""``batch``: many images by one or several encoders, on many processes or machines."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from napari_sslmaps.cli import console
from napari_sslmaps.cli.options import (
    PLACE,
    WORKERS,
    Anonymous,
    Corrections,
    EmbedFlags,
    Encoders,
    Json,
    Level,
    MapFlags,
    OpenFlags,
    Out,
    Scheduler,
    takes,
)

if TYPE_CHECKING:
    from napari_sslmaps.batch.run import BatchProgress, BatchReport


@takes(OpenFlags, EmbedFlags, MapFlags, Corrections)
def batch(  # noqa: PLR0913  # each parameter is an option that users type, or a group of them
    images: Annotated[
        list[str],
        typer.Argument(help="Images, folders, CSV files with a column image.", show_default=False),
    ],
    *,
    encoder: Encoders = None,
    out: Out,
    tokens: Annotated[
        str,
        typer.Option(
            help="Number format that tokens are stored in: float16, float32, or none for no tokens."
        ),
    ] = "float16",
    json: Json = False,
    anonymous: Anonymous = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of processes; if omitted one per GPU, or a single one.",
            rich_help_panel=WORKERS,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processor threads of each process; its share of the cores if omitted.",
            rich_help_panel=WORKERS,
        ),
    ] = None,
    scheduler: Scheduler = "",
    level: Level = 0,
    spacing: Annotated[
        float | None,
        typer.Option(
            help="Instead of --level: µm per pixel, for which each image's closest level is taken.",
            rich_help_panel=PLACE,
        ),
    ] = None,
    mask: Annotated[
        str,
        typer.Option(
            help="Embed only this: auto, tissue or field-of-view; everything if omitted.",
            rich_help_panel=PLACE,
        ),
    ] = "",
    frames: Annotated[
        str,
        typer.Option(
            help=(
                "Frames of every stack, each as an output of its own: all, 0:20:2 (from, to, step) or 0,5,9."
            ),
            rich_help_panel=PLACE,
        ),
    ] = "",
    opened: OpenFlags = OpenFlags(),
    embed: EmbedFlags = EmbedFlags(),
    maps: MapFlags = MapFlags(),
    corrections: Corrections = Corrections(),
) -> None:
    """Embed many images: an OME-Zarr of tokens and maps for each, and one table of provenance and scores.

    Finished outputs are kept: run the same command again after a stop, or with more images.
    """
    from napari_sslmaps.batch.cluster import Workers
    from napari_sslmaps.batch.run import run_batch
    from napari_sslmaps.batch.tasks import BatchOptions, choose_encoder
    from napari_sslmaps.extras import require_extra
    from napari_sslmaps.files import user_path
    from napari_sslmaps.inputs.encoders import choose_encoders, fitting_most
    from napari_sslmaps.inputs.listing import list_items
    from napari_sslmaps.records.anonymous import key_beside
    from napari_sslmaps.records.run import RunOptions

    run = RunOptions(**embed.run_options(), **asdict(opened.options()), maps=maps.options(), wanted=maps.keys)
    choices = choose_encoders(encoder or (), corrections.overrides())
    if not choices:  # reads pixels: after what was typed is understood
        require_extra("batch")
        listed = list_items(images, out=user_path(out).absolute()).items
        opening = run.opening
        choices = fitting_most(
            [(one.image, replace(opening, channel=one.channel or opening.channel)) for one in listed]
        )
    chosen = [choose_encoder(one.name, one.overrides) for one in choices]
    run = maps.at_scale(run, choices)
    options = BatchOptions(run, level, spacing, tokens, mask, anonymous)  # type: ignore[arg-type]  # checked there
    who = Workers(workers, threads, scheduler)
    kept = f"What is done is in {out}; the same command goes on from there."
    with console.kept_if_stopped(kept), _bar(quiet=json) as on_progress:
        report = run_batch(
            images, chosen, out, options=options, workers=who, on_progress=on_progress, frames=frames
        )
    if anonymous:
        console.key_note(key_beside(out))
    _say(report, out, json=json)
    if report.failed:
        raise typer.Exit(1)


def _say(report: "BatchReport", out: Path, *, json: bool) -> None:
    if json:
        printed = {**asdict(report), "table": str(report.table), "folder": str(out.absolute())}
        console.out_json(printed)
        return
    for sentence in report.notes:
        console.note(sentence)
    made, failed = len(report.embedded), len(report.failed)
    kept = f", {report.kept} were there" if report.kept else ""
    lost = f", {failed} failed" if failed else ""
    console.out(f"Embedded {made}{kept}{lost} in {report.seconds:.0f} s. Table: {report.table}")


@contextmanager
def _bar(*, quiet: bool) -> "Iterator[Callable[[BatchProgress], None]]":
    """Give a callback that draws a bar, and says of each failed image why, as it fails."""
    screen = console.errors()
    columns = (
        TextColumn("images"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    progress = Progress(*columns, console=screen)
    with nullcontext() if quiet or not screen.is_terminal else progress:
        task = progress.add_task("images", total=None)

        def show(state: "BatchProgress") -> None:
            if state.row is not None and state.row.status == "failed" and not quiet:
                console.error(f"{state.row.name}, {state.row.encoder}: {state.row.error}")
            progress.update(task, completed=state.done, total=state.total)

        yield show
