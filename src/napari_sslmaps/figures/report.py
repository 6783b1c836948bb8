"""The report: one HTML file with everything in it, to be read offline, printed, or sent.

It has no script and loads nothing: pictures are inside as data, plots as SVG.
"""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from matplotlib import rc_context
from matplotlib.figure import Figure

from napari_sslmaps.core.findings import Cell, Plot, Table, cell_text
from napari_sslmaps.figures.plots import draw_plot, size_of
from napari_sslmaps.files import written_whole

Part = str | Table | Plot | Figure | Path
"""A paragraph, a table, a plot, a figure, or the path of a PNG that was drawn before."""
_DPI = 150


@dataclass(frozen=True, slots=True, eq=False)
class ReportSection:
    """A heading and what stands under it, in order."""

    title: str
    parts: tuple[Part, ...]


def write_report(
    path: Path, *, title: str, sections: Sequence[ReportSection], subtitle: str = "", command: str = ""
) -> None:
    """Write a report as one self-contained HTML file, whole or not at all.

    Parameters
    ----------
    path
        Path of the file.
    title, subtitle
        Title and subtitle of the page.
    sections
        Sections in their order.
    command
        The command line that makes it again; its own section at the end.

    Raises
    ------
    ExportError
        If it cannot be written.
    """
    text = report_html(title=title, sections=sections, subtitle=subtitle, command=command)
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def report_html(
    *, title: str, sections: Sequence[ReportSection], subtitle: str = "", command: str = ""
) -> str:
    """Return the page that `write_report` writes."""
    bodies = [(section.title, "\n".join(_part(part) for part in section.parts)) for section in sections]
    if command:
        bodies.append(("Make it again", f"<pre>{html.escape(command)}</pre>"))
    entries = (f'<li><a href="#s{at}">{html.escape(head)}</a></li>' for at, (head, _) in enumerate(bodies))
    page = Template(_resource("report.html"))
    return page.substitute(
        title=html.escape(title),
        subtitle=html.escape(subtitle),
        style=_resource("report.css"),
        contents=f"<nav><ol>{''.join(entries)}</ol></nav>" if len(bodies) > 2 else "",
        sections="\n".join(
            f'<section id="s{at}">\n<h2>{html.escape(head)}</h2>\n{body}\n</section>'
            for at, (head, body) in enumerate(bodies)
        ),
    )


def _resource(name: str) -> str:
    return files("napari_sslmaps.figures").joinpath(name).read_text(encoding="utf-8")


def _part(part: Part) -> str:
    if isinstance(part, str):
        return f"<p>{html.escape(part)}</p>"
    if isinstance(part, Table):
        return _table(part)
    if isinstance(part, Path):
        return _picture(part.read_bytes())
    return _plot(part) if isinstance(part, Plot) else _figure(part)


def _table(table: Table) -> str:
    numeric = [all(not isinstance(row[at], str) for row in table.rows) for at in range(len(table.columns))]
    heads = (
        _cell("th", head, numeric=number, tip=table.tips.get(head, ""))
        for head, number in zip(table.columns, numeric, strict=True)
    )
    rows = "\n".join(_row(row, numeric) for row in table.rows)
    grid = f"<table>\n<thead><tr>{''.join(heads)}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"
    return f'<h3>{html.escape(table.title)}</h3>\n<div class="wide">{grid}</div>{_notes(table.notes)}'


def _row(cells: Sequence[Cell], numeric: Sequence[bool]) -> str:
    inside = (_cell("td", cell, numeric=number) for cell, number in zip(cells, numeric, strict=True))
    return f"<tr>{''.join(inside)}</tr>"


def _cell(tag: str, cell: Cell, *, numeric: bool, tip: str = "") -> str:
    kind = ' class="number"' if numeric else ""
    title = f' title="{html.escape(tip)}"' if tip else ""
    return f"<{tag}{kind}{title}>{html.escape(cell_text(cell))}</{tag}>"


def _notes(notes: Sequence[str]) -> str:
    return "".join(f'\n<p class="note">{html.escape(note)}</p>' for note in notes)


def _plot(plot: Plot) -> str:
    figure = Figure(figsize=size_of(plot), layout="constrained")
    draw_plot(figure.add_subplot(), plot)
    out = io.StringIO()
    # text stays text: it can be searched, and takes the page's font; equal plots give equal files
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "napari-sslmaps"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    drawing = out.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    words = f'<figure role="img" aria-label="{html.escape(plot.title)}">{drawing}</figure>'
    return f"<h3>{html.escape(plot.title)}</h3>\n{words}{_notes(plot.notes)}"


def _figure(figure: Figure) -> str:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=_DPI)
    return _picture(out.getvalue())


def _picture(png: bytes) -> str:
    data = base64.b64encode(png).decode("ascii")
    return f'<figure><img alt="Figure" src="data:image/png;base64,{data}"></figure>'
