"""``index`` and ``search``: places over all images that a batch has embedded."""

from dataclasses import asdict
from operator import add
from pathlib import Path
from typing import Annotated

import typer

from napari_sslmaps.cli import console
from napari_sslmaps.cli.options import WORKERS, Json, Scheduler

Store = Annotated[Path, typer.Argument(help="Folder that `batch` wrote.", show_default=False)]
EncoderFolder = Annotated[
    str, typer.Option("--encoder", "-e", help="Encoder to go by, where the store has several.")
]


def index(
    store: Store,
    *,
    encoder: EncoderFolder = "",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of processes; if omitted one per core, where there is enough to do.",
            rich_help_panel=WORKERS,
        ),
    ] = None,
    scheduler: Scheduler = "",
    json: Json = False,
) -> None:
    """Build the index of a store, or bring it up to date, so that it can be searched.

    What is already indexed is not read again: run it after every batch, or after a stop.
    """
    from napari_sslmaps.batch.cluster import Workers
    from napari_sslmaps.search.index import build_index

    who = Workers(workers, scheduler=scheduler) if workers or scheduler else None
    kept = "What is indexed stays so; the same command goes on from there."
    with console.kept_if_stopped(kept), console.counted("images", quiet=json) as on_output:
        report = build_index(store, encoder, on_output, workers=who)
    if json:
        console.out_json({**asdict(report), "folder": str(report.folder)})
        return
    console.out(
        f"Indexed {report.added} images, {report.kept} were there, {report.dropped} are gone: "
        f"{report.tokens} tokens in {report.folder}"
    )


def search(  # noqa: PLR0913  # each parameter is an option that users type
    store: Store,
    *,
    like: Annotated[
        list[str] | None,
        typer.Option(
            help=(
                "Place to look for, as image@y,x, or image@y,x,height,width for a rectangle; may be repeated."
            )
        ),
    ] = None,
    unlike: Annotated[
        list[str] | None,
        typer.Option(help="Place that results should be unlike, in the same form; may be repeated."),
    ] = None,
    anchors: Annotated[
        Path | None,
        typer.Option(help="File of anchors saved in the window, on an image of the store, to look for too."),
    ] = None,
    encoder: EncoderFolder = "",
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Weight file of the encoder, where a place is in an image that the store has not, and the "
            "encoder is not known by its name."
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Number of places.")] = 50,
    per_image: Annotated[int, typer.Option(min=1, help="Most places from one image.")] = 5,
    apart: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Smallest distance between two places in one image, in pixels; four tokens if omitted.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write a table, JSON and a contact sheet to.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of the images, for the contact sheet, where they are not in the store."),
    ] = None,
    json: Json = False,
) -> None:
    """Find the places most like one or several others, over all images of a store."""
    from napari_sslmaps.extras import require_extra
    from napari_sslmaps.records.anchors import load_anchors
    from napari_sslmaps.search.query import Like, TokenIndex
    from napari_sslmaps.search.sheet import as_embedded, image_files, place_table, write_places

    require_extra("search")
    opened = TokenIndex(store, encoder, weights)
    wanted = [Like.parse(one) for one in like or ()], [Like.parse(one) for one in unlike or ()]
    of_set = ([], []) if anchors is None else opened.likes_of(load_anchors(anchors))
    vector = opened.vector(*map(add, wanted, of_set))
    places = opened.search(vector, count, apart=apart, per_image=per_image)
    found = image_files(places, [store, *([] if images is None else [images]), Path()])
    if out is not None:
        files, notes = as_embedded(places, found, store, encoder)
        for sentence in notes:
            console.note(sentence)
        write_places(places, out, files)
    if json:
        console.out_json({"places": [asdict(one) for one in places]})
        return
    console.out_table(place_table(places))
    if out is not None:
        drawn = " and places.png" if files else ""
        console.note(f"Wrote places.csv, places.json{drawn} to {out}")
        missing = {one.image for one in places} - set(found)
        if missing:
            console.note(
                f"{len(missing)} images, {min(missing)} among them, are not there to be drawn. Say where "
                "they lie with --images FOLDER."
            )
