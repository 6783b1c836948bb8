"""The figure of heads: rows are encoders, columns the heads of one block, as in papers' supplements."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Float32
from napari_sslmaps.errors import ExportError
from napari_sslmaps.figures.panels import (
    FAINT,
    INK,
    PanelLayout,
    Scale,
    draw_anchors,
    draw_grid,
    draw_image,
    draw_scale_bar,
    draw_tag,
    framed,
)
from napari_sslmaps.figures.run_figure import Picture
from napari_sslmaps.maps.attention import ATTENTION
from napari_sslmaps.maps.contrast import robust_limits

PER_LINE = 8
"""Heads beside each other; more go on in the next line."""
_PANEL = 1.1
_NAME_WIDTH = 14


@dataclass(frozen=True, eq=False, slots=True)
class HeadsRow:
    """The heads of one encoder.

    Parameters
    ----------
    method, encoder
        The method's title, and the encoder's name.
    heads
        (heads, rows, cols) attention of one block; NaN where not computed.
    grid
        Grid that the tokens lie on.
    what
        Kind of attention and its block, in a few words; stands below the name.
    prefix
        (heads,) mass that fell on CLS and registers, or None; it tells a sink from a quiet head.
    """

    method: str
    encoder: str
    heads: Float32
    grid: TokenGrid
    what: str = ""
    prefix: Float32 | None = None


def compose_heads_figure(
    picture: Picture,
    rows: Sequence[HeadsRow],
    *,
    anchors: Sequence[tuple[float, float]] = (),
    title: str = "",
) -> Figure:
    """Compose methods × heads.

    Each head is stretched between its own 1st and 99th percentile, since heads differ in how much they look
    at patches at all; the share that they give to CLS and registers stands in the corner.

    Parameters
    ----------
    picture
        The image, in the first column.
    rows
        Rows of heads, one per encoder; encoders may have different numbers of heads and different grids.
    anchors
        (row, column) pixels of level 0, drawn as red ×.
    title
        Title above the figure.

    Returns
    -------
    Figure
        Figure that is not attached to any window; `save_figure` writes it.

    Raises
    ------
    ExportError
        If no encoder has heads.
    """
    if not any(len(row.heads) for row in rows):
        raise ExportError(
            "Expected at least one encoder with attention heads; got none. A CNN such as DiRA's has none."
        )
    most = min(PER_LINE, max(len(row.heads) for row in rows))
    lines = list(_lines(rows, most))
    layout = PanelLayout.fitting(picture.extent, len(lines), most + 1, titled=bool(title), panel=_PANEL)
    figure = Figure(figsize=(layout.width, layout.height), facecolor="white")
    FigureCanvasAgg(figure)
    for index, (row, first) in enumerate(lines):
        if first == 0:
            _draw_start(figure, layout, index, row, picture, anchors)
        for column, head in enumerate(range(first, min(first + most, len(row.heads)))):
            axes = framed(figure, layout.panel(index, column + 1), picture.extent)
            low, high = robust_limits([row.heads[head]])
            draw_grid(axes, row.heads[head], row.grid, Scale(ATTENTION.colormap, low, high))
            draw_tag(axes, _tag(row, head))
            draw_anchors(axes, anchors)
    _draw_words(figure, layout, title)
    return figure


def _lines(rows: Sequence[HeadsRow], most: int) -> Iterator[tuple[HeadsRow, int]]:
    for row in rows:
        for first in range(0, len(row.heads), most):
            yield row, first


def _draw_start(
    figure: Figure,
    layout: PanelLayout,
    index: int,
    row: HeadsRow,
    picture: Picture,
    anchors: Sequence[tuple[float, float]],
) -> None:
    axes = framed(figure, layout.panel(index, 0), picture.extent)
    draw_image(axes, picture.pixels, picture.pixels_extent or picture.extent)
    draw_anchors(axes, anchors)
    if index == 0 and picture.spacing_um_yx is not None:
        draw_scale_bar(axes, picture.extent, picture.spacing_um_yx[1])
    x, y = layout.label(index)
    step = 0.085 / layout.height
    figure.text(x, y + step, row.method, ha="right", va="center", fontsize=9.5, weight="bold", color=INK)
    below = [*wrap(row.encoder, _NAME_WIDTH, max_lines=3, placeholder="…"), *wrap(row.what, _NAME_WIDTH)]
    figure.text(x, y - step / 2, "\n".join(below), ha="right", va="top", fontsize=6.5, color=FAINT)


def _tag(row: HeadsRow, head: int) -> str:
    if row.prefix is None:
        return str(head + 1)
    share = 100 * row.prefix[head]
    return f"{head + 1} · {'<1' if share < 1 else f'{share:.0f}'} %"


def _draw_words(figure: Figure, layout: PanelLayout, title: str) -> None:
    x, y = layout.heading(0)
    figure.text(x, y, "Image", ha="center", va="center", fontsize=9, color=INK)
    first, last = layout.heading(1)[0], layout.heading(layout.columns - 1)[0]
    figure.text((first + last) / 2, y, "Heads", ha="center", va="center", fontsize=9, color=INK)
    note = "each head from its 1st to its 99th percentile; in the corner its number, and the share of its "
    note += "attention that falls on tokens of no patch (CLS, registers)"
    below = layout.bar(0)[1]
    middle = (layout.heading(0)[0] + last) / 2
    figure.text(middle, below, "\n".join(wrap(note, 90)), ha="center", va="center", fontsize=6, color=FAINT)
    if title:
        x, y = layout.title()
        figure.text(x, y, title, ha="center", va="center", fontsize=9.5, color=INK, weight="bold")
