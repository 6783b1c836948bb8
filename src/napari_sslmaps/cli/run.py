"""``run``: maps of one image by several encoders, written to a folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_sslmaps.cli import console
from napari_sslmaps.cli.console import progress_bars
from napari_sslmaps.cli.options import (
    Branch,
    Eps,
    Heads,
    Method,
    Normalisation,
    Points,
    TokenStage,
    corrections,
    points_of,
    region_of,
)

if TYPE_CHECKING:
    from napari_sslmaps.maps.groups import AnchorGroup
    from napari_sslmaps.run.request import RunRequest


def run(  # noqa: PLR0913  # each parameter is an option that users type
    image: Annotated[
        str | None,
        typer.Argument(help="Image file, or sample:histology, sample:ultrasound.", show_default=False),
    ] = None,
    *,
    encoder: Annotated[
        list[str] | None,
        typer.Option("--encoder", "-e", help="Name or file; repeat. If omitted, the set for such images."),
    ] = None,
    anchor: Annotated[
        list[str] | None, typer.Option(help="row,column in pixels; repeat. None: no similarity map.")
    ] = None,
    negative: Annotated[
        list[str] | None, typer.Option(help="row,column that the result should be unlike; repeat.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="y,x,height,width in pixels of the level; the whole image if omitted.")
    ] = None,
    level: Annotated[int, typer.Option(min=0, help="Resolution level; 0 is the finest.")] = 0,
    frame: Annotated[int, typer.Option(min=0, help="Time point or plane of a stack.")] = 0,
    tile: Annotated[int | None, typer.Option(min=1, help="Tokens per tile side.")] = None,
    overlap: Annotated[int, typer.Option(min=0, help="Tokens that neighbouring tiles share.")] = 8,
    precision: Annotated[
        str, typer.Option(help="auto, float32 (repeats bit for bit), bfloat16, float16.")
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    centred: Annotated[
        bool, typer.Option("--centred", help="Subtract the mean token before similarity.")
    ] = False,
    head: Annotated[int | None, typer.Option(min=0, help="One attention head; the mean if omitted.")] = None,
    foreground: Annotated[
        str,
        typer.Option(help="Tokens that PCA is fitted on: auto (not flat), first-component; all if omitted."),
    ] = "",
    block: Annotated[
        int | None,
        typer.Option(help="Block whose attention is shown, from 1, or from -1; the last if omitted."),
    ] = None,
    attention: Annotated[
        str, typer.Option(help="Of the output, of the last anchor's token (anchor), or rollout.")
    ] = "output",
    heads: Annotated[bool, typer.Option("--heads", help="Draw heads.png: encoders × heads.")] = False,
    anchors: Annotated[
        Path | None,
        typer.Option("--anchors", "--anchor-set", help="Instead: anchors with groups, as the window saves."),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Another image, or sample:…, that the anchors lie in.")
    ] = None,
    difference: Annotated[
        str, typer.Option(help="A,B: two of the encoders; maps of A less those of B are written.")
    ] = "",
    align_colours: Annotated[
        bool, typer.Option("--align-colours", help="Turn PCA colours towards those of the first encoder.")
    ] = False,
    basis: Annotated[
        list[Path] | None, typer.Option(help="PCA basis of an encoder, used instead of a fit; repeat.")
    ] = None,
    save_basis: Annotated[
        bool, typer.Option("--save-basis", help="Write each encoder's PCA basis, too.")
    ] = False,
    mask: Annotated[
        str, typer.Option(help="Embed this alone: auto, tissue, field-of-view, or a label image.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for figure.png, maps and run.json.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--from", help="Run again what a run.json describes.")
    ] = None,
    method: Method = None,
    num_heads: Heads = None,
    normalisation: Normalisation = None,
    eps: Eps = None,
    branch: Branch = None,
    token_stage: TokenStage = None,
    cache: Annotated[
        bool, typer.Option("--cache", help="Keep embeddings on this machine, and use those that are there.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the record as JSON, and nothing else.")] = False,
) -> None:
    """Compute attention, PCA and similarity maps of an image by one or several encoders."""
    given = corrections(
        method=method,
        num_heads=num_heads,
        normalisation=normalisation,
        eps=eps,
        branch=branch,
        token_stage=token_stage,
    )
    if (image is None) == (record is None):
        raise typer.BadParameter("give either an image or --from run.json.")
    if record is not None:
        shown = (block, anchors, reference, difference, align_colours, basis, mask, heads, save_basis)
        if encoder or anchor or negative or region or given.given or any(shown) or attention != "output":
            raise typer.BadParameter("--from says all but --out and --json; leave the other options out.")
        request, folder = _recorded(record), out or record.parent
    elif out is None or image is None:
        raise typer.BadParameter("tell where to write with --out DIR.")
    else:
        from napari_sslmaps.inputs.encoders import choose_encoders, fitting_encoders
        from napari_sslmaps.inputs.images import wanted_tokens
        from napari_sslmaps.records.basis import load_basis
        from napari_sslmaps.records.run import RunOptions
        from napari_sslmaps.run.request import Reference, RunRequest

        named = choose_encoders(encoder or (), given)
        found, mask_file = wanted_tokens(mask)
        positive, against, groups = _anchors(anchor, negative, anchors, reference or image)
        request = RunRequest(
            image=image,
            anchors=positive,
            negative=against,
            groups=groups,
            bases=tuple(load_basis(path) for path in basis or ()),
            mask=mask_file,
            reference=None if reference is None else Reference(reference),
            region=region_of(image, region, level, frame),
            options=RunOptions(
                tile=tile,
                overlap=overlap,
                precision=precision,
                device=device,
                centred=centred,
                head=head,
                foreground=foreground,
                block=block,
                attention_of=attention,
                aligned=align_colours,
                mask=found,
                heads=heads,
                difference=tuple(name.strip() for name in difference.split(",")) if difference else (),
                save_basis=save_basis,
            ),
            encoders=named or fitting_encoders(image),  # reads pixels: after what was typed is understood
        )
        folder = out
    _run(request, folder, cached=cache, json=json)


def _anchors(
    anchor: list[str] | None, negative: list[str] | None, file: Path | None, image: str
) -> "tuple[Points, Points, tuple[AnchorGroup, ...]]":
    """Understand anchors that are typed, or a file of them, whose first group the similarity map is of."""
    if file is None:
        return points_of(anchor, "--anchor"), points_of(negative, "--negative"), ()
    if anchor or negative:
        raise typer.BadParameter("give either --anchors FILE, or --anchor and --negative.")
    from napari_sslmaps.inputs.images import open_named
    from napari_sslmaps.records.anchors import load_anchors

    with open_named(image) as source:
        groups = load_anchors(file).on_image(source.levels[0].shape_yx)
    first = next((group for group in groups if group.anchors), None)
    if first is None:
        raise typer.BadParameter(f"expected a set with at least one anchor; {file.name} has none.")
    return tuple(first.anchors), tuple(first.negative), groups


def _run(request: "RunRequest", folder: Path, *, cached: bool, json: bool) -> None:
    from napari_sslmaps.run.compute import compute_run
    from napari_sslmaps.run.write import cautions, write_run

    with progress_bars(quiet=json) as on_progress:
        outcome = compute_run(request, on_progress, cached=cached)
    record = write_run(outcome, folder)
    if json:
        console.out_json({"folder": str(folder.absolute()), **record.to_dict()})
        return
    for sentence in cautions(outcome):
        console.note(sentence)
    written = [path for part in record.encoders for path in part.outputs.values()]
    maps = sum(path.endswith(".tif") for path in written) + len(outcome.differences)
    figures = f"{record.figure}, heads.png" if record.options.heads else record.figure
    console.out(f"Wrote {figures}, {maps} maps and run.json to {folder}")


def _recorded(path: Path) -> "RunRequest":
    from napari_sslmaps.records.run import RunRecord
    from napari_sslmaps.run.write import request_from_record

    return request_from_record(RunRecord.read(path), path.parent)
