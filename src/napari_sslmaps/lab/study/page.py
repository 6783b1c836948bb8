"""The page of a study: blocks, written as Markdown for the docs and as one self-contained HTML file."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_sslmaps.files import written_whole
from napari_sslmaps.lab.study import words
from napari_sslmaps.lab.study.design import design_to_dict, find_design
from napari_sslmaps.lab.study.figure import draw_study

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;font-size:.85rem;margin:1rem 0}td,th{padding:.2rem .6rem;text-align:left;"
    "border-bottom:1px solid #ddd}img{max-width:100%}code{background:#f3f3f3;padding:.1rem .3rem}"
)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; ``**bold**`` and `` `code` `` are marked as in Markdown."""

    text: str


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table, its first row the heads."""

    rows: words.Rows


@dataclass(frozen=True, slots=True)
class PageImage:
    """A figure: the study's, or one at another path, for Markdown alone."""

    caption: str
    path: str = ""


Block = Heading | Text | PageTable | PageImage


def write_page(result: Mapping[str, Any], out: Path) -> Path:
    """Write ``study.png`` and ``index.html`` of a ``study.json``, and return the page's path."""
    picture, page = out / "study.png", out / "index.html"
    draw_study(result, picture)
    with written_whole(page) as partial:
        partial.write_text(to_html(list(blocks(result)), picture.read_bytes()), encoding="utf-8")
    return page


def blocks(result: Mapping[str, Any]) -> Iterator[Block]:
    """Everything the page says, from ``study.json`` alone."""
    design, minutes = result["design"], words.minutes_spent(result["compute"])
    done = sum(len(runs) for methods in result["compute"].values() for runs in methods.values())
    planned = design["seeds"] * len(design["domains"]) * len(design["methods"])
    yield Heading("Result")
    if done < planned:
        yield Text(
            f"**Unfinished:** {done} of {planned} planned trainings are in. What follows may change, and the "
            "intervals do not account for looking early."
        )
    if "contrasts" in result:
        contrasts, learned = result["contrasts"], result["learned"]
        primary = contrasts[0]
        twin = next(row for row in contrasts if _differ_only_in_of(row, primary))
        yield Text(f"Primary contrast. {words.verdict_sentence(primary, learned)}")
        yield Text(f"The same of gains over untrained twins. {words.verdict_sentence(twin, learned)}")
        yield Text(words.learned_sentence(learned))
        yield PageImage(
            "Accuracy along both knobs; bars are 95 % intervals over seeds and test images, dotted lines "
            "untrained networks of the same shape. Chance is 0.5."
        )
        yield PageTable(words.gain_table(result["gains"]))
        yield Heading("Every contrast")
        yield Text(
            "The first row is the primary one; the others were planned beside it and are not corrected for "
            "their number."
        )
        yield PageTable(words.contrast_table(contrasts))
    for probe, name in enumerate(("Pooled", "Layout")):
        for domain, table in result["accuracy"].items():
            yield Heading(f"{name} probe, {domain}")
            yield PageTable(words.accuracy_table(design, table, probe))
    yield Heading("Token probe")
    yield PageTable(words.token_table(design, result["tokens"]))
    yield Heading("Design and cost")
    yield Text(
        f"{done} of {planned} planned trainings, {minutes:.1f} minutes of processor time in all; the steps "
        "were chosen to give each training the same share. Write the design below to a TOML file, or take "
        "`design.toml` of the study's folder, and run `napari-sslmaps study --out DIR --design FILE.toml`."
    )
    yield PageTable(words.compute_table(result["compute"]))
    yield Text(words.plan_sentence(result, design_to_dict(find_design("decisive"))))
    yield PageTable(words.design_table(design))


def _differ_only_in_of(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    shared = all(row[name] == other[name] for name in ("along", "probe", "domains"))
    return shared and row["of"] != other["of"]


def to_markdown(parts: list[Block], picture: str, level: int = 2) -> str:
    """Write blocks as Markdown, with the figure at the path `picture`."""
    written = []
    for part in parts:
        match part:
            case Heading(text):
                written.append(f"{'#' * level} {text}")
            case Text(text):
                written.append(text)
            case PageImage(caption, path):
                written.append(f"![{caption}]({path or picture})")
            case PageTable(rows):
                head, *body = rows
                lines = [head, ["---"] * len(head), *body]
                written.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(written) + "\n"


def to_html(parts: list[Block], picture: bytes) -> str:
    """Write blocks as one HTML file that needs no other."""
    title = "Does the pretext decide which signal is seen?"
    written = [f"<h1>{title}</h1>"]
    for part in parts:
        match part:
            case Heading(text):
                written.append(f"<h2>{html.escape(text)}</h2>")
            case Text(text):
                written.append(f"<p>{_marked(text)}</p>")
            case PageImage(caption):
                data = base64.b64encode(picture).decode()
                written.append(
                    f'<figure><img src="data:image/png;base64,{data}" alt="{html.escape(caption)}">'
                    f"<figcaption>{html.escape(caption)}</figcaption></figure>"
                )
            case PageTable(rows):
                head, *body = rows
                written.append(
                    f"<table>{_row(head, 'th')}{''.join(_row(line, 'td') for line in body)}</table>"
                )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        + "\n".join(written)
        + "</html>\n"
    )


def _row(cells: list[str], kind: str) -> str:
    return f"<tr>{''.join(f'<{kind}>{html.escape(cell)}</{kind}>' for cell in cells)}</tr>"


def _marked(text: str) -> str:
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
    return re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", escaped)
