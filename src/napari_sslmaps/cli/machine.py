"""``bench``, ``doctor`` and ``cache``: how quick this machine is, what works on it, what it keeps."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from napari_sslmaps.cli import console
from napari_sslmaps.cli.options import Device, Json, Precision, example
from napari_sslmaps.errors import ExportError

if TYPE_CHECKING:
    from napari_sslmaps.cache.store import CachedEmbedding

_SIDE = "Side in pixels of the square of noise that is embedded."


def bench(
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            "--encoder",
            "-e",
            help=(
                "Name of an encoder, or a weight file; may be repeated. If omitted, the four of histology."
            ),
        ),
    ] = None,
    side: Annotated[int, typer.Option(help=_SIDE)] = 512,
    json: Json = False,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Measure how quickly this machine embeds a region and answers a click, encoder by encoder."""
    from napari_sslmaps.bench import measure
    from napari_sslmaps.compare.store import table_to_plain
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


_MARKS = {"ok": "✓", "note": "–", "fault": "✗"}
_STYLES = {"ok": "green", "note": "yellow", "fault": "red"}


def doctor(json: Json = False) -> None:
    """Check Python, Qt, display, torch, GPUs, readers, weights, cache; exit with 1 if one is broken."""
    from napari_sslmaps.doctor import examine

    checks = examine()
    healthy = all(check.status != "fault" for check in checks)
    if json:
        console.out_json({"healthy": healthy, "checks": [check.to_dict() for check in checks]})
    else:
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column()
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for check in checks:
            detail = f"{check.detail}\n→ {check.fix}" if check.fix else check.detail
            table.add_row(_MARKS[check.status], check.name, detail, style=_STYLES[check.status])
        console.out(table)
        console.out("All good." if healthy else "Something needs repair: see ✗ above.")
    if not healthy:
        raise typer.Exit(1)


cache = typer.Typer(help="List, prune and clear the embeddings kept on this machine.", no_args_is_help=True)


@cache.command("list", epilog=example("cache list"))
def list_all(json: Json = False) -> None:
    """List the embeddings kept, most recently used first, and the cache's limit."""
    from napari_sslmaps.cache.store import Cache

    store = Cache()
    found = store.embeddings()
    if json:
        limits = {"folder": str(store.root), "limit_bytes": store.limit_bytes}
        console.out_json({**limits, "embeddings": [_described(item) for item in found]})
        return
    if found:
        table = Table("image", "encoder", "region", "tokens", "MB", "used", "", box=None, pad_edge=False)
        for item in found:
            table.add_row(*_row(item))
        console.out(table)
    total = sum(item.size for item in found)
    taken = f"{total / 1e9:.2f} of at most {store.limit_bytes / 1e9:g} GB"
    console.out(f"{len(found)} embeddings, {taken}, in {store.root}")


@cache.command(epilog=example("cache prune --limit-gb 2"))
def prune(
    limit_gb: Annotated[
        float | None,
        typer.Option("--limit-gb", min=0, help="Gigabytes that may stay; the cache's own limit if omitted."),
    ] = None,
) -> None:
    """Delete the least recently used embeddings until the rest is below the limit."""
    from napari_sslmaps.cache.store import Cache

    store = Cache()
    with _sentence(store.root):
        _say_gone(store.prune(None if limit_gb is None else int(limit_gb * 1e9)))


@cache.command(epilog=example("cache clear"))
def clear(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete all embeddings that are kept."""
    from napari_sslmaps.cache.store import Cache

    store = Cache()
    if not yes:
        typer.confirm(f"Delete all embeddings in {store.root}?", abort=True)
    with _sentence(store.root):
        _say_gone(store.clear())


@contextmanager
def _sentence(folder: object) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportError(
            f"Expected to delete embeddings in {folder}; the system says: {error.strerror or error}. "
            "Check who owns the folder."
        ) from error


def _say_gone(gone: "Sequence[CachedEmbedding]") -> None:
    console.out(f"Deleted {len(gone)} embeddings, {sum(item.size for item in gone) / 1e9:.2f} GB.")


def _row(item: "CachedEmbedding") -> tuple[str, ...]:
    about = item.about
    if not about:
        return "damaged", "", "", "", f"{item.size / 1e6:.1f}", f"{item.used:%Y-%m-%d %H:%M}", ""
    region = about["region"]
    size, corner = f"{region['height']} × {region['width']} px", f"({region['y']}, {region['x']})"
    return (
        about["image"],
        about["encoder"],
        f"{size} at {corner}, level {region['level']}",
        " × ".join(map(str, about["grid"])),
        f"{item.size / 1e6:.1f}",
        f"{item.used:%Y-%m-%d %H:%M}",
        "" if item.finished else "unfinished",
    )


def _described(item: "CachedEmbedding") -> dict[str, Any]:
    return {
        "key": item.key,
        "path": str(item.path),
        "bytes": item.size,
        "used": item.used.isoformat(),
        "finished": item.finished,
        "about": dict(item.about),
    }
