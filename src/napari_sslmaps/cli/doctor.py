"""``doctor``: what works here, and how to repair what does not."""

from typing import Annotated

import typer
from rich.table import Table

from napari_sslmaps.cli import console

_MARKS = {"ok": "✓", "note": "–", "fault": "✗"}
_STYLES = {"ok": "green", "note": "yellow", "fault": "red"}


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
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
