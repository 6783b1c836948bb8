"""``encoders``: what there is, what is known of it, and what a weight file is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markdown import Markdown
from rich.table import Table

from napari_sslmaps.cli import console

if TYPE_CHECKING:
    from napari_sslmaps.encoders.spec import EncoderSpec

Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
encoders = typer.Typer(help="List, show and inspect encoders.")


@encoders.callback(invoke_without_command=True)
def plain(context: typer.Context, json: Json = False) -> None:
    """List, show and inspect encoders; lists them if no command follows."""
    if context.invoked_subcommand is None:
        list_all(json=json)


@encoders.command("list")
def list_all(json: Json = False) -> None:
    """List the encoders that have a name: embedded ones, untrained controls, aliases."""
    from napari_sslmaps.encoders.catalog import METHOD_INFO
    from napari_sslmaps.encoders.registry import list_encoders

    specs = list_encoders()
    if json:
        console.out_json([_described(spec) for spec in specs])
        return
    table = Table("name", "method", "network", "MB", "licence", "what", box=None, pad_edge=False)
    aliases = [spec for spec in specs if spec.alias_of]
    for spec in (spec for spec in specs if not spec.alias_of):
        title, size = METHOD_INFO[spec.method].title, f"{spec.megabytes:.1f}" if spec.path else "–"
        table.add_row(spec.name, title, spec.architecture.summary, size, spec.licence, _kind(spec))
    console.out(table)
    console.out("\n".join(f"{spec.name} = {spec.alias_of}" for spec in aliases))


@encoders.command()
def show(name: Annotated[str, typer.Argument(help="Name of an encoder.")], json: Json = False) -> None:
    """Print the model card of an encoder."""
    from napari_sslmaps.encoders.registry import get_spec, model_card

    spec, card = get_spec(name), model_card(name)
    if json:
        console.out_json({**_described(spec), "model_card": card})
        return
    if spec.alias_of:
        console.out(f"{name} is another name of {spec.alias_of}.\n")
    console.out(Markdown(card))


@encoders.command()
def inspect(path: Annotated[Path, typer.Argument(help="A weight file.")], json: Json = False) -> None:
    """Say what a weight file was recognised as, and from which keys."""
    from napari_sslmaps.encoders.checkpoint import inspect_checkpoint

    report = inspect_checkpoint(path)
    if json:
        console.out_json(report.to_dict())
    else:
        console.out(str(report))


def _kind(spec: "EncoderSpec") -> str:
    """Say in a few words what a listed encoder is, and what its card says of it."""
    if spec.origin == "control":
        return "untrained control"
    label = _verdict(spec).removeprefix("It ")
    return f"{spec.domain}: {label}" if label else spec.domain


def _verdict(spec: "EncoderSpec") -> str:
    from napari_sslmaps.encoders.cards import card_of, verdict_of

    return verdict_of(card_of(spec))[0]


def _described(spec: "EncoderSpec") -> dict[str, Any]:
    from napari_sslmaps.encoders.catalog import METHOD_INFO
    from napari_sslmaps.encoders.spec import architecture_to_dict

    info = METHOD_INFO[spec.method]
    return {
        "name": spec.name,
        "method": spec.method,
        "title": info.title,
        "summary": spec.architecture.summary,
        "architecture": architecture_to_dict(spec.architecture),
        "token_stride": spec.constraint.token_stride,
        "normalisation": spec.normalisation,
        "megabytes": round(spec.megabytes, 3),
        "licence": spec.licence,
        "verdict": _verdict(spec),
        "origin": spec.origin,
        "domain": spec.domain,
        "alias_of": spec.alias_of,
        "path": None if spec.path is None else str(spec.path),
        "attention": info.attention_note,
        "citation": info.citation,
    }
