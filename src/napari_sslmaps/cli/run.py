"""``run``: maps of one image by several encoders, written to a folder."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_sslmaps.cli import console
from napari_sslmaps.cli.console import progress_bars
from napari_sslmaps.cli.options import (
    ANCHORS,
    MAPS,
    PLACE,
    Anonymous,
    AttentionFlags,
    Corrections,
    EmbedFlags,
    Encoders,
    Json,
    MapFlags,
    OpenFlags,
    OutOrNone,
    Places,
    PointFlags,
    Points,
    RegionFlags,
    takes,
    words,
)

if TYPE_CHECKING:
    from napari_sslmaps.maps.groups import AnchorGroup
    from napari_sslmaps.run.request import RunRequest
    from napari_sslmaps.sources.open_options import OpenOptions


@takes(PointFlags, RegionFlags, OpenFlags, EmbedFlags, MapFlags, AttentionFlags, Corrections)
def run(  # noqa: PLR0913  # each parameter is an option that users type, or a group of them
    image: Annotated[
        str | None,
        typer.Argument(help="Image file, or sample:histology, sample:ultrasound.", show_default=False),
    ] = None,
    *,
    encoder: Encoders = None,
    out: OutOrNone = None,
    record: Annotated[
        Path | None, typer.Option("--from", help="Repeat the run that a run.json describes.")
    ] = None,
    found_in: Places = None,
    cache: Annotated[
        bool, typer.Option("--cache", help="Keep embeddings on this machine, and use those kept before.")
    ] = False,
    json: Json = False,
    points: PointFlags = PointFlags(),
    anchors: Annotated[
        Path | None,
        typer.Option(
            "--anchors",
            "--anchor-set",
            help="Instead of --anchor: file of anchors and groups saved in the window.",
            rich_help_panel=ANCHORS,
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="Another image, or sample:…, in which the anchors lie.", rich_help_panel=ANCHORS),
    ] = None,
    region: RegionFlags = RegionFlags(),
    frames: Annotated[
        str,
        typer.Option(
            help=(
                "Frames to make maps of, with a strip and an animation: all, 0:20:2 (from, to, step) or "
                "0,5,9."
            ),
            rich_help_panel=PLACE,
        ),
    ] = "",
    mask: Annotated[
        str,
        typer.Option(
            help="Embed only this: auto, tissue, field-of-view, or a label image.", rich_help_panel=PLACE
        ),
    ] = "",
    opened: OpenFlags = OpenFlags(),
    embed: EmbedFlags = EmbedFlags(),
    maps: MapFlags = MapFlags(),
    attention: AttentionFlags = AttentionFlags(),
    align_colours: Annotated[
        bool,
        typer.Option(
            "--align-colours",
            help="Turn PCA colours towards those of the first encoder.",
            rich_help_panel=MAPS,
        ),
    ] = False,
    basis: Annotated[
        list[Path] | None,
        typer.Option(
            help="File of an encoder's PCA basis, used instead of a new fit; may be repeated.",
            rich_help_panel=MAPS,
        ),
    ] = None,
    save_basis: Annotated[
        bool,
        typer.Option("--save-basis", help="Also write each encoder's PCA basis.", rich_help_panel=MAPS),
    ] = False,
    heads: Annotated[
        bool, typer.Option("--heads", help="Also draw heads.png: encoders × heads.", rich_help_panel=MAPS)
    ] = False,
    difference: Annotated[
        str,
        typer.Option(
            help="A,B, two of the encoders: also write the maps of A minus those of B.", rich_help_panel=MAPS
        ),
    ] = "",
    anonymous: Anonymous = False,
    corrections: Corrections = Corrections(),
) -> None:
    """Compute attention, PCA and similarity maps of an image by one or several encoders.

    OUT gets figure.png, a TIFF of each map, and run.json, which --from runs again.
    """
    given = corrections.overrides()
    if (image is None) == (record is None):
        raise typer.BadParameter("give either an image or --from run.json.")
    if record is not None:
        elsewhere = (anchors, reference, difference, align_colours, basis, mask, heads, save_basis)
        if (
            encoder
            or any(points)
            or region.region
            or given.keywords
            or any((*opened, frames, *elsewhere))
            or attention != AttentionFlags()
        ):
            raise typer.BadParameter(
                "--from takes everything from the record; only --out and --json can be given with it."
            )
        request, folder = _recorded(record, found_in), out or record.parent
    elif out is None or image is None:
        raise typer.BadParameter("say where to write to, with --out DIR.")
    else:
        from napari_sslmaps.inputs.encoders import choose_encoders, fitting_encoders
        from napari_sslmaps.inputs.images import wanted_tokens
        from napari_sslmaps.records.basis import load_basis
        from napari_sslmaps.records.run import RunOptions
        from napari_sslmaps.run.request import Reference, RunRequest

        named, opening = choose_encoders(encoder or (), given), opened.options()
        found, mask_file = wanted_tokens(mask)
        positive, against, groups = _anchors(points, anchors, reference or image, opening)
        options = RunOptions(
            **embed.run_options(),
            **asdict(opening),
            maps=maps.options(**attention._asdict(), aligned=align_colours),
            wanted=maps.keys,
            mask=found,
            heads=heads,
            frames=frames,
            difference=words(difference),
            save_basis=save_basis,
        )
        place = region.on(image, opening)
        # reads pixels: after what was typed is understood
        named = named or fitting_encoders(image, opening)
        request = RunRequest(
            image=image,
            anchors=positive,
            negative=against,
            groups=groups,
            bases=tuple(load_basis(path) for path in basis or ()),
            mask=mask_file,
            reference=None if reference is None else Reference(reference),
            region=place,
            options=maps.at_scale(options, named),
            encoders=named,
        )
        folder = out
    _run(replace(request, anonymous=anonymous), folder, cached=cache, json=json)


def _anchors(
    typed: PointFlags, file: Path | None, image: str, opening: "OpenOptions"
) -> "tuple[Points, Points, tuple[AnchorGroup, ...]]":
    """Understand anchors that are typed, or a file of them, whose first group the similarity map is of."""
    if file is None:
        return *typed.points(), ()
    if any(typed):
        raise typer.BadParameter("give either --anchors FILE, or --anchor and --negative.")
    from napari_sslmaps.inputs.images import open_named
    from napari_sslmaps.records.anchors import load_anchors

    with open_named(image, opening) as source:
        groups = load_anchors(file).on_image(source.levels[0].shape_yx)
    first = next((group for group in groups if group.anchors), None)
    if first is None:
        raise typer.BadParameter(f"expected a set with at least one anchor; {file.name} has none.")
    return tuple(first.anchors), tuple(first.negative), groups


def _run(request: "RunRequest", folder: Path, *, cached: bool, json: bool) -> None:
    from napari_sslmaps.inputs.images import open_named

    with open_named(request.image, request.options.opening):
        pass  # what does not open is said before torch is loaded
    from napari_sslmaps.files import alone_in
    from napari_sslmaps.records.anonymous import Key
    from napari_sslmaps.records.claim import check_claim
    from napari_sslmaps.run.compute import compute_run
    from napari_sslmaps.run.write import WRITTEN, warnings_of, write_key, write_run

    check_claim(folder, WRITTEN, record="run.json", lacking=b'"evaluation":')
    key = Key.of(folder, anew=True) if request.anonymous else None
    kept = (
        "Finished tiles are in the cache; the same command goes on from there."
        if cached
        else "Nothing is kept of what was computed; with --cache, finished tiles would be."
    )
    with console.kept_if_stopped(kept), alone_in(folder):
        with progress_bars(quiet=json) as on_progress:
            outcome = compute_run(request, on_progress, cached=cached)
        record = write_run(outcome, folder)
        if key is not None:
            write_key(request, outcome, key)
            console.key_note(key.path)
    if json:
        console.out_json({"folder": str(folder.absolute()), **record.to_dict()})
        return
    for sentence in warnings_of(outcome):
        console.note(sentence)
    written = [path for part in record.encoders for path in part.outputs.values()]
    maps = sum(path.endswith(".tif") for path in written) + len(outcome.differences)
    more = (("heads.png", record.options.heads), ("frames.png, frames.webp", record.options.frames))
    figures = ", ".join([record.figure, *(name for name, made in more if made)])
    console.out(f"Wrote {figures}, {maps} maps and run.json to {folder}")


def _recorded(path: Path, images: Path | None) -> "RunRequest":
    from napari_sslmaps.records.run import RunRecord
    from napari_sslmaps.run.write import request_from_record

    return request_from_record(RunRecord.read(path), path.parent, images)
