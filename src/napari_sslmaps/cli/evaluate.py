"""``evaluate``: encoders beside their controls on annotated images, scored, written to a folder."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from napari_sslmaps.cli import console
from napari_sslmaps.cli.options import (
    ANCHORS,
    PLACE,
    Anonymous,
    AttentionFlags,
    Corrections,
    EmbedFlags,
    Encoders,
    Json,
    Level,
    MapFlags,
    OpenFlags,
    OutOrNone,
    Places,
    PointFlags,
    RegionFlags,
    RegionText,
    Seed,
    takes,
    words,
)
from napari_sslmaps.compare.scores import CONTROL_KINDS, DEFAULT_CONTROLS, DEFAULT_SCORES, SCORES
from napari_sslmaps.files import alone_in, user_path

if TYPE_CHECKING:
    from napari_sslmaps.compare.listing import ListingOptions
    from napari_sslmaps.compare.progress import ComparisonProgress, OnComparison
    from napari_sslmaps.compare.request import ComparisonOptions, ComparisonRequest
    from napari_sslmaps.compare.results import Comparison
    from napari_sslmaps.inputs.encoders import EncoderChoice

_LABELS, _SCORES = "Annotations", "Scores"
_SHOWN = (*SCORES, "robustness-centred-cosine")
"""Tables that are printed, one of each score; all are written."""


@takes(PointFlags, OpenFlags, EmbedFlags, MapFlags, AttentionFlags, Corrections)
def evaluate(  # noqa: PLR0913  # each parameter is an option that users type, or a group of them
    images: Annotated[
        list[str] | None,
        typer.Argument(
            help="Images, folders, CSV files, sample:histology, sample:ultrasound.", show_default=False
        ),
    ] = None,
    *,
    encoder: Encoders = None,
    out: OutOrNone = None,
    record: Annotated[
        Path | None, typer.Option("--from", help="Repeat the comparison that a run.json describes.")
    ] = None,
    found_in: Places = None,
    figures: Annotated[
        int,
        typer.Option(
            min=0, help="Number of images, from the first, for which a figure and maps are written."
        ),
    ] = 4,
    json: Json = False,
    anonymous: Anonymous = False,
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Folder of masks named like their images, or the mask of a single image.",
            rich_help_panel=_LABELS,
        ),
    ] = None,
    classes: Annotated[
        str,
        typer.Option(
            help="Names of the masks' labels from 1 on, such as tumour,stroma.", rich_help_panel=_LABELS
        ),
    ] = "",
    ignore: Annotated[
        int | None,
        typer.Option(
            help="Label in masks whose pixels are not scored; if omitted, 255 where there are other labels.",
            rich_help_panel=_LABELS,
        ),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            help="Label of each image: a CSV with columns image and label, or the word subfolders.",
            rich_help_panel=_LABELS,
        ),
    ] = "",
    scores: Annotated[
        str,
        typer.Option(
            help=f"Scores to compute, such as maps,anchors, out of {', '.join(SCORES)}.",
            rich_help_panel=_SCORES,
        ),
    ] = ",".join(DEFAULT_SCORES),
    controls: Annotated[
        str,
        typer.Option(
            help=f"Controls to compare with, such as pixels,colour, out of {', '.join(CONTROL_KINDS)}; "
            "or all, or none.",
            rich_help_panel=_SCORES,
        ),
    ] = ",".join(DEFAULT_CONTROLS),
    count: Annotated[
        int,
        typer.Option(
            "--anchors",
            min=1,
            help="Anchors sampled in each image, for --scores anchors.",
            rich_help_panel=_SCORES,
        ),
    ] = 64,
    perturbations: Annotated[
        str,
        typer.Option(
            help="Perturbations for --scores robustness, such as speckle,blur; all if omitted.",
            rich_help_panel=_SCORES,
        ),
    ] = "",
    resolutions: Annotated[
        str,
        typer.Option(
            help="Resolutions for --scores scale besides --resolution, such as 192px,native,0.5um.",
            rich_help_panel=_SCORES,
        ),
    ] = "",
    seed: Seed = 0,
    points: PointFlags = PointFlags(),
    anchor_set: Annotated[
        Path | None,
        typer.Option(
            help="File of named groups of anchors saved in the window: a map for each.",
            rich_help_panel=ANCHORS,
        ),
    ] = None,
    region: RegionText = None,
    level: Level = 0,
    within: Annotated[
        str,
        typer.Option(
            "--region-mask",
            help="Embed and score only this: auto, tissue or field-of-view.",
            rich_help_panel=PLACE,
        ),
    ] = "",
    opened: OpenFlags = OpenFlags(),
    embed: EmbedFlags = EmbedFlags(precision="float32"),
    maps: MapFlags = MapFlags(),
    attention: AttentionFlags = AttentionFlags(),
    corrections: Corrections = Corrections(),
) -> None:
    """Score encoders beside their controls on annotated images.

    Finished images are kept: run the same command again to continue after a stop, or to add images.
    """
    given = corrections.overrides()
    if bool(images) == (record is not None):
        raise typer.BadParameter("give either images or --from run.json.")
    if record is not None:
        if encoder or masks or labels or any((*points, *opened)) or anchor_set or region or given.keywords:
            raise typer.BadParameter(
                "--from takes everything from the record; only --out and --json can be given with it."
            )
        _again((record, found_in), out or record.parent, figures, json=json)
        return
    if out is None or not images:
        raise typer.BadParameter("say where to write to, with --out DIR.")
    from napari_sslmaps.compare.listing import ListingOptions
    from napari_sslmaps.compare.request import ComparisonOptions
    from napari_sslmaps.inputs.encoders import choose_encoders
    from napari_sslmaps.records.anchors import load_anchors
    from napari_sslmaps.records.run import RunOptions

    (positive, against), opening = points.points(), opened.options()
    listing = ListingOptions(
        masks=masks,
        classes=dict(enumerate(words(classes), start=1)),
        ignore=ignore,
        labels=labels,
        anchors=positive,
        negative=against,
        region=RegionFlags(region, level).on(images[0], opening),
        opening=opening,
        groups=() if anchor_set is None else load_anchors(anchor_set).groups,
    )
    run = RunOptions(
        **embed.run_options(),
        **asdict(opening),
        maps=maps.options(**attention._asdict()),
        wanted=maps.keys,
        mask=within,
    )
    options = ComparisonOptions(
        run, count, perturbations=words(perturbations), seed=seed, resolutions=words(resolutions)
    )
    request = _request(
        images,
        listing,
        options,
        out,
        (choose_encoders(encoder or (), given), words(scores), words(controls)),
        maps,
    )
    if anonymous:
        request = _without_names(request, out)
    _compare(request, out, figures, json=json)


def _request(
    images: list[str],
    listing: "ListingOptions",
    options: "ComparisonOptions",
    out: Path,
    selection: "tuple[tuple[EncoderChoice, ...], tuple[str, ...], tuple[str, ...]]",
    maps: MapFlags,
) -> "ComparisonRequest":
    from napari_sslmaps.compare.listing import list_images
    from napari_sslmaps.compare.request import ComparisonRequest, opening_of
    from napari_sslmaps.compare.scores import CONTROL_KINDS
    from napari_sslmaps.inputs.encoders import fitting_most

    encoders, scores, controls = selection
    listed, notes = list_images(images, listing, out=user_path(out).absolute())
    for sentence in notes:
        console.note(sentence)
    chosen = CONTROL_KINDS if controls == ("all",) else () if controls == ("none",) else controls
    # reads pixels: after all else is understood
    encoders = encoders or fitting_most([(str(one.image), opening_of(one, options.run)) for one in listed])
    return ComparisonRequest(
        listed,
        encoders,
        chosen,  # type: ignore[arg-type]  # checked there
        scores,
        replace(options, run=maps.at_scale(options.run, encoders)),
    )


def _without_names(request: "ComparisonRequest", out: Path) -> "ComparisonRequest":
    """Call images and masks by numbers, whose key is written before anything else."""
    from napari_sslmaps.compare.request import ComparedImage, MaskFile
    from napari_sslmaps.records.anonymous import Key, number_of

    key, images = Key.of(out), dict[str, ComparedImage]()
    for image in request.images:
        name = key.name("image", str(image.image), besides=images)
        images[name] = replace(image, name=f"image-{number_of(name)}")
        if isinstance(image.annotation, MaskFile):
            key.name("mask", str(image.annotation.path.absolute()), number=number_of(name))
    key.write()
    console.key_note(key.path)
    return replace(request, images=tuple(images.values()), anonymous=True)


def _compare(
    request: "ComparisonRequest", out: Path, figures: int, *, json: bool, command: str = ""
) -> "Comparison":
    from napari_sslmaps.compare.compute import compare
    from napari_sslmaps.compare.write import WRITTEN, ImageWriter, write_comparison
    from napari_sslmaps.records.claim import check_claim

    begun = next((out / "images").rglob("scores.json"), None) is not None
    check_claim(out, () if begun else WRITTEN, record="run.json", holding=b'"evaluation"')
    kept = f"What is done is in {out}; the same command goes on from there."
    with console.kept_if_stopped(kept), alone_in(out), _bar(quiet=json) as on_progress:
        writer = ImageWriter(out, figures, anonymous=request.anonymous)
        comparison = compare(request, on_progress, folder=out, on_image=writer)
        write_comparison(comparison, out, command=command)
    _say(comparison, out, json=json)
    return comparison


def _again(given: tuple[Path, Path | None], out: Path, figures: int, *, json: bool) -> None:
    from napari_sslmaps.compare.record import comparison_from_record, numbers_sha256
    from napari_sslmaps.records.run import RunRecord

    record, images = given
    described = RunRecord.read(record)
    request = comparison_from_record(described, record.parent, images)
    before = (described.evaluation or {}).get("numbers_sha256")
    comparison = _compare(request, out, figures, json=json)
    same = before == numbers_sha256(comparison.images)
    sentence = (
        "Every score is that of the record, to the last digit."
        if same
        else "Scores differ from those of the record: another machine, device or version rounds otherwise."
    )
    (console.note if json else console.out)(sentence)


def _say(comparison: "Comparison", out: Path, *, json: bool) -> None:
    from napari_sslmaps.compare.advice import advise
    from napari_sslmaps.compare.store import table_to_plain
    from napari_sslmaps.compare.tables import tables_of

    tables = (*tables_of(comparison), advise(comparison).table)
    if json:
        printed = {table.key: table_to_plain(table) for table in tables}
        console.out_json({"folder": str(out.absolute()), "tables": printed})
        return
    said: dict[str, None] = {}
    for table in tables:
        if table.key in _SHOWN:
            console.out_table(replace(table, notes=tuple(note for note in table.notes if note not in said)))
            said.update(dict.fromkeys(table.notes))
    for sentence in advise(comparison).sentences:
        console.out(sentence)
    console.out(f"Wrote {len(tables)} tables, report.html and run.json to {out}")


@contextmanager
def _bar(*, quiet: bool) -> "Iterator[OnComparison]":
    """Give a callback that draws a bar, or names each image in turn where stderr is no terminal."""
    screen, report = console.errors(), console.reporting_once(quiet=quiet)
    columns = (
        TextColumn("{task.description:<48}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    progress = Progress(*columns, console=screen)
    with nullcontext() if quiet or not screen.is_terminal else progress:
        task = progress.add_task("preparing", total=1.0)

        def show(state: "ComparisonProgress") -> None:
            what = f"{state.image} {state.doing} {state.method}".strip()
            progress.update(task, description=what[-48:], completed=state.share)
            turn = f"{state.image}, {state.done + 1} of {state.total}" if state.image else state.doing
            report(f"{turn} …")

        yield show
