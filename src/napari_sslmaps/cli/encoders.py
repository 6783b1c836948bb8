"""``encoders``: what there is, what is known of it, what a weight file is; adding and downloading more."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markdown import Markdown
from rich.table import Column, Table

from napari_sslmaps.cli import console
from napari_sslmaps.cli.console import byte_bar
from napari_sslmaps.cli.options import Corrections, Json, example, takes

if TYPE_CHECKING:
    from napari_sslmaps.encoders.spec import EncoderSpec

encoders = typer.Typer(help="List, show, inspect, add and download encoders.")


@encoders.callback(invoke_without_command=True)
def plain(context: typer.Context, json: Json = False) -> None:
    """List, show, inspect, add and download encoders; lists them if no command follows."""
    if context.invoked_subcommand is None:
        list_all(json=json)


@encoders.command("list", epilog=example("encoders list"))
def list_all(
    published: Annotated[
        bool, typer.Option("--published", help="Also list published encoders that have not been downloaded.")
    ] = False,
    json: Json = False,
) -> None:
    """List the encoders that have a name: embedded, untrained controls, your files, published ones."""
    from napari_sslmaps.encoders.methods.registry import METHODS
    from napari_sslmaps.encoders.registry import list_encoders

    specs = list_encoders(published=published)
    if json:
        console.out_json([_described(spec) for spec in specs])
        return
    table = Table(Column("name", no_wrap=True), "method", "network", "MB", "licence", "what", box=None)
    aliases = [spec for spec in specs if spec.alias_of]
    for spec in (spec for spec in specs if not spec.alias_of):
        title, network = METHODS[spec.method].title, spec.architecture.summary
        table.add_row(spec.name, title, network, _size(spec), spec.licence, _kind(spec))
    console.out(table)
    console.out("\n".join(f"{spec.name} = {spec.alias_of}" for spec in aliases))
    for spec in specs:
        if spec.origin == "file" and spec.trouble:
            console.note(spec.trouble)


@encoders.command(epilog=example("encoders show mae-histology"))
def show(name: Annotated[str, typer.Argument(help="Name of an encoder.")], json: Json = False) -> None:
    """Print the model card of an encoder."""
    from napari_sslmaps.encoders.registry import get_spec, model_card

    spec, card = get_spec(name), model_card(name)
    if json:
        console.out_json({**_described(spec), "model_card": card})
        return
    if spec.trouble:
        console.note(spec.trouble)
    if spec.alias_of:
        console.out(f"{name} is another name of {spec.alias_of}.\n")
    console.out(Markdown(card))


@encoders.command(epilog=example("encoders inspect weights.pth"))
@takes(Corrections)
def inspect(
    path: Annotated[Path, typer.Argument(help="A weight file or folder, or hf:OWNER/NAME.")],
    *,
    json: Json = False,
    corrections: Corrections = Corrections(),
) -> None:
    """Say what a weight file was recognised as, and from which keys."""
    from napari_sslmaps.encoders.checkpoint.network import check_forward
    from napari_sslmaps.encoders.checkpoint.read import read_checkpoint
    from napari_sslmaps.encoders.published.hub import located

    given = corrections.overrides()
    checkpoint = read_checkpoint(located(path), given)
    report = checkpoint.report
    doubts = check_forward(checkpoint.network, report.architecture)
    if json:
        console.out_json({**report.to_dict(), "doubts": list(doubts)})
    else:
        console.out("\n".join([str(report), *(f"doubt: {sentence}" for sentence in doubts)]))


@encoders.command(epilog=example("encoders add weights.pth --name mine"))
@takes(Corrections)
def add(
    path: Annotated[Path, typer.Argument(help="A weight file or folder, or hf:OWNER/NAME.")],
    *,
    name: Annotated[str, typer.Option(help="Name to list it under; the file's if omitted.")] = "",
    json: Json = False,
    corrections: Corrections = Corrections(),
) -> None:
    """Add a weight file to the list of encoders; the file stays where it is."""
    from napari_sslmaps.encoders.user_encoders import doubts_of, remember

    given = corrections.overrides()
    spec = remember(path, given, name=name)
    if json:
        console.out_json(_described(spec))
        return
    for sentence in doubts_of(spec.name):
        console.note(sentence)
    console.out(f"Added {spec.name}: {spec.method}, {spec.architecture.summary}")


@encoders.command(epilog=example("encoders forget mine"))
def forget(name: Annotated[str, typer.Argument(help="Name of an encoder that was added.")]) -> None:
    """Remove an encoder of yours from the list; its file is kept."""
    from napari_sslmaps.encoders.user_encoders import forget

    forget(name)
    console.out(f"Forgot {name}; its file is where it was.")


@encoders.command(epilog=example("encoders download dinov2-vit-s14"))
def download(
    name: Annotated[str, typer.Argument(help="Name of a published encoder; see list --published.")],
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="I have read its licence and accept it.")
    ] = False,
) -> None:
    """Download a published encoder, once its licence is accepted."""
    from napari_sslmaps.encoders.published.fetch import download_encoder
    from napari_sslmaps.encoders.published.local import find_local, get_published

    entry = get_published(name)
    if find_local(entry) is None and not accept_licence and sys.stdin.isatty():
        console.out(f"{name}: about {entry.megabytes:.0f} MB from {entry.page}")
        if entry.gated:
            console.out("Its authors grant access on request, at that page; put your token in HF_TOKEN.")
        console.out(f"Licence: {entry.licence}. {entry.terms}")
        accept_licence = typer.confirm("Accept it and download?")
        if not accept_licence:
            raise typer.Exit(1)
    with byte_bar(name) as on_progress:
        folder = download_encoder(name, accept_licence=accept_licence, on_progress=on_progress)
    console.out(f"{name} is in {folder}")


def _size(spec: "EncoderSpec") -> str:
    from napari_sslmaps.encoders.published.catalog import PUBLISHED

    if spec.origin == "published" and spec.path is None:
        return f"{PUBLISHED[spec.name].megabytes:.0f}"
    return f"{spec.megabytes:.1f}" if spec.path is not None and spec.megabytes else "–"


def _kind(spec: "EncoderSpec") -> str:
    """Say in a few words what a listed encoder is, and what its card says of it."""
    if spec.origin == "control":
        return "untrained control"
    if spec.origin == "file":
        return "your file: moved or changed" if spec.trouble else "your file"
    if spec.origin == "published":
        return "published: not downloaded" if spec.trouble else "published: downloaded"
    label = _verdict(spec).removeprefix("It ")
    return f"{spec.domain}: {label}" if label else spec.domain


def _verdict(spec: "EncoderSpec") -> str:
    from napari_sslmaps.encoders.cards import card_of, verdict_of

    return verdict_of(card_of(spec))[0]


def _described(spec: "EncoderSpec") -> dict[str, Any]:
    from napari_sslmaps.encoders.families.registry import architecture_to_dict
    from napari_sslmaps.encoders.methods.registry import METHODS

    info = METHODS[spec.method]
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
        "overrides": dict(spec.overrides),
        "trouble": spec.trouble,
        "attention": info.attention_note,
        "citation": info.citation,
    }
