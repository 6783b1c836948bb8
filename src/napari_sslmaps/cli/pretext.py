"""``pretext``: each encoder's own pretext task on one image, as a figure and files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sslmaps.cli import console
from napari_sslmaps.cli.options import (
    Anonymous,
    Corrections,
    Device,
    Encoders,
    Json,
    OpenFlags,
    Out,
    RegionFlags,
    ResolutionText,
    Seed,
    ShortSide,
    numbers,
    read_at,
    takes,
)

if TYPE_CHECKING:
    from napari_sslmaps.run.pretext import PretextRequest


_TASK = "The task"


@takes(RegionFlags, OpenFlags, Corrections)
def pretext(  # noqa: PLR0913  # each parameter is an option that users type, or a group of them
    image: Annotated[str, typer.Argument(help="Image file, or sample:histology, sample:ultrasound.")],
    *,
    out: Out,
    encoder: Encoders = None,
    json: Json = False,
    anonymous: Anonymous = False,
    region: RegionFlags = RegionFlags(),
    opened: OpenFlags = OpenFlags(),
    fit: Annotated[
        str,
        typer.Option(
            help="crop: the middle of the region, at the size the encoder was trained on; resize: the region "
            "brought to that size; whole: all of it at once.",
            rich_help_panel=_TASK,
        ),
    ] = "crop",
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Image of the region's size; pixels other than 0 are hidden.", rich_help_panel=_TASK
        ),
    ] = None,
    ratio: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Share of patches hidden at random.", rich_help_panel=_TASK),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="I-JEPA target block, y,x,height,width in pixels; repeat.", rich_help_panel=_TASK),
    ] = None,
    distortion: Annotated[
        str,
        typer.Option(
            help="DiRA's distortion: trained, cutout, outer-cutout, shuffle or none.", rich_help_panel=_TASK
        ),
    ] = "trained",
    seed: Seed = 0,
    resolution: ResolutionText = "trained",
    short_side: ShortSide = None,
    device: Device = "auto",
    corrections: Corrections = Corrections(),
) -> None:
    """Show each encoder's pretext task: what it was not shown, what it restored, and how close that comes.

    OUT gets pretext.png, each panel as a TIFF, and pretext.json.
    """
    from napari_sslmaps.inputs.encoders import choose_encoders, fitting_encoders
    from napari_sslmaps.run.pretext import PretextRequest

    given = corrections.overrides()
    options: dict[str, Any] = {"fit": fit, "seed": seed, "distortion": distortion}
    if ratio is not None:
        options["ratio"] = ratio
    if target:
        wanted = "--target as y,x,height,width, for example 32,32,48,48"
        options["targets"] = [tuple(int(part) for part in numbers(text, 4, wanted)) for text in target]
    opening = opened.options()
    place = region.on(image, opening)
    named = choose_encoders(encoder or (), given)
    _show(
        PretextRequest(
            image,
            named or fitting_encoders(image, opening),
            place,
            device,
            options,
            mask,
            opening,
            read_at(resolution, short_side),
            anonymous,
        ),
        out,
        json=json,
    )


def _show(request: "PretextRequest", folder: Path, *, json: bool) -> None:
    from napari_sslmaps.files import alone_in
    from napari_sslmaps.records.anonymous import Key
    from napari_sslmaps.records.claim import check_claim
    from napari_sslmaps.run.pretext import compute_pretext, write_key, write_pretext

    check_claim(folder, ("pretext.json", "pretext.png"), record="pretext.json")
    key = Key.of(folder, anew=True) if request.anonymous else None

    def tell(name: str) -> None:
        if not json:
            console.note(f"{name} …")

    with console.kept_if_stopped("Nothing is kept of what was computed."), alone_in(folder):
        outcome = compute_pretext(request, tell)
        record = write_pretext(outcome, folder)
        if key is not None:
            write_key(outcome, key)
            console.key_note(key.path)
    if json:
        console.out_json({"folder": str(folder.absolute()), **record})
        return
    for entry in record["encoders"]:
        for sentence in entry["notes"]:
            console.note(f"{entry['name']}: {sentence}")
    panels = sum(len(entry["outputs"]) for entry in record["encoders"])
    console.out(f"Wrote pretext.png, {panels} panels and pretext.json to {folder}")
