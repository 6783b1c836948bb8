"""``readers``: studies in which people judge maps blind."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_sslmaps.cli import console
from napari_sslmaps.cli.options import (
    ANCHORS,
    Corrections,
    EmbedFlags,
    Json,
    MapFlags,
    OpenFlags,
    Out,
    PointFlags,
    Seed,
    example,
    takes,
    words,
)
from napari_sslmaps.readers.study import CONTROLS, MAPS, REPEATS

if TYPE_CHECKING:
    from napari_sslmaps.maps.groups import AnchorGroup

readers = typer.Typer(help="Let people judge maps blind, and analyse their answers.", no_args_is_help=True)
_STUDY = "The study"


@readers.command(
    epilog=example("readers new images -e mae-histology --reader Anna --maps attention --out study")
)
@takes(PointFlags, OpenFlags, EmbedFlags, MapFlags, Corrections)
def new(  # noqa: PLR0913  # each parameter is an option that users type, or a group of them
    images: Annotated[
        list[str],
        typer.Argument(help="Images, folders, CSV files with a column image.", show_default=False),
    ],
    *,
    encoder: Annotated[
        list[str],
        typer.Option("--encoder", "-e", help="Name of an encoder, or a weight file; may be repeated."),
    ],
    reader: Annotated[
        list[str], typer.Option("--reader", help="Name of a reader; may be repeated.", rich_help_panel=_STUDY)
    ],
    out: Out,
    design: Annotated[
        str, typer.Option(help="rating, pairwise or best-worst.", rich_help_panel=_STUDY)
    ] = "rating",
    questions: Annotated[
        Path | None,
        typer.Option(help="TOML file of questions; three standard ones if omitted.", rich_help_panel=_STUDY),
    ] = None,
    controls: Annotated[
        str,
        typer.Option(
            help="Controls of the first encoder to hide among the methods, or none.",
            rich_help_panel=_STUDY,
        ),
    ] = ",".join(CONTROLS),
    repeats: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of items that every reader sees twice.", rich_help_panel=_STUDY
        ),
    ] = REPEATS,
    seed: Seed = 0,
    json: Json = False,
    points: PointFlags = PointFlags(),
    anchors: Annotated[
        Path | None,
        typer.Option(
            help="Instead of --anchor: file of anchors saved in the window.", rich_help_panel=ANCHORS
        ),
    ] = None,
    opened: OpenFlags = OpenFlags(),
    embed: EmbedFlags = EmbedFlags(),
    maps: MapFlags = MapFlags(),
    corrections: Corrections = Corrections(),
) -> None:
    """Make a study: a page for each reader that opens in any browser, and the key to its letters.

    Send each reader the file of their own in OUT/pages, and put what they send back into OUT/answers. Keep
    OUT/key.json to yourself.
    """
    from napari_sslmaps.inputs.encoders import choose_encoders
    from napari_sslmaps.inputs.listing import list_items
    from napari_sslmaps.readers.build import StudyRequest, new_study
    from napari_sslmaps.readers.study import PAGES, check_design, load_questions
    from napari_sslmaps.records.run import RunOptions

    how, encoders = check_design(design), choose_encoders(encoder, corrections.overrides())
    options = RunOptions(**embed.run_options(), **asdict(opened.options()), maps=maps.options())
    request = StudyRequest(
        images=list_items(images, out=out).items,
        encoders=encoders,
        readers=tuple(reader),
        questions=load_questions(questions, how),
        design=how,
        controls=() if controls == "none" else words(controls),  # type: ignore[arg-type]  # checked there
        maps=maps.keys or MAPS,
        anchors=_anchors(points, anchors),
        options=maps.at_scale(options, encoders),
        repeats=repeats,
        seed=seed,
    )
    kept = f"The study is not whole. Remove what is in {out}, if anything, and make it again."
    with console.kept_if_stopped(kept), console.counted("images", quiet=json) as on_image:
        study = new_study(request, out, on_image)
    pages = {one.name: str(out / PAGES / f"reader-{one.code}.html") for one in study.readers}
    if json:
        console.out_json({"folder": str(out.absolute()), "study": study.id, "pages": pages})
        return
    for name, page in pages.items():
        count = len(next(one for one in study.readers if one.name == name).trials)
        console.out(f"{name}: {page} ({count} screens)")
    console.note(f"Answers that come back belong into {out / 'answers'}; {out / 'key.json'} stays with you.")


def _anchors(typed: PointFlags, file: Path | None) -> "AnchorGroup":
    from napari_sslmaps.maps.groups import AnchorGroup
    from napari_sslmaps.records.anchors import first_group

    if file is None:
        positive, negative = typed.points()
        return AnchorGroup("anchors", anchors=positive, negative=negative)
    if any(typed):
        raise typer.BadParameter("give either --anchors FILE, or --anchor and --negative.")
    return first_group(file)


@readers.command(epilog=example("readers report study"))
def report(
    study: Annotated[Path, typer.Argument(help="Folder that `readers new` made.", show_default=False)],
    *,
    answers: Annotated[
        list[Path] | None,
        typer.Option(help="File that a reader sent back; may be repeated. All in STUDY/answers if omitted."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="Folder that `evaluate` wrote for the same images, to set ratings beside AUROC."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the report; STUDY/report if omitted.")
    ] = None,
    json: Json = False,
) -> None:
    """Analyse what readers sent back: ratings or preferences with intervals, tests, agreement, time."""
    from napari_sslmaps.readers.report import PAGE, analyse_files, write_study_report
    from napari_sslmaps.readers.study import REPORT

    found = analyse_files(study, answers or (), scores)
    folder = out or study / REPORT
    write_study_report(found, folder)
    if json:
        console.out_json({"folder": str(folder.absolute()), **found.to_dict()})
        return
    for table in found.tables[:2]:
        console.out_table(table)
    for sentence in found.sentences:
        console.out(sentence)
    console.note(f"Report: {folder / PAGE}")
