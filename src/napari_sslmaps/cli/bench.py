"""``bench``: how quick this machine is."""

from typing import Annotated

import typer

from napari_sslmaps.cli import console

_SIDE = "Pixels along the square of noise that is embedded."


def bench(
    encoder: Annotated[
        list[str] | None,
        typer.Option("--encoder", "-e", help="Name or file; repeat. The four of histology, if omitted."),
    ] = None,
    side: Annotated[int, typer.Option(help=_SIDE)] = 512,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Measure how quickly this machine embeds a region and answers a click, encoder by encoder."""
    from napari_sslmaps.bench import measure
    from napari_sslmaps.compare.stored import table_to_plain
    from napari_sslmaps.encoders.catalog import names_for

    names = encoder or names_for("histology")
    table = measure(
        names,
        side=side,
        device=device,
        precision=precision,
        on_encoder=lambda name: console.note(f"{name} …"),
    )
    if json:
        console.out_json(table_to_plain(table))
    else:
        console.out_table(table)
