"""``index`` and ``search``: places over all images that a batch has embedded."""

from dataclasses import asdict
from operator import add
from pathlib import Path
from typing import Annotated

import typer

from napari_sslmaps.cli import console
from napari_sslmaps.cli.options import WORKERS, Json, Scheduler

Store = Annotated[Path, typer.Argument(help="Folder that `batch` wrote.", show_default=False)]


def index(
    store: Store,
    *,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            "--encoder",
            "-e",
            help="Encoder whose tokens are indexed; may be repeated. All of the store if omitted.",
        ),
    ] = None,
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

    Each encoder has an index of its own. What is already indexed is not read again: run it after every batch.
    """
    from napari_sslmaps.batch.cluster import Workers
    from napari_sslmaps.search.index import build_index, encoders_of

    who = Workers(workers, scheduler=scheduler) if workers or scheduler else None
    kept = "What is indexed stays so; the same command goes on from there."
    made = []
    for name in encoder or encoders_of(store) or ("",):
        with console.kept_if_stopped(kept), console.counted("images", quiet=json) as on_output:
            report = build_index(store, name, on_output, workers=who)
        made.append({**asdict(report), "folder": str(report.folder), "encoder": report.folder.name})
        if json:
            continue
        console.out(
            f"Indexed {report.added} images, {report.kept} were there, {report.dropped} are gone: "
            f"{report.tokens} tokens in {report.folder}"
        )
        if report.masked:
            share = report.masked / (report.tokens + report.masked)
            console.note(
                f"{report.masked} tokens more ({share:.0%}) lie outside the masks of the batch: they are not "
                "found. To search there too, run the batch again without --mask, and then index."
            )
    if json:
        console.out_json({"indexes": made})


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
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder", "-e", help="Encoder whose tokens are searched, where the store has several."
        ),
    ] = "",
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
    other_images: Annotated[
        bool,
        typer.Option("--other-images", help="Find nothing in the images that the places of --like lie in."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write a table, JSON and a contact sheet to.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of the images, for the contact sheet, where they are not in the store."),
    ] = None,
    json: Json = False,
) -> None:
    """Find the places most like one or several others, over all images of a store.

    The places themselves are not among what is found.
    """
    from napari_sslmaps.extras import require_extra
    from napari_sslmaps.records.anchors import load_anchors
    from napari_sslmaps.search.query import Like, TokenIndex
    from napari_sslmaps.search.sheet import as_embedded, image_files, place_table, write_places

    require_extra("search")
    roots = [*([] if images is None else [images]), Path()]
    opened = TokenIndex(store, encoder, weights, roots=roots)
    wanted = [Like.parse(one) for one in like or ()], [Like.parse(one) for one in unlike or ()]
    of_set = ([], []) if anchors is None else opened.likes_of(load_anchors(anchors))
    sought, away = map(add, wanted, of_set)
    vector = opened.vector(sought, away)
    places = opened.search(
        vector, count, apart=apart, per_image=per_image, asked=sought, other_images=other_images
    )
    for sentence in opened.doubts(sought):
        console.note(sentence)
    found = image_files(places, [store, *roots])
    if out is not None:
        files, notes = as_embedded(places, found, store, encoder)
        for sentence in notes:
            console.note(sentence)
        write_places(places, out, files)
    if json:
        console.out_json({"encoder": opened.manifest.encoder, "places": [asdict(one) for one in places]})
        return
    console.out_table(place_table(places))
    images_there, tokens = opened.held
    console.note(f"Searched {tokens} tokens of {images_there} images by {opened.manifest.encoder}.")
    if not places:
        console.note(
            "Nothing was found but the places themselves. Leave out --other-images or --apart, or add images "
            "to the store."
        )
    if out is not None:
        drawn = " and places.png" if files else ""
        console.note(f"Wrote places.csv, places.json{drawn} to {out}")
        missing = {one.image for one in places} - set(found)
        if missing:
            console.note(
                f"{len(missing)} images, {min(missing)} among them, are not there to be drawn. Say where "
                "they lie with --images FOLDER."
            )
